//! What an order needs of this program: the point out of the vault, its bytes into Azure, a look over the network, the fork.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use firmware_recovery::guest::Platform;
use firmware_recovery::hydrate::content::ReadAt;
use firmware_recovery::hydrate::fill::{How, OnTop, Source, fill};
use firmware_recovery::hydrate::pages::signed;
use firmware_recovery::order::hands::{
    DiskFacts, Filled, Hands, Prepared, Seeded, SourceAct, Survey, Unfilled,
};
use firmware_recovery::order::here::Ground;
use firmware_recovery::order::{Holder, Order, PointFacts};
use firmware_recovery::profile::Signal;
use pipeline_azure::Secret;
use pipeline_azure::pages::{PageBlob, PageError, PageOptions};
use pipeline_azure::transport::TransportOptions;
use pipeline_vault::Error;
use pipeline_vault::chain::Link;
use pipeline_vault::fork::{self, End};
use pipeline_vault::frames::FrameReader;
use pipeline_vault::pins::{Pin, pin_of_view};
use pipeline_vault::points::ChainView;
use pipeline_vault::record::{Consistency, Manifest};

use super::drained;
use super::guest;
use super::seeded::{At, Wanted};
use super::source;
use super::vault::Shared;
use super::who;
use crate::cli::Opening;
use crate::here::Place;
use crate::progress::Counters;
use crate::session::Machine;

/// Bytes of map pages and frame tables kept in memory.
const CACHE_BYTES: usize = 32 << 20;
/// How long a server may take to answer a look.
const LOOK: Duration = Duration::from_secs(3);
/// Longest answer of HTTP that is looked through.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// This program's hands.
pub struct Program {
    pub(super) vault: Shared,
    opening: Opening,
    machine: Machine,
    stop: Arc<AtomicBool>,
    pub(super) counters: Arc<Counters>,
    /// What keeps the points of orders from being deleted, by order and point.
    pins: Mutex<BTreeMap<String, Pin>>,
    /// The disks of orders as they shall be in Azure, by order and point.
    prepared: Mutex<BTreeMap<String, guest::Prepared>>,
    /// This machine, where orders are carried out on it.
    pub(super) place: Option<Place>,
}

impl Program {
    /// Hands over an opened vault; `counters` are told of bytes that go out.
    #[must_use]
    pub fn new(
        vault: Shared,
        opening: Opening,
        machine: Machine,
        stop: Arc<AtomicBool>,
        counters: Arc<Counters>,
    ) -> Self {
        let (pins, prepared) = (Mutex::default(), Mutex::default());
        Self { vault, opening, machine, stop, counters, pins, prepared, place: None }
    }

    /// The same for a drill on this machine.
    #[must_use]
    pub fn on(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Where the order's machine starts.
    fn platform(&self, order: &Order) -> Platform {
        if order.here.is_some() { Platform::here() } else { guest::platform(&self.machine) }
    }

    fn chain(&self, order: &Order) -> Result<ChainView, Error> {
        self.vault.session().chain(order.server).map_err(|error| named(error, &order.server_name))
    }

    /// Nobody deletes the point while it is worked on.
    fn pin(&self, order: &Order, view: &ChainView, link: &Link) -> Result<(), Error> {
        let key = key_of(order, &manifest_of(link)?.id.to_string());
        if self.pins.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key) {
            return Ok(());
        }
        let access = self.vault.session().access();
        let now = access.store.now()?;
        let reader = format!("{} {}", crate::verbs::host_name(), std::process::id());
        let pinned = pin_of_view(&access, view, link.clone(), &reader, now)?;
        if let Some(reason) = &pinned.unpinned {
            log::info!("the point is not pinned: {reason}");
        }
        let pin = pinned.pin.map(|pin| (key, pin));
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).extend(pin);
        Ok(())
    }

    /// Lets go of what was held for an order whose disks are all full: a plan may have hundreds of them.
    fn let_go(&self, order: &Order, point: &str) {
        let key = key_of(order, point);
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// The order's disks as they shall be in Azure; repaired once by each process.
    pub(super) fn prepared(&self, order: &Order) -> Result<guest::Prepared, Error> {
        let point = order.point.as_ref().map(|point| point.id.clone()).unwrap_or_default();
        let key = key_of(order, &point);
        let known = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let view = self.chain(order)?;
        let link = view.find(&point)?;
        let access = self.vault.session().access();
        let open = || Ok(guest::layered(source::readers(&access, &view, link)?));
        let made = guest::prepared(&open, &self.platform(order), order)?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(prepared.entry(key).or_insert(made).clone())
    }

    fn page_options(&self) -> Result<PageOptions, Error> {
        let lookup = |name: &str| (self.machine.settings)(name)?.into_string().ok();
        let transport = TransportOptions::from_lookup(&lookup)?;
        Ok(PageOptions { transport, ..PageOptions::default() })
    }

    fn fill_by(&self, order: &Order, place: usize, to: &Secret) -> Result<Filled, Unfilled> {
        self.with_disk(order, place, |at| self.fill_at(order, place, at, to))?
    }

    /// Opens the disk as the order's point has it.
    pub(super) fn with_disk<T>(
        &self,
        order: &Order,
        place: usize,
        act: impl FnOnce(&At<'_>) -> T,
    ) -> Result<T, Error> {
        let view = self.chain(order)?;
        let link = view.find(point_of(order))?;
        self.pin(order, &view, link)?;
        let plan = order.disks.get(place);
        let manifest = manifest_of(link)?;
        let disk =
            manifest.disks.iter().find(|disk| plan.is_some_and(|plan| plan.name == disk.name));
        let disk = disk.ok_or_else(|| Error::misuse("disk", "is not in the point"))?;
        let access = self.vault.session().access();
        let frames = FrameReader::new(&access, order.server, &view.upkeep, CACHE_BYTES)?;
        Ok(act(&At { view: &view, frames: &frames, manifest, disk }))
    }

    fn how(&self, order: &Order, disk: &str) -> How {
        How {
            workers: self.vault.session().place().readers(),
            stop: Arc::clone(&self.stop),
            ..How::new(format!("disk {disk} of {}", order.server_name))
        }
    }

    fn fill_at(
        &self,
        order: &Order,
        place: usize,
        at: &At<'_>,
        to: &Secret,
    ) -> Result<Filled, Unfilled> {
        let blob = Arc::new(PageBlob::signed(to, &self.page_options()?)?);
        // One that never counts is told from one that ended: asking for the next at once would be of no use.
        if let Err(PageError::Expired(error)) = blob.bytes() {
            return Err(Unfilled::Unusable(error));
        }
        let expired = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&expired);
        // The order grants another signature and writes that down: nothing is renewed here.
        let pages = signed(blob, move || {
            noted.store(true, Ordering::Relaxed);
            Err(Error::refused("the disk's signature", "has ended"))
        });
        let how = self.how(order, &at.disk.name);
        let At { frames, manifest, disk, .. } = *at;
        let source = Source { frames, disk, point: manifest.id, time: manifest.started };
        let prepared = self.prepared(order)?;
        let plan = order.disks.get(place);
        let on_top = prepared.disks.get(place).zip(plan).map(|(content, plan)| OnTop {
            content: &**content as &dyn ReadAt,
            blocks: &plan.on_top,
        });
        match fill(&source, on_top, &pages, &how, &*self.counters) {
            Ok(hydrated) => {
                self.full(order, place);
                Ok(Filled { written_bytes: hydrated.sent.put_bytes + hydrated.sent.kept_bytes })
            }
            Err(_) if expired.load(Ordering::Relaxed) => Err(Unfilled::Expired),
            Err(error) => Err(Unfilled::Failed(error)),
        }
    }

    fn dress_at(&self, order: &Order, place: usize, at: &At<'_>) -> Result<Filled, Error> {
        let prepared = self.prepared(order)?;
        let (Some(content), Some(plan)) = (prepared.disks.get(place), order.disks.get(place))
        else {
            return Err(Error::misuse("disk", "is not in the order"));
        };
        let on_top = OnTop { content: &**content, blocks: &plan.on_top };
        let how = self.how(order, &format!("{}, the copy of its seed,", at.disk.name));
        let written_bytes = self.seed(order, place).dress(at, &on_top, &how, &*self.counters)?;
        self.full(order, place);
        Ok(Filled { written_bytes })
    }

    /// A disk has what it shall have; where it was the last, nothing more is held for the order.
    fn full(&self, order: &Order, place: usize) {
        let mut others = order.disks.iter().enumerate().filter(|(at, _)| *at != place);
        if others.all(|(_, disk)| disk.filled) {
            self.let_go(order, point_of(order));
        }
    }

    fn seed<'a>(&'a self, order: &'a Order, place: usize) -> Wanted<'a> {
        Wanted { order, place, vault: &self.opening.vault, machine: &self.machine }
    }
}

/// The identity of an order's point; empty before the check.
fn point_of(order: &Order) -> &str {
    order.point.as_ref().map(|point| point.id.as_str()).unwrap_or_default()
}

/// An order and a point, as what is held for both is found again.
fn key_of(order: &Order, point: &str) -> String {
    format!("{} {point}", order.id)
}

fn manifest_of(link: &Link) -> Result<&Manifest, Error> {
    link.record.point().ok_or_else(|| Error::misuse("the record", "is no point"))
}

/// The chain calls a server by its identity; a person knows its name.
fn named(mut error: Error, name: &str) -> Error {
    if error.object.starts_with("server ") {
        error.object = format!("server {name}");
    }
    error
}

/// The point that a person means.
///
/// Errors: there is none.
pub fn choose<'a>(view: &'a ChainView, text: &str, server: &str) -> Result<&'a Link, Error> {
    if text != "latest-app" {
        return view.find(text).map_err(|error| named(error, server));
    }
    let clean = |link: &&Link| {
        link.record.point().is_some_and(|point| point.consistency == Consistency::Application)
    };
    view.points().rev().find(clean).ok_or_else(|| {
        Error::misuse(format!("server {server}"), "has no application-consistent point")
            .remedy("take latest, or let its hooks run: lifeboat server policy --application-every")
    })
}

impl Hands for Program {
    fn survey(&self, order: &Order) -> Result<Survey, Error> {
        let view = self.chain(order)?;
        let link = choose(&view, &order.wanted_point, &order.server_name)?;
        self.pin(order, &view, link)?;
        let manifest = manifest_of(link)?;
        let access = self.vault.session().access();
        let frames = FrameReader::new(&access, order.server, &view.upkeep, CACHE_BYTES)?;
        let options = pipeline_vault::restore::Options::default();
        for disk in &manifest.disks {
            pipeline_vault::restore::check_disk(&frames, disk, &options)?;
        }
        let readers = source::readers(&access, &view, link)?;
        if order.reads_first {
            for reader in &readers {
                source::read_all(reader, &self.stop)?;
            }
        }
        let judged = guest::judge(&guest::layered(readers), &self.platform(order));
        let facts = manifest.disks.iter().map(|disk| DiskFacts {
            name: disk.name.clone(),
            bytes: disk.bytes,
            sector_bytes: disk.sector_bytes,
        });
        let consistency = match manifest.consistency {
            Consistency::Crash => "crash",
            Consistency::Application => "application",
            Consistency::Fuzzy => "fuzzy",
            _ => "unknown",
        };
        Ok(Survey {
            point: PointFacts {
                id: manifest.id.to_string(),
                time_millis: manifest.started,
                consistency: consistency.to_owned(),
            },
            disks: facts.collect(),
            starts_from: judged.starts_from,
            generation: judged.generation,
            system: judged.system,
            addresses: judged.addresses,
            obstacles: judged.obstacles,
            repairs: judged.repairs,
        })
    }

    fn prepare(&self, order: &Order) -> Result<Prepared, Error> {
        let guest::Prepared { disks, changes } = self.prepared(order)?;
        Ok(Prepared { on_top: disks.iter().map(|disk| disk.changed()).collect(), changes })
    }

    fn fill(&self, order: &Order, disk: usize, to: &Secret) -> Result<Filled, Unfilled> {
        self.fill_by(order, disk, to)
    }

    fn seeded(&self, order: &Order, disk: usize) -> Result<Option<Seeded>, Error> {
        if !order.profile.seed {
            return Ok(None);
        }
        self.with_disk(order, disk, |at| self.seed(order, disk).seeded(at))?.map(Some)
    }

    fn dress(&self, order: &Order, disk: usize) -> Result<Filled, Error> {
        self.with_disk(order, disk, |at| self.dress_at(order, disk, at))?
    }

    fn undress(&self, order: &Order, disk: usize) -> Result<(), Error> {
        self.seed(order, disk).undress()
    }

    fn answers(&self, address: IpAddr, signal: &Signal) -> bool {
        match signal {
            Signal::Console(_) => false,
            Signal::Tcp(port) => connected(address, *port).is_some(),
            Signal::Http { port, path, contains } => connected(address, *port)
                .is_some_and(|stream| gives(stream, address, path, contains)),
        }
    }

    fn fork(&self, order: &Order) -> Result<(), Error> {
        let point = order.point.as_ref().map(|point| point.id.as_str()).unwrap_or_default();
        let point = point.parse().map_err(|_| Error::misuse("the order", "has no point yet"))?;
        let access = self.vault.session().access();
        fork::publish(&access, order.server, &order.id.to_string(), point).map(drop)
    }

    fn unfork(&self, order: &Order) -> Result<(), Error> {
        let view = self.chain(order)?;
        // A cut may have come before it was published.
        if fork::standing(&view).is_none_or(|fork| fork.order != order.id.to_string()) {
            return Ok(());
        }
        let access = self.vault.session().access();
        fork::end(&access, order.server, &order.id.to_string(), End::Cancelled).map(drop)
    }

    fn source(&self, order: &Order, act: SourceAct) -> Result<Option<String>, Error> {
        drained::ask(&self.opening, &self.machine, &self.stop, order, act)
    }

    fn ground(&self) -> Option<&dyn Ground> {
        self.place.as_ref().map(|_| self as &dyn Ground)
    }

    fn holder(&self) -> Holder {
        who::holder(&self.machine.settings)
    }

    fn runs_here(&self, process: &str) -> bool {
        who::runs_here(process)
    }

    fn vault_millis(&self) -> Result<u64, Error> {
        let access = self.vault.session().access();
        access.store.now()
    }

    fn wall_millis(&self) -> u64 {
        self.machine.clock.now().0
    }

    fn moment_millis(&self) -> u64 {
        self.machine.clock.monotonic_nanos() / 1_000_000
    }
}

fn connected(address: IpAddr, port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), LOOK).ok()?;
    stream.set_read_timeout(Some(LOOK)).ok()?;
    stream.set_write_timeout(Some(LOOK)).ok()?;
    Some(stream)
}

/// Whether an HTTP server answers with a 200 and, where that is wished, this text.
fn gives(mut stream: TcpStream, address: IpAddr, path: &str, contains: &str) -> bool {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    if stream.write_all(request.as_bytes()).is_err() {
        return false;
    }
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    // A server that sends a byte now and then holds nobody up. What came before a failure may hold all that is looked for.
    let until = Instant::now() + LOOK;
    while answer.len() < ANSWER_BYTES_MAX && Instant::now() < until {
        match stream.read(&mut piece) {
            Ok(length @ 1..) => answer.extend_from_slice(&piece[..length]),
            Ok(_) | Err(_) => break,
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap_or_default();
    answer.starts_with("HTTP/") && status.starts_with('2') && answer.contains(contains)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use pipeline::ids::{Digest, PointId, ServerId, WriterId};
    use pipeline_vault::record::{Body, Record, Trail, Upkeep, Work};

    use super::*;

    /// A chain of points that are as clean as that, the newest last.
    fn chain(points: &[Consistency]) -> ChainView {
        let server = ServerId([1; 16]);
        let link = |(number, consistency): (u8, &Consistency)| {
            let manifest = Manifest {
                id: PointId([number; 16]),
                consistency: *consistency,
                started: u64::from(number),
                disks: Vec::new(),
                segments: Vec::new(),
                heads: Vec::new(),
                ring_version: 1,
                work: Work::default(),
                told: pipeline_vault::record::Told::default(),
            };
            let record = Record {
                server,
                slot: u64::from(number),
                previous: Digest([0; 32]),
                writer: WriterId([3; 16]),
                writer_epoch: 1,
                local_time: 1,
                store_time: 1,
                trail: Trail::default(),
                body: Body::Point(manifest),
            };
            Link { record: Arc::new(record), digest: Digest([number; 32]) }
        };
        ChainView {
            server,
            links: (1..).zip(points).map(link).collect(),
            upkeep: Upkeep::default(),
        }
    }

    #[test]
    fn latest_app_is_the_newest_application_consistent_point_and_no_other() {
        use Consistency::{Application, Crash, Fuzzy};
        let view = chain(&[Application, Crash, Application, Fuzzy, Crash]);
        let slot = |text: &str| choose(&view, text, "web1").map(|link| link.record.slot);
        assert_eq!((slot("latest-app"), slot("latest"), slot("0101")), (Ok(3), Ok(5), Ok(1)));
        for none in [chain(&[Crash, Fuzzy]), chain(&[])] {
            let told = choose(&none, "latest-app", "web1").expect_err("there is none").to_string();
            assert!(told.contains("web1") && told.contains("take latest"), "{told}");
        }
    }

    fn asks(serves: impl FnOnce(TcpStream) + Send + 'static, contains: &str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        thread::spawn(move || serves(listener.accept().unwrap().0));
        gives(connected(at.ip(), at.port()).unwrap(), at.ip(), "/", contains)
    }

    #[test]
    fn a_server_that_never_ends_its_answer_is_heard_for_a_moment_only() {
        let drips = |mut stream: TcpStream| {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nwelcome");
            while stream.write_all(b".").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
        };
        assert!(asks(drips, "welcome"));
        assert!(!asks(|mut stream| drop(stream.write_all(b"HTTP/1.0 500 No\r\n\r\nok")), "ok"));
    }
}

//! Everything of ingest, running: the spool read, the keeper, the drain, the door, and a caretaker for what is due now and then.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use async_io::Timer;
use hal::time::Clock;
use hal_linux::confine::give_up_rings;
use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::fork::branch;
use pipeline_vault::writer::Options;
use pipeline_wire::message::{Refused, Why};
use smol::Executor;
use smol::future;

use super::backlog::Backlog;
use super::budget::Budget;
use super::calendar::Throttle;
use super::compare::Compare;
use super::drain::{Drain, WORKERS};
use super::forks::Forks;
use super::hub::Hub;
use super::keeper::{self, Keeper};
use super::listen::{Door, Means, on_threads};
use super::measures::Told;
use super::pace::PacedStore;
use super::retention;
use super::roll::kept::KeptRoll;
use super::roll::wakes::Woken;
use super::roll::{DrainOrder, Roll, Wake};
use super::spooled_disk::Shelf;
use super::wake::{self, Next, Waking};
use crate::services;
use crate::spool::SpoolError;
use crate::spool::records::Records;

/// How often groups are looked after.
const TICK: Duration = Duration::from_secs(1);
/// Every so many ticks the roll is read again.
const ROLL_TICKS: u32 = 5;
/// Points are removed by their policies every so many quarters of a tick: once an hour.
const PRUNE_RESTS: u32 = 4 * 3600;

/// Ingest, ready to run.
pub struct Ingest {
    hub: Arc<Hub>,
    keeper: Keeper,
    drain: Arc<Drain>,
    roll: Arc<KeptRoll>,
    access: Arc<dyn Fn(ServerId) -> Access + Send + Sync>,
    paces: Arc<Paces>,
    forks: Arc<Forks>,
    found: usize,
    host: String,
}

/// The limits of each server, and of all together.
struct Paces {
    all: Arc<Throttle>,
    each: Mutex<BTreeMap<ServerId, Arc<Throttle>>>,
}

impl Paces {
    fn of(&self, server: ServerId) -> Arc<Throttle> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(each.entry(server).or_default())
    }

    fn end(&self) {
        self.all.end();
        let each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.values().for_each(|throttle| throttle.end());
    }
}

fn spool_error(error: &SpoolError) -> Error {
    Error::device("the spool", error.to_string())
}

fn options(host: String, budget: &Budget) -> Options {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Options {
        workers: budget.workers(hal_linux::process::processors()),
        buffer_bytes_max: bytes(budget.segments),
        known_bytes_max: bytes(budget.remembered),
        page_cache_bytes_max: bytes(budget.remembered),
        host,
        ..Options::default()
    }
}

/// Which servers were failed over, of this roll.
fn forks(
    hub: &Arc<Hub>,
    access: &Arc<dyn Fn(ServerId) -> Access + Send + Sync>,
    roll: &Arc<KeptRoll>,
    options: Options,
) -> Arc<Forks> {
    let (keys, names) = (Arc::clone(roll), Arc::clone(roll));
    let enrol = move |server: ServerId, order: &str| {
        let mut session = keys.session();
        branch::enrol(session.vault()?, server, order)?;
        session.note_ring();
        Ok(())
    };
    let name = move |server: ServerId| {
        let roll = names.roll();
        roll.server(server).map_or_else(|| server.to_string(), |listed| listed.name.clone())
    };
    Arc::new(Forks::new(Arc::clone(hub), Arc::clone(access), enrol, name, options))
}

impl Ingest {
    /// Reads what is in the spool, and is ready to go on from there.
    pub fn prepare(
        mut records: Box<dyn Records>,
        roll: Arc<KeptRoll>,
        clock: Arc<dyn Clock>,
        host: String,
        budget: &Budget,
    ) -> Result<Self, Error> {
        let lasts = records.lasts();
        let found = keeper::read_all(&mut *records).map_err(|error| spool_error(&error))?;
        let shelf = Shelf::new(records.reader().map_err(|error| spool_error(&error))?);
        let backlog = Backlog::new(records.head(), found.ledger.standings(), found.lives.clone());
        let hub =
            Hub::with_credit(&found.ledger, found.end, lasts, Arc::clone(&clock), budget.credit);
        let hub = Arc::new(hub);
        let paces = Arc::new(Paces { all: Arc::default(), each: Mutex::default() });
        let (through, keys) = (Arc::clone(&paces), Arc::clone(&roll));
        // Asked for each time: the keys of a server that was enrolled a moment ago are in the newest ring only.
        let access: Arc<dyn Fn(ServerId) -> Access + Send + Sync> = Arc::new(move |server| {
            let throttles = vec![Arc::clone(&through.all), through.of(server)];
            let vault = keys.access();
            let (store, clock) = (Arc::clone(&vault.store), Arc::clone(&vault.clock));
            Access { store: Arc::new(PacedStore::new(store, throttles, clock)), ..vault }
        });
        let options = options(host.clone(), budget);
        let used = Arc::clone(&access);
        let forks = forks(&hub, &access, &roll, options.clone());
        let places = Arc::clone(&forks);
        let drain = Drain::new(
            Arc::clone(&hub),
            shelf,
            backlog,
            lasts,
            move |server| used(server),
            options,
        )?;
        let (limits, time) = (Arc::clone(&paces), Arc::clone(&clock));
        let drain = drain.with_chains(Box::new(move |server, known| places.writes(server, known)));
        let drain = drain.with_paces(move |server| limits.of(server).is_limited(time.now()));
        if found.lost > 0 {
            log::error!("{} records of the spool are damaged", found.lost);
            drain.lose_all(found.ledger.standings().map(|standing| standing.life.server));
        }
        let (keeper, drain) =
            (Keeper::new(records, found.ledger.clone(), found.end), Arc::new(drain));
        let found = found.ledger.standings().count();
        Ok(Self { hub, keeper, drain, roll, access, paces, forks, found, host })
    }

    /// How many servers were found in the spool.
    #[must_use]
    pub fn found(&self) -> usize {
        self.found
    }

    /// What tells how servers fare, while it runs.
    #[must_use]
    pub fn view(&self) -> View {
        let (hub, drain, roll) =
            (Arc::clone(&self.hub), Arc::clone(&self.drain), Arc::clone(&self.roll));
        View { hub, drain, roll }
    }

    /// Listens, and works until `stopped` is ready or the spool fails. `listening` is told where.
    pub(crate) fn run(
        self,
        address: SocketAddr,
        listening: impl FnOnce(SocketAddr),
        stopped: impl Future<Output = ()>,
        starter: &services::Keeper<'_>,
    ) -> Result<(), Error> {
        let credentials = self.roll.appliance()?;
        let authority = self.roll.authority().certificate().to_vec();
        let compare = Compare::new(Arc::clone(&self.access), self.host.clone());
        let places = Arc::clone(&self.forks);
        let means = Arc::new(Means {
            hub: Arc::clone(&self.hub),
            doorman: Arc::clone(&self.roll) as _,
            compare: Arc::new(compare.with_chains(move |server| places.reads(server))),
            forks: Arc::clone(&self.forks),
        });
        let door = smol::block_on(Door::open(address, &credentials, &authority, means))?;
        let bound =
            door.address().map_err(|error| Error::device("replication", error.to_string()))?;
        let Self { hub, keeper, drain, roll, paces, forks, .. } = self;
        let (hub, drain, roll) = (&hub, &drain, &roll);
        let caretaker = Caretaker { hub, drain, roll, paces: &paces, forks: &forks };
        caretaker.instruct();
        thread::scope(|scope| {
            let kept = scope.spawn(move || {
                let result = keeper.run(hub);
                hub.stop();
                result
            });
            for _ in 0..WORKERS {
                scope.spawn(move || {
                    let _end = EndsWithMe(hub);
                    drain.run();
                });
            }
            scope.spawn(move || prune_all(hub, roll));
            scope.spawn(move || {
                let _end = EndsWithMe(hub);
                caretaker.run();
            });
            listening(bound);
            serve(door, hub, starter, stopped);
            hub.stop();
            // A piece that waits for its pace is sent after the next start.
            paces.end();
            match kept.join() {
                Ok(result) => result.map_err(|error| spool_error(&error)),
                Err(_) => Err(Error::device("the spool", "its keeper came to a bad end")),
            }
        })
    }
}

/// Ends the hub where a thread ends that all agents rely on, however it ends: begun anew is better than half of it.
struct EndsWithMe<'a>(&'a Hub);

impl Drop for EndsWithMe<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Serves agents until it is stopped, or everything ends because the spool failed.
fn serve(
    door: Door,
    hub: &Arc<Hub>,
    starter: &services::Keeper<'_>,
    stopped: impl Future<Output = ()>,
) {
    let executor = Arc::new(Executor::new());
    let failed = async {
        while !hub.is_stopping() {
            Timer::after(TICK / 4).await;
        }
    };
    let without_rings = || {
        // What agents say is read here once more, and no disk.
        if let Err(error) = give_up_rings() {
            log::debug!("who hears agents could use io_uring: {error}");
        }
    };
    let accepting = door.serve(starter, &executor);
    on_threads(&executor, &without_rings, future::or(future::or(stopped, failed), accepting));
}

/// Removes points by the policies of their servers, now and then.
fn prune_all(hub: &Arc<Hub>, roll: &Arc<KeptRoll>) {
    let mut rests = 0_u32;
    while !hub.is_stopping() {
        thread::sleep(TICK / 4);
        rests = (rests + 1) % PRUNE_RESTS;
        if rests == 1 {
            retention::enforce(roll, &|| hub.is_stopping());
        }
    }
}

/// What is due now and then.
struct Caretaker<'a> {
    hub: &'a Arc<Hub>,
    drain: &'a Arc<Drain>,
    roll: &'a Arc<KeptRoll>,
    paces: &'a Arc<Paces>,
    forks: &'a Arc<Forks>,
}

impl Caretaker<'_> {
    fn run(self) {
        let (mut ticks, mut waking) = (0_u32, BTreeMap::new());
        while !self.hub.is_stopping() {
            thread::sleep(TICK / 4);
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(4) {
                self.hub.tick(&|| self.drain.token());
            }
            if ticks.is_multiple_of(4 * ROLL_TICKS) {
                if let Err(error) = self.roll.refresh() {
                    log::debug!("{error}");
                }
                // Whoever read it again, the door or an enrolment: what was seen last holds for everybody.
                self.instruct();
                self.keep_answers();
                self.wake(&mut waking);
                self.forks.look_again();
            }
        }
    }

    /// What agents answered to drains goes onto the roll; then they are told so.
    fn keep_answers(&self) {
        for (server, drain) in self.hub.draining() {
            let Some(answer) = drain.answer.filter(|_| !drain.is_noted) else { continue };
            let (order, by) = (&drain.order, drain.by);
            let cards = self.hub.cards_of(server);
            let mut keep = |roll: &mut Roll| {
                let is_heard = roll.answer(server, order, by, &answer);
                if is_heard && answer.is_ok() {
                    roll.goes_down(server, order, &cards);
                }
                Ok(is_heard)
            };
            match self.roll.change(&mut keep) {
                Ok(true) => self.hub.note_drained(server, order),
                // It was called off, or the agent's certificate counts no more: nobody is switched off for that.
                Ok(false) => self.hub.unanswered(server, order),
                Err(error) => log::warn!("the answer to drain {}: {error}", drain.order),
            }
        }
    }

    /// Servers whose failover was taken back after they were switched off are switched on again, by the cards that they told.
    fn wake(&self, waking: &mut BTreeMap<ServerId, (String, Waking)>) {
        let (roll, now) = (self.roll.roll(), self.hub.now());
        let open: Vec<&Wake> = roll.wakes.iter().filter(|wake| wake.is_open()).collect();
        waking.retain(|server, (order, _)| {
            open.iter().any(|wake| wake.server == *server && wake.order == *order)
        });
        for Wake { server, order, cards, .. } in open {
            let begin = || (order.clone(), Waking::begin(now));
            let (_, one) = waking.entry(*server).or_insert_with(begin);
            let woken = match one.next(self.hub.is_connected(*server), now) {
                Next::Back => Woken::Back,
                Next::Silent => Woken::Silent,
                Next::Packet => {
                    match wake::send(cards) {
                        Ok(sent) => log::info!("server {server} is woken: {sent} packets"),
                        Err(error) => log::warn!("server {server} cannot be woken: {error}"),
                    }
                    continue;
                }
                Next::Nothing => continue,
            };
            let kept = self.roll.change(&mut |roll| {
                roll.note_woken(*server, order, woken);
                Ok(())
            });
            kept.unwrap_or_else(|error| log::warn!("waking server {server}: {error}"));
        }
    }

    /// Tells everybody what is on the roll.
    fn instruct(&self) {
        let roll = self.roll.roll();
        self.paces.all.set(&roll.pace);
        for listed in &roll.servers {
            self.paces.of(listed.server).set(&listed.pace);
            self.hub.instruct(listed.server, &listed.policy, listed.group.as_ref());
            let drain = roll.drain_of(listed.server).and_then(DrainOrder::standing);
            self.hub.order_drain(listed.server, drain.as_ref());
            if listed.revoked {
                self.hub.end(
                    listed.server,
                    &Refused {
                        why: Why::Unknown,
                        words: "this server was revoked".to_owned(),
                        remedy: "enrol it anew if that was a mistake".to_owned(),
                    },
                );
            }
        }
    }
}

/// How servers fare, while ingest runs.
#[derive(Clone)]
pub struct View {
    hub: Arc<Hub>,
    drain: Arc<Drain>,
    roll: Arc<KeptRoll>,
}

impl View {
    /// Each server by its name.
    #[must_use]
    pub fn told(&self) -> Vec<(String, Told)> {
        let waiting: BTreeMap<ServerId, u64> = self.drain.waiting().into_iter().collect();
        let roll = self.roll.roll();
        let name = |server: ServerId| {
            roll.server(server).map_or_else(|| server.to_string(), |listed| listed.name.clone())
        };
        let told = self.hub.told().into_iter().map(|(server, told)| {
            let backlog_bytes = waiting.get(&server).copied().unwrap_or(0);
            (name(server), Told { backlog_bytes, ..told })
        });
        told.collect()
    }

    /// The roll.
    #[must_use]
    pub fn roll(&self) -> Arc<KeptRoll> {
        Arc::clone(&self.roll)
    }

    /// How many servers are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.hub.connected()
    }

    /// How full the spool is.
    #[must_use]
    pub fn usage(&self) -> crate::spool::Usage {
        self.hub.usage()
    }
}

//! The whole of ingest but the sockets, under power cuts, damage and a vault that fails: what was acknowledged is there, and
//! every point is what its server's model says.

use std::thread;

use hal_linux::{SystemClock, SystemEntropy};
use hal_sim::random::Random;
use hal_sim::{SimDisk, SimEntropy};
use pipeline_vault::points::read_chain;
use pipeline_vault::reader::PointReader;
use pipeline_vault::store::guard::GuardedStore;
use pipeline_vault::store::memory::MemoryStore;
use pipeline_vault::vault::Vault;
use pipeline_wire::message::{Binding, Blocks, Content, Cut, DiskHello, FromAppliance, Hello};
use pipeline_wire::runs::runs_of;

use super::*;
use crate::ingest::keeper::{self, Keeper};
use crate::spool::layout::DISK_BYTES_MIN;
use crate::spool::records::Records;
use crate::spool::{self, Owner, Spool};

const BLOCKS: u64 = 60;
const BLOCK: usize = BLOCK_BYTES;

/// A vault in memory whose store can be told to refuse.
struct Site {
    vault: Vault,
    disk: SimDisk,
    owner: Owner,
    away: Arc<core::sync::atomic::AtomicBool>,
}

impl Site {
    fn new() -> Self {
        let away: Arc<core::sync::atomic::AtomicBool> = Arc::default();
        let refuses = Arc::clone(&away);
        let store = Arc::new(GuardedStore::new(Arc::new(MemoryStore::new()), move |_| {
            let gone = refuses.load(Ordering::SeqCst);
            if gone { Err(Error::device("the vault", "is away")) } else { Ok(()) }
        }));
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let plan = Vault::plan(&*store, &*clock, &*entropy).unwrap();
        let vault = plan.build(store, clock, entropy).unwrap();
        let (disk, owner) =
            (SimDisk::new(DISK_BYTES_MIN), Owner::new(&SimEntropy::new(1)).unwrap());
        spool::format(disk.reopen(), &owner, &SimEntropy::new(2)).unwrap();
        Self { vault, disk, owner, away }
    }
}

/// One start of the appliance.
struct Life {
    hub: Arc<Hub>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Life {
    fn start(site: &Site, seed: u64) -> Self {
        let disk = site.disk.reopen();
        let (spool, _) = Spool::open(disk, &site.owner, &SimEntropy::new(seed)).unwrap();
        let mut records: Box<dyn Records> = Box::new(spool);
        let found = keeper::read_all(&mut *records).unwrap();
        let shelf = Shelf::new(records.reader().unwrap());
        let backlog = Backlog::new(records.head(), found.ledger.standings(), found.lives.clone());
        let hub = Arc::new(Hub::new(&found.ledger, found.end, true, Arc::new(SystemClock)));
        let access = site.vault.access();
        let options = Options {
            workers: 1,
            buffer_bytes_max: 32 << 20,
            host: "appliance".to_owned(),
            ..Options::default()
        };
        let used = move |_| access.clone();
        let drain = Drain::new(Arc::clone(&hub), shelf, backlog, true, used, options).unwrap();
        if found.lost > 0 {
            drain.lose_all(found.ledger.standings().map(|standing| standing.life.server));
        }
        let keeper = Keeper::new(records, found.ledger);
        let (kept, drained) = (Arc::clone(&hub), Arc::clone(&hub));
        let threads = vec![
            thread::spawn(move || {
                // A cut of the power ends it.
                let _ = keeper.run(&kept);
                kept.stop();
            }),
            thread::spawn(move || {
                drain.run();
                drained.stop();
            }),
        ];
        Self { hub, threads }
    }

    fn end(self) {
        self.hub.stop();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// A server, and what it knows.
struct Server {
    id: ServerId,
    run: [u8; 16],
    disk: Vec<u8>,
    states: BTreeMap<u64, Vec<u8>>,
    unspooled: Vec<(u64, Said)>,
    changed: BTreeMap<u64, std::collections::BTreeSet<u64>>,
    sequence: u64,
    epoch: u64,
    spooled: u64,
    vaulted: u64,
    points: BTreeMap<u64, PointId>,
    resend: bool,
    token: Option<u64>,
    /// The spool was hurt: it may have forgotten what it acknowledged, and says so.
    hurt: bool,
    ticks: u64,
}

#[derive(Clone)]
enum Said {
    Blocks(Blocks, Vec<u8>),
    Cut(Cut),
}

impl Server {
    fn new(id: ServerId) -> Self {
        Self {
            id,
            run: [1; 16],
            disk: vec![0; usize::try_from(BLOCKS).unwrap() * BLOCK - 512],
            states: BTreeMap::new(),
            unspooled: Vec::new(),
            changed: BTreeMap::new(),
            sequence: 0,
            epoch: 0,
            spooled: 0,
            vaulted: 0,
            points: BTreeMap::new(),
            resend: false,
            token: None,
            hurt: false,
            ticks: 0,
        }
    }

    fn life(&self) -> journal::Life {
        journal::Life { server: self.id, run: self.run }
    }

    fn connect(&mut self, hub: &Hub) -> u64 {
        let disk = DiskHello {
            name: "sda".to_owned(),
            identity: String::new(),
            bytes: self.disk.len() as u64,
            sector_bytes: 512,
        };
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            agent: String::new(),
            host: String::new(),
            kernel: String::new(),
            server: self.id,
            binding: Binding::default(),
            run: self.run,
            connection: 0,
            disks: vec![disk],
        };
        let joined = hub.join(&hello, &[false]).unwrap();
        assert!(
            self.hurt || joined.spooled >= self.spooled,
            "{} was acknowledged, {} is there",
            self.spooled,
            joined.spooled
        );
        assert!(joined.vaulted_epoch >= self.vaulted, "epoch {} was in the vault", self.vaulted);
        self.spooled = self.spooled.max(joined.spooled);
        self.unspooled.retain(|(sequence, _)| *sequence > joined.spooled);
        for (_, said) in self.unspooled.clone() {
            self.say(hub, said);
        }
        joined.line
    }

    fn say(&self, hub: &Hub, said: Said) {
        match said {
            Said::Blocks(blocks, payload) => hub.blocks(self.life(), blocks, payload).unwrap(),
            Said::Cut(cut) => hub.cut(self.life(), cut).unwrap(),
        }
    }

    fn block(&self, block: u64) -> Vec<u8> {
        let at = usize::try_from(block).unwrap() * BLOCK;
        let mut bytes = self.disk[at..(at + BLOCK).min(self.disk.len())].to_vec();
        bytes.resize(BLOCK, 0);
        bytes
    }

    fn send(&mut self, hub: &Hub, blocks: &[u64]) {
        self.changed.entry(self.epoch + 1).or_default().extend(blocks);
        for part in blocks.chunks(16) {
            self.sequence += 1;
            let payload: Vec<u8> = part.iter().flat_map(|block| self.block(*block)).collect();
            let zeros = payload.iter().all(|byte| *byte == 0);
            let (content, payload) =
                if zeros { (Content::Zeros, Vec::new()) } else { (Content::Data, payload) };
            let runs = runs_of(part.iter().copied());
            let blocks = Blocks { sequence: self.sequence, disk: 0, content, runs };
            self.keep(hub, Said::Blocks(blocks, payload));
        }
    }

    fn keep(&mut self, hub: &Hub, said: Said) {
        self.unspooled.push((self.sequence, said.clone()));
        self.say(hub, said);
    }

    fn write(&mut self, hub: &Hub, random: &mut Random) {
        let first = random.below(BLOCKS);
        let end = (first + 1 + random.below(12)).min(BLOCKS);
        for block in first..end {
            let at = usize::try_from(block).unwrap() * BLOCK;
            let end = (at + BLOCK).min(self.disk.len());
            if random.below(5) == 0 {
                self.disk[at..end].fill(0);
            } else {
                random.fill(&mut self.disk[at..at + 4096]);
            }
        }
        self.send(hub, &(first..end).collect::<Vec<_>>());
    }

    fn cut(&mut self, hub: &Hub) -> u64 {
        self.epoch += 1;
        self.sequence += 1;
        let cut = Cut {
            sequence: self.sequence,
            epoch: self.epoch,
            instant: Instant::Crash,
            at_millis: self.epoch,
            frozen_micros: 0,
            remarks: Vec::new(),
            group: self.token.take().map(|token| (token, true)),
        };
        self.states.insert(self.epoch, self.disk.clone());
        self.keep(hub, Said::Cut(cut));
        self.epoch
    }

    fn hear(&mut self, hub: &Hub, line: u64) {
        for message in hub.owed(self.id, line).0 {
            match message {
                FromAppliance::Spooled { sequence } => {
                    self.spooled = self.spooled.max(sequence);
                    self.unspooled.retain(|(kept, _)| *kept > sequence);
                }
                FromAppliance::Vaulted { epoch, point } => {
                    self.vaulted = self.vaulted.max(epoch);
                    self.points.insert(epoch, point);
                    self.changed.retain(|kept, _| *kept > epoch);
                }
                FromAppliance::Resend { .. } => self.resend = true,
                FromAppliance::Prepare { token, .. } => self.token = Some(token),
                _ => {}
            }
        }
        if core::mem::take(&mut self.resend) {
            let all: std::collections::BTreeSet<u64> =
                self.changed.values().flatten().copied().collect();
            self.send(hub, &all.into_iter().collect::<Vec<_>>());
            self.cut(hub);
        }
    }

    fn hear_until(&mut self, hub: &Hub, line: u64, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = std::time::Instant::now();
        while !holds(self) {
            assert!(began.elapsed().as_secs() < 60, "{what} did not come about");
            thread::sleep(Duration::from_millis(2));
            self.ticks += 1;
            if self.ticks.is_multiple_of(20) {
                hub.tick(&|| self.ticks << 32);
            }
            self.hear(hub, line);
        }
    }

    fn check(&self, access: &Access, label: &str) -> usize {
        let chain = read_chain(access, self.id).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for link in chain.points() {
            let point = link.record.point().unwrap();
            let epoch = point.told.source_time.unwrap();
            assert!(seen.insert(epoch), "{label}: epoch {epoch} twice");
            if let Some(told) = self.points.get(&epoch) {
                assert_eq!(*told, point.id, "{label}");
            }
            let reader = PointReader::open(access, &chain, link, "sda", 1 << 20).unwrap();
            let mut bytes = vec![0; self.disk.len()];
            reader.read_at(0, &mut bytes).unwrap();
            assert!(bytes == self.states[&epoch], "{label}: epoch {epoch} is not what it was");
        }
        assert!(self.vaulted == 0 || seen.contains(&self.vaulted), "{label}");
        seen.len()
    }
}

#[test]
fn what_was_acknowledged_survives_every_power_cut_and_every_point_is_the_disk() {
    let histories =
        std::env::var("LIFEBOAT_INGEST_HISTORIES").ok().and_then(|text| text.parse().ok());
    for seed in 0..histories.unwrap_or(12) {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut site = Site::new();
        let ids: Vec<ServerId> =
            ["web", "db"].iter().map(|name| site.vault.enrol(name).unwrap().id).collect();
        let mut servers: Vec<Server> = ids.into_iter().map(Server::new).collect();
        for start in 0..5 {
            let life = Life::start(&site, seed * 100 + start);
            let lines: Vec<u64> =
                servers.iter_mut().map(|server| server.connect(&life.hub)).collect();
            site.away.store(random.below(4) == 0, Ordering::SeqCst);
            for _ in 0..random.below(60) {
                let at = usize::try_from(random.below(2)).unwrap();
                match random.below(8) {
                    0..4 => servers[at].write(&life.hub, &mut random),
                    4 => {
                        servers[at].cut(&life.hub);
                    }
                    5 => thread::sleep(Duration::from_millis(random.below(15))),
                    _ => servers[at].hear(&life.hub, lines[at]),
                }
            }
            site.disk.cut_power(seed * 1000 + start);
            life.end();
        }
        site.away.store(false, Ordering::SeqCst);
        let life = Life::start(&site, seed * 100 + 99);
        for server in &mut servers {
            let line = server.connect(&life.hub);
            let epoch = server.cut(&life.hub);
            server.hear_until(&life.hub, line, "the last point", |server| server.vaulted >= epoch);
        }
        life.end();
        for server in &servers {
            assert!(server.check(&site.vault.access(), &format!("seed {seed}")) >= 1);
        }
    }
}

#[test]
fn a_lost_record_is_sent_again_and_no_point_is_wrong() {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let mut site = Site::new();
        let id = site.vault.enrol("web").unwrap().id;
        let mut server = Server::new(id);
        let life = Life::start(&site, seed);
        let line = server.connect(&life.hub);
        server.write(&life.hub, &mut random);
        let first = server.cut(&life.hub);
        server.hear_until(&life.hub, line, "the first point", |server| server.vaulted >= first);
        // Nothing goes out while the disk is damaged.
        site.away.store(true, Ordering::SeqCst);
        for _ in 0..6 {
            server.write(&life.hub, &mut random);
            server.cut(&life.hub);
        }
        let last = server.sequence;
        server.hear_until(&life.hub, line, "the spool", |server| server.spooled >= last);
        life.end();
        // Somewhere within what was written: the log begins at 1 MiB.
        for _ in 0..3 {
            let at = (1 << 20) + random.below(3 << 20);
            site.disk.load(at / 512 * 512, &[0xA5; 512]);
        }
        server.hurt = true;
        site.away.store(false, Ordering::SeqCst);
        let life = Life::start(&site, seed + 50);
        let line = server.connect(&life.hub);
        server.write(&life.hub, &mut random);
        server.cut(&life.hub);
        server.hear_until(&life.hub, line, "a point behind the loss", |server| {
            server.vaulted > first
        });
        let epoch = server.cut(&life.hub);
        server.hear_until(&life.hub, line, "the last point", |server| server.vaulted >= epoch);
        life.end();
        server.check(&site.vault.access(), &format!("seed {seed}"));
    }
}

#[test]
fn what_was_spooled_is_not_put_over_points_that_somebody_else_made_meanwhile() {
    let mut site = Site::new();
    let id = site.vault.enrol("web").unwrap().id;
    let mut server = Server::new(id);
    let life = Life::start(&site, 1);
    let line = server.connect(&life.hub);
    let mut random = Random::new(1);
    server.write(&life.hub, &mut random);
    let first = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "the first point", |server| server.vaulted >= first);
    site.away.store(true, Ordering::SeqCst);
    server.write(&life.hub, &mut random);
    server.cut(&life.hub);
    let last = server.sequence;
    server.hear_until(&life.hub, line, "the spool", |server| server.spooled >= last);
    life.end();
    site.away.store(false, Ordering::SeqCst);
    // Captured offline.
    let disk = SimDisk::new(server.disk.len() as u64);
    let job = DiskJob { name: "sda".to_owned(), identity: String::new(), disk, changed: None };
    pipeline_vault::writer::protect(
        &site.vault.access(),
        id,
        vec![job],
        &Options::default(),
        &Silent,
    )
    .unwrap();
    let life = Life::start(&site, 2);
    let line = server.connect(&life.hub);
    server.hear_until(&life.hub, line, "its being sent again", |server| {
        server.token.is_some() || server.epoch > 2
    });
    life.end();
    let access = site.vault.access();
    let chain = read_chain(&access, id).unwrap();
    let link = chain.points().last().unwrap();
    let newest = link.record.point().unwrap();
    let reader = PointReader::open(&access, &chain, link, "sda", 1 << 20).unwrap();
    let mut bytes = vec![1; server.disk.len()];
    reader.read_at(0, &mut bytes).unwrap();
    assert!(newest.told.source_time.is_some() || bytes.iter().all(|byte| *byte == 0));
    assert!(!chain.points().any(|link| link.record.point().unwrap().told.source_time == Some(2)));
}

/// Another machine takes the chain over, and sends a part of what became another disk.
fn take_over(access: &Access, server: &Server) {
    let disk = SimDisk::new(server.disk.len() as u64);
    disk.load(0, &[0xEE; 512]);
    let job = DiskJob { name: "sda".to_owned(), identity: String::new(), disk, changed: None };
    let options = Options { host: "other".to_owned(), ..Options::default() };
    let mut writer = Writer::open(access, server.id, options.clone()).unwrap();
    let run = Run { publish: Publish::Checkpoint, ..Run::from(&options) };
    writer.run(vec![job], &run, &Silent).unwrap();
}

#[test]
fn what_was_spooled_is_not_put_over_what_another_writer_began() {
    for is_running in [true, false] {
        let mut site = Site::new();
        let mut server = Server::new(site.vault.enrol("web").unwrap().id);
        let mut random = Random::new(7);
        let mut life = Life::start(&site, 1);
        let mut line = server.connect(&life.hub);
        server.write(&life.hub, &mut random);
        let first = server.cut(&life.hub);
        server.hear_until(&life.hub, line, "the first point", |server| server.vaulted >= first);
        let access = site.vault.access();
        if is_running {
            take_over(&access, &server);
            server.write(&life.hub, &mut random);
            server.cut(&life.hub);
        } else {
            site.away.store(true, Ordering::SeqCst);
            server.write(&life.hub, &mut random);
            server.cut(&life.hub);
            let last = server.sequence;
            server.hear_until(&life.hub, line, "the spool", |server| server.spooled >= last);
            life.end();
            site.away.store(false, Ordering::SeqCst);
            take_over(&access, &server);
            life = Life::start(&site, 2);
            line = server.connect(&life.hub);
        }
        server.hear_until(&life.hub, line, "its being sent again", |server| server.epoch > 2);
        life.end();
        let chain = read_chain(&access, server.id).unwrap();
        let epochs = chain.points().map(|link| link.record.point().unwrap().told.source_time);
        assert!(!epochs.into_iter().any(|epoch| epoch == Some(2)), "running: {is_running}");
    }
}

#[test]
fn what_this_appliance_began_is_gone_on_with_after_a_start() {
    let mut site = Site::new();
    let mut server = Server::new(site.vault.enrol("web").unwrap().id);
    let mut random = Random::new(8);
    let life = Life::start(&site, 1);
    let line = server.connect(&life.hub);
    server.write(&life.hub, &mut random);
    let first = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "the first point", |server| server.vaulted >= first);
    life.end();
    let access = site.vault.access();
    let options = Options { host: "appliance".to_owned(), ..Options::default() };
    let disk = SimDisk::new(server.disk.len() as u64);
    disk.load(0, &server.disk);
    let job = DiskJob { name: "sda".to_owned(), identity: String::new(), disk, changed: None };
    let mut writer = Writer::open(&access, server.id, options.clone()).unwrap();
    let run = Run { publish: Publish::Checkpoint, ..Run::from(&options) };
    writer.run(vec![job], &run, &Silent).unwrap();
    let life = Life::start(&site, 2);
    let line = server.connect(&life.hub);
    server.write(&life.hub, &mut random);
    let second = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "the second point", |server| server.vaulted >= second);
    life.end();
    assert_eq!(server.epoch, second, "nothing was asked for again");
    assert_eq!(server.check(&access, "two points"), 2);
}

#[test]
fn a_server_that_has_no_way_into_the_vault_makes_room_only_where_others_go_on() {
    let mut site = Site::new();
    let mut server = Server::new(site.vault.enrol("web").unwrap().id);
    let (spool, _) = Spool::open(site.disk.reopen(), &site.owner, &SimEntropy::new(1)).unwrap();
    let records: Box<dyn Records> = Box::new(spool);
    let shelf = Shelf::new(records.reader().unwrap());
    let ledger = crate::ingest::ledger::Ledger::default();
    let hub = Arc::new(Hub::new(&ledger, Mark::default(), true, Arc::new(SystemClock)));
    let (access, backlog) = (site.vault.access(), Backlog::default());
    let drain = Drain::new(
        Arc::clone(&hub),
        shelf,
        backlog,
        true,
        move |_| access.clone(),
        Options::default(),
    );
    let drain = drain.unwrap();
    let line = server.connect(&hub);
    let mut random = Random::new(3);
    server.write(&hub, &mut random);
    server.cut(&hub);
    let crate::ingest::hub::Task::Keep(entries) = hub.next() else { panic!("nothing to keep") };
    for (entry, _) in entries {
        assert_eq!(drain.backlog().take(Mark::default(), entry), None);
    }
    let usage = spool::Usage { used: 90, bytes: 100, ..spool::Usage::default() };
    hub.is_durable(&[], Mark::default(), usage);
    let error = Error::corrupt("its chain", "is damaged").retry(Retry::Never);
    drain.fail(server.id, &error);
    assert!(drain.backlog().has_jobs(), "perhaps the vault is away: nothing is given up");
    drain.succeeded.store(drain.now() + 1, Ordering::SeqCst);
    hub.stop();
    drain.fail(server.id, &error);
    assert!(!drain.backlog().has_jobs());
    let ended = hub.owed(server.id, line).1.map(|refused| refused.why);
    assert_eq!(ended, Some(pipeline_wire::message::Why::Later));
}

//! What histories of ingest are made of: a vault in memory that can be told to refuse, lives of an appliance, and a server
//! that knows what it said.

use core::sync::atomic::AtomicBool;
use std::thread;

use hal_linux::{SystemClock, SystemEntropy};
use hal_sim::random::Random;
use hal_sim::{SimDisk, SimEntropy};
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::points::read_chain;
use pipeline_vault::reader::PointReader;
use pipeline_vault::store::guard::{Change, GuardedStore};
use pipeline_vault::store::memory::MemoryStore;
use pipeline_vault::vault::Vault;
use pipeline_wire::message::{
    Binding, Blocks, Content, Cut, Demotion, DiskHello, FromAppliance, Hello, Instant, VERSION,
};
use pipeline_wire::runs::runs_of;

use super::super::*;
use crate::ingest::forks::Forks;
use crate::ingest::keeper::{self, Keeper};
use crate::spool::layout::DISK_BYTES_MIN;
use crate::spool::records::Records;
use crate::spool::{self, Owner, Spool};

/// How the appliance calls itself in the vault.
pub(super) const HOST: &str = "appliance";
pub(super) const BLOCKS: u64 = 60;
pub(super) const BLOCK: usize = BLOCK_BYTES;

/// A vault in memory whose store can be told to refuse.
pub(super) struct Site {
    pub(super) vault: Vault,
    pub(super) disk: SimDisk,
    pub(super) owner: Owner,
    pub(super) away: Arc<AtomicBool>,
    /// While it is set, what is large waits at the vault's door.
    pub(super) held: Arc<AtomicBool>,
    /// Something waits there.
    pub(super) waits: Arc<AtomicBool>,
}

impl Site {
    pub(super) fn new() -> Self {
        Self::with_spool(DISK_BYTES_MIN)
    }

    pub(super) fn with_spool(bytes: u64) -> Self {
        let [away, held, waits]: [Arc<AtomicBool>; 3] = Default::default();
        let (refuses, holds, waiting) = (Arc::clone(&away), Arc::clone(&held), Arc::clone(&waits));
        let store = Arc::new(GuardedStore::new(Arc::new(MemoryStore::new()), move |change| {
            let is_large = matches!(change, Change::Create(_, body) if body.len() > 1 << 20);
            while is_large && holds.load(Ordering::SeqCst) {
                waiting.store(true, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(1));
            }
            let gone = refuses.load(Ordering::SeqCst);
            if gone { Err(Error::device("the vault", "is away")) } else { Ok(()) }
        }));
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let plan = Vault::plan(&*store, &*clock, &*entropy).unwrap();
        let vault = plan.build(store, clock, entropy).unwrap();
        let (disk, owner) = (SimDisk::new(bytes), Owner::new(&SimEntropy::new(1)).unwrap());
        spool::format(disk.reopen(), &owner, &SimEntropy::new(2)).unwrap();
        Self { vault, disk, owner, away, held, waits }
    }
}

/// One start of the appliance.
pub(super) struct Life {
    pub(super) hub: Arc<Hub>,
    pub(super) forks: Arc<Forks>,
    pub(super) threads: Vec<thread::JoinHandle<()>>,
}

impl Life {
    pub(super) fn start(site: &Site, seed: u64) -> Self {
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
            host: HOST.to_owned(),
            checkpoint_segments: 1,
            ..Options::default()
        };
        let used = access.clone();
        let forks = Forks::new(
            Arc::clone(&hub),
            Arc::new(move |_| used.clone()),
            // The ring of this life has it: the test saw to that.
            |_, _| Ok(()),
            |_| "web".to_owned(),
            options.clone(),
        );
        let forks = Arc::new(forks);
        let used = move |_| access.clone();
        let drain = Drain::new(Arc::clone(&hub), shelf, backlog, true, used, options).unwrap();
        let places = Arc::clone(&forks);
        let drain = drain.with_chains(Box::new(move |server, known| places.writes(server, known)));
        if found.lost > 0 {
            drain.lose_all(found.ledger.standings().map(|standing| standing.life.server));
        }
        let keeper = Keeper::new(records, found.ledger, found.end);
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
        Self { hub, forks, threads }
    }

    pub(super) fn end(self) {
        self.hub.stop();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// A server, and what it knows.
pub(super) struct Server {
    pub(super) id: ServerId,
    pub(super) run: [u8; 16],
    pub(super) disk: Vec<u8>,
    pub(super) states: BTreeMap<u64, Vec<u8>>,
    pub(super) unspooled: Vec<(u64, Said)>,
    pub(super) changed: BTreeMap<u64, std::collections::BTreeSet<u64>>,
    pub(super) sequence: u64,
    pub(super) epoch: u64,
    pub(super) spooled: u64,
    pub(super) vaulted: u64,
    pub(super) points: BTreeMap<u64, PointId>,
    pub(super) resend: bool,
    pub(super) token: Option<u64>,
    /// The spool was hurt: it may have forgotten what it acknowledged, and says so.
    pub(super) hurt: bool,
    pub(super) ticks: u64,
    /// The newest point that there was before anything was known of it here.
    pub(super) base: Option<PointId>,
    /// What it was told of a failover.
    pub(super) demotion: Option<Demotion>,
}

#[derive(Clone)]
pub(super) enum Said {
    Blocks(Blocks, Vec<u8>),
    Cut(Cut),
}

impl Server {
    pub(super) fn new(id: ServerId) -> Self {
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
            base: None,
            demotion: None,
        }
    }

    pub(super) fn life(&self) -> journal::Life {
        journal::Life { server: self.id, run: self.run }
    }

    pub(super) fn connect(&mut self, hub: &Hub) -> u64 {
        let disk = DiskHello {
            name: "sda".to_owned(),
            identity: String::new(),
            bytes: self.disk.len() as u64,
            sector_bytes: 512,
        };
        let hello = Hello {
            version_min: 1,
            version_max: VERSION,
            agent: String::new(),
            host: String::new(),
            kernel: String::new(),
            server: self.id,
            binding: Binding::default(),
            run: self.run,
            connection: 0,
            disks: vec![disk],
        };
        self.demotion = None;
        let joined = hub.join(&hello, &[self.base.is_some()], self.base).unwrap();
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

    pub(super) fn say(&self, hub: &Hub, said: Said) {
        match said {
            Said::Blocks(blocks, payload) => hub.blocks(self.life(), blocks, payload).unwrap(),
            Said::Cut(cut) => hub.cut(self.life(), cut).unwrap(),
        }
    }

    pub(super) fn block(&self, block: u64) -> Vec<u8> {
        let at = usize::try_from(block).unwrap() * BLOCK;
        let mut bytes = self.disk[at..(at + BLOCK).min(self.disk.len())].to_vec();
        bytes.resize(BLOCK, 0);
        bytes
    }

    pub(super) fn send(&mut self, hub: &Hub, blocks: &[u64]) {
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

    pub(super) fn keep(&mut self, hub: &Hub, said: Said) {
        self.unspooled.push((self.sequence, said.clone()));
        self.say(hub, said);
    }

    pub(super) fn write(&mut self, hub: &Hub, random: &mut Random) {
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

    pub(super) fn cut(&mut self, hub: &Hub) -> u64 {
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

    pub(super) fn hear(&mut self, hub: &Hub, line: u64) {
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
                FromAppliance::Demoted(demotion) => self.demotion = Some(demotion),
                // As if nothing were the same: what it may find by asking, it finds.
                FromAppliance::Compare { .. } => {
                    self.changed.entry(self.epoch + 1).or_default().extend(0..BLOCKS);
                }
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

    pub(super) fn hear_until(
        &mut self,
        hub: &Hub,
        line: u64,
        what: &str,
        holds: impl Fn(&Self) -> bool,
    ) {
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

    pub(super) fn check(&self, access: &Access, label: &str) -> usize {
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

    /// Fails where the newest point is not the disk as it is now.
    pub(super) fn check_newest(&self, access: &Access, label: &str) {
        let chain = read_chain(access, self.id).unwrap();
        let link = chain.points().last().unwrap();
        let reader = PointReader::open(access, &chain, link, "sda", 1 << 20).unwrap();
        let mut bytes = vec![0; self.disk.len()];
        reader.read_at(0, &mut bytes).unwrap();
        assert!(bytes == self.disk, "{label}: the newest point is not the disk");
    }

    /// A cut that is spooled while the vault is away, and the end of that life of the appliance; then the vault is back.
    pub(super) fn cut_while_away(
        &mut self,
        site: &Site,
        life: Life,
        line: u64,
        random: &mut Random,
    ) {
        site.away.store(true, Ordering::SeqCst);
        self.write(&life.hub, random);
        self.cut(&life.hub);
        let last = self.sequence;
        self.hear_until(&life.hub, line, "the spool", |server| server.spooled >= last);
        life.end();
        site.away.store(false, Ordering::SeqCst);
    }
}

//! What tests of orders and plans share: a vault in memory, a region in memory, hands that fill its disks, and machines that can
//! be cut off at any call.

use core::net::IpAddr;
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

use hal::time::{Clock, UnixMillis};
use hal_sim::clock::SimClock;
use hal_sim::entropy::SimEntropy;
use pipeline::ids::{OrderId, ServerId};
use pipeline_azure::Secret;
use pipeline_azure::arm::disk::{Generation, System};
use pipeline_vault::Error;
use pipeline_vault::document::Name;
use pipeline_vault::keys::recovery_key::RecoveryKey;
use pipeline_vault::store::BlobStore;
use pipeline_vault::store::fault::{FaultStore, Faults};
use pipeline_vault::store::memory::MemoryStore;
use pipeline_vault::vault::Vault;

use crate::documents::{self, Documents};
use crate::guest::repair::Undo;
use crate::guest::{Change, What};
use crate::order::hands::{
    DiskFacts, Filled, Hands, Prepared, Seeded, SourceAct, Survey, Unfilled,
};
use crate::order::orders::{self, Wanted};
use crate::order::run::{Work, World};
use crate::order::{Holder, Import, Kind, Order, PointFacts};
use crate::profile::{Profile, Signal};
use crate::target;

pub(crate) mod region;
pub(crate) mod seeds;

use region::SimRegion;
use seeds::Seeds;

pub(crate) const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
pub(crate) const SERVER: ServerId = ServerId([5; 16]);

/// A profile that the simulated region can satisfy.
pub(crate) fn profile() -> Profile {
    let text = serde_json::json!({
        "subscription": SUBSCRIPTION,
        "location": "westeurope",
        "group": "recovered",
        "network": "net",
        "subnet": "default",
        "sizes": ["Standard_D2s_v5", "Standard_D4s_v5"],
        "signals": [{"console": "login:"}],
        "signal_within_s": 60,
    });
    serde_json::from_value(text).expect("a profile")
}

/// The place where things happen: it outlives every process.
pub(crate) struct Site {
    pub(crate) clock: SimClock,
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) key: RecoveryKey,
    pub(crate) region: Arc<SimRegion>,
    pub(crate) seeds: Seeds,
    /// What was done beside Azure, in that order.
    pub(crate) deeds: Mutex<Vec<String>>,
    pub(crate) survey: Mutex<Survey>,
    /// So many signatures are refused as expired before one is taken.
    pub(crate) expired: Mutex<u32>,
    /// So many do not count even once.
    pub(crate) unusable: Mutex<u32>,
    /// Servers of which none is looked at before all of them are: who is brought up alone waits in vain.
    pub(crate) meets: Mutex<Vec<&'static str>>,
    /// Those that were.
    met: (Mutex<BTreeSet<String>>, Condvar),
}

/// A process: it sees the site, and may be cut off.
pub(crate) struct Process<'a> {
    pub(crate) site: &'a Site,
    pub(crate) store: Arc<FaultStore>,
    pub(crate) documents: Mutex<Vault>,
    pub(crate) stop: AtomicBool,
    pub(crate) number: u32,
    pub(crate) machine: &'static str,
    /// Processes of its machine that still run.
    pub(crate) alive: Mutex<Vec<String>>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let clock = SimClock::default();
        let memory = Arc::new(MemoryStore::new());
        let store = Arc::clone(&memory) as Arc<dyn BlobStore>;
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let (vault, key) =
            Vault::create(store, shared, Arc::new(SimEntropy::new(1))).expect("an empty place");
        drop(vault);
        let survey = Survey {
            point: PointFacts {
                id: "11".repeat(16),
                time_millis: 1_767_225_000_000,
                consistency: "crash".to_owned(),
            },
            disks: ["sda", "sdb"]
                .map(|name| DiskFacts { name: name.to_owned(), bytes: 64 << 20, sector_bytes: 512 })
                .to_vec(),
            starts_from: 0,
            generation: Generation::V2,
            system: System::Linux,
            addresses: Vec::new(),
            obstacles: Vec::new(),
            repairs: Vec::new(),
        };
        let seeds = Seeds::default();
        let site = Self {
            region: Arc::new(SimRegion::new(clock.clone(), seeds.clone())),
            seeds,
            clock,
            memory,
            key,
            deeds: Mutex::default(),
            survey: Mutex::new(survey),
            expired: Mutex::new(0),
            unusable: Mutex::new(0),
            meets: Mutex::default(),
            met: Default::default(),
        };
        target::set_profile(&site.process(0).documents, SERVER, "web1", &profile()).expect("sound");
        site
    }

    /// One whose first disk has a seed, a point behind; the second one's was not made yet.
    pub(crate) fn warm() -> Self {
        let site = Self::new();
        let profile = Profile { seed: true, ..profile() };
        target::set_profile(&site.process(0).documents, SERVER, "web1", &profile).expect("sound");
        site.seeds.account().seeds.insert("sda".to_owned(), "00".repeat(16));
        site
    }

    pub(crate) fn process(&self, number: u32) -> Process<'_> {
        let store = Arc::clone(&self.memory) as Arc<dyn BlobStore>;
        let store = Arc::new(FaultStore::new(store, Faults::default(), 1));
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let entropy = Arc::new(SimEntropy::new(u64::from(number) + 100));
        let shared = Arc::clone(&store) as Arc<dyn BlobStore>;
        let vault = Vault::open(shared, clock, entropy, &self.key).expect("its key");
        Process {
            site: self,
            store,
            documents: Mutex::new(vault),
            stop: AtomicBool::new(false),
            number,
            machine: "one",
            alive: Mutex::default(),
        }
    }

    /// Waits for the others that it is to meet.
    fn meet(&self, server: &str) -> Result<(), Error> {
        let others = self.meets.lock().expect("nobody panics").clone();
        if !others.contains(&server) {
            return Ok(());
        }
        let (met, all) = &self.met;
        let mut met = met.lock().expect("nobody panics");
        met.insert(server.to_owned());
        all.notify_all();
        let waits = |met: &mut BTreeSet<String>| met.len() < others.len();
        let waited = all.wait_timeout_while(met, Duration::from_secs(60), waits);
        match waited.expect("nobody panics").1.timed_out() {
            true => Err(Error::refused(server, "is brought up alone")),
            false => Ok(()),
        }
    }

    pub(crate) fn deeds(&self) -> Vec<String> {
        self.deeds.lock().expect("nobody panics").clone()
    }
}

pub(crate) fn wanted(kind: Kind) -> Wanted {
    Wanted {
        server: SERVER,
        server_name: "web1".to_owned(),
        kind,
        point: "latest".to_owned(),
        by: "ann@one".to_owned(),
        at_millis: 1_767_225_600_000,
        reads_first: true,
        despite_obstacles: false,
        keeps: false,
        shared: None,
    }
}

impl Process<'_> {
    pub(crate) fn world(&self) -> World<'_> {
        World {
            region: &*self.site.region,
            documents: &self.documents,
            hands: self,
            stop: &self.stop,
            watch: &|_| {},
        }
    }

    /// Gives an order of that identity, or finds it given.
    pub(crate) fn give(&self, id: u8, wanted: &Wanted) -> Result<Name, Error> {
        let id = OrderId([id; 16]);
        let name = Name::Order(id);
        if self.documents.read(name)?.is_some() {
            return Ok(name);
        }
        let profile = orders::profile_for(&self.documents, wanted)?;
        orders::give(&self.documents, &wanted.order(id, "vault-1".to_owned(), profile))
    }

    /// Gives it and goes on to its end.
    pub(crate) fn order(&self, id: u8, wanted: &Wanted) -> Result<Order, Error> {
        let name = self.give(id, wanted)?;
        self.go_on(name)
    }

    pub(crate) fn go_on(&self, name: Name) -> Result<Order, Error> {
        let mut work = Work::take(self.world(), name, false)?;
        work.carry_on()?;
        Ok(work.order().clone())
    }

    pub(crate) fn read(&self, name: Name) -> Order {
        documents::load(&self.documents, name).expect("a vault").1.expect("an order")
    }

    /// The process dies after so many more calls of the vault; the last one may be done without its answer.
    pub(crate) fn dies_in(&self, calls: u64, does_last: bool) {
        let faults = Faults::stop_after(self.store.calls() + calls);
        self.store.set_faults(Faults { stop_does_last: does_last, ..faults });
    }

    fn did(&self, deed: impl Into<String>) {
        self.site.deeds.lock().expect("nobody panics").push(deed.into());
    }
}

impl Hands for Process<'_> {
    fn survey(&self, order: &Order) -> Result<Survey, Error> {
        if order.wanted_point == "damaged" {
            return Err(Error::corrupt("segment 7", "does not open").remedy("take another point"));
        }
        self.site.meet(&order.server_name)?;
        let mut survey = self.site.survey.lock().expect("nobody panics").clone();
        if order.wanted_point != "latest" {
            survey.point.id.clone_from(&order.wanted_point);
        }
        Ok(survey)
    }

    fn prepare(&self, order: &Order) -> Result<Prepared, Error> {
        let on_top = order.disks.iter().map(|_| vec![u64::from(self.number)]).collect();
        let change = Change {
            path: "etc/fstab".to_owned(),
            what: What::Fstab,
            before: None,
            after: None,
            undo: Undo::Remove,
        };
        Ok(Prepared { on_top, changes: vec![change] })
    }

    fn fill(&self, order: &Order, disk: usize, to: &Secret) -> Result<Filled, Unfilled> {
        let mut expired = self.site.expired.lock().expect("nobody panics");
        if *expired > 0 {
            *expired -= 1;
            return Err(Unfilled::Expired);
        }
        let mut unusable = self.site.unusable.lock().expect("nobody panics");
        if *unusable > 0 {
            *unusable -= 1;
            return Err(Unfilled::Unusable(Error::refused("upload", "does not take it")));
        }
        let plan = &order.disks[disk];
        assert!(plan.on_top.contains(&u64::from(self.number)), "it was written down before");
        let content = format!("{} of {}", plan.name, order.point.as_ref().expect("checked").id);
        match self.site.region.upload(to.expose(), &content) {
            true => Ok(Filled { written_bytes: plan.bytes / 2 }),
            false => Err(Unfilled::Failed(Error::device("upload", "the way is cut"))),
        }
    }

    fn seeded(&self, order: &Order, disk: usize) -> Result<Option<Seeded>, Error> {
        if !order.profile.seed {
            return Ok(None);
        }
        let account = self.site.seeds.account();
        let Some(point) = account.seeds.get(&order.disks[disk].name) else {
            return Ok(Some(Seeded { import: None, words: "is not there yet".to_owned() }));
        };
        let uri = format!("https://seeds/{}/{disk}-{}", order.id, order.round);
        let import = Import { uri, account: "account".to_owned() };
        Ok(Some(Seeded { import: Some(import), words: format!("is at {point}") }))
    }

    fn dress(&self, order: &Order, disk: usize) -> Result<Filled, Error> {
        let plan = &order.disks[disk];
        assert!(plan.on_top.contains(&u64::from(self.number)), "it was written down before");
        assert!(plan.copied, "it was written down before");
        let mut account = self.site.seeds.account();
        let seed = account.seeds.get(&plan.name).cloned();
        if account.refuses > 0 || seed.is_none() {
            account.refuses = account.refuses.saturating_sub(1);
            return Err(Error::refused("the seed", "is at no point that the vault has"));
        }
        drop(account);
        let point = &order.point.as_ref().expect("checked").id;
        let uri = &plan.import.as_ref().expect("of its seed").uri;
        self.site.seeds.write(uri, format!("{} of {point}", plan.name));
        Ok(Filled { written_bytes: 1 << 20 })
    }

    fn undress(&self, order: &Order, disk: usize) -> Result<(), Error> {
        let mut account = self.site.seeds.account();
        if account.keeps > 0 {
            account.keeps -= 1;
            return Err(Error::refused("the copy", "may not be deleted"));
        }
        let uri = format!("https://seeds/{}/{disk}-{}", order.id, order.round);
        account.copies.remove(&uri);
        Ok(())
    }

    fn answers(&self, _: IpAddr, _: &Signal) -> bool {
        true
    }

    fn fork(&self, order: &Order) -> Result<(), Error> {
        self.did(format!("fork {}", order.point.as_ref().expect("checked").id));
        Ok(())
    }

    fn unfork(&self, _: &Order) -> Result<(), Error> {
        self.did("unfork");
        Ok(())
    }

    fn source(&self, _: &Order, act: SourceAct) -> Result<Option<String>, Error> {
        self.did(format!("{act:?}"));
        Ok((act == SourceAct::LastPoint).then(|| "33".repeat(16)))
    }

    fn holder(&self) -> Holder {
        Holder {
            who: format!("ann@{}", self.machine),
            machine: self.machine.to_owned(),
            process: self.number.to_string(),
            until_millis: 0,
        }
    }

    fn runs_here(&self, process: &str) -> bool {
        self.alive.lock().expect("nobody panics").iter().any(|alive| alive == process)
    }

    fn vault_millis(&self) -> Result<u64, Error> {
        Ok(self.site.clock.monotonic_nanos() / 1_000_000)
    }

    fn wall_millis(&self) -> u64 {
        let UnixMillis(now) = self.site.clock.now();
        now
    }

    fn moment_millis(&self) -> u64 {
        self.site.clock.monotonic_nanos() / 1_000_000
    }
}

//! How many round trips a restore makes one after the other before it asks for content: counted, not timed.

use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use hal::disk::Disk;
use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk, SimEntropy};
use pipeline::limits::SEGMENT_BYTES_MAX;

use super::*;
use crate::keys::recovery_key::RecoveryKey;
use crate::retain::Policy;
use crate::store::head_start::{HeadStart, Remembered};
use crate::store::memory::MemoryStore;
use crate::store::{BlobStore, Created, Listing, ObjectFacts};
use crate::test_bed::{BLOCK, assert_same};
use crate::upkeep;
use crate::vault::Vault;
use crate::writer::{self, DiskJob, Silent, protect};

/// Rounds before content is asked for.
const ROUNDS_MAX: u64 = 3;

/// A store whose answers all wait until nobody has anything more to ask: what is asked meanwhile is one round, and only
/// what needed an answer is in the next.
struct RoundStore {
    inner: Arc<dyn BlobStore>,
    state: Mutex<Rounds>,
    changed: Condvar,
}

#[derive(Default)]
struct Rounds {
    round: u64,
    waiting: u64,
    /// Grows with everything that happens.
    stirs: u64,
    ended: bool,
    /// Nobody waits any more: what comes now takes no round.
    free: bool,
    log: Vec<(u64, String)>,
}

impl RoundStore {
    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.state.lock().expect("nobody panics")
    }

    /// Waits for the end of the round in which it was asked.
    fn ask(&self, what: String) {
        let mut state = self.lock();
        let asked = state.round;
        state.log.push((asked, what));
        if state.free {
            return;
        }
        state.waiting += 1;
        state.stirs += 1;
        while state.round == asked {
            state = self.changed.wait(state).expect("nobody panics");
        }
        state.waiting -= 1;
        state.stirs += 1;
    }

    /// Ends a round whenever nothing has stirred for a while and somebody waits.
    fn turn(&self, patience: u64) {
        let mut quiet = (0, 0);
        let mut state = self.lock();
        while !state.ended {
            quiet = if state.stirs == quiet.0 { (quiet.0, quiet.1 + 1) } else { (state.stirs, 0) };
            if state.waiting > 0 && quiet.1 > patience {
                state.round += 1;
                quiet.1 = 0;
                self.changed.notify_all();
            }
            // Not the condition's own: a notification of ours must not shorten it.
            drop(state);
            std::thread::sleep(Duration::from_millis(2));
            state = self.lock();
        }
    }
}

impl BlobStore for RoundStore {
    fn prepare(&self) -> Result<(), Error> {
        self.inner.prepare()
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        self.ask(format!("create {name}"));
        self.inner.create(name, body)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.ask(format!("read {name} {offset}+{}", into.len()));
        self.inner.read(name, offset, into)
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        self.ask(format!("read {name}"));
        self.inner.read_all(name, bytes_max)
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        self.ask(format!("facts {name}"));
        self.inner.facts(name)
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        self.ask(format!("list {prefix}"));
        self.inner.list(prefix, next, limit)
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        self.ask(format!("delete {names:?}"));
        self.inner.delete(names)
    }

    fn now(&self) -> Result<u64, Error> {
        self.ask("now".to_owned());
        self.inner.now()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn parallel(&self) -> usize {
        64
    }
}

struct Bed {
    store: Arc<MemoryStore>,
    clock: SimClock,
    vault: Vault,
    key: RecoveryKey,
    disk: SimDisk,
    random: Random,
}

const BYTES: u64 = 1500 * BLOCK + 512;

impl Bed {
    fn new(seed: u64) -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = SimClock::at(hal::time::UnixMillis(1_767_225_600_000));
        let (vault, key) =
            Vault::create(store.clone(), Arc::new(clock.clone()), Arc::new(SimEntropy::new(seed)))
                .expect("an empty place");
        let (disk, random) = (SimDisk::new(BYTES), Random::new(seed));
        Self { store, clock, vault, key, disk, random }
    }

    fn point(&mut self, blocks: u64) {
        let server = self.vault.enrol("db1").expect("a name").id;
        let mut changed = Vec::new();
        for _ in 0..blocks {
            let at = self.random.below(1500) * BLOCK;
            let mut content = vec![0; 65_536];
            self.random.fill(&mut content);
            self.disk.load(at, &content);
            changed.push((at, BLOCK));
        }
        let disk = self.disk.another().expect("a handle");
        let job = DiskJob {
            name: "sda".to_owned(),
            identity: String::new(),
            disk,
            changed: Some(changed),
        };
        let options = writer::Options::default();
        protect(&self.vault.access(), server, vec![job], &options, &Silent).expect("a point");
        self.clock.advance(3_600_000);
        self.store.advance(3_600_000);
    }

    /// What a machine knows that saw the vault now.
    fn remembered(&self) -> Remembered {
        let access = self.vault.access();
        let chains = self.vault.servers().iter().map(|server| {
            let (view, _) = read_chain_ahead(&access, server.id).expect("a chain");
            (server.id, view.links.last().expect("a record").record.slot)
        });
        Remembered { ring_version: self.vault.ring().version(), heads: chains.collect() }
    }

    fn upkeep(&self, policy: &str) {
        let server = self.vault.servers()[0].id;
        let policy = Policy::parse(policy).expect("a policy");
        let options = upkeep::Options { confirmed: true, ..upkeep::Options::default() };
        upkeep::run(&self.vault.access(), server, &policy, &options).expect("upkeep");
    }

    /// The fewest rounds of some restores, of which those that are more than `most` are tried again. On a busy
    /// machine a thread that was not let on in time looks as if it had waited for an answer, so a round may be counted
    /// as two, never two as one: the patient count is the better one.
    fn rounds(&self, most: u64) -> u64 {
        self.rounds_of(most, &Remembered::default())
    }

    /// The same on a machine that was there before.
    fn rounds_of(&self, most: u64, remembered: &Remembered) -> u64 {
        let counted = [20, 100, 500];
        let counted = counted.into_iter().map(|patience| self.rounds_with(patience, remembered));
        let mut least = u64::MAX;
        for rounds in counted {
            least = least.min(rounds);
            if least <= most {
                break;
            }
        }
        least
    }

    /// Restores as `lifeboat restore` does; gives the rounds before the first content was asked for.
    fn rounds_with(&self, patience: u64, remembered: &Remembered) -> u64 {
        let inner = Arc::clone(&self.store) as Arc<dyn BlobStore>;
        let state = Mutex::default();
        let store = Arc::new(RoundStore { inner, state, changed: Condvar::new() });
        let target = SimDisk::new(BYTES);
        let begun = std::thread::scope(|scope| {
            scope.spawn(|| store.turn(patience));
            let target = target.another().expect("a handle");
            let begun = self.restore(&store, target, remembered);
            store.lock().ended = true;
            begun
        });
        assert_same(&self.disk, &target, BYTES);
        let log = store.lock().log.clone();
        let lines: Vec<String> =
            log.iter().map(|(round, what)| format!("{round} {what}")).collect();
        println!("{}", lines.join("\n"));
        let pins =
            |what: &str| log.iter().find(|(_, call)| call.starts_with(what)).map(|(at, _)| *at);
        let pinned = pins("create pin/").expect("a pin");
        // The look at the chain begins after the pin is there, and content is fetched after that pin; that it is not written
        // before the look is the promise of `behind`.
        let looked =
            log.iter().filter(|(_, call)| call.starts_with("list chain/")).map(|(at, _)| *at);
        let looked = looked.max().expect("a look");
        assert!(pinned < looked && pinned < begun, "{pinned} {looked} {begun}");
        begun
    }

    fn restore(&self, store: &Arc<RoundStore>, target: SimDisk, remembered: &Remembered) -> u64 {
        let store_: Arc<dyn BlobStore> = Arc::new(HeadStart::knowing(store.clone(), remembered));
        let (clock, entropy) = (Arc::new(self.clock.clone()), Arc::new(SimEntropy::new(99)));
        let vault = Vault::open(store_, clock, entropy, &self.key).expect("its key");
        let server = vault.server("db1").expect("the server").id;
        let access = vault.access();
        let (view, ahead) = read_chain_ahead(&access, server).expect("a chain");
        let link = view.find("latest").expect("a point").clone();
        let disk = link.record.point().expect("a point").disks[0].clone();
        let options = Options { workers: 4, compare: false, ..Options::default() };
        let who = ("a test", 4 * SEGMENT_BYTES_MAX);
        let prepared = prepare(&access, &view, ahead, (link, &disk), who, &options);
        let prepared = prepared.expect("a point");
        let begun = store.lock().round;
        store.lock().free = true;
        restore_prepared(&prepared, target, "target", &options, &Silent).expect("a restore");
        begun
    }
}

#[test]
fn of_a_new_vault_content_is_asked_for_after_three_rounds() {
    let mut bed = Bed::new(90);
    bed.point(900);
    let rounds = bed.rounds(ROUNDS_MAX);
    assert!(rounds <= ROUNDS_MAX, "{rounds}");
}

#[test]
fn who_remembers_the_vault_asks_a_round_earlier_also_where_it_went_on_since() {
    let mut bed = Bed::new(93);
    bed.point(900);
    let remembered = bed.remembered();
    let most = ROUNDS_MAX - 1;
    let rounds = bed.rounds_of(most, &remembered);
    assert!(rounds <= most, "{rounds}");
    // What is new is asked for as by anybody, and what was remembered misleads nobody.
    bed.point(5);
    bed.upkeep("last=1");
    bed.vault.enrol("another").expect("a name");
    let rounds = bed.rounds_of(ROUNDS_MAX + 2, &remembered);
    assert!(rounds <= ROUNDS_MAX + 2, "{rounds}");
    let strange = Remembered { ring_version: 77, heads: vec![(ServerId([9; 16]), 12)] };
    let rounds = bed.rounds_of(ROUNDS_MAX + 2, &strange);
    assert!(rounds <= ROUNDS_MAX + 2, "{rounds}");
}

#[test]
fn of_an_old_vault_whose_map_lies_in_many_objects_after_four() {
    let mut bed = Bed::new(91);
    bed.point(900);
    for _ in 0..30 {
        bed.point(4);
    }
    // The root tells which objects hold the leaves.
    let most = ROUNDS_MAX + 1;
    let rounds = bed.rounds(most);
    assert!(rounds <= most, "{rounds}");
    // Upkeep carries pages into large objects, of which first the table and then the pages are read: one more for the
    // root's, one more for the leaves'.
    bed.upkeep("last=20");
    for _ in 0..20 {
        bed.point(3);
    }
    bed.upkeep("last=30");
    bed.point(3);
    let most = most + 2;
    let rounds = bed.rounds(most);
    assert!(rounds <= most, "{rounds}");
}

/// Restores a point from a store far away with a head start, as the program does.
fn restored(store: &Arc<MemoryStore>, bed: &Bed, point: &str) -> Result<SimDisk, Error> {
    let far: Arc<dyn BlobStore> = Arc::new(HeadStart::new(store.clone()));
    let (clock, entropy) = (Arc::new(bed.clock.clone()), Arc::new(SimEntropy::new(99)));
    let vault = Vault::open(far, clock, entropy, &bed.key)?;
    let (access, server) = (vault.access(), vault.server("db1")?.id);
    let (view, ahead) = read_chain_ahead(&access, server)?;
    let link = view.find(point)?.clone();
    let disk = link.record.point().expect("a point").disks[0].clone();
    let options = Options { workers: 2, compare: false, ..Options::default() };
    let who = ("a test", 4 * SEGMENT_BYTES_MAX);
    let prepared = prepare(&access, &view, ahead, (link, &disk), who, &options)?;
    let target = SimDisk::new(BYTES);
    restore_prepared(&prepared, target.another()?, "target", &options, &Silent)?;
    Ok(target)
}

#[test]
fn with_a_head_start_too_no_object_that_is_damaged_gone_or_another_is_believed() {
    let mut bed = Bed::new(92);
    (0..3).for_each(|_| bed.point(20));
    let (store, whole) = (Arc::clone(&bed.store), bed.store.snapshot());
    let (mut told, mut random) = (0, Random::new(92));
    // By its name: that the newest one is gone only those can tell who know of it.
    let access = bed.vault.access();
    let view = read_chain_ahead(&access, bed.vault.servers()[0].id).expect("a chain").0;
    let newest = view.find("latest").expect("a point").record.point().expect("a point").id;
    let newest = newest.to_string();
    let names = store.names();
    for (at, name) in names.iter().enumerate() {
        let body = store.read_all(name, 64 << 20).expect("an object");
        let other = store.read_all(&names[(at + 1) % names.len()], 64 << 20).expect("an object");
        let mut flipped = body.clone();
        let byte = usize::try_from(random.below(body.len() as u64)).expect("within");
        flipped[byte] ^= 1 << random.below(8);
        for bad in [Some(flipped), Some(body[..body.len() / 2].to_vec()), Some(other), None] {
            match bad {
                Some(bad) => store.overwrite(name, &bad),
                None => assert!(store.lose(name)),
            }
            match restored(&store, &bed, &newest) {
                Ok(target) => assert_same(&bed.disk, &target, BYTES),
                Err(_) => told += 1,
            }
            store.roll_back(&whole);
        }
    }
    assert!(told > names.len(), "{told} of {} objects", names.len());
    assert_same(&bed.disk, &restored(&store, &bed, &newest).expect("a whole vault"), BYTES);
}

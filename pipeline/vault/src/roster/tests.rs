//! Thousands of points by few calls, and the same answer whatever became of the indexes.

use std::sync::Arc;

use hal_sim::{SimClock, SimEntropy};
use pipeline::ids::{PointId, VaultId};

use super::*;
use crate::chain::Published;
use crate::record::{Consistency, Manifest, Told, Work};
use crate::retain::Policy;
use crate::store::BlobStore;
use crate::store::count::CountingStore;
use crate::store::memory::MemoryStore;
use crate::test_bed::{OneKey, SERVER};
use crate::upkeep::{Options, Scope, run};

const HOUR: u64 = 3_600_000;

struct Bed {
    store: Arc<MemoryStore>,
    clock: SimClock,
    made: u64,
}

impl Bed {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::new()), clock: SimClock::default(), made: 0 }
    }

    fn access(&self, store: Arc<dyn BlobStore>) -> Access {
        Access {
            store,
            vault: VaultId([9; 16]),
            keys: Arc::new(OneKey),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SimEntropy::new(self.made)),
        }
    }

    fn plain(&self) -> Access {
        self.access(Arc::clone(&self.store) as Arc<dyn BlobStore>)
    }

    fn pass(&self, millis: u64) {
        self.clock.advance(millis);
        self.store.advance(millis);
    }

    /// Points without disks, so many milliseconds apart.
    fn points(&mut self, count: u64, apart: u64) {
        let mut chain = Chain::open(&self.plain(), SERVER).expect("a chain");
        for _ in 0..count {
            self.made += 1;
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.made.to_le_bytes());
            let manifest = Manifest {
                id: PointId(id),
                consistency: Consistency::Crash,
                started: self.made,
                disks: Vec::new(),
                segments: Vec::new(),
                heads: Vec::new(),
                ring_version: 1,
                work: Work::default(),
                told: Told::default(),
            };
            let published = chain.publish(Body::Point(manifest)).expect("a slot");
            assert!(matches!(published, Published::Slot(_)));
            self.pass(apart);
        }
    }

    fn upkeep(&self, scope: Scope, policy: &str) -> crate::upkeep::Report {
        let options = Options { scope, confirmed: true, ..Options::default() };
        let policy = Policy::parse(policy).expect("a policy");
        run(&self.plain(), SERVER, &policy, &options).expect("upkeep")
    }

    /// The points' numbers, and the calls that finding them took.
    fn listed(&self) -> (Vec<u64>, u64) {
        let inner = Arc::clone(&self.store) as Arc<dyn BlobStore>;
        let counting = Arc::new(CountingStore::new(inner));
        let found = points(&self.access(counting.clone()), SERVER).expect("points");
        let numbers = found.iter().map(|entry| entry.point().expect("a point").started);
        let counts = counting.counts();
        (numbers.collect(), counts.reads + counts.lists + counts.facts + counts.others)
    }
}

#[test]
fn thousands_of_points_are_found_by_a_few_calls() {
    let mut bed = Bed::new();
    for _ in 0..26 {
        bed.points(360, 10_000);
        bed.upkeep(Scope::Recent(6 * HOUR), "999d");
    }
    let (numbers, calls) = bed.listed();
    assert!(numbers.iter().copied().eq(1..=26 * 360));
    // Every hour has an index but the last two, which had not settled; the day has none yet.
    assert!(calls < 720 + 60, "{calls}");
    bed.pass(HOUR);
    bed.upkeep(Scope::Recent(6 * HOUR), "999d");
    let (numbers, calls) = bed.listed();
    assert!(numbers.iter().copied().eq(1..=26 * 360));
    assert!(calls < 60, "{calls}");
    let report = bed.upkeep(Scope::Whole, "999d");
    // The day that is over gets one index, and those of its hours go.
    assert!(report.indexes_written == 1 && report.objects_deleted >= 20, "{report:?}");
    let (numbers, calls) = bed.listed();
    assert!(numbers.iter().copied().eq(1..=26 * 360));
    assert!(calls < 20, "{calls}");
}

#[test]
fn indexes_that_are_lost_damaged_or_swapped_cost_calls_and_nothing_else() {
    let mut bed = Bed::new();
    bed.points(400, 500_000);
    assert!(bed.upkeep(Scope::Whole, "999d").indexes_written >= 2);
    let indexes = || -> Vec<String> {
        bed.store.names().into_iter().filter(|name| name.starts_with("index/")).collect()
    };
    let (expected, cheap) = bed.listed();
    assert_eq!(expected.len(), 400);
    let names = indexes();
    let first = bed.store.read_all(&names[0], 1 << 20).expect("an index");
    let second = bed.store.read_all(&names[1], 1 << 20).expect("an index");
    bed.store.overwrite(&names[0], &second);
    assert_eq!(bed.listed().0, expected);
    let mut bad = first.clone();
    let at = bad.len() / 2;
    bad[at] ^= 1;
    bed.store.overwrite(&names[0], &bad);
    assert_eq!(bed.listed().0, expected);
    bed.store.overwrite(&names[0], b"");
    assert_eq!(bed.listed().0, expected);
    names.iter().for_each(|name| assert!(bed.store.lose(name)));
    let (numbers, dear) = bed.listed();
    assert_eq!(numbers, expected);
    assert!(dear > cheap + 300, "{dear} against {cheap}");
}

#[test]
fn what_is_pruned_is_not_listed_whatever_an_index_says() {
    let mut bed = Bed::new();
    bed.points(300, 600_000);
    bed.upkeep(Scope::Whole, "999d");
    let report = bed.upkeep(Scope::Whole, "6h,hourly=20h");
    assert!(report.points_removed > 200, "{report:?}");
    let (numbers, _) = bed.listed();
    assert_eq!(numbers.len() as u64, report.points_kept);
    assert_eq!(numbers.last(), Some(&300));
    bed.pass(30 * 24 * HOUR);
    bed.points(30, 60_000);
    bed.upkeep(Scope::Whole, "1h");
    bed.upkeep(Scope::Whole, "1h");
    let left: Vec<_> =
        bed.store.names().into_iter().filter(|name| name.starts_with("index/")).collect();
    assert!(left.len() <= 2, "indexes of pruned days are gone: {left:?}");
}

#[test]
fn a_chain_that_is_pruned_while_it_is_listed_is_listed_all_the_same() {
    let mut bed = Bed::new();
    bed.points(50, 60_000);
    bed.upkeep(Scope::Whole, "10h");
    let (chain, mut roster) = Roster::open(&bed.plain(), SERVER).expect("a chain");
    assert_eq!(roster.points().count(), 50);
    drop(chain);
    bed.points(3, 60_000);
    let mut chain = Chain::open(&bed.plain(), SERVER).expect("a chain");
    assert!(!roster.catch_up(&mut chain).expect("new records"));
    assert_eq!(roster.points().count(), 53);
    bed.pass(9 * HOUR);
    bed.points(1, 60_000);
    bed.upkeep(Scope::Whole, "9h");
    assert!(roster.catch_up(&mut chain).expect("new records"), "upkeep was published");
    assert!(roster.points().count() < 53);
    assert_eq!(roster.newest_point(), chain.trail().point);
}

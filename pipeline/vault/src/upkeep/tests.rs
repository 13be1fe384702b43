//! A server's life in memory: points, upkeep, and every rule of the protocol tried from its weak side.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use hal::disk::Disk;
use hal::time::Clock;
use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk, SimEntropy};
use pipeline::ids::{PointId, SegmentId, VaultId};

use super::*;
use crate::chain::Chain;
use crate::frames::FrameReader;
use crate::names;
use crate::points::read_chain;
use crate::record::{Manifest, Upkeep};
use crate::restore;
use crate::store::guard::{Change, GuardedStore};
use crate::store::memory::MemoryStore;
use crate::store::{BlobStore, list_all};
use crate::test_bed::{BLOCK, OneKey, SERVER, changed_point, point, scribble};
use crate::verify;
use crate::writer;

mod collecting;
mod compacting;
mod crashes;
mod pieces;
mod pruning;
mod together;

pub(super) const DAY: u64 = 24 * HOUR;
/// A leaf and a bit, so that maps have an inner page.
pub(super) const BLOCKS: u64 = 270;
pub(super) const BYTES: u64 = BLOCKS * BLOCK + 512;

/// A vault in memory with one server of one disk, and what its points must look like.
pub(super) struct Bed {
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: SimClock,
    pub(super) disk: SimDisk,
    pub(super) random: Random,
    seeds: u64,
    /// What the disk held at each point.
    pub(super) contents: BTreeMap<PointId, [u8; 32]>,
}

impl Bed {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            clock: SimClock::default(),
            disk: SimDisk::new(BYTES),
            random: Random::new(seed),
            seeds: seed << 32,
            contents: BTreeMap::new(),
        }
    }

    /// The same vault and time, going its own way from here; the disk stays shared.
    pub(super) fn fork(&mut self) -> Self {
        self.seeds += 1 << 16;
        Self {
            store: Arc::new(self.store.fork()),
            clock: SimClock::at(self.clock.now()),
            disk: self.disk.another().expect("a handle"),
            random: self.random.clone(),
            seeds: self.seeds + (1 << 15),
            contents: self.contents.clone(),
        }
    }

    pub(super) fn access_to(&mut self, store: Arc<dyn BlobStore>) -> Access {
        self.seeds += 1;
        Access {
            store,
            vault: VaultId([9; 16]),
            keys: Arc::new(OneKey),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SimEntropy::new(self.seeds)),
        }
    }

    pub(super) fn access(&mut self) -> Access {
        self.access_to(Arc::clone(&self.store) as Arc<dyn BlobStore>)
    }

    pub(super) fn pass(&self, millis: u64) {
        self.clock.advance(millis);
        self.store.advance(millis);
    }

    /// Changes some blocks and makes a point.
    pub(super) fn point(&mut self, blocks: u64) -> PointId {
        scribble(&self.disk, BYTES, &mut self.random, blocks);
        self.point_unchanged()
    }

    pub(super) fn point_unchanged(&mut self) -> PointId {
        let access = self.access();
        let made = point(&access, &self.disk, &writer::Options::default()).expect("a point");
        self.contents.insert(made.id, content(&self.disk));
        made.id
    }

    /// A point of one block that changed: a small segment.
    pub(super) fn small_point(&mut self) -> PointId {
        let at = self.random.below(BLOCKS) * BLOCK;
        let mut bytes = vec![0; 4096];
        self.random.fill(&mut bytes);
        self.disk.load(at, &bytes);
        let access = self.access();
        let changed = Some(vec![(at, 4096)]);
        let made = changed_point(&access, &self.disk, changed, &writer::Options::default());
        let made = made.expect("a point");
        self.contents.insert(made.id, content(&self.disk));
        made.id
    }

    pub(super) fn upkeep(&mut self, policy: &str, options: &Options) -> Result<Report, Error> {
        let access = self.access();
        run(&access, SERVER, &Policy::parse(policy).expect("a policy"), options)
    }

    pub(super) fn state(&mut self) -> Upkeep {
        let access = self.access();
        Chain::open(&access, SERVER).and_then(|chain| chain.upkeep()).expect("a chain")
    }

    pub(super) fn points(&mut self) -> Vec<PointId> {
        let access = self.access();
        let view = read_chain(&access, SERVER).expect("a chain");
        view.points().filter_map(|link| link.record.point().map(|point| point.id)).collect()
    }

    pub(super) fn segments(&self) -> BTreeSet<SegmentId> {
        let listed = list_all(&*self.store, &names::segment_prefix(&SERVER)).expect("a listing");
        listed.iter().filter_map(|facts| names::segment_of(&SERVER, &facts.name)).collect()
    }

    /// Every point of the chain comes back bit for bit.
    pub(super) fn assert_points_whole(&mut self) {
        for (id, back) in self.restored_points() {
            assert_eq!(back, self.contents[&id], "point {id} differs");
        }
    }

    /// What every point of the chain brings back.
    pub(super) fn restored_points(&mut self) -> Vec<(PointId, [u8; 32])> {
        let access = self.access();
        let view = read_chain(&access, SERVER).expect("a chain");
        let frames = FrameReader::new(&access, SERVER, &view.upkeep, 4 << 20).expect("a reader");
        let points = view.points().filter_map(|link| link.record.point());
        points
            .map(|point| (point.id, back(&frames, point).unwrap_or_else(|e| panic!("{e}"))))
            .collect()
    }

    /// Verifying proves every object.
    pub(super) fn assert_verified(&mut self) -> verify::ServerReport {
        let access = self.access();
        let options = verify::Options::new(verify::Depth::Deep);
        let report = verify::run(&access, &[SERVER], &options, &writer::Silent).expect("a report");
        assert!(report.ok, "{report:#?}");
        report.servers.into_iter().next().expect("one server")
    }

    /// Once everything had its time, nothing is left that nobody needs.
    pub(super) fn assert_settles(&mut self, policy: &str) {
        let options = Options { confirmed: true, compact: false, ..Options::default() };
        // Longer than any policy here keeps a week's point, and then the grace.
        for _ in 0..6 {
            self.pass(8 * DAY);
            self.upkeep(policy, &options).expect("upkeep");
        }
        let report = self.assert_verified();
        assert_eq!(report.orphans.objects, 0, "{report:?}");
        assert_eq!(report.condemned.objects, 0, "{report:?}");
        assert_eq!(report.segments, self.segments().len() as u64);
        let upkeep = self.state();
        let access = self.access();
        let listed = list_all(&*access.store, &names::chain_prefix(&SERVER)).expect("a listing");
        let covered = listed
            .iter()
            .filter_map(|facts| names::slot_of(&SERVER, &facts.name).ok())
            .filter(|slot| upkeep.gap_of(*slot).is_some());
        // Only what the last run itself superseded may still wait for its time.
        assert!(covered.count() <= 3, "{:?}", upkeep.leaving);
        assert!(list_all(&*access.store, "pin/").expect("a listing").is_empty());
        self.assert_points_whole();
    }
}

/// Runs something once, just before an object that matches is created: another machine's work at the worst moment.
pub(super) struct Hook {
    store: Arc<GuardedStore>,
    done: Arc<AtomicBool>,
}

impl Hook {
    pub(super) fn new(
        inner: Arc<dyn BlobStore>,
        matches: impl Fn(&str) -> bool + Send + 'static,
        action: impl FnOnce() + Send + 'static,
    ) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        let waiting = Mutex::new(Some((matches, action)));
        let store = GuardedStore::new(inner, move |change| {
            let Change::Create(name, _) = change else { return Ok(()) };
            let mut waiting = waiting.lock().expect("no panic");
            let due = waiting.as_ref().is_some_and(|(matches, _)| matches(name));
            let due = if due { waiting.take() } else { None };
            drop(waiting);
            if let Some((_, action)) = due {
                told.store(true, Ordering::SeqCst);
                action();
            }
            Ok(())
        });
        Self { store: Arc::new(store), done }
    }

    pub(super) fn store(&self) -> Arc<dyn BlobStore> {
        Arc::clone(&self.store) as Arc<dyn BlobStore>
    }

    /// Whether it has happened.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }
}

/// What a point brings back onto an empty disk.
pub(super) fn back(frames: &FrameReader, point: &Manifest) -> Result<[u8; 32], Error> {
    let target = SimDisk::new(point.disks[0].bytes);
    let options = restore::Options { compare: false, workers: 1, ..restore::Options::default() };
    let another = target.another().expect("a handle");
    restore::restore_disk(frames, &point.disks[0], another, "target", &options, &writer::Silent)?;
    Ok(content(&target))
}

/// What a disk holds, in one number.
pub(super) fn content(disk: &SimDisk) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let bytes = disk.another().and_then(|mut disk| disk.geometry()).expect("a handle").bytes;
    let length = usize::try_from(bytes).expect("a small disk");
    hasher.update(&disk.content(0, length));
    *hasher.finalize().as_bytes()
}

/// No compaction: what most tests want to see is what was made.
pub(super) fn plain() -> Options {
    Options { compact: false, ..Options::default() }
}

#[test]
fn an_empty_server_needs_no_upkeep() {
    let mut bed = Bed::new(1);
    assert_eq!(bed.upkeep("72h", &Options::default()), Ok(Report::default()));
    assert!(bed.store.names().is_empty());
}

#[test]
fn upkeep_with_nothing_to_do_writes_nothing() {
    let mut bed = Bed::new(2);
    bed.point(60);
    bed.point(60);
    let before = bed.store.names();
    for _ in 0..3 {
        let report = bed.upkeep("72h", &Options::default()).expect("upkeep");
        assert_eq!((report.points_kept, report.points_removed), (2, 0));
    }
    assert_eq!(bed.store.names(), before);
}

#[test]
fn a_year_of_points_and_daily_upkeep_keeps_what_the_policy_says_and_little_else() {
    let mut bed = Bed::new(3);
    let policy = "3d,daily=7d,weekly=5w";
    let mut first_upkeep_objects = 0;
    for day in 0..120 {
        bed.point(12);
        bed.pass(DAY / 2);
        bed.small_point();
        bed.pass(DAY / 2);
        bed.upkeep(policy, &Options::default()).expect("upkeep");
        if day == 60 {
            bed.assert_points_whole();
            first_upkeep_objects = bed.store.names().len();
        }
    }
    bed.assert_points_whole();
    let report = bed.assert_verified();
    assert_eq!(report.orphans.objects, 0);
    // 6 or 7 of three days, 4 of the days before, 4 or 5 of the weeks.
    assert!((13..=17).contains(&report.points), "{}", report.points);
    let objects = bed.store.names().len();
    assert!(objects < first_upkeep_objects * 3 / 2, "{objects} after {first_upkeep_objects}");
    let gone: HashSet<PointId> = bed.contents.keys().copied().collect();
    assert!(bed.points().iter().all(|id| gone.contains(id)));
    bed.assert_settles(policy);
}

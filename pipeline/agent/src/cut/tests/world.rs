//! A server in memory: disks, marks, writers between any two steps, and whoever receives.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard};

use hal::disk::{Completion, DiskError, Geometry, Rejected, Request};
use hal_sim::random::Random;
use hal_sim::{HeapBuffer, SimDisk};

use hal::disk::Disk;
use hal::time::{Clock, UnixMillis};
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::Instant;

use crate::blocks::BlockSet;
use crate::capture::{Arena, Source, Unread};
use crate::cut::{Cutter, Gate, Hooks, Limits, Outcome, Server, Sink, Snapshots, Throttle};
use crate::freeze::Freezer;
use crate::freeze::Thawed;
use crate::swap::Swap;
use crate::tracker::Audit;
use crate::tracker::Tracker;

#[path = "volume.rs"]
mod volume;

const SIZES: [u64; 2] = [40, 23];
/// How long a read takes.
const READ_NANOS: u64 = 1_000_000;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// What happens, per million steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// A write through a file system.
    pub(super) writes: u32,
    /// A write past it, under a freeze too.
    pub(super) raw: u32,
    /// A discard, under a freeze too.
    pub(super) discards: u32,
    /// A freeze or the sink fails.
    pub(super) trouble: u32,
    /// Marks are cleared after reading.
    pub(super) swapped: bool,
    /// A group that comes together, or does not.
    pub(super) together: Option<bool>,
    /// Writers can be slowed down.
    pub(super) slows: bool,
    /// There is a volume that a snapshot can be taken of.
    pub(super) volume: bool,
    /// A write goes there, of all that are not hot.
    pub(super) beside: u32,
    /// The snapshot overflows.
    pub(super) overflows: u32,
    /// The snapshot shows what is there now.
    pub(super) shows_now: bool,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            writes: 300_000,
            raw: 0,
            discards: 0,
            trouble: 0,
            swapped: false,
            together: None,
            slows: false,
            volume: false,
            beside: 1_000_000,
            overflows: 0,
            shows_now: false,
        }
    }
}

struct State {
    random: Random,
    choice: Choice,
    disks: Vec<SimDisk>,
    marks: Vec<BlockSet>,
    /// Writes that reached the disk and are not complete: disk and block.
    flying: Vec<(usize, u64)>,
    frozen: bool,
    thawed_early: bool,
    slow: bool,
    slowed: u32,
    written: u64,
    nanos: u64,
    /// Blocks that are nobody's: they were discarded under a freeze.
    nobodys: Vec<BlockSet>,
    /// The disks at the last take under a freeze.
    snapshot: Option<Vec<Vec<u8>>>,
    /// What was given at the last take, where marks are cleared after reading.
    given: Vec<BlockSet>,
    /// The volume goes on while all else is frozen.
    beside: bool,
    /// The disks at the instant of the snapshot, without what it changed itself; whether it overflowed; whether it is there.
    instant: Option<Vec<Vec<u8>>>,
    overflowed: bool,
    snapshot_is_there: bool,
}

impl State {
    /// What happens between two steps.
    fn step(&mut self) {
        if self.frozen && self.random.happens(self.choice.trouble / 20) {
            self.frozen = false;
            self.thawed_early = true;
        }
        let slower = if self.slow { 20 } else { 1 };
        while self.random.happens(self.choice.writes / slower) && (!self.frozen || self.beside) {
            let (disk, block) = self.somewhere();
            if self.frozen && !volume::is_inside(disk, block) {
                continue;
            }
            self.copy_on_write(disk, block);
            self.put(disk, block);
            // It is on the disk; that it is complete is told later.
            self.flying.push((disk, block));
        }
        if self.random.happens(self.choice.raw) {
            // Beside the volume, where there is one.
            let (disk, block) = if self.choice.volume {
                (1, self.random.below(SIZES[1]))
            } else {
                self.somewhere()
            };
            self.put(disk, block);
            self.marks[disk].insert(block);
        }
        if self.random.happens(self.choice.discards) {
            let (disk, block) = self.somewhere();
            self.disks[disk].load(block * BLOCK, &vec![0; BLOCK_BYTES]);
            self.marks[disk].insert(block);
            if self.frozen {
                self.nobodys[disk].insert(block);
            }
        }
        let some = self.random.below(3) + self.flying.len() as u64 / 2;
        (0..some).for_each(|_| self.complete_one());
    }

    fn complete_one(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.random.below(self.flying.len() as u64);
        let (disk, block) = self.flying.swap_remove(usize::try_from(at).unwrap());
        self.marks[disk].insert(block);
    }

    fn somewhere(&mut self) -> (usize, u64) {
        let disk = usize::try_from(self.random.below(SIZES.len() as u64)).unwrap();
        let beside = self.choice.beside;
        if self.choice.volume && !self.random.happens(beside) {
            return volume::somewhere(&mut self.random);
        }
        // Some blocks are hot.
        let most = if self.random.happens(500_000) { 4 } else { SIZES[disk] };
        (disk, self.random.below(most))
    }

    fn put(&mut self, disk: usize, block: u64) {
        let content = vec![self.random.number().to_le_bytes()[0]; BLOCK_BYTES];
        self.disks[disk].load(block * BLOCK, &content);
        self.nobodys[disk].remove(block);
        self.written += BLOCK;
    }

    fn image(&self) -> Vec<Vec<u8>> {
        let disks = self.disks.iter().zip(SIZES);
        disks
            .map(|(disk, blocks)| disk.content(0, usize::try_from(blocks * BLOCK).unwrap()))
            .collect()
    }
}

#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn step(&self) {
        self.lock().step();
    }
}

impl Tracker for Shared {
    fn take(&mut self, disk: usize, into: &mut BlockSet) -> Result<(), String> {
        self.step();
        let mut state = self.lock();
        let (frozen, swapped) = (state.frozen, state.choice.swapped);
        if swapped {
            let given = state.given[disk].clone();
            state.marks[disk].subtract(&given);
            state.given[disk] = state.marks[disk].clone();
        }
        into.union(&state.marks[disk]);
        if !swapped {
            state.marks[disk].clear();
        }
        // The first disk's take is the instant: what is written to another before that one's take is marked, and taken.
        if frozen && disk == 0 {
            state.snapshot = Some(state.image());
        }
        Ok(())
    }

    fn audit(&mut self) -> Audit {
        self.step();
        Audit::default()
    }

    fn written_bytes(&mut self) -> u64 {
        self.lock().written
    }
}

impl Freezer for Shared {
    fn freeze(&mut self, _: Duration) -> Result<(), String> {
        self.step();
        let mut state = self.lock();
        let trouble = state.choice.trouble;
        if state.random.happens(trouble) {
            return Err("it cannot be frozen".to_owned());
        }
        while !state.flying.is_empty() {
            state.complete_one();
        }
        (state.frozen, state.thawed_early, state.snapshot) = (true, false, None);
        Ok(())
    }

    fn freeze_beside(&mut self, _: (u32, u32), limit: Duration) -> Result<(), String> {
        self.freeze(limit)?;
        self.lock().beside = true;
        Ok(())
    }

    fn is_frozen(&mut self) -> bool {
        self.lock().frozen
    }

    fn thaw(&mut self) -> Thawed {
        self.step();
        let mut state = self.lock();
        let micros = state.random.below(60_000);
        let too_late = !state.frozen;
        (state.frozen, state.beside) = (false, false);
        Thawed { micros, too_late, remarks: Vec::new() }
    }
}

impl Throttle for Shared {
    fn slow_down(&mut self) -> bool {
        let mut state = self.lock();
        let can = state.choice.slows;
        (state.slow, state.slowed) = (can, state.slowed + u32::from(can));
        can
    }

    fn release(&mut self) -> Option<String> {
        self.lock().slow = false;
        Some("writers were slowed down".to_owned())
    }
}

impl Gate for Shared {
    fn wait(&mut self, still: &mut dyn FnMut() -> bool) -> bool {
        self.step();
        let together = self.lock().choice.together == Some(true);
        together && still()
    }
}

impl Hooks for Shared {
    fn before(&mut self) -> Vec<String> {
        self.step();
        let mut state = self.lock();
        if state.random.happens(300_000) { vec!["a hook failed".to_owned()] } else { Vec::new() }
    }

    fn after(&mut self) -> Vec<String> {
        assert!(!self.lock().frozen, "thawed first");
        Vec::new()
    }
}

/// A disk around which things happen.
pub(super) struct Stirred(SimDisk, Shared);

impl Disk for Stirred {
    type Buffer = HeapBuffer;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        self.0.geometry()
    }

    fn buffer(&mut self, length: usize) -> Result<HeapBuffer, DiskError> {
        self.0.buffer(length)
    }

    fn depth(&self) -> usize {
        3
    }

    fn submit(&mut self, request: Request<HeapBuffer>) -> Result<(), Rejected<HeapBuffer>> {
        self.1.step();
        self.0.submit(request)
    }

    fn complete(&mut self) -> Result<Option<Completion<HeapBuffer>>, DiskError> {
        self.1.step();
        self.1.lock().nanos += READ_NANOS;
        self.0.complete()
    }

    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        self.0.data_after(offset)
    }

    fn another(&self) -> Result<Self, DiskError> {
        Ok(Self(self.0.another()?, self.1.clone()))
    }
}

/// Whoever receives.
struct Replica {
    images: Vec<Vec<u8>>,
    shared: Shared,
}

impl Replica {
    fn put(&mut self, disk: usize, first: u64, bytes: &[u8]) {
        let at = usize::try_from(first * BLOCK).unwrap();
        self.images[disk][at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Sink for Replica {
    fn blocks(&mut self, disk: usize, first: u64, bytes: &[u8]) -> Result<(), String> {
        self.shared.step();
        let fails = {
            let mut state = self.shared.lock();
            let trouble = state.choice.trouble / 20;
            state.random.happens(trouble)
        };
        if fails {
            return Err("the sink broke".to_owned());
        }
        self.put(disk, first, bytes);
        Ok(())
    }

    fn zeros(&mut self, disk: usize, first: u64, blocks: u32) -> Result<(), String> {
        self.put(disk, first, &vec![0; blocks as usize * BLOCK_BYTES]);
        Ok(())
    }

    fn unread(&mut self, unread: Unread) -> Result<(), String> {
        Err(format!("{unread:?}"))
    }

    fn pace(&mut self, _: usize) {}
}

impl Clock for Shared {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.lock().nanos / 1_000_000)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.lock().nanos
    }
}

/// The server and its receiver.
pub(super) struct World {
    shared: Shared,
    sources: Vec<Source<Stirred>>,
    blank: Vec<BlockSet>,
    arena: Arena<HeapBuffer>,
    replica: Replica,
    changed: Vec<BlockSet>,
    cutter: Cutter,
    last: Option<Outcome>,
    has_volume: bool,
}

impl World {
    pub(super) fn new(seed: u64, choice: Choice) -> Self {
        let empty = || SIZES.map(BlockSet::new).to_vec();
        let disks: Vec<SimDisk> = SIZES.iter().map(|blocks| SimDisk::new(blocks * BLOCK)).collect();
        let mut state = State {
            random: Random::new(seed),
            choice,
            disks,
            marks: empty(),
            flying: Vec::new(),
            frozen: false,
            thawed_early: false,
            slow: false,
            slowed: 0,
            written: 0,
            nanos: 1,
            nobodys: empty(),
            snapshot: None,
            given: empty(),
            beside: false,
            instant: None,
            overflowed: false,
            snapshot_is_there: false,
        };
        for (disk, blocks) in SIZES.into_iter().enumerate() {
            (0..blocks).for_each(|block| state.put(disk, block));
        }
        let disks: Vec<SimDisk> = state.disks.iter().map(|disk| disk.another().unwrap()).collect();
        let shared = Shared(Arc::new(Mutex::new(state)));
        let stirred = disks.into_iter().map(|disk| Stirred(disk, shared.clone()));
        let mut sources: Vec<Source<Stirred>> =
            stirred.map(|disk| Source::new(disk).unwrap()).collect();
        let arena = Arena::new(&mut sources[0].disk, 3 << 20).unwrap();
        let mut changed = empty();
        changed.iter_mut().zip(SIZES).for_each(|(set, blocks)| set.insert_range(0, blocks));
        let mut blank = empty();
        blank[1].insert_range(18, 21);
        let images = SIZES.iter().map(|blocks| vec![9; usize::try_from(blocks * BLOCK).unwrap()]);
        let replica = Replica { images: images.collect(), shared: shared.clone() };
        let cutter = Cutter::default();
        Self {
            shared,
            sources,
            blank,
            arena,
            replica,
            changed,
            cutter,
            last: None,
            has_volume: false,
        }
    }

    pub(super) fn last(&self) -> Option<&Outcome> {
        self.last.as_ref()
    }

    /// Nobody writes any more.
    pub(super) fn be_quiet(&mut self) {
        self.shared.lock().choice.writes = 0;
    }

    pub(super) fn is_by_snapshot(&self) -> bool {
        let remarks = self.last.iter().flat_map(|outcome| &outcome.remarks);
        { remarks }.any(|words| words.starts_with("made by a snapshot"))
    }

    pub(super) fn slowed(&self) -> u32 {
        self.shared.lock().slowed
    }

    pub(super) fn is_slow(&self) -> bool {
        self.shared.lock().slow
    }

    /// One cut, and what it is: 0 crash, 1 application, 2 fuzzy, 3 none. An error where it is not what it says.
    pub(super) fn cut(&mut self) -> Result<usize, String> {
        let (mut tracker, mut freezer) = (self.shared.clone(), self.shared.clone());
        let (mut hooks, mut throttle) = (self.shared.clone(), self.shared.clone());
        let (mut gate, clock) = (self.shared.clone(), self.shared.clone());
        let mut snapshots = self.shared.clone();
        let (application, grouped) = {
            let mut state = self.shared.lock();
            (state.instant, state.overflowed) = (None, false);
            self.has_volume = state.choice.volume;
            (state.random.happens(500_000), state.choice.together.is_some())
        };
        let mut server = Server {
            tracker: &mut tracker,
            freezer: &mut freezer,
            sources: &mut self.sources,
            blank: &self.blank,
            swap: &Swap::default(),
            arena: &mut self.arena,
            sink: &mut self.replica,
            hooks: application.then_some(&mut hooks as &mut dyn Hooks),
            snapshots: self.has_volume.then_some(&mut snapshots as &mut dyn Snapshots<Stirred>),
            throttle: Some(&mut throttle),
            gate: grouped.then_some(&mut gate as &mut dyn Gate),
            clock: &clock,
        };
        let limits =
            Limits { budget: Duration::from_millis(20), limit: Duration::from_millis(120) };
        let result = self.cutter.cut(&mut server, &mut self.changed, limits);
        let state = self.shared.lock();
        if state.frozen || state.slow || state.snapshot_is_there {
            return Err("left frozen or slow".to_owned());
        }
        drop(state);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(failed) if failed.words.contains("the sink broke") && self.arena.is_free() => {
                return Ok(3);
            }
            Err(failed) => return Err(failed.words),
        };
        for held in self.arena.held() {
            self.replica.put(held.disk, held.first, held.bytes());
        }
        self.last = Some(outcome.clone());
        match outcome.instant {
            Instant::Crash => self.compare().map(|()| 0),
            Instant::Application => self.compare().map(|()| 1),
            _ => Ok(2),
        }
    }

    /// The receiver has the disks as they were at the instant.
    fn compare(&self) -> Result<(), String> {
        let state = self.shared.lock();
        let by_snapshot = state.instant.as_ref().filter(|_| self.is_by_snapshot());
        let snapshot = by_snapshot.or(state.snapshot.as_ref()).ok_or("a point without a freeze")?;
        for (disk, blocks) in SIZES.into_iter().enumerate() {
            for block in 0..blocks {
                let at = usize::try_from(block * BLOCK).unwrap();
                let range = at..at + BLOCK_BYTES;
                let same =
                    self.replica.images[disk][range.clone()] == snapshot[disk][range.clone()];
                let zeros = self.replica.images[disk][range].iter().all(|byte| *byte == 0);
                let fine = if self.blank[disk].contains(block) {
                    zeros
                } else {
                    same || state.nobodys[disk].contains(block)
                        || (self.is_by_snapshot() && volume::is_free(disk, block))
                };
                if !fine {
                    return Err(format!(
                        "block {block} of disk {disk} is not the disk at the instant"
                    ));
                }
            }
        }
        Ok(())
    }
}

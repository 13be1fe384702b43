//! One consistent point of all disks, step by step.
//!
//! Rounds while the server writes, until what is left can be read within the budget; then freeze, take, read, take again
//! until nothing changes any more, audit, thaw. The rule of all reading: take first, read then. Where the budget cannot be
//! kept there is a ladder: more rounds, a snapshot, writers slowed down for a moment, the hard limit; and at its end a point that
//! is not of one instant and says so, so that points never stop.

use core::fmt;
use core::time::Duration;

use hal::disk::Disk;
use hal::time::{Clock, UnixMillis};
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::Instant;

use crate::blocks::BlockSet;
use crate::capture::{Arena, Source, Trouble, Unread};
use crate::freeze::Freezer;
use crate::swap::Swap;
use crate::tracker::Tracker;

/// Frozen: take, read, take again, audit, thaw.
mod instant;
/// While the server writes: take, read, send.
mod rounds;
/// A snapshot of a volume, read while the server writes on.
mod snapshot;
/// Volumes, and whoever takes snapshots.
mod volume;

pub use instant::End;
use snapshot::Attempt;
pub use volume::{Piece, Snapshots, Volume, Volumes};

/// Rounds before a freeze, however well they go.
const ROUNDS_MAX: u32 = 8;
/// Rounds with writers slowed down.
const SLOW_ROUNDS_MAX: u32 = 3;
/// Freezes for one point.
const FREEZES_MAX: u32 = 3;
/// A round that leaves more than this of what the round before left, in percent, is not getting anywhere.
const SHRINKING_PERCENT: u64 = 80;
/// Until reading was measured: a disk that turns.
const SPEED_FIRST: u64 = 100 << 20;
/// Until freezing was measured.
const OVERHEAD_FIRST: Duration = Duration::from_millis(50);
/// Of a time that is given, how much is planned for reading, in percent; the rest is for what cannot be known.
const PLANNED_PERCENT: u64 = 75;

/// Takes what is read while the server writes: sends it, and remembers that it was sent.
pub trait Sink {
    /// Blocks of a disk from `first` on, whole ones, at most 16.
    ///
    /// Errors: they were not taken, and will be read again.
    fn blocks(&mut self, disk: usize, first: u64, bytes: &[u8]) -> Result<(), String>;

    /// Blocks that are zeros for a restored server: what swap holds is nobody's.
    fn zeros(&mut self, disk: usize, first: u64, blocks: u32) -> Result<(), String>;

    /// A block that cannot be read.
    fn unread(&mut self, unread: Unread) -> Result<(), String>;

    /// Asked before so many bytes are read while the server writes: waits, so that a pace is kept.
    fn pace(&mut self, bytes: usize);
}

/// What is run around an application-consistent freeze.
pub trait Hooks {
    /// Before: quiets applications. What went wrong, in words.
    fn before(&mut self) -> Vec<String>;
    /// After, also where the freeze failed.
    fn after(&mut self) -> Vec<String>;
}

/// Slows writers down for a moment.
pub trait Throttle {
    /// From now on; false where there is no way.
    fn slow_down(&mut self) -> bool;
    /// No longer; who was, for the point. Always called after `slow_down`.
    fn release(&mut self) -> Option<String>;
}

/// Holds a frozen server until the others of its group are frozen too.
pub trait Gate {
    /// Says that this one is frozen and waits for all, with patience, and no longer than `still` says that it is frozen;
    /// whether all are.
    fn wait(&mut self, still: &mut dyn FnMut() -> bool) -> bool;
}

/// A server's parts, as a cut needs them.
pub struct Server<'a, D: Disk> {
    /// Which blocks changed.
    pub tracker: &'a mut dyn Tracker,
    /// Its file systems.
    pub freezer: &'a mut dyn Freezer,
    /// Its disks.
    pub sources: &'a mut [Source<D>],
    /// Of each disk, what is never read and sent as zeros.
    pub blank: &'a [BlockSet],
    /// What is not sent as it is.
    pub swap: &'a Swap,
    /// Memory for what is read under the freeze; the blocks of the point are in it afterwards.
    pub arena: &'a mut Arena<D::Buffer>,
    /// Where everything else goes.
    pub sink: &'a mut dyn Sink,
    /// Hooks, for an application-consistent point.
    pub hooks: Option<&'a mut dyn Hooks>,
    /// Where there are volumes.
    pub snapshots: Option<&'a mut dyn Snapshots<D>>,
    /// Where writers can be slowed down.
    pub throttle: Option<&'a mut dyn Throttle>,
    /// For the cut of a group.
    pub gate: Option<&'a mut dyn Gate>,
    /// The time.
    pub clock: &'a dyn Clock,
}

impl<D: Disk> Server<'_, D> {
    /// Quiets applications, and lets them go on behind what is done meanwhile, whatever comes of it. With that: whether all were
    /// quiet, and what went wrong, in words.
    fn with_hooks<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> (T, bool, Vec<String>) {
        let before = self.hooks.as_mut().map(|hooks| hooks.before());
        let quiet = before.as_ref().is_some_and(Vec::is_empty);
        let done = work(self);
        let mut remarks = before.unwrap_or_default();
        remarks.extend(self.hooks.as_mut().map(|hooks| hooks.after()).unwrap_or_default());
        (done, quiet, remarks)
    }
}

/// How long a freeze may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the two of a policy")]
pub struct Limits {
    /// Mostly.
    pub budget: Duration,
    /// At the very most: then all is thawed, whatever happens.
    pub limit: Duration,
}

/// What came of a cut. Its blocks are what the sink took and what is in the arena, in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what a message says of a cut")]
pub struct Outcome {
    /// How clean the instant is.
    pub instant: Instant,
    /// The server's clock at the instant.
    pub at: UnixMillis,
    /// How long file systems were frozen; zero where they were not.
    pub frozen: Duration,
    /// What a person should know.
    pub remarks: Vec<String>,
    /// Of a group's cut: whether this one was still frozen when all were.
    pub group: Option<bool>,
    /// Disks of which a write may have been missed: of this cut no point may be made, and they are compared whole.
    pub incomplete: Vec<usize>,
}

/// Why there is no cut.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "words, and whose fault it is where a disk's")]
pub struct Failed {
    /// For people.
    pub words: String,
    /// The disk that failed as a whole, by its place.
    pub disk: Option<usize>,
}

impl From<String> for Failed {
    fn from(words: String) -> Self {
        Self { words, disk: None }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl core::error::Error for Failed {}

/// Makes cuts, and knows from those before how fast disks are read and how long freezing takes.
#[derive(Clone, Copy, Debug)]
pub struct Cutter {
    bytes_per_second: u64,
    overhead: Duration,
}

impl Default for Cutter {
    fn default() -> Self {
        Self { bytes_per_second: SPEED_FIRST, overhead: OVERHEAD_FIRST }
    }
}

impl Cutter {
    /// Makes one cut. `changed` is what changed and is not in the vault's way yet, of each disk; what is in it afterwards
    /// the sink did not take, nor is it in the arena.
    ///
    /// Errors: there is no cut. Nothing is frozen, nothing slowed down, the arena is empty, and `changed` has all that was
    /// not given to the sink.
    pub fn cut<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
    ) -> Result<Outcome, Failed> {
        assert_eq!(server.sources.len(), changed.len(), "a set for each disk");
        assert_eq!(server.sources.len(), server.blank.len(), "what is blank of each disk");
        server.arena.clear();
        let result = if self.approach(server, changed, limits)? {
            self.at_last(server, changed, limits)
        } else {
            self.too_fast(server, changed, limits)
        };
        if result.is_err() {
            server.arena.clear();
        }
        result
    }

    /// Rounds, until what is left fits the budget or more of them do not help; whether it fits.
    fn approach<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
    ) -> Result<bool, Failed> {
        rounds::take_all(server, changed)?;
        let mut left = rounds::to_read(changed, server.blank);
        for _ in 0..ROUNDS_MAX {
            if self.fits(left, limits.budget, server.arena.blocks()) {
                return Ok(true);
            }
            let before = left;
            self.round(server, changed)?;
            left = rounds::to_read(changed, server.blank);
            if left.saturating_mul(100) > before.saturating_mul(SHRINKING_PERCENT) {
                break;
            }
        }
        Ok(self.fits(left, limits.budget, server.arena.blocks()))
    }

    /// The rest of the ladder.
    fn too_fast<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
    ) -> Result<Outcome, Failed> {
        let mut why = match self.by_snapshot(server, changed, limits)? {
            Attempt::Point(outcome) => return Ok(outcome),
            Attempt::Not(why) => why,
        };
        let slowed = self.slow_down(server, changed, limits)?;
        let mut result = self.at_last(server, changed, limits);
        let words = match &mut server.throttle {
            Some(throttle) if slowed => throttle.release(),
            _ => None,
        };
        if let Ok(outcome) = &mut result {
            why.append(&mut outcome.remarks);
            why.extend(words);
            outcome.remarks = why;
        }
        result
    }

    /// Rounds with writers slowed down; whether they are.
    fn slow_down<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
    ) -> Result<bool, Failed> {
        if !server.throttle.as_mut().is_some_and(|throttle| throttle.slow_down()) {
            return Ok(false);
        }
        for _ in 0..SLOW_ROUNDS_MAX {
            if let Err(failed) = self.round(server, changed) {
                if let Some(throttle) = &mut server.throttle {
                    drop(throttle.release());
                }
                return Err(failed);
            }
            let left = rounds::to_read(changed, server.blank);
            if self.fits(left, limits.budget, server.arena.blocks()) {
                break;
            }
        }
        Ok(true)
    }

    /// Freezes until a freeze gives a point, or there is no use in more.
    fn at_last<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
    ) -> Result<Outcome, Failed> {
        let mut remarks: Vec<String> = Vec::new();
        let mut group = server.gate.is_some().then_some(false);
        for _ in 0..FREEZES_MAX {
            rounds::send_blank(server, changed)?;
            let left = rounds::to_read(changed, server.blank);
            if !self.fits(left, limits.limit, server.arena.blocks()) {
                remarks.push(format!(
                    "{} MiB change faster than they can be read while file systems are frozen",
                    left.saturating_mul(BLOCK_BYTES as u64) >> 20
                ));
                break;
            }
            match self.freeze_and_read(server, changed, limits, &mut group)? {
                End::Point(mut outcome) => {
                    remarks.append(&mut outcome.remarks);
                    return Ok(Outcome { remarks, group, ..outcome });
                }
                End::Again(words) if remarks.contains(&words) => {}
                End::Again(words) => remarks.push(words),
            }
            self.round(server, changed)?;
        }
        self.fuzzy(server, changed, remarks, group)
    }

    /// The last resort: everything that changed is read once while the server writes.
    fn fuzzy<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        mut remarks: Vec<String>,
        group: Option<bool>,
    ) -> Result<Outcome, Failed> {
        let at = server.clock.now();
        self.round(server, changed)?;
        self.send_all(server, changed)?;
        remarks.push(
            "the point is not of one instant: it was read while the server wrote; a restored server checks its file systems, \
             and databases may refuse it"
                .to_owned(),
        );
        let (instant, frozen, incomplete) = (Instant::Fuzzy, Duration::ZERO, Vec::new());
        Ok(Outcome { instant, at, frozen, remarks, group, incomplete })
    }

    /// Whether so many blocks can be read in what a freeze of this length leaves for it, into an arena of so many.
    #[must_use]
    pub fn fits(&self, blocks: u64, freeze: Duration, arena: u64) -> bool {
        let time = freeze.saturating_sub(self.overhead).max(freeze / 4);
        let bytes =
            time.as_nanos().saturating_mul(u128::from(self.bytes_per_second)) / 1_000_000_000;
        let planned = bytes * u128::from(PLANNED_PERCENT) / 100;
        blocks <= arena && u128::from(blocks) * BLOCK_BYTES as u128 <= planned
    }

    /// Half of what is known is from before, so that one strange reading does not decide.
    fn measured(&mut self, bytes: u64, nanos: u64) {
        // What was read in a moment says nothing.
        if bytes < 1 << 20 || nanos == 0 {
            return;
        }
        let rate = u128::from(bytes) * 1_000_000_000 / u128::from(nanos);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        self.bytes_per_second = (self.bytes_per_second / 2).saturating_add(rate / 2).max(1 << 20);
    }
}

/// What ended reading.
fn failed<D: Disk>(trouble: Trouble, sources: &[Source<D>]) -> Failed {
    match trouble {
        Trouble::Full => "there was no room for what was to be read".to_owned().into(),
        Trouble::Stopped => "file systems were thawed before all was read".to_owned().into(),
        Trouble::Taker(words) => words.into(),
        Trouble::Disk(place, error) => {
            let words = format!(
                "disk {place} of {} cannot be read: {error}; look at its cable and its log",
                sources.len()
            );
            Failed { words, disk: Some(place) }
        }
    }
}

#[cfg(test)]
mod tests;

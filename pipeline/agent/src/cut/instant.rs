//! Frozen: take, read, take again, audit, thaw. Nothing here asks for memory or says anything until all is thawed.

use core::time::Duration;

use hal::disk::Disk;
use hal::time::UnixMillis;
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::Instant;

use super::{Cutter, Failed, Limits, Outcome, Server, failed, rounds};
use crate::blocks::BlockSet;
use crate::capture::Trouble;
use crate::freeze::Thawed;
use crate::tracker::Audit;

/// Parts of 2 GiB of each disk in which nothing had changed and something may while all is frozen, without asking for memory.
/// What is scattered wider cannot be read in that time anyway.
const READY_PIECES: usize = 256;
/// Takes under one freeze. What still changes then is written by no file system that is frozen, or is nobody's.
pub(super) const TAKES_MAX: u32 = 5;

/// How one freeze ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "with a point or without one")]
pub enum End {
    /// With a point in the arena.
    Point(Outcome),
    /// Without one, and why; another may do better.
    Again(String),
}

/// Sets that are there before the freeze begins.
pub(super) struct Sets {
    /// To be read now.
    pub(super) reading: Vec<BlockSet>,
    /// Taken last.
    pub(super) fresh: Vec<BlockSet>,
}

impl Sets {
    /// With memory for what changes while all is frozen, in what changed already too.
    pub(super) fn of(changed: &mut [BlockSet]) -> Self {
        let (mut reading, mut fresh) = (Vec::new(), Vec::new());
        for set in changed {
            set.keep_ready(READY_PIECES);
            let mut copy = set.clone();
            copy.keep_ready(READY_PIECES);
            reading.push(copy);
            let mut none = BlockSet::new(set.size());
            none.keep_ready(READY_PIECES);
            fresh.push(none);
        }
        Self { reading, fresh }
    }
}

/// What was found while all was frozen.
#[derive(Default)]
pub(super) struct Found {
    /// Blocks that changed while they should not have.
    late_blocks: u64,
    /// Nothing changed between the last two takes: what was read is of that instant, whoever wrote before.
    settled: bool,
    /// Bytes written under the freeze, as the kernel counts them.
    written: u64,
    audit: Audit,
    pub(super) read_bytes: u64,
    pub(super) read_nanos: u64,
}

/// Why a freeze was given up.
pub(super) enum Broken {
    /// More changed than can be read in time.
    TooMuch,
    /// The group did not come together.
    Alone,
    Reading(Trouble),
    Tracking(String),
    /// In words; another try may do better.
    Said(String),
}

impl Cutter {
    /// One freeze with everything that belongs to it, for whoever makes rounds of its own: without them, and without the
    /// ladder of `cut`. With a point its blocks are in the arena and no longer in `changed`; without one `changed` is whole
    /// again and the arena empty.
    ///
    /// Errors: a disk or the tracker failed. Nothing is frozen.
    pub fn freeze_and_read<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
        group: &mut Option<bool>,
    ) -> Result<End, Failed> {
        let mut sets = Sets::of(changed);
        let ((at, frozen, found, thawed), application, mut remarks) = server.with_hooks(|server| {
            let frozen = server.freezer.freeze(limits.limit);
            let (at, began) = (server.clock.now(), server.clock.monotonic_nanos());
            let read = |()| self.under_freeze(server, changed, &mut sets, (limits, began), group);
            let found = frozen.as_ref().ok().copied().map(read);
            let thawed = if frozen.is_ok() { server.freezer.thaw() } else { Thawed::default() };
            changed.iter_mut().for_each(BlockSet::let_go);
            (at, frozen, found, thawed)
        });
        drop(sets);
        let end = match (frozen, found) {
            (Err(words), _) => Err(Ok(words)),
            (_, None) => Err(Ok(String::new())),
            (_, Some(Ok(_))) if thawed.too_late => {
                Err(Ok("file systems were thawed at the limit, before all was read".to_owned()))
            }
            (_, Some(Ok(found))) => Ok(found),
            (_, Some(Err(broken))) => Err(explained(broken, server)),
        };
        match end {
            Ok(found) => {
                server.arena.held_mut().for_each(|held| server.swap.disarm(held));
                self.learn(&found, &thawed);
                remarks.extend(thawed.remarks.iter().cloned());
                Ok(End::Point(outcome(at, found, thawed, application, remarks)))
            }
            Err(why) => {
                give_back(server, changed);
                why.map(End::Again)
            }
        }
    }

    /// What freezing costs beside reading, and how fast reading was.
    fn learn(&mut self, found: &Found, thawed: &Thawed) {
        self.measured(found.read_bytes, found.read_nanos);
        let whole = Duration::from_micros(thawed.micros);
        self.overhead = whole.saturating_sub(Duration::from_nanos(found.read_nanos));
    }

    /// From freeze to thaw. What was read leaves `changed`.
    fn under_freeze<D: Disk>(
        &self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        sets: &mut Sets,
        (limits, frozen_at): (Limits, u64),
        group: &mut Option<bool>,
    ) -> Result<Found, Broken> {
        let mut found = Found::default();
        if let Some(gate) = server.gate.take() {
            let freezer = &mut *server.freezer;
            let together = gate.wait(&mut || freezer.is_frozen()) && server.freezer.is_frozen();
            *group = Some(together);
            if !together {
                return Err(Broken::Alone);
            }
        }
        let written = server.tracker.written_bytes();
        rounds::take_all(server, changed).map_err(Broken::Tracking)?;
        let blocks = rounds::to_read(changed, server.blank);
        let spent = server.clock.monotonic_nanos().saturating_sub(frozen_at);
        let left = limits.limit.saturating_sub(Duration::from_nanos(spent));
        if !self.fits(blocks, left, server.arena.blocks()) {
            return Err(Broken::TooMuch);
        }
        for (reading, changed) in sets.reading.iter_mut().zip(changed.iter()) {
            reading.copy_from(changed);
        }
        for take in 0..TAKES_MAX {
            read_once(server, changed, sets, &mut found)?;
            sets.fresh.iter_mut().for_each(BlockSet::clear);
            let taken = rounds::take_all(server, &mut sets.fresh);
            // Whether or not they are read now, they changed.
            let each = changed.iter_mut().zip(&mut sets.fresh).zip(&mut sets.reading);
            for (((changed, fresh), reading), blank) in each.zip(server.blank) {
                changed.union(fresh);
                fresh.subtract(blank);
                reading.copy_from(fresh);
            }
            taken.map_err(Broken::Tracking)?;
            let late: u64 = sets.fresh.iter().map(BlockSet::count).sum();
            found.settled = late == 0;
            if found.settled {
                break;
            }
            found.late_blocks += late;
            if take + 1 == TAKES_MAX {
                break;
            }
        }
        found.written = server.tracker.written_bytes().saturating_sub(written);
        found.audit = server.tracker.audit();
        Ok(found)
    }
}

/// Reads what is to be read into the arena; from there on it is the arena's.
pub(super) fn read_once<D: Disk>(
    server: &mut Server<'_, D>,
    changed: &mut [BlockSet],
    sets: &mut Sets,
    found: &mut Found,
) -> Result<(), Broken> {
    for ((reading, changed), blank) in
        sets.reading.iter_mut().zip(changed.iter_mut()).zip(server.blank)
    {
        reading.subtract(blank);
        changed.subtract(reading);
    }
    let blocks: u64 = sets.reading.iter().map(BlockSet::count).sum();
    let began = server.clock.monotonic_nanos();
    let freezer = &mut *server.freezer;
    let result = server.arena.read(server.sources, &sets.reading, &mut || freezer.is_frozen());
    found.read_nanos += server.clock.monotonic_nanos().saturating_sub(began);
    found.read_bytes += blocks * BLOCK_BYTES as u64;
    if result.is_err() {
        // Some of it is in the arena and some is not: all of it is to be read again.
        changed.iter_mut().zip(&sets.reading).for_each(|(changed, reading)| changed.union(reading));
    }
    result.map_err(Broken::Reading)
}

/// The arena is emptied.
pub(super) fn give_back<D: Disk>(server: &mut Server<'_, D>, changed: &mut [BlockSet]) {
    for held in server.arena.held() {
        if let Some(set) = changed.get_mut(held.disk) {
            set.insert_range(held.first, held.first + u64::from(held.blocks));
        }
    }
    for unread in server.arena.unread() {
        if let Some(set) = changed.get_mut(unread.disk) {
            set.insert(unread.block);
        }
    }
    server.arena.clear();
}

/// Why there is no point: words where another freeze may do better, an error where none will.
pub(super) fn explained<D: Disk>(broken: Broken, server: &Server<'_, D>) -> Result<String, Failed> {
    match broken {
        Broken::TooMuch | Broken::Reading(Trouble::Full) => {
            Ok("more had changed than can be read while file systems are frozen".to_owned())
        }
        Broken::Alone => Ok("not all servers of the group were frozen together".to_owned()),
        Broken::Reading(Trouble::Stopped) => Ok(failed(Trouble::Stopped, server.sources).words),
        Broken::Reading(trouble) => Err(failed(trouble, server.sources)),
        Broken::Tracking(words) => Err(words.into()),
        Broken::Said(words) => Ok(words),
    }
}

fn outcome(
    at: UnixMillis,
    found: Found,
    thawed: Thawed,
    application: bool,
    mut remarks: Vec<String>,
) -> Outcome {
    let clean = if application { Instant::Application } else { Instant::Crash };
    // Only discards changed blocks: free ones, whose content is nobody's.
    let instant = if found.settled || found.written == 0 { clean } else { Instant::Fuzzy };
    if found.written > 0 && found.late_blocks > 0 {
        let how = match instant {
            Instant::Fuzzy => "and did not stop: they are not of one instant",
            _ => "the point has them as they were at its end",
        };
        remarks.push(format!(
            "{} blocks were written past the frozen file systems, {how}",
            found.late_blocks
        ));
    }
    remarks.extend(found.audit.words);
    Outcome {
        instant,
        at,
        frozen: Duration::from_micros(thawed.micros),
        remarks,
        group: None,
        incomplete: found.audit.incomplete,
    }
}

//! A snapshot in place of reading under a freeze: what is left lies in one volume, and is read of its snapshot while the server
//! writes on.
//!
//! Everything else is frozen, read, and found unchanged by the marks behind the snapshot. What was marked by then of the volume is
//! read, and sent again with the next point: whether it was written before the instant or behind it, no mark tells.

use core::time::Duration;

use hal::disk::Disk;
use hal::time::UnixMillis;
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::Instant;

use super::instant::{Broken, Found, Sets, TAKES_MAX, explained, give_back, read_once};
use super::volume::{Piece, Snapshots, Volume, Volumes};
use super::{Cutter, Failed, Limits, Outcome, Server, Sink, rounds};
use crate::blocks::BlockSet;
use crate::capture::{self, Filled, Source, Taker, Trouble, Unread};
use crate::freeze::Thawed;
use crate::swap::Swap;
use crate::tracker::Audit;

/// A snapshot holds so many times what is left, where there is room for that: it is written to while that is read.
const ROOM_TIMES: u64 = 4;
/// And so many blocks more.
const ROOM_MORE: u64 = 256;

/// What came of trying.
pub(super) enum Attempt {
    /// A point: everything of it went to the sink.
    Point(Outcome),
    /// None; why, where a person should know.
    Not(Vec<String>),
}

/// The instant, when everything goes on again.
struct Taken {
    at: UnixMillis,
    /// Of each disk, what is to be read of the snapshot.
    of_volume: Vec<BlockSet>,
    audit: Audit,
    frozen: Duration,
    application: bool,
    remarks: Vec<String>,
}

impl Cutter {
    /// Tries to make the point by a snapshot of the volume that most of what is left lies in. Without a point `changed` is
    /// whole; no snapshot is left in either case, unless it cannot be removed.
    ///
    /// Errors: a disk, the tracker or the sink failed.
    pub(super) fn by_snapshot<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
    ) -> Result<Attempt, Failed> {
        // A group's instant is the freeze of all of its servers.
        if server.gate.is_some() {
            return Ok(Attempt::Not(Vec::new()));
        }
        let Some(snapshots) = server.snapshots.take() else { return Ok(Attempt::Not(Vec::new())) };
        let Volumes { found, others } = snapshots.volumes();
        let mut attempt = match self.choose(server, changed, limits, found) {
            Ok(Some((volume, room))) => {
                self.attempt(server, changed, limits, (&volume, room), snapshots)
            }
            Ok(None) => Ok(Attempt::Not(others)),
            Err(words) => Ok(Attempt::Not(vec![words])),
        };
        if let Err(words) = snapshots.remove() {
            match &mut attempt {
                Ok(Attempt::Point(Outcome { remarks, .. }) | Attempt::Not(remarks)) => {
                    remarks.push(words);
                }
                Err(_) => log::error!("{words}"),
            }
        }
        server.snapshots = Some(snapshots);
        attempt
    }

    /// The volume, and how much a snapshot of it is to hold; nothing where there is none.
    ///
    /// Errors: why none will do.
    fn choose<D: Disk>(
        &self,
        server: &Server<'_, D>,
        changed: &[BlockSet],
        limits: Limits,
        found: Vec<Volume>,
    ) -> Result<Option<(Volume, u64)>, String> {
        let left = |volume: &Volume| -> (u64, u64) {
            let mut sum = (0, 0);
            for (disk, ((set, blank), free)) in
                changed.iter().zip(server.blank).zip(&volume.free).enumerate()
            {
                let mut rest = set.clone();
                rest.subtract(blank);
                let all = rest.count();
                let mut inside = BlockSet::new(set.size());
                volume.add_to(disk, &mut inside);
                rest.subtract(&inside);
                sum.0 += all - rest.count();
                rest.subtract(free);
                sum.1 += rest.count();
            }
            sum
        };
        let judged = found.into_iter().map(|volume| (left(&volume), volume));
        let Some(((inside, beside), volume)) = judged.max_by_key(|((inside, _), _)| *inside) else {
            return Ok(None);
        };
        if !self.fits(beside, limits.budget, server.arena.blocks()) {
            return Err(format!(
                "no snapshot: beside volume {} so much changes too that it cannot be read while file systems are frozen",
                volume.name
            ));
        }
        let wanted = inside.saturating_mul(ROOM_TIMES).saturating_add(ROOM_MORE);
        if volume.room < inside {
            return Err(format!(
                "no snapshot: {} MiB of volume {} changed, and its group has {} MiB of free extents; leave some for \
                 snapshots",
                mebibytes(inside),
                volume.name,
                mebibytes(volume.room)
            ));
        }
        let room = wanted.min(volume.room);
        Ok(Some((volume, room)))
    }

    fn attempt<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
        (volume, room): (&Volume, u64),
        snapshots: &mut dyn Snapshots<D>,
    ) -> Result<Attempt, Failed> {
        let taken = match self.instant_of(server, changed, limits, (volume, room), snapshots)? {
            Ok(taken) => taken,
            Err(words) => return Ok(Attempt::Not(vec![format!("no snapshot: {words}")])),
        };
        // What was read beside the volume is of the instant, and so far as it goes of every later one: no mark came behind it.
        let sent = send_held(server).and_then(|()| {
            if !snapshots.is_same() {
                let words = "volumes were changed by somebody else at the same time";
                return Ok(Some(words.to_owned()));
            }
            read_snapshot(server, volume, &taken.of_volume, snapshots)
        });
        let broken = match sent {
            Ok(None) if snapshots.is_whole() => None,
            Ok(None) => Some("more was written than it holds, before all was read".to_owned()),
            Ok(broken) => broken,
            Err(failed) => {
                give_back(server, changed);
                put_back(changed, &taken.of_volume);
                return Err(failed);
            }
        };
        if let Some(words) = broken {
            put_back(changed, &taken.of_volume);
            return Ok(Attempt::Not(vec![format!(
                "a snapshot of volume {} was of no use: {words}",
                volume.name
            )]));
        }
        let Taken { at, audit, frozen, application, mut remarks, of_volume } = taken;
        let blocks: u64 = of_volume.iter().map(BlockSet::count).sum();
        remarks.push(format!(
            "made by a snapshot of volume {}, of which {} MiB were read while the server wrote on",
            volume.name,
            mebibytes(blocks)
        ));
        remarks.extend(audit.words);
        Ok(Attempt::Point(Outcome {
            instant: if application { Instant::Application } else { Instant::Crash },
            at,
            frozen,
            remarks,
            group: None,
            incomplete: audit.incomplete,
        }))
    }

    /// The instant, with hooks around it.
    fn instant_of<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
        chosen: (&Volume, u64),
        snapshots: &mut dyn Snapshots<D>,
    ) -> Result<Result<Taken, String>, Failed> {
        let mut sets = Sets::of(changed);
        let (result, application, mut remarks) = server.with_hooks(|server| {
            let result = self.two_freezes(server, changed, limits, chosen, (&mut sets, snapshots));
            changed.iter_mut().for_each(BlockSet::let_go);
            result
        });
        let result = match result {
            Ok(mut taken) => {
                remarks.append(&mut taken.remarks);
                return Ok(Ok(Taken { application, remarks, ..taken }));
            }
            Err(why) => why,
        };
        give_back(server, changed);
        result.map(Err)
    }

    /// First all is frozen, as only then counts can be held against the kernel's; then all but the volume, which the snapshot
    /// freezes: a kernel before 6.7 refuses that of what is frozen already.
    fn two_freezes<D: Disk>(
        &mut self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        limits: Limits,
        (volume, room): (&Volume, u64),
        (sets, snapshots): (&mut Sets, &mut dyn Snapshots<D>),
    ) -> Result<Taken, Result<String, Failed>> {
        let too_late =
            || Err(Ok("file systems were thawed at the limit, before it was there".into()));
        server.freezer.freeze(limits.limit).map_err(Ok)?;
        let tracked = rounds::take_all(server, changed);
        let audit = server.tracker.audit();
        let first = server.freezer.thaw();
        tracked.map_err(|words| Err(words.into()))?;
        if first.too_late {
            return too_late();
        }
        server.freezer.freeze_beside(volume.number, limits.limit).map_err(Ok)?;
        let began = server.clock.monotonic_nanos();
        let mut found = Found::default();
        let taken = self.beside(server, changed, (limits, began), volume, sets, &mut found);
        let (at, before) = (server.clock.now(), server.clock.monotonic_nanos());
        let taken = taken.and_then(|()| {
            let spent = Duration::from_nanos(before.saturating_sub(began));
            let patience = limits.limit.saturating_sub(spent);
            snapshots.take(volume, room, patience).map_err(Broken::Said)?;
            let took = server.clock.monotonic_nanos().saturating_sub(before);
            let of_volume = behind(server, changed, volume, sets)?;
            Ok((of_volume, took))
        });
        let second = server.freezer.thaw();
        let (of_volume, took) = taken.map_err(|broken| explained(broken, server))?;
        if second.too_late {
            put_back(changed, &of_volume);
            return too_late();
        }
        self.measured(found.read_bytes, found.read_nanos);
        let frozen = frozen(&first, &second, took);
        let remarks = second.remarks;
        Ok(Taken { at, of_volume, audit, frozen, application: false, remarks })
    }

    /// Reads what changed beside the volume, until nothing there does any more.
    fn beside<D: Disk>(
        &self,
        server: &mut Server<'_, D>,
        changed: &mut [BlockSet],
        (limits, began): (Limits, u64),
        volume: &Volume,
        sets: &mut Sets,
        found: &mut Found,
    ) -> Result<(), Broken> {
        rounds::take_all(server, changed).map_err(Broken::Tracking)?;
        let aside = aside(changed, volume);
        for ((reading, changed), aside) in sets.reading.iter_mut().zip(changed.iter()).zip(&aside) {
            reading.copy_from(changed);
            reading.subtract(aside);
        }
        let spent = server.clock.monotonic_nanos().saturating_sub(began);
        let left = limits.limit.saturating_sub(Duration::from_nanos(spent));
        let blocks = rounds::to_read(&sets.reading, server.blank);
        if !self.fits(blocks, left, server.arena.blocks()) {
            return Err(Broken::TooMuch);
        }
        for _ in 0..TAKES_MAX {
            read_once(server, changed, sets, found)?;
            sets.fresh.iter_mut().for_each(BlockSet::clear);
            let taken = rounds::take_all(server, &mut sets.fresh);
            let each = changed.iter_mut().zip(&mut sets.fresh).zip(&mut sets.reading);
            for ((((changed, fresh), reading), blank), aside) in each.zip(server.blank).zip(&aside)
            {
                changed.union(fresh);
                fresh.subtract(blank);
                fresh.subtract(aside);
                reading.copy_from(fresh);
            }
            taken.map_err(Broken::Tracking)?;
            if sets.fresh.iter().all(BlockSet::is_empty) {
                return Ok(());
            }
        }
        Err(Broken::Said("what lies beside it does not stand still".to_owned()))
    }
}

/// What is read of the snapshot: all that is marked of the volume by now. Of what was marked since the last take it cannot be
/// told whether it was written before the instant, and so it stays in `changed` too.
///
/// Errors: something changed that no snapshot may change.
fn behind<D: Disk>(
    server: &mut Server<'_, D>,
    changed: &mut [BlockSet],
    volume: &Volume,
    sets: &mut Sets,
) -> Result<Vec<BlockSet>, Broken> {
    sets.fresh.iter_mut().for_each(BlockSet::clear);
    let taken = rounds::take_all(server, &mut sets.fresh);
    let (mut of_volume, mut late) = (Vec::new(), 0);
    for (disk, (changed, fresh)) in changed.iter_mut().zip(&sets.fresh).enumerate() {
        let mut inside = BlockSet::new(changed.size());
        volume.add_to(disk, &mut inside);
        let mut rest = fresh.clone();
        rest.subtract(&inside);
        for known in [volume.metadata.get(disk), volume.free.get(disk), server.blank.get(disk)] {
            known.into_iter().for_each(|known| rest.subtract(known));
        }
        late += rest.count();
        let mut reading = changed.clone();
        reading.union(fresh);
        reading.intersect(&inside);
        server.blank.get(disk).into_iter().for_each(|blank| reading.subtract(blank));
        changed.subtract(&reading);
        changed.union(fresh);
        of_volume.push(reading);
    }
    let broken = match taken {
        Err(words) => Broken::Tracking(words),
        Ok(()) if late > 0 => {
            let words = format!("{late} blocks beside it were written at the same time");
            Broken::Said(words)
        }
        Ok(()) => return Ok(of_volume),
    };
    put_back(changed, &of_volume);
    Err(broken)
}

/// What is not read under the freeze: the volume, and what is nobody's.
fn aside(changed: &[BlockSet], volume: &Volume) -> Vec<BlockSet> {
    let each = changed.iter().zip(&volume.free).enumerate();
    each.map(|(disk, (changed, free))| {
        let mut aside = BlockSet::new(changed.size());
        volume.add_to(disk, &mut aside);
        aside.union(free);
        aside
    })
    .collect()
}

fn put_back(changed: &mut [BlockSet], read: &[BlockSet]) {
    changed.iter_mut().zip(read).for_each(|(changed, read)| changed.union(read));
}

/// At the most: how long the volume itself stood still, only whoever took the snapshot knows.
fn frozen(first: &Thawed, second: &Thawed, took_nanos: u64) -> Duration {
    let second = second.micros.max(took_nanos / 1000);
    Duration::from_micros(first.micros.saturating_add(second))
}

fn mebibytes(blocks: u64) -> u64 {
    (blocks.saturating_mul(BLOCK_BYTES as u64)).div_ceil(1 << 20)
}

/// What was read under the freeze goes to the sink.
fn send_held<D: Disk>(server: &mut Server<'_, D>) -> Result<(), Failed> {
    server.arena.held_mut().for_each(|held| server.swap.disarm(held));
    for held in server.arena.held() {
        server.sink.blocks(held.disk, held.first, held.bytes())?;
    }
    for unread in server.arena.unread() {
        server.sink.unread(unread.clone())?;
    }
    server.arena.clear();
    Ok(())
}

/// Reads of the snapshot and sends; why that is of no use, where it is not.
///
/// Errors: whoever takes the blocks failed.
fn read_snapshot<D: Disk>(
    server: &mut Server<'_, D>,
    volume: &Volume,
    of_volume: &[BlockSet],
    snapshots: &mut dyn Snapshots<D>,
) -> Result<Option<String>, Failed> {
    let opened = snapshots.open().and_then(|disk| Source::new(disk).map_err(|e| e.to_string()));
    let source = match opened {
        Ok(source) if source.blocks() == volume.blocks() => source,
        Ok(_) => return Ok(Some("it is not as large as the volume".to_owned())),
        Err(words) => return Ok(Some(words)),
    };
    let mut sources = [source];
    let mut at = 0;
    for piece in &volume.pieces {
        let mut wanted = BlockSet::new(volume.blocks());
        let end = piece.first.saturating_add(piece.blocks);
        let marked = of_volume.get(piece.disk).into_iter();
        for block in marked.flat_map(|set| set.iter_from(piece.first)).take_while(|at| *at < end) {
            wanted.insert(block - piece.first + at);
        }
        let mut taker = OfPiece { sink: &mut *server.sink, swap: server.swap, piece, at };
        match capture::read(&mut sources, &[wanted], server.arena.pool(), &mut taker) {
            Ok(()) => {}
            Err(Trouble::Taker(words)) => return Err(words.into()),
            Err(Trouble::Disk(_, error)) => return Ok(Some(error.to_string())),
            Err(_) => return Ok(Some("it cannot be read".to_owned())),
        }
        at += piece.blocks;
    }
    Ok(None)
}

/// Hands on what was read of a piece, as blocks of its disk.
struct OfPiece<'a> {
    sink: &'a mut dyn Sink,
    swap: &'a Swap,
    piece: &'a Piece,
    /// Where it begins in the volume.
    at: u64,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Taker<B> for OfPiece<'_> {
    fn take(&mut self, filled: Filled<B>) -> (Option<B>, Result<(), Trouble>) {
        let first = filled.first.saturating_sub(self.at).saturating_add(self.piece.first);
        let (disk, blocks) = (self.piece.disk, filled.blocks);
        let mut filled = Filled::new(disk, first, blocks, filled.into_buffer());
        self.swap.disarm(&mut filled);
        let sent = self.sink.blocks(disk, first, filled.bytes());
        (Some(filled.into_buffer()), sent.map_err(Trouble::Taker))
    }

    // A snapshot that overflowed answers so, too; where it is the disk's fault, the next step of the ladder finds it.
    fn unread(&mut self, _: Unread) -> Result<(), Trouble> {
        Err(Trouble::Stopped)
    }

    fn before(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.sink.pace(bytes);
        Ok(())
    }
}

//! Brings a disk of a point back onto a target, writing only what differs.
//!
//! Workers look at leaves of the map, then bring what a window of leaves wants of one segment: in one read where that is
//! most of it, in a few ranged ones where not. They open the frames and write whole runs of blocks. Every block is
//! checked against its fingerprint before it is written.
//! Nothing is written before the map of the whole disk has been read and every segment it names was found.

/// All that must be known before the first block is fetched, in few round trips.
mod ahead;
/// What is fetched before it is known what is wanted of it.
mod early;
/// What is fetched and opened.
pub(crate) mod fetch;
/// What must be known before anything is written.
mod gate;
/// Who does what next.
mod queue;
/// One worker.
mod span;
/// Who opens and writes, while others wait for the vault.
pub(crate) mod turns;

#[cfg(test)]
mod tests;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::Arc;

use hal::disk::{Disk, Operation, Request};
use pipeline::ids::{SegmentId, ServerId};
use pipeline::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX};

use crate::access::Access;
use crate::error::{Error, Retry};
use crate::frames::FrameReader;
use crate::map::{Root, leaves_of};
use crate::named::Named;
use crate::names;
use crate::parallel;
use crate::record::DiskState;
use crate::store::list_all;
use crate::writer::Progress;

pub use ahead::{Ahead, Prepared, prepare, read_chain_ahead};
use early::Early;
use fetch::Wanted;
use gate::Gate;
use queue::{Queue, Task};
use span::Span;
use turns::Turns;

/// Beyond this a vault anywhere is not faster, and their buffers come to 160 MiB.
pub const WORKERS_MAX: usize = 16;

/// So many write at once even where there are fewer processors: disks like some depth.
const TURNS_MIN: usize = 4;

/// How a disk is brought back.
#[derive(Clone)]
pub struct Options {
    /// Worker threads, at most 16; each has one buffer of 8 MiB, two of 1 MiB, and a read of its own in flight.
    pub workers: usize,
    /// The target already holds something: compare first, write only blocks that differ. Otherwise the
    /// target is new and reads as zeros.
    pub compare: bool,
    /// Go on although blocks could not be read when the point was made; they are left as the target has them.
    pub accept_unread: bool,
    /// What is free where the target lies, where it is new and takes as much as is written to it.
    pub room: Option<Room>,
    /// Set from outside to stop at the next span.
    pub stop: Arc<AtomicBool>,
}

/// What is free somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Where, as a person knows it.
    pub place: String,
    /// Bytes.
    pub free_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: parallel::processors(),
            compare: true,
            accept_unread: false,
            room: None,
            stop: Arc::default(),
        }
    }
}

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Bytes of disk covered.
    pub disk_bytes: u64,
    /// Bytes written to the target.
    pub written_bytes: u64,
    /// Bytes fetched from the vault for content, maps and tables aside.
    pub fetched_bytes: u64,
    /// Blocks left alone because they were the same already.
    pub same_blocks: u64,
    /// Blocks that the point does not know because the source could not read them.
    pub unread_blocks: u64,
}

/// What the workers add up.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) written: AtomicU64,
    pub(crate) fetched: AtomicU64,
    pub(crate) same: AtomicU64,
    pub(crate) unread: AtomicU64,
}

/// Brings one disk of a point onto `target`; durable when it returns.
///
/// Errors: a target that is too small (nothing written), blocks of unknown content without `accept_unread`
/// (nothing written), a missing segment (nothing written), a damaged one (the target is incomplete).
pub fn restore_disk<D: Disk>(
    frames: &FrameReader,
    disk: &DiskState,
    mut target: D,
    target_name: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Restored, Error> {
    let geometry = target.geometry().map_err(|error| Error::from(error).on(target_name))?;
    check_target(disk, &geometry, target_name)?;
    let objects = Objects::list(frames.access(), frames.server())?;
    check_point(frames, disk, options, &objects)?;
    let (gate, early) = (Gate::open(), nothing());
    let job = Job { frames, objects: &objects, disk, before: None, gate, early };
    bring_back(&job, target, target_name, options, progress)
}

/// Brings a target that holds one point of a disk to another: only blocks that the two maps do not agree on are fetched
/// and written, and only pages that differ are read. `options.compare` has no meaning here.
///
/// Errors: those of `restore_disk`; points of disks of different sizes.
pub fn advance_disk<D: Disk>(
    frames: &FrameReader,
    (before, disk): (&DiskState, &DiskState),
    mut target: D,
    target_name: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Restored, Error> {
    if before.bytes != disk.bytes || before.root.height != disk.root.height {
        let what = format!("had {} bytes in one point and has {}", before.bytes, disk.bytes);
        return Err(Error::misuse(&disk.name, what).remedy("bring it to a new target"));
    }
    let geometry = target.geometry().map_err(|error| Error::from(error).on(target_name))?;
    check_target(disk, &geometry, target_name)?;
    let objects = Objects::list(frames.access(), frames.server())?;
    frames.know_lengths(Arc::clone(&objects.0));
    let named = Named::since(frames, &before.root, &disk.root)?;
    check_named(frames, disk, options, &objects, &named)?;
    let before = Some(before.root);
    let (gate, early) = (Gate::open(), nothing());
    let job = Job { frames, objects: &objects, disk, before, gate, early };
    bring_back(&job, target, target_name, options, progress)
}

/// A disk of a point that can be brought back, as far as can be told without fetching its content.
pub struct Checked<'a> {
    frames: &'a FrameReader,
    disk: &'a DiskState,
    objects: Objects,
}

/// Checks a disk of a point: its map opens, every segment that it names is there, and no more blocks are unknown than
/// `options` accept.
pub fn check_disk<'a>(
    frames: &'a FrameReader,
    disk: &'a DiskState,
    options: &Options,
) -> Result<Checked<'a>, Error> {
    let objects = Objects::list(frames.access(), frames.server())?;
    check_point(frames, disk, options, &objects)?;
    Ok(Checked { frames, disk, objects })
}

/// The same as `restore_disk` of a disk that was checked.
pub fn restore_checked<D: Disk>(
    checked: &Checked<'_>,
    mut target: D,
    target_name: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Restored, Error> {
    let Checked { frames, disk, objects } = checked;
    let geometry = target.geometry().map_err(|error| Error::from(error).on(target_name))?;
    check_target(disk, &geometry, target_name)?;
    let (gate, early) = (Gate::open(), nothing());
    let job = Job { frames, objects, disk, before: None, gate, early };
    bring_back(&job, target, target_name, options, progress)
}

/// The same of a point that was prepared: its map was read, its segments are there.
pub fn restore_prepared<D: Disk>(
    prepared: &Prepared,
    mut target: D,
    target_name: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Restored, Error> {
    let Prepared { frames, objects, disk, gate, early, .. } = prepared;
    let geometry = target.geometry().map_err(|error| Error::from(error).on(target_name))?;
    check_target(disk, &geometry, target_name)?;
    let (gate, early) = (Arc::clone(gate), Arc::clone(early));
    let job = Job { frames, objects, disk, before: None, gate, early };
    bring_back(&job, target, target_name, options, progress)
}

/// What is brought back.
struct Job<'a> {
    frames: &'a FrameReader,
    objects: &'a Objects,
    disk: &'a DiskState,
    /// What the target holds, where that is a point too.
    before: Option<Root>,
    /// Nothing is written before it is open.
    gate: Arc<Gate>,
    /// What was fetched before anybody knew what is wanted of it.
    early: Arc<Early>,
}

fn nothing() -> Arc<Early> {
    Arc::default()
}

fn bring_back<D: Disk>(
    job: &Job<'_>,
    target: D,
    target_name: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Restored, Error> {
    let Job { frames, disk, before, .. } = *job;
    let about = |error: hal::disk::DiskError| Error::from(error).on(target_name);
    progress.total(disk.bytes);
    let workers = options.workers.clamp(1, WORKERS_MAX);
    let turns = Arc::new(Turns::new(workers.min(parallel::processors().max(TURNS_MIN))));
    let hand = |target| {
        let hand = Span::new(frames, target, target_name, options, Arc::clone(&turns))?;
        let hand = hand.behind(Arc::clone(&job.gate), Arc::clone(&job.early));
        Ok::<_, Error>(match before {
            Some(before) => hand.instead_of(before),
            None => hand,
        })
    };
    let tally = Tally::default();
    let queue = Queue::new(leaves_of(disk.bytes), workers);
    let mut hands = Vec::with_capacity(workers);
    for _ in 1..workers {
        hands.push(hand(target.another().map_err(about)?)?);
    }
    let flusher = target.another().map_err(about)?;
    hands.push(hand(target)?);
    std::thread::scope(|scope| {
        for mut hand in hands {
            let (queue, tally) = (&queue, &tally);
            scope.spawn(move || {
                while let Some(task) = queue.next() {
                    if options.stop.load(Ordering::Relaxed) {
                        queue.end();
                    } else if let Err(error) = work(&mut hand, task, job, queue, tally, progress) {
                        queue.fail(error);
                    }
                }
            });
        }
    });
    if !queue.finish()? {
        return Err(Error::misuse(target_name, "the restore was stopped")
            .retry(Retry::Now)
            .remedy("the target is incomplete: run again, only what differs is written"));
    }
    flush(flusher, target_name)?;
    Ok(Restored {
        disk_bytes: disk.bytes,
        written_bytes: tally.written.into_inner(),
        fetched_bytes: tally.fetched.into_inner(),
        same_blocks: tally.same.into_inner(),
        unread_blocks: tally.unread.into_inner(),
    })
}

/// Does one task and tells the queue.
fn work<D: Disk>(
    hand: &mut Span<'_, D>,
    task: Task,
    job: &Job<'_>,
    queue: &Queue,
    tally: &Tally,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let bytes = |wanted: &[Wanted]| wanted.len() as u64 * BLOCK_BYTES as u64;
    let disk = job.disk;
    match task {
        Task::Look(leaf) => {
            let wanted = wherever_it_is(job, |_| hand.look(disk, leaf, tally))?;
            queue.looked(leaf, &wanted);
            progress.advance(span::span_bytes(disk, leaf).saturating_sub(bytes(&wanted)), 0);
        }
        Task::Bring(segment, mut wanted) => {
            let fetched = wherever_it_is(job, |objects| {
                hand.bring(disk, segment, &mut wanted, objects, tally)
            })?;
            queue.brought();
            progress.advance(bytes(&wanted), fetched);
        }
    }
    Ok(())
}

/// Reads from where things were listed, and once more from where they are now, if something was moved away in between.
fn wherever_it_is<T>(
    job: &Job<'_>,
    mut read: impl FnMut(&Objects) -> Result<T, Error>,
) -> Result<T, Error> {
    match read(job.objects) {
        Err(error) if error.is_missing() => match job.gate.moved()? {
            Some(objects) => read(&objects),
            None => Err(error),
        },
        other => other,
    }
}

/// The server's segments, and their objects' lengths.
#[derive(Clone)]
pub(crate) struct Objects(Arc<HashMap<SegmentId, usize>>);

impl Objects {
    /// Lists them.
    fn list(access: &Access, server: ServerId) -> Result<Self, Error> {
        let mut here = HashMap::new();
        for facts in list_all(&*access.store, &names::segment_prefix(&server))? {
            if let Some(segment) = names::segment_of(&server, &facts.name) {
                here.insert(segment, usize::try_from(facts.bytes).unwrap_or(usize::MAX));
            }
        }
        Ok(Self(Arc::new(here)))
    }

    /// The length of a segment's object, where reading all of it to get at so many blocks is little waste: a call costs more
    /// than some bytes, it lies where it was written, and what is wanted of it comes to at least its own length.
    fn worth_reading_whole(
        &self,
        frames: &FrameReader,
        segment: &SegmentId,
        blocks: usize,
    ) -> Option<usize> {
        if frames.access().store.is_near() {
            return None;
        }
        let bytes = *self.0.get(segment)?;
        let unmoved = frames.holders(segment) == [*segment];
        let wanted = blocks.saturating_mul(BLOCK_BYTES);
        // What does not compress takes as much there as here, and a table.
        let worth = wanted.saturating_add(wanted / 16) >= bytes;
        (unmoved && bytes <= SEGMENT_BYTES_MAX && worth).then_some(bytes)
    }
}

fn flush<D: Disk>(mut target: D, target_name: &str) -> Result<(), Error> {
    let about = |error: hal::disk::DiskError| Error::from(error).on(target_name);
    let request =
        Request { token: 0, operation: Operation::Flush, offset: 0, length: 0, buffer: None };
    target.run(request).map_err(about)?.result.map_err(about)
}

fn check_target(
    disk: &DiskState,
    geometry: &hal::disk::Geometry,
    target_name: &str,
) -> Result<(), Error> {
    if geometry.read_only {
        return Err(Error::refused(target_name, "is read-only").remedy("choose another target"));
    }
    if geometry.bytes < disk.bytes {
        return Err(Error::misuse(
            target_name,
            format!("has {} bytes, but disk {} has {}", geometry.bytes, disk.name, disk.bytes),
        )
        .remedy("choose a target of at least that size; nothing was written"));
    }
    if !disk.bytes.is_multiple_of(u64::from(geometry.request_align_bytes.max(1))) {
        return Err(Error::misuse(
            target_name,
            format!(
                "takes whole sectors of {} bytes, and disk {} ({} bytes) ends within one",
                geometry.request_align_bytes, disk.name, disk.bytes
            ),
        )
        .remedy("restore to a file; nothing was written"));
    }
    Ok(())
}

/// Reads the whole map once: every page must open, every segment must be there, unread blocks are counted.
fn check_point(
    frames: &FrameReader,
    disk: &DiskState,
    options: &Options,
    objects: &Objects,
) -> Result<(), Error> {
    frames.know_lengths(Arc::clone(&objects.0));
    check_named(frames, disk, options, objects, &Named::of(frames, &disk.root)?)
}

fn check_named(
    frames: &FrameReader,
    disk: &DiskState,
    options: &Options,
    objects: &Objects,
    named: &Named,
) -> Result<(), Error> {
    let Named { segments, unread, data } = named;
    if *unread > 0 && !options.accept_unread {
        return Err(Error::corrupt(
            &disk.name,
            format!("{unread} blocks of this point are unknown: the source could not read them"),
        )
        .remedy("choose an older point, or accept it with --accept-unread; nothing was written"));
    }
    if let Some(Room { place, free_bytes }) = &options.room {
        let wanted = data.saturating_mul(BLOCK_BYTES as u64).min(disk.bytes);
        if wanted > *free_bytes {
            let what = format!(
                "has {free_bytes} bytes free, and disk {} holds {wanted} bytes; nothing was written",
                disk.name
            );
            return Err(
                Error::exhausted(place, what).remedy("make room, or restore to another place")
            );
        }
    }
    for segment in segments {
        let holders = frames.holders(segment);
        if let Some(missing) = holders.iter().find(|holder| !objects.0.contains_key(holder)) {
            return Err(Error::corrupt(names::segment(&frames.server(), missing), "is missing")
                .remedy("restore another point or from --secondary; nothing was written"));
        }
    }
    Ok(())
}

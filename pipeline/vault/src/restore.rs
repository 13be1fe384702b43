//! Brings a disk of a point back onto a target, writing only what differs.
//!
//! Workers take leaf spans; each fetches the frames that its span needs in a few ranged reads, opens them and
//! writes whole runs of blocks. Every block is checked against its fingerprint before it is written.
//! Nothing is written before the map of the whole disk has been read and every segment it names was found.

/// What is fetched and opened for one span.
pub(crate) mod fetch;
/// One span onto the target.
mod span;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use hal::disk::{Disk, Operation, Request};
use pipeline::ids::SegmentId;

use crate::error::{Error, Retry};
use crate::frames::FrameReader;
use crate::map::{Entry, PageSource, leaves_of, walk_leaves};
use crate::names;
use crate::record::DiskState;
use crate::store::list_all;
use crate::writer::Progress;

/// How a disk is brought back.
#[derive(Clone)]
pub struct Options {
    /// Worker threads; each has one buffer of 4 MiB, two of 1 MiB, and reads of its own in flight.
    pub workers: usize,
    /// The target already holds something: compare first, write only blocks that differ. Otherwise the
    /// target is new and reads as zeros.
    pub compare: bool,
    /// Go on although blocks could not be read when the point was made; they are left as the target has them.
    pub accept_unread: bool,
    /// Set from outside to stop at the next span.
    pub stop: std::sync::Arc<AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            compare: true,
            accept_unread: false,
            stop: std::sync::Arc::default(),
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
    let about = |error: hal::disk::DiskError| Error::from(error).on(target_name);
    let geometry = target.geometry().map_err(about)?;
    check_target(disk, &geometry, target_name)?;
    check_point(frames, disk, options)?;
    progress.total(disk.bytes);
    let tally = Tally::default();
    let cursor = Mutex::new((0_u64, None::<Error>));
    let leaves = leaves_of(disk.bytes);
    let mut spans = Vec::with_capacity(options.workers.max(1));
    for _ in 1..options.workers.max(1) {
        spans.push(span::Span::new(
            frames,
            target.another().map_err(about)?,
            target_name,
            options,
        )?);
    }
    let flusher = target.another().map_err(about)?;
    spans.push(span::Span::new(frames, target, target_name, options)?);
    std::thread::scope(|scope| {
        for mut span in spans {
            let (cursor, tally) = (&cursor, &tally);
            scope.spawn(move || {
                while let Some(leaf) = next(cursor, leaves, options) {
                    let before = tally.fetched.load(Ordering::Relaxed);
                    if let Err(error) = span.restore(disk, leaf, tally) {
                        let mut state = cursor.lock().unwrap_or_else(PoisonError::into_inner);
                        state.1.get_or_insert(error);
                        return;
                    }
                    let fetched = tally.fetched.load(Ordering::Relaxed).saturating_sub(before);
                    progress.advance(span::span_bytes(disk, leaf), fetched);
                }
            });
        }
    });
    let (reached, failed) = cursor.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = failed {
        return Err(error);
    }
    if reached < leaves {
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

fn next(cursor: &Mutex<(u64, Option<Error>)>, leaves: u64, options: &Options) -> Option<u64> {
    let mut state = cursor.lock().unwrap_or_else(PoisonError::into_inner);
    if state.1.is_some() || state.0 >= leaves || options.stop.load(Ordering::Relaxed) {
        return None;
    }
    state.0 += 1;
    Some(state.0 - 1)
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
fn check_point(frames: &FrameReader, disk: &DiskState, options: &Options) -> Result<(), Error> {
    let mut segments: HashSet<SegmentId> = HashSet::new();
    let mut unread = 0_u64;
    walk_leaves(frames, &disk.root, &mut |visited| {
        segments.insert(visited.page.address.segment);
        if visited.level == 0 {
            for entry in &frames.leaf(&visited.page)?.entries {
                match entry {
                    Entry::Data(block) => {
                        segments.insert(block.address.segment);
                    }
                    Entry::Unread => unread += 1,
                    _ => {}
                }
            }
        }
        Ok(true)
    })?;
    if unread > 0 && !options.accept_unread {
        return Err(Error::corrupt(
            &disk.name,
            format!("{unread} blocks of this point are unknown: the source could not read them"),
        )
        .remedy("choose an older point, or accept it with --accept-unread; nothing was written"));
    }
    let prefix = names::segment_prefix(&frames.server());
    let listed = list_all(&*frames.access().store, &prefix)?;
    let here: HashSet<SegmentId> = listed
        .iter()
        .filter_map(|facts| names::segment_of(&frames.server(), &facts.name))
        .collect();
    for segment in segments {
        let holders = frames.holders(&segment);
        if let Some(missing) = holders.iter().find(|holder| !here.contains(holder)) {
            return Err(Error::corrupt(names::segment(&frames.server(), missing), "is missing")
                .remedy("restore another point or from --secondary; nothing was written"));
        }
    }
    Ok(())
}

//! A point into a page blob, which is a fixed VHD when it is done: a managed disk that is uploaded, or the first of a seed.
//!
//! It may be killed at any moment and run again: what was sent is found there, and not sent again. The blob is no VHD before
//! all of it is there. It refuses to write over something that is not part of the point, unless it is told to.

use core::sync::atomic::AtomicBool;
use std::sync::Arc;

use hal::disk::{Disk, Operation, Request};
use pipeline::ids::PointId;
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::record::DiskState;
use pipeline_vault::restore::{self, Restored};
use pipeline_vault::writer::Progress;
use pipeline_vault::{Blame, Error};

use super::content::ReadAt;
use super::mark::Mark;
use super::page_disk::{Holds, PageDisk, Sent};
use super::pages::Pages;
use super::vhd::{FOOTER_BYTES, Owner, footer, padded, whole};

#[cfg(test)]
mod tests;

/// Requests in flight to one blob. By the rates that Azure gives one blob, more bring nothing.
pub const IN_FLIGHT: usize = 32;
/// So much of a blob is asked about, or cleared, at once.
const STRETCH_BYTES: u64 = 16 << 30;

/// A disk of a point, and what opens it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// What opens its frames.
    pub frames: &'a FrameReader,
    /// The disk as the point has it.
    pub disk: &'a DiskState,
    /// The point.
    pub point: PointId,
    /// When it was made, in milliseconds since 1970.
    pub time: u64,
}

impl Source<'_> {
    /// Whose the whole VHD is.
    pub(super) fn owner(&self) -> Owner {
        Owner::of(self.point, self.disk.id)
    }
}

/// What goes on top of the point when that is there: what a repair changed.
#[derive(Clone, Copy)]
pub struct OnTop<'a> {
    /// The disk as it shall be.
    pub content: &'a dyn ReadAt,
    /// The blocks that may differ from the point, or may have differed in an earlier run.
    pub blocks: &'a [u64],
}

/// How it is done.
#[derive(Clone)]
pub struct How {
    /// What the blob is called in messages: never its address, which opens it.
    pub name: String,
    /// Threads that fetch and open.
    pub workers: usize,
    /// Requests to the blob in flight.
    pub in_flight: usize,
    /// Go on although blocks could not be read when the point was made; they become zeros.
    pub accept_unread: bool,
    /// Whatever is in the blob may go.
    pub overwrite: bool,
    /// Set from outside to stop.
    pub stop: Arc<AtomicBool>,
}

impl How {
    /// The usual way, for a blob of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            workers: restore::WORKERS_MAX,
            in_flight: IN_FLIGHT,
            accept_unread: false,
            overwrite: false,
            stop: Arc::default(),
        }
    }

    pub(super) fn options(&self) -> restore::Options {
        restore::Options {
            workers: self.workers,
            compare: false,
            accept_unread: self.accept_unread,
            room: None,
            stop: Arc::clone(&self.stop),
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hydrated {
    /// What came from the vault.
    pub restored: Restored,
    /// What went to the blob.
    pub sent: Sent,
    /// Blocks that were written on top.
    pub on_top_blocks: u64,
    /// An earlier run had begun it.
    pub resumed: bool,
}

impl Hydrated {
    /// Adds what another step did.
    pub(super) fn add(&mut self, more: &Self) {
        self.restored.written_bytes += more.restored.written_bytes;
        self.restored.fetched_bytes += more.restored.fetched_bytes;
        self.restored.same_blocks += more.restored.same_blocks;
        self.restored.unread_blocks += more.restored.unread_blocks;
        self.sent.put_bytes += more.sent.put_bytes;
        self.sent.puts += more.sent.puts;
        self.sent.clears += more.sent.clears;
        self.sent.kept_bytes += more.sent.kept_bytes;
        self.on_top_blocks += more.on_top_blocks;
    }
}

/// Brings a point into a page blob, and what goes on top of it.
///
/// Errors: a blob of another length than the VHD has; one that holds something else; those of a restore.
pub fn fill(
    source: &Source<'_>,
    on_top: Option<OnTop<'_>>,
    pages: &Arc<dyn Pages>,
    how: &How,
    progress: &dyn Progress,
) -> Result<Hydrated, Error> {
    let Source { disk, point, .. } = *source;
    let checked = restore::check_disk(source.frames, disk, &how.options())?;
    let bytes = check_length(&**pages, disk, how)?;
    let mark = Mark::read(&**pages, bytes)?;
    let moving = Mark::Moving { from: None, to: point, disk: disk.id };
    let resumed = mark == moving || mark == Mark::Whole(source.owner());
    let holds = if resumed { Holds::PartOfIt } else { Holds::Nothing };
    if !resumed {
        make_room(&**pages, bytes, how)?;
    }
    moving.put(&**pages, bytes)?;
    let blob = PageDisk::new(Arc::clone(pages), bytes - FOOTER_BYTES as u64, holds, how.in_flight)?;
    let handle = blob.another().map_err(|error| Error::from(error).on(&how.name))?;
    let restored = restore::restore_checked(&checked, handle, &how.name, &how.options(), progress);
    let restored = restored.map_err(|error| in_full(error, &blob, how))?;
    let mut on_top_blocks = 0;
    if let Some(on_top) = on_top {
        let laid = lay_on(&mut blob.exact(), &on_top, &how.name);
        on_top_blocks = laid.map_err(|error| in_full(error, &blob, how))?;
    }
    finish(&**pages, source, source.owner(), bytes)?;
    Ok(Hydrated { restored, sent: blob.sent(), on_top_blocks, resumed })
}

/// Makes the blob a whole VHD.
pub(super) fn finish(
    pages: &dyn Pages,
    source: &Source<'_>,
    owner: Owner,
    bytes: u64,
) -> Result<(), Error> {
    let at = bytes - FOOTER_BYTES as u64;
    Ok(pages.put(at, &footer(at, owner, source.time)?)?)
}

/// Writes blocks as they shall be onto a disk that holds the point, and waits until they are there. Gives how many.
pub fn lay_on<D: Disk>(disk: &mut D, on_top: &OnTop<'_>, name: &str) -> Result<u64, Error> {
    let about = |error: hal::disk::DiskError| Error::from(error).on(name);
    let mut buffer = Some(disk.buffer(BLOCK_BYTES).map_err(about)?);
    let mut run = |operation, offset, length: usize, buffer| {
        let length = u32::try_from(length).expect("at most a block");
        let done =
            disk.run(Request { token: 0, operation, offset, length, buffer }).map_err(about)?;
        done.result.map_err(about)?;
        Ok::<_, Error>(done.buffer)
    };
    let bytes = on_top.content.bytes();
    let mut blocks = 0;
    for number in on_top.blocks {
        let offset = number.saturating_mul(BLOCK_BYTES as u64);
        let left = usize::try_from(bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = left.min(BLOCK_BYTES);
        if length == 0 {
            return Err(Error::misuse(name, format!("has no block {number} to change")));
        }
        let mut filled = buffer.take().ok_or_else(|| Error::device(name, "lost a buffer"))?;
        on_top.content.read_at(offset, &mut filled.as_mut()[..length])?;
        buffer = run(Operation::Write, offset, length, Some(filled))?;
        blocks += 1;
    }
    run(Operation::Flush, 0, 0, None)?;
    Ok(blocks)
}

/// Makes a file or a device, on which the disk was brought, a whole VHD: zeros behind the disk, and the last sector.
pub fn close<D: Disk>(target: &mut D, source: &Source<'_>, name: &str) -> Result<(), Error> {
    let about = |error: hal::disk::DiskError| Error::from(error).on(name);
    let has = target.geometry().map_err(about)?.bytes;
    let (from, end) = (source.disk.bytes, padded(source.disk.bytes));
    if has != whole(source.disk.bytes) {
        let what = format!("has {has} bytes, and the VHD has {}", whole(source.disk.bytes));
        return Err(Error::misuse(name, what).remedy("name a new file"));
    }
    let mut buffer = target.buffer(FOOTER_BYTES).map_err(about)?;
    buffer.as_mut()[..FOOTER_BYTES].copy_from_slice(&footer(end, source.owner(), source.time)?);
    let mut run = |operation, offset, length: u64, buffer| {
        let length = u32::try_from(length).expect("at most 20 MiB");
        let done = target.run(Request { token: 0, operation, offset, length, buffer });
        done.and_then(|done| done.result).map_err(about)
    };
    if from < end {
        run(Operation::Zero, from, end - from, None)?;
    }
    run(Operation::Write, end, FOOTER_BYTES as u64, Some(buffer))?;
    run(Operation::Flush, 0, 0, None)
}

/// The blocks of either list, in order.
#[must_use]
pub fn either(one: &[u64], other: &[u64]) -> Vec<u64> {
    let mut all: Vec<u64> = one.iter().chain(other).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The blob's length, if it is that of the disk's VHD.
pub(super) fn check_length(pages: &dyn Pages, disk: &DiskState, how: &How) -> Result<u64, Error> {
    let bytes = pages.bytes().map_err(Error::from)?;
    if bytes == whole(disk.bytes) {
        return Ok(bytes);
    }
    let what = format!(
        "has {bytes} bytes, and the VHD of disk {} has {}: {} of disk, padded, and {FOOTER_BYTES}",
        disk.name,
        whole(disk.bytes),
        padded(disk.bytes),
    );
    Err(Error::misuse(&how.name, what).remedy("make it anew with that length; nothing was written"))
}

/// Makes sure that nothing is in the blob.
pub(super) fn make_room(pages: &dyn Pages, bytes: u64, how: &How) -> Result<(), Error> {
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at + STRETCH_BYTES);
        if !pages.ranges(at, end).map_err(Error::from)?.is_empty() {
            if !how.overwrite {
                let what = "holds something that is no part of this point; nothing was written";
                return Err(Error::refused(&how.name, what)
                    .remedy("name an empty one, or say that its content may go: --overwrite"));
            }
            pages.clear(at, end - at).map_err(Error::from)?;
        }
        at = end;
    }
    Ok(())
}

/// A disk's error is short: what it was made of says more.
pub(super) fn in_full(error: Error, blob: &PageDisk, how: &How) -> Error {
    match blob.failure() {
        Some(full) if error.blame != Blame::Corrupt => {
            let mut full = full;
            full.object.clone_from(&how.name);
            let remedy = format!("{}; run the same again: it goes on from there", full.remedy);
            full.remedy(remedy.trim_start_matches("; ").to_owned())
        }
        _ => error,
    }
}

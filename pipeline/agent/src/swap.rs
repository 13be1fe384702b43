//! Parts of disks whose content is nobody's: swap that is in use. Its header, with name and UUID, is kept; the rest is never
//! read and sent as zeros. An image of a hibernated system is disarmed, so that no replica ever resumes it.
//!
//! Only what the kernel uses as swap now and what has the mark of swap where it is thought to lie is left out. A mark alone
//! says nothing: it outlives what it was for. Swap on device mappers, md and btrfs is sent as it is.

use core::ops::Range;
use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use hal::disk::Disk;
use hal_linux::extents::extents_of;
use pipeline::limits::BLOCK_BYTES;

use crate::blocks::BlockSet;
use crate::capture::{Filled, Source};
use crate::devices::{Leaf, Partition, partitions};

/// The first page of an area, and what it says.
mod header;

pub use header::{Mark, mark_of};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// What is not sent as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    /// Of each disk, bytes that are nobody's.
    nobodys: Vec<Vec<Range<u64>>>,
    /// Where headers of hibernated systems are: disk, and byte on it.
    armed: Vec<(usize, u64)>,
}

/// A part of a protected disk: which, first byte, bytes.
pub(crate) type Part = (usize, u64, u64);

impl Swap {
    /// What is swap now on these disks, each with its source at the same place. Looked at before every cut, and after it
    /// once more: where `blank` has become smaller meanwhile, the cut lacks what is there now, and is made again.
    #[must_use]
    pub fn find<D: Disk>(leaves: &[Leaf], sources: &mut [Source<D>]) -> Self {
        let swaps = fs::read("/proc/swaps").unwrap_or_default();
        let mut swap = Self { nobodys: vec![Vec::new(); leaves.len()], armed: Vec::new() };
        for area in in_use(&String::from_utf8_lossy(&swaps)) {
            swap.add_area(&area, leaves, sources);
        }
        for (disk, leaf) in leaves.iter().enumerate() {
            for Partition { start, .. } in partitions(leaf) {
                if let Some(Mark::Hibernated(_)) = mark_at(sources, disk, start) {
                    swap.armed.push((disk, start));
                }
            }
        }
        swap
    }

    /// Blocks of a disk that are never read and sent as zeros.
    #[must_use]
    pub fn blank(&self, disk: usize, blocks: u64) -> BlockSet {
        let mut set = BlockSet::new(blocks);
        for range in self.nobodys.get(disk).into_iter().flatten() {
            set.insert_range(range.start.div_ceil(BLOCK), range.end / BLOCK);
        }
        set
    }

    /// Whether everything that is left out by this is left out by another too: nothing has become somebody's.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let covered = |disk: usize, range: &Range<u64>| {
            let others = other.nobodys.get(disk).into_iter().flatten();
            others.into_iter().any(|wide| wide.start <= range.start && range.end <= wide.end)
        };
        let disks = self.nobodys.iter().enumerate();
        disks.into_iter().all(|(disk, ranges)| ranges.iter().all(|range| covered(disk, range)))
    }

    /// Makes plain swap of the header of a hibernated system, where blocks that were read hold one. Whoever reads a disk
    /// calls this for everything before it is compared or sent.
    pub fn disarm<B: AsMut<[u8]>>(&self, filled: &mut Filled<B>) {
        let start = filled.first * BLOCK;
        for (disk, at) in &self.armed {
            let Some(at) = at.checked_sub(start).filter(|_| *disk == filled.disk) else { continue };
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            if let Some(page) = filled.bytes_mut().get_mut(at..) {
                header::disarm(page);
            }
        }
    }

    /// Where headers of hibernated systems are on a disk, in bytes.
    #[must_use]
    pub fn armed(&self, disk: usize) -> Vec<u64> {
        self.armed.iter().filter(|(place, _)| *place == disk).map(|(_, at)| *at).collect()
    }

    fn add_area<D: Disk>(&mut self, path: &Path, leaves: &[Leaf], sources: &mut [Source<D>]) {
        let Ok(found) = fs::metadata(path) else { return };
        let parts: Vec<Part> = if found.file_type().is_block_device() {
            place_of(found.rdev(), leaves).into_iter().collect()
        } else {
            file_parts(path, found.dev(), leaves).unwrap_or_default()
        };
        // Where the first part is not where the header is, all that was concluded is wrong.
        let Some((disk, at, _)) = parts.first() else { return };
        let Some(Mark::Swap { page_bytes }) = mark_at(sources, *disk, *at) else { return };
        for (number, (disk, at, bytes)) in parts.into_iter().enumerate() {
            let kept = if number == 0 { page_bytes } else { 0 };
            if let Some(ranges) = self.nobodys.get_mut(disk) {
                ranges.push(at + kept.min(bytes)..at + bytes);
            }
        }
    }
}

/// A block of a disk, its header of a hibernated system disarmed where it has one of these.
#[must_use]
pub fn disarmed<'a>(armed: &[u64], block: u64, content: &'a [u8]) -> Cow<'a, [u8]> {
    let mut content = Cow::Borrowed(content);
    for at in armed.iter().filter(|at| **at / BLOCK == block) {
        let at = usize::try_from(at % BLOCK).unwrap_or(usize::MAX);
        if let Some(page) = content.to_mut().get_mut(at..) {
            header::disarm(page);
        }
    }
    content
}

/// What is swap now, as text that changes whenever that does: names and sizes, and which file stands under a name. How much
/// of it is in use is left out: it changes all the time.
#[must_use]
pub fn areas() -> String {
    let swaps = fs::read("/proc/swaps").unwrap_or_default();
    let swaps = String::from_utf8_lossy(&swaps);
    let mut areas = String::new();
    for (line, path) in swaps.lines().skip(1).zip(in_use(&swaps)) {
        let found = fs::metadata(path).ok();
        let found = found
            .map(|file| (file.dev(), file.ino(), file.rdev(), file.ctime(), file.ctime_nsec()));
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        areas.push_str(&format!("{words:?} {found:?}\n"));
    }
    areas
}

/// Files and devices that are swap now: a line of titles, then one for each, its name first.
fn in_use(swaps: &str) -> Vec<PathBuf> {
    let lines = swaps.lines().skip(1);
    lines
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| unescaped(name).into())
        .collect()
}

/// The kernel writes blanks and backslashes in names as `\040`.
fn unescaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                text.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// Where a block device lies on the disks: a disk, or a partition of one.
fn place_of(number: u64, leaves: &[Leaf]) -> Option<Part> {
    let number = (rustix::fs::major(number), rustix::fs::minor(number));
    if let Some(disk) = leaves.iter().position(|leaf| leaf.number == number) {
        return leaves.get(disk).map(|leaf| (disk, 0, leaf.bytes));
    }
    leaves.iter().enumerate().find_map(|(disk, leaf)| {
        let found = partitions(leaf).into_iter().find(|found| found.number == number)?;
        Some((disk, found.start, found.bytes))
    })
}

/// Where a file lies on the disks, in its order; `None` where that is not sure.
pub(crate) fn file_parts(path: &Path, device: u64, leaves: &[Leaf]) -> Option<Vec<Part>> {
    let (disk, start, bytes) = place_of(device, leaves)?;
    let extents = extents_of(path).ok()?;
    extents
        .iter()
        .map(|extent| {
            let end = extent.on_device.checked_add(extent.bytes).filter(|end| *end <= bytes);
            end.map(|_| (disk, start + extent.on_device, extent.bytes))
        })
        .collect()
}

/// The mark at a place of a disk, as the disk has it now.
fn mark_at<D: Disk>(sources: &mut [Source<D>], disk: usize, at: u64) -> Option<Mark> {
    sources.get_mut(disk)?.read_head(at).and_then(|head| mark_of(head.as_ref()))
}

#[cfg(test)]
mod tests;

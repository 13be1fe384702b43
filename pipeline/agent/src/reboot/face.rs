//! What of a disk changes whenever another system takes it into use: its partitions, and of each file system what every
//! mount for writing changes. Two faces that are the same, one taken after the last write of one start of the machine and
//! one before the first of the next, say that no file system of the disk was mounted for writing in between.
//!
//! What says nothing of its own past and is small (loaders, firmware's partition, what lies between partitions, swap) is
//! not believed but looked at again. What is large and says nothing has no face. It is read past the page cache, and never
//! written to.

use core::ops::Range;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use hal_linux::AlignedBuffer;
use pipeline::seal::digest;

use crate::devices::{Leaf, Partition, partitions};

/// A block.
pub const BLOCK_BYTES: u64 = pipeline::limits::BLOCK_BYTES as u64;
/// What is sent again of a disk at most, beside swap.
const AGAIN_BYTES_MAX: u64 = 1 << 30;
/// Read of each partition: every kind's mark lies in it.
const HEAD_BYTES: usize = 64 * 1024;
/// Past the page cache.
const DIRECT: i32 = 0o40_000;

/// The superblock of ext2, ext3 and ext4: where it is, how long, and what in it says what.
const EXT_AT: usize = 1024;
const EXT_BYTES: usize = 1024;
const EXT_MAGIC_AT: usize = 56;
const EXT_MAGIC: [u8; 2] = 0xEF53_u16.to_le_bytes();
const EXT_STATE_AT: usize = 58;
const EXT_INCOMPATIBLE_AT: usize = 96;
const EXT_LAST_MOUNTED_AT: usize = 136;
const EXT_LAST_MOUNTED_BYTES: usize = 64;
/// Unmounted in order, and no error found.
const EXT_CLEAN: u8 = 1;
/// Its journal is to be played back.
const EXT_RECOVER: u8 = 4;
/// Loaders write to files below this before any kernel runs.
const LOADER_FOLDER: &[u8] = b"/boot";

/// Signatures of swap, which end the first page.
const SWAP_MARKS: [&[u8]; 2] = [b"SWAPSPACE2", b"S1SUSPEND\0"];
const PAGES: [usize; 3] = [4096, 16_384, 65_536];

/// A disk's face.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Face {
    /// What is the same while nobody took the disk into use.
    pub digest: [u8; 32],
    /// Bytes of the disk of which nothing tells whether they were written to.
    pub again: Vec<Range<u64>>,
}

/// Reads bytes of a disk.
pub type Read<'a> = dyn FnMut(u64, &mut [u8]) -> io::Result<()> + 'a;

/// The face of a protected disk as it is now.
///
/// # Errors
/// It has none: a file system or a use of it is not known here; or it cannot be read.
pub fn of_leaf(leaf: &Leaf) -> Result<Face, String> {
    let on = |error: io::Error| format!("it cannot be read: {error}");
    let file = OpenOptions::new().read(true).custom_flags(DIRECT).open(&leaf.path).map_err(on)?;
    let parts: Vec<Range<u64>> = partitions(leaf)
        .iter()
        .map(|Partition { start, bytes, .. }| *start..start + bytes)
        .collect();
    let mut buffer = AlignedBuffer::zeroed(HEAD_BYTES).map_err(|error| error.to_string())?;
    of_parts(leaf.bytes, &parts, &mut |at, into| read(&file, &mut buffer, at, into))
}

fn read(file: &File, buffer: &mut AlignedBuffer, at: u64, into: &mut [u8]) -> io::Result<()> {
    let length = into.len().next_multiple_of(4096).min(HEAD_BYTES);
    let whole = buffer.as_mut().get_mut(..length).unwrap_or_default();
    file.read_exact_at(whole, at)?;
    into.copy_from_slice(whole.get(..into.len()).unwrap_or_default());
    Ok(())
}

/// The face of a disk of so many bytes with these partitions in their order; with none it is one file system itself.
///
/// # Errors
/// As `of_leaf`.
pub fn of_parts(bytes: u64, parts: &[Range<u64>], read: &mut Read<'_>) -> Result<Face, String> {
    let whole = Range { start: 0, end: bytes };
    let parts = if parts.is_empty() { core::slice::from_ref(&whole) } else { parts };
    let mut words = bytes.to_le_bytes().to_vec();
    let (mut again, mut nobodys) = (Vec::new(), Vec::new());
    let mut end = 0;
    for part in parts {
        if part.start > end {
            again.push(end..part.start);
        }
        end = end.max(part.end);
        words.extend(part.start.to_le_bytes());
        words.extend(part.end.to_le_bytes());
        match kind_of(part, read)? {
            Kind::Ext(superblock) if is_loaders(&superblock) => {
                again.push(part.clone());
                words.push(b'l');
            }
            Kind::Ext(superblock) => {
                words.push(b'e');
                words.extend(superblock);
            }
            Kind::Swap => {
                nobodys.push(part.clone());
                words.push(b's');
            }
            Kind::Unknown => {
                again.push(part.clone());
                words.push(b'u');
            }
        }
    }
    if end < bytes {
        again.push(end..bytes);
    }
    let sum = again.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end - range.start));
    if sum > AGAIN_BYTES_MAX {
        return Err(
            "nothing tells whether another system wrote to it: it is more than ext4".to_owned()
        );
    }
    again.extend(nobodys);
    Ok(Face { digest: digest(&[&words]).0, again })
}

enum Kind {
    Ext(Vec<u8>),
    Swap,
    Unknown,
}

fn kind_of(part: &Range<u64>, read: &mut Read<'_>) -> Result<Kind, String> {
    let length = usize::try_from(part.end - part.start).unwrap_or(usize::MAX).min(HEAD_BYTES);
    let mut head = vec![0; length];
    read(part.start, &mut head).map_err(|error| format!("it cannot be read: {error}"))?;
    for page in PAGES {
        let mark = page.checked_sub(10).and_then(|at| head.get(at..page));
        if mark.is_some_and(|mark| SWAP_MARKS.contains(&mark)) {
            return Ok(Kind::Swap);
        }
    }
    let superblock = head.get(EXT_AT..EXT_AT + EXT_BYTES).unwrap_or_default();
    let field = |at: usize, bytes: usize| superblock.get(at..at + bytes).unwrap_or_default();
    if field(EXT_MAGIC_AT, 2) != EXT_MAGIC {
        return Ok(Kind::Unknown);
    }
    let has = |at: usize, flag: u8| field(at, 1).first().is_some_and(|byte| byte & flag != 0);
    // One that was not unmounted in order is written to before anybody can look: its journal is played back.
    if !has(EXT_STATE_AT, EXT_CLEAN) || has(EXT_INCOMPATIBLE_AT, EXT_RECOVER) {
        return Err("a file system on it was not unmounted in order".to_owned());
    }
    Ok(Kind::Ext(superblock.to_vec()))
}

/// Whether a loader may write to a file of it while the machine starts: where it was mounted last says so.
fn is_loaders(superblock: &[u8]) -> bool {
    let end = EXT_LAST_MOUNTED_AT + EXT_LAST_MOUNTED_BYTES;
    let folder = superblock.get(EXT_LAST_MOUNTED_AT..end).unwrap_or_default();
    folder.starts_with(LOADER_FOLDER)
}

#[cfg(test)]
mod tests;

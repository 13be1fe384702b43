//! Buffers that are used over and over: some for a whole extent, some for a block, all there and touched from the start.

use hal::disk::{Disk, DiskError};
use pipeline::limits::{BLOCK_BYTES, EXTENT_BYTES_MAX};

use super::Trouble;

/// A run of so many blocks is worth a large buffer.
const LARGE_FROM: u32 = 4;
/// Extents whose reading failed and that wait to be read block by block. More at once is a disk that is gone.
pub(super) const FAILED_MAX: usize = 4096;

/// Buffers.
#[derive(Debug)]
pub struct Pool<B> {
    large: Vec<B>,
    small: Vec<B>,
    /// What could not be read at once: disk, first block, how many.
    pub(super) failed: Vec<(usize, u64, u32)>,
    /// For single sectors.
    pub(super) scratch: Option<B>,
}

impl<B: AsRef<[u8]> + AsMut<[u8]> + Send> Pool<B> {
    /// A pool of so many bytes, half of it in buffers of 1 MiB and half in buffers of 64 KiB, aligned for a disk like this
    /// one; at least one of each.
    pub fn new<D: Disk<Buffer = B>>(disk: &mut D, bytes: usize) -> Result<Self, DiskError> {
        let mut make = |count: usize, length: usize| {
            (0..count).map(|_| touched(disk.buffer(length)?)).collect::<Result<Vec<B>, DiskError>>()
        };
        let large = make((bytes / 2 / EXTENT_BYTES_MAX).max(1), EXTENT_BYTES_MAX)?;
        let left = bytes.saturating_sub(large.len() * EXTENT_BYTES_MAX);
        let small = make((left / BLOCK_BYTES).max(1), BLOCK_BYTES)?;
        let scratch = make(1, BLOCK_BYTES)?.pop();
        Ok(Self { large, small, failed: Vec::with_capacity(FAILED_MAX), scratch })
    }

    /// How many buffers are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.large.len() + self.small.len()
    }

    /// A buffer for the beginning of a run, and how many blocks of it are to be read into it.
    pub(super) fn take(&mut self, run: u32) -> Option<(B, u32)> {
        let large = if run >= LARGE_FROM { self.large.pop() } else { None };
        if let Some(buffer) = large {
            return Some((buffer, run));
        }
        if let Some(buffer) = self.small.pop() {
            return Some((buffer, 1));
        }
        self.large.pop().map(|buffer| (buffer, run))
    }

    /// A buffer comes back.
    pub(super) fn give(&mut self, buffer: B) {
        // Both lists once held all of their kind, so that neither grows.
        if buffer.as_ref().len() >= EXTENT_BYTES_MAX {
            self.large.push(buffer);
        } else {
            self.small.push(buffer);
        }
    }

    /// Remembers what could not be read.
    pub(super) fn fail(&mut self, disk: usize, first: u64, blocks: u32) -> Result<(), Trouble> {
        if self.failed.len() == FAILED_MAX {
            let words = format_args!("more than {FAILED_MAX} places cannot be read");
            let error = DiskError::words(hal::disk::ErrorKind::Medium, words);
            return Err(Trouble::Disk(disk, error));
        }
        self.failed.push((disk, first, blocks));
        Ok(())
    }
}

/// Memory that was touched is there: under a freeze none is to be asked for.
fn touched<B: AsMut<[u8]>>(mut buffer: B) -> Result<B, DiskError> {
    for page in buffer.as_mut().chunks_mut(4096) {
        page.fill(1);
    }
    Ok(buffer)
}

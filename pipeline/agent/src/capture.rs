//! Blocks read from whole disks, many at a time, into memory that was there before.
//!
//! A sector that cannot be read is never zeros: its block is named. Nothing is allocated from the first read to the last.

use hal::disk::{Completion, Disk, DiskError, ErrorKind, Geometry, Operation, Request};
use pipeline::limits::{BLOCK_BYTES, EXTENT_BLOCKS_MAX};

use crate::blocks::BlockSet;

/// What was read under a freeze, until it is sent.
mod arena;
/// How fast disks may be read.
pub mod pace;
/// Buffers that are used over and over.
mod pool;
/// What is left of a block whose disk cannot read it.
mod salvage;

pub use arena::{Arena, Held};
pub use pool::Pool;
pub use salvage::Unread;

/// One protected disk, open for reading past the page cache.
#[derive(Debug)]
pub struct Source<D> {
    /// The disk.
    pub disk: D,
    /// Its shape when it was opened.
    geometry: Geometry,
    /// Requests under way.
    flying: usize,
    /// Where the next request begins, in blocks.
    next: u64,
}

/// Blocks that were read: the first of them, how many, and their bytes at the beginning of the buffer, padded with zeros to
/// whole blocks at the end of the disk.
#[derive(Debug)]
pub struct Filled<B> {
    /// Which disk, by its place.
    pub disk: usize,
    /// The first block.
    pub first: u64,
    /// How many, at least 1 and at most 16.
    pub blocks: u32,
    buffer: B,
}

impl<B> Filled<B> {
    /// Blocks that a buffer holds from its beginning on.
    pub fn new(disk: usize, first: u64, blocks: u32, buffer: B) -> Self {
        Self { disk, first, blocks, buffer }
    }

    /// The buffer, to be given back to its pool.
    #[must_use]
    pub fn into_buffer(self) -> B {
        self.buffer
    }
}

impl<B: AsRef<[u8]>> Filled<B> {
    /// What the blocks hold.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let length = block_bytes(self.blocks);
        self.buffer.as_ref().get(..length).unwrap_or_default()
    }
}

/// Why reading ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// There is no room for all of it: thaw, and read more before the next freeze.
    Full,
    /// Whoever asked does not want it any more.
    Stopped,
    /// A disk failed as a whole: which, and how.
    Disk(usize, DiskError),
    /// Whoever took the blocks failed.
    Taker(String),
}

/// Who takes what is read.
pub trait Taker<B> {
    /// Takes blocks; gives the buffer back where it is done with it, whether that went well or not.
    fn take(&mut self, filled: Filled<B>) -> (Option<B>, Result<(), Trouble>);

    /// A block cannot be read.
    fn unread(&mut self, unread: Unread) -> Result<(), Trouble>;

    /// Asked before every request, with its bytes: it may wait here, or stop everything.
    fn before(&mut self, bytes: usize) -> Result<(), Trouble>;
}

impl<D: Disk> Source<D> {
    /// A disk to be read from.
    pub fn new(mut disk: D) -> Result<Self, DiskError> {
        let geometry = disk.geometry()?;
        Ok(Self { disk, geometry, flying: 0, next: 0 })
    }

    /// Its size in blocks; the last may be short.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.geometry.bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// The first bytes of a part of the disk, at most a block: what marks and tables are in. `None` where it cannot be read,
    /// or ends before. Nothing else may be under way.
    pub fn read_head(&mut self, at: u64) -> Option<Vec<u8>> {
        let align = u64::from(self.geometry.request_align_bytes.max(1));
        let start = at / align * align;
        let skipped = usize::try_from(at - start).ok()?;
        let length = (BLOCK_BYTES as u64).min(self.geometry.bytes.checked_sub(start)?);
        let buffer = Some(self.disk.buffer(BLOCK_BYTES).ok()?);
        let length = u32::try_from(length).ok()?;
        let request =
            Request { token: 0, operation: Operation::Read, offset: start, length, buffer };
        let done = self.disk.run(request).ok()?;
        done.result.ok()?;
        Some(done.buffer?.as_ref().get(skipped..length as usize)?.to_vec())
    }

    /// Where a run of blocks lies: first byte and length, which is shorter at the end of the disk.
    fn range(&self, first: u64, blocks: u32) -> Option<(u64, u32)> {
        let offset = first.checked_mul(BLOCK_BYTES as u64)?;
        let left = self.geometry.bytes.checked_sub(offset).filter(|left| *left > 0)?;
        let wanted = u64::from(blocks) * BLOCK_BYTES as u64;
        Some((offset, u32::try_from(wanted.min(left)).ok()?))
    }
}

/// Reads the blocks of these sets, each of the disk at the same place, in the order of the disk but for what disks overtake.
/// All disks are kept busy at once.
pub fn read<D: Disk>(
    sources: &mut [Source<D>],
    sets: &[BlockSet],
    pool: &mut Pool<D::Buffer>,
    taker: &mut impl Taker<D::Buffer>,
) -> Result<(), Trouble> {
    assert_eq!(sources.len(), sets.len(), "a set for each disk");
    sources.iter_mut().for_each(|source| source.next = 0);
    let mut result = pump(sources, sets, pool, taker);
    // Whatever happened, every buffer comes back before anybody else uses the disks.
    for (place, source) in sources.iter_mut().enumerate() {
        while source.flying > 0 {
            match source.disk.complete() {
                Ok(Some(done)) => done.buffer.into_iter().for_each(|buffer| pool.give(buffer)),
                Ok(None) => break,
                Err(error) => {
                    result = result.and(Err(Trouble::Disk(place, error)));
                    break;
                }
            }
            source.flying -= 1;
        }
        source.flying = 0;
    }
    result?;
    salvage::all(sources, pool, taker)
}

fn pump<D: Disk>(
    sources: &mut [Source<D>],
    sets: &[BlockSet],
    pool: &mut Pool<D::Buffer>,
    taker: &mut impl Taker<D::Buffer>,
) -> Result<(), Trouble> {
    loop {
        let mut wanting = false;
        for (place, (source, set)) in sources.iter_mut().zip(sets).enumerate() {
            wanting |= submit(place, source, set, pool, taker)?;
        }
        let mut finished = false;
        for (place, source) in sources.iter_mut().enumerate() {
            if source.flying > 0 {
                let done = source.disk.complete().map_err(|error| Trouble::Disk(place, error))?;
                let Some(done) = done else { continue };
                source.flying -= 1;
                finished = true;
                arrived(place, source, done, pool, taker)?;
            }
        }
        match (finished, wanting) {
            (true, _) => {}
            // Nothing is under way and nothing can be begun: the pool is empty.
            (false, true) => return Err(Trouble::Full),
            (false, false) => return Ok(()),
        }
    }
}

/// Keeps a disk's queue full; whether more is wanted of it than there were buffers for.
fn submit<D: Disk>(
    place: usize,
    source: &mut Source<D>,
    set: &BlockSet,
    pool: &mut Pool<D::Buffer>,
    taker: &mut impl Taker<D::Buffer>,
) -> Result<bool, Trouble> {
    let most = u32::try_from(EXTENT_BLOCKS_MAX).unwrap_or(1);
    while source.flying < source.disk.depth() {
        let Some((first, run)) = set.next_run(source.next, most) else { return Ok(false) };
        let Some((buffer, blocks)) = pool.take(run) else { return Ok(true) };
        let Some((offset, length)) = source.range(first, blocks) else {
            // The set is larger than the disk: nothing is there.
            pool.give(buffer);
            return Ok(false);
        };
        if let Err(trouble) = taker.before(length as usize) {
            pool.give(buffer);
            return Err(trouble);
        }
        let token = first << 5 | u64::from(blocks);
        let buffer = Some(buffer);
        let request = Request { token, operation: Operation::Read, offset, length, buffer };
        match source.disk.submit(request) {
            Ok(()) => {
                source.flying += 1;
                source.next = first + u64::from(blocks);
            }
            Err(rejected) => {
                rejected.request.buffer.into_iter().for_each(|buffer| pool.give(buffer));
                if rejected.error.kind == ErrorKind::Busy && source.flying > 0 {
                    return Ok(true);
                }
                return Err(Trouble::Disk(place, rejected.error));
            }
        }
    }
    Ok(set.next_run(source.next, 1).is_some())
}

fn arrived<D: Disk>(
    place: usize,
    source: &Source<D>,
    done: Completion<D::Buffer>,
    pool: &mut Pool<D::Buffer>,
    taker: &mut impl Taker<D::Buffer>,
) -> Result<(), Trouble> {
    let (first, blocks) = (done.token >> 5, u32::try_from(done.token & 31).unwrap_or(0));
    let Some(mut buffer) = done.buffer else {
        let error = DiskError::new(ErrorKind::Misuse, "a read came back without its buffer");
        return Err(Trouble::Disk(place, error));
    };
    match done.result {
        Ok(()) => {
            let length = source.range(first, blocks).map_or(0, |(_, length)| length as usize);
            pad(&mut buffer, length, blocks);
            let (given, result) = taker.take(Filled { disk: place, first, blocks, buffer });
            given.into_iter().for_each(|buffer| pool.give(buffer));
            result?;
        }
        Err(error) if error.kind == ErrorKind::Medium => {
            pool.give(buffer);
            pool.fail(place, first, blocks)?;
        }
        Err(error) => {
            pool.give(buffer);
            return Err(Trouble::Disk(place, error));
        }
    }
    Ok(())
}

/// Zeros behind what was read, up to the end of the last block: buffers are used over and over.
fn pad(buffer: &mut impl AsMut<[u8]>, length: usize, blocks: u32) {
    if let Some(rest) = buffer.as_mut().get_mut(length..block_bytes(blocks)) {
        rest.fill(0);
    }
}

fn block_bytes(blocks: u32) -> usize {
    usize::try_from(blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES)
}

#[cfg(test)]
mod tests;

//! What could not be read at once is read block by block, and where that fails sector by sector: then it is known which
//! sectors are bad, and a block that was readable after all is not lost.

use hal::disk::{Disk, DiskError, ErrorKind, Operation, Request};
use pipeline::limits::BLOCK_BYTES;

use super::{Filled, Pool, Source, Taker, Trouble, pad};

/// A block that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what is known of a bad block")]
pub struct Unread {
    /// Which disk, by its place.
    pub disk: usize,
    /// The block.
    pub block: u64,
    /// How many of its sectors cannot be read.
    pub sectors: u32,
    /// The first of them, in bytes from the beginning of the disk, with what the disk says.
    pub error: DiskError,
}

/// Reads again what failed.
pub(super) fn all<D: Disk>(
    sources: &mut [Source<D>],
    pool: &mut Pool<D::Buffer>,
    taker: &mut impl Taker<D::Buffer>,
) -> Result<(), Trouble> {
    while let Some((place, first, blocks)) = pool.failed.pop() {
        let Some(source) = sources.get_mut(place) else { continue };
        for block in first..first + u64::from(blocks) {
            taker.before(BLOCK_BYTES)?;
            let Some((offset, length)) = source.range(block, 1) else { continue };
            let Some((buffer, _)) = pool.take(1) else { return Err(Trouble::Full) };
            let (buffer, result) = run(&mut source.disk, offset, length, buffer);
            let Some(mut buffer) = buffer else { return Err(lost(place)) };
            let result = match result {
                Err(error) if error.kind == ErrorKind::Medium => {
                    by_sector(place, source, block, &mut buffer, pool, taker)?
                }
                Err(error) => {
                    pool.give(buffer);
                    return Err(Trouble::Disk(place, error));
                }
                Ok(()) => None,
            };
            match result {
                Some(unread) => {
                    pool.give(buffer);
                    taker.unread(unread)?;
                }
                None => {
                    pad(&mut buffer, length as usize, 1);
                    let filled = Filled { disk: place, first: block, blocks: 1, buffer };
                    let (given, result) = taker.take(filled);
                    given.into_iter().for_each(|buffer| pool.give(buffer));
                    result?;
                }
            }
        }
    }
    Ok(())
}

/// Reads a block's sectors one by one; what is bad of it.
fn by_sector<D: Disk>(
    place: usize,
    source: &mut Source<D>,
    block: u64,
    whole: &mut D::Buffer,
    pool: &mut Pool<D::Buffer>,
    taker: &mut impl Taker<D::Buffer>,
) -> Result<Option<Unread>, Trouble> {
    let Some((start, length)) = source.range(block, 1) else { return Ok(None) };
    let geometry = source.geometry;
    let sector = geometry.physical_sector_bytes.max(geometry.request_align_bytes).max(512);
    let mut bad: Option<Unread> = None;
    let mut at = 0;
    while at < length {
        taker.before(sector as usize)?;
        let part = sector.min(length - at);
        let offset = start + u64::from(at);
        let Some(scratch) = pool.scratch.take() else { return Err(lost(place)) };
        let (scratch, result) = run(&mut source.disk, offset, part, scratch);
        let from = at as usize..at as usize + part as usize;
        if let (Some(bytes), Some(read), Ok(())) = (
            whole.as_mut().get_mut(from),
            scratch.as_ref().and_then(|scratch| scratch.as_ref().get(..part as usize)),
            &result,
        ) {
            bytes.copy_from_slice(read);
        }
        pool.scratch = scratch;
        match result {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::Medium => {
                let error = error.at(offset);
                let unread = Unread { disk: place, block, sectors: 0, error };
                bad.get_or_insert(unread).sectors += 1;
            }
            Err(error) => return Err(Trouble::Disk(place, error)),
        }
        at += part;
    }
    Ok(bad)
}

/// One read with nothing else under way; the buffer comes back.
fn run<D: Disk>(
    disk: &mut D,
    offset: u64,
    length: u32,
    buffer: D::Buffer,
) -> (Option<D::Buffer>, Result<(), DiskError>) {
    let operation = Operation::Read;
    let request = Request { token: 0, operation, offset, length, buffer: Some(buffer) };
    if let Err(rejected) = disk.submit(request) {
        return (rejected.request.buffer, Err(rejected.error));
    }
    match disk.complete() {
        Ok(Some(done)) => (done.buffer, done.result),
        Ok(None) => (None, Err(DiskError::new(ErrorKind::Misuse, "a read never came back"))),
        Err(error) => (None, Err(error)),
    }
}

fn lost(place: usize) -> Trouble {
    Trouble::Disk(place, DiskError::new(ErrorKind::Gone, "a buffer was lost with its request"))
}

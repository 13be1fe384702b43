//! What one span needs: its frames, sorted by where they lie, read in a few ranges, opened one by one.

use pipeline::compress::Decompressor;
use pipeline::ids::FrameAddress;
use pipeline::limits::EXTENT_BYTES_MAX;

use crate::error::Error;
use crate::frames::{FrameReader, Located};
use crate::map::BlockRef;
use crate::names;

/// One ranged read fetches at most so much.
const RANGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes between two wanted frames that are cheaper to read over than to ask twice.
const RANGE_SLACK: u64 = 128 * 1024;

/// A wanted block: its place in the leaf and what the map says of it.
pub(crate) type Wanted = (usize, BlockRef);

/// The buffers of one worker.
pub(crate) struct Fetcher {
    sealed: Vec<u8>,
    decompressor: Decompressor,
}

/// A frame that is wanted, and by which blocks (a range of the sorted list).
struct Need {
    located: Located,
    blocks: core::ops::Range<usize>,
}

impl Fetcher {
    pub(crate) fn new() -> Self {
        Self { sealed: vec![0; RANGE_BYTES_MAX], decompressor: Decompressor::new() }
    }

    /// Opens every frame that `wanted` names, each once, into `plain`, and hands its content and its blocks
    /// to `take`. Gives the bytes fetched. `plain` has room for one extent.
    pub(crate) fn each_frame<B: AsMut<[u8]>>(
        &mut self,
        frames: &FrameReader,
        wanted: &mut [Wanted],
        plain: &mut B,
        mut take: impl FnMut(&mut B, usize, &[Wanted]) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        wanted.sort_unstable_by_key(|(place, block)| (block.address, block.index, *place));
        let mut needs = needs(frames, wanted)?;
        needs.sort_unstable_by_key(|need| (need.located.segment, need.located.offset));
        let mut fetched = 0;
        let mut rest = &needs[..];
        while let Some(first) = rest.first() {
            let (count, end) = range_from(rest);
            let start = first.located.offset;
            let length = usize::try_from(end - start).expect("at most one range");
            let name = names::segment(&frames.server(), &first.located.segment);
            frames.access().store.read(&name, start, &mut self.sealed[..length])?;
            fetched += length as u64;
            for need in &rest[..count] {
                let at = usize::try_from(need.located.offset - start).expect("inside the range");
                let sealed = &mut self.sealed[at..at + need.located.sealed_bytes];
                let bytes =
                    frames.open(&need.located, sealed, plain.as_mut(), &mut self.decompressor)?;
                take(plain, bytes, &wanted[need.blocks.clone()])?;
            }
            rest = &rest[count..];
        }
        Ok(fetched)
    }
}

/// The frames of a sorted list of blocks, each once.
fn needs(frames: &FrameReader, wanted: &[Wanted]) -> Result<Vec<Need>, Error> {
    let mut needs: Vec<Need> = Vec::new();
    let mut start = 0;
    while let Some((_, block)) = wanted.get(start) {
        let address: FrameAddress = block.address;
        let same = wanted[start..].iter().take_while(|(_, other)| other.address == address).count();
        let located = frames.locate(address)?;
        if located.plain_bytes > EXTENT_BYTES_MAX || located.sealed_bytes > RANGE_BYTES_MAX {
            let name = names::segment(&frames.server(), &located.segment);
            return Err(Error::corrupt(name, "holds a frame larger than an extent"));
        }
        needs.push(Need { located, blocks: start..start + same });
        start += same;
    }
    Ok(needs)
}

/// How many of the needs one read covers, and where it ends.
fn range_from(needs: &[Need]) -> (usize, u64) {
    let first = &needs[0].located;
    let mut end = first.offset + first.sealed_bytes as u64;
    let mut count = 1;
    for need in &needs[1..] {
        let located = &need.located;
        let next_end = (located.offset + located.sealed_bytes as u64).max(end);
        let near = located.segment == first.segment && located.offset <= end + RANGE_SLACK;
        if !near || next_end - first.offset > RANGE_BYTES_MAX as u64 {
            break;
        }
        end = next_end;
        count += 1;
    }
    (count, end)
}

//! What one span needs: its frames, sorted by where they lie, read in a few ranges, opened one by one.

use std::sync::Arc;

use pipeline::compress::Decompressor;
use pipeline::ids::{FrameAddress, SegmentId};
use pipeline::limits::SEGMENT_BYTES_MAX;

use super::early::Object;
use super::turns::Turns;
use crate::error::Error;
use crate::frames::{FrameReader, Located};
use crate::map::BlockRef;
use crate::names;
use crate::parallel;
use crate::store::BlobStore;

/// One ranged read fetches at most so much.
const RANGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The same where a call costs little: some frames, which the processor's cache has room for.
const NEAR_BYTES_MAX: usize = 256 * 1024;
/// Bytes between two wanted frames that are cheaper to read over than to ask twice.
const RANGE_SLACK: u64 = 128 * 1024;

/// A wanted block: its place, as the caller counts, and what the map says of it.
pub(crate) type Wanted = (usize, BlockRef);

/// The buffers of one worker.
pub(crate) struct Fetcher {
    sealed: Vec<u8>,
    decompressor: Decompressor,
    turns: Option<Arc<Turns>>,
}

/// A frame that is wanted, and by which blocks (a range of the sorted list).
struct Need {
    located: Located,
    blocks: core::ops::Range<usize>,
}

impl Fetcher {
    /// With room for one ranged read.
    pub(crate) fn new() -> Self {
        Self { sealed: vec![0; RANGE_BYTES_MAX], decompressor: Decompressor::new(), turns: None }
    }

    /// With room for a whole segment; what came is opened when it is this one's turn.
    pub(crate) fn of_segments(turns: Arc<Turns>) -> Self {
        Self {
            sealed: vec![0; SEGMENT_BYTES_MAX],
            decompressor: Decompressor::new(),
            turns: Some(turns),
        }
    }

    /// Reads a whole object of so many bytes: over a long way that is one round trip where its table and ranges take three.
    pub(crate) fn fetch(
        &mut self,
        frames: &FrameReader,
        segment: &SegmentId,
        object_bytes: usize,
    ) -> Result<usize, Error> {
        let name = names::segment(&frames.server(), segment);
        read_whole(&*frames.access().store, &name, &mut self.sealed[..object_bytes])?;
        Ok(object_bytes)
    }

    /// Takes an object that somebody fetched, in a buffer as long as this one's own, which it replaces.
    pub(crate) fn hold(&mut self, (object_bytes, object): Object) -> Result<usize, Error> {
        debug_assert!(object.len() == self.sealed.len(), "room for any segment");
        self.sealed = object;
        Ok(object_bytes)
    }

    /// As `each_frame`, for blocks of one segment that was not moved, and whose whole object it holds.
    pub(crate) fn each_frame_of<B: AsMut<[u8]>>(
        &mut self,
        frames: &FrameReader,
        (segment, object_bytes): (SegmentId, usize),
        wanted: &mut [Wanted],
        plain: &mut B,
        mut take: impl FnMut(&mut B, usize, &[Wanted]) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        wanted.sort_unstable_by_key(|(place, block)| (block.address, block.index, *place));
        let _turn = self.turns.as_deref().map(Turns::take);
        let opened = frames.open_whole(&segment, &self.sealed[..object_bytes])?;
        for need in needs(wanted, |address| frames.locate_in(&segment, &opened, address))? {
            let at = usize::try_from(need.located.offset).unwrap_or(usize::MAX);
            let end = at.saturating_add(need.located.sealed_bytes);
            let sealed = self.sealed[..object_bytes].get_mut(at..end).ok_or_else(|| {
                let name = names::segment(&frames.server(), &segment);
                Error::corrupt(name, "has a frame that lies outside of it")
            })?;
            let bytes =
                frames.open(&need.located, sealed, plain.as_mut(), &mut self.decompressor)?;
            take(plain, bytes, &wanted[need.blocks])?;
        }
        Ok(object_bytes as u64)
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
        let mut needs = needs(wanted, |address| frames.locate(address))?;
        needs.sort_unstable_by_key(|need| (need.located.segment, need.located.offset));
        let is_near = frames.access().store.is_near();
        let most = if is_near { NEAR_BYTES_MAX } else { RANGE_BYTES_MAX };
        let mut fetched = 0;
        let mut rest = &needs[..];
        while let Some(first) = rest.first() {
            let (count, end) = range_from(rest, most);
            let start = first.located.offset;
            let length = usize::try_from(end - start).expect("at most one range");
            let name = names::segment(&frames.server(), &first.located.segment);
            frames.access().store.read(&name, start, &mut self.sealed[..length])?;
            fetched += length as u64;
            let _turn = self.turns.as_deref().map(Turns::take);
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

/// Reads an object, a large one in two halves at once: a connection has room for some megabytes on a long way, and what is
/// longer takes a round trip more.
pub(super) fn read_whole(
    store: &dyn BlobStore,
    name: &str,
    object: &mut [u8],
) -> Result<(), Error> {
    if object.len() <= RANGE_BYTES_MAX {
        return store.read(name, 0, object);
    }
    let (front, back) = object.split_at_mut(object.len() / 2);
    let half = front.len() as u64;
    let (one, other) = parallel::both(
        store.parallel(),
        || store.read(name, 0, front),
        || store.read(name, half, back),
    );
    one.and(other)
}

/// The frames of a sorted list of blocks, each once.
fn needs(
    wanted: &[Wanted],
    locate: impl Fn(FrameAddress) -> Result<Located, Error>,
) -> Result<Vec<Need>, Error> {
    let mut needs: Vec<Need> = Vec::new();
    let mut start = 0;
    while let Some((_, block)) = wanted.get(start) {
        let address: FrameAddress = block.address;
        let same = wanted[start..].iter().take_while(|(_, other)| other.address == address).count();
        let located = locate(address)?;
        needs.push(Need { located, blocks: start..start + same });
        start += same;
    }
    Ok(needs)
}

/// How many of the needs one read of about so many bytes covers, and where it ends.
fn range_from(needs: &[Need], most: usize) -> (usize, u64) {
    let first = &needs[0].located;
    let mut end = first.offset + first.sealed_bytes as u64;
    let mut count = 1;
    for need in &needs[1..] {
        let located = &need.located;
        let next_end = (located.offset + located.sealed_bytes as u64).max(end);
        let near = located.segment == first.segment && located.offset <= end + RANGE_SLACK;
        if !near || next_end - first.offset > most as u64 {
            break;
        }
        end = next_end;
        count += 1;
    }
    (count, end)
}

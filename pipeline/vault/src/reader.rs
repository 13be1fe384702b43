//! Any bytes of a disk of a point, at any alignment: what a read-only export is served from.
//!
//! Opened frames are kept in a bounded cache, a frame that several readers want at once is opened by one of
//! them, and a reader that goes forwards is read ahead for. It hands out checked bytes or an error, never
//! bytes that the map does not vouch for.

use core::ops::Range;
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use pipeline::ids::{Fingerprint, FrameAddress};
use pipeline::limits::{BLOCK_BYTES, EXTENT_BLOCKS_MAX, EXTENT_BYTES_MAX};

use crate::access::Access;
use crate::cache::Cache;
use crate::chain::Link;
use crate::error::Error;
use crate::frames::FrameReader;
use crate::map::{BlockRef, Entry, LEAF_BLOCKS, Leaf, blocks_of, height_of, tree};
use crate::names;
use crate::points::ChainView;
use crate::record::DiskState;
use crate::restore::fetch::Fetcher;

#[cfg(test)]
mod tests;

/// Opened frames that are kept unless the caller says otherwise.
pub const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Map pages and frame tables that are kept beside them.
const PAGE_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Blocks that are opened before a reader that goes forwards asks for them: one extent.
const AHEAD_BLOCKS: usize = EXTENT_BLOCKS_MAX;
/// Readers whose last end is remembered, to tell who goes forwards.
const ENDS: usize = 16;
/// Bytes of disk that one leaf of the map covers.
const LEAF_BYTES: u64 = LEAF_BLOCKS * BLOCK_BYTES as u64;

/// One disk of one point, for reading.
pub struct PointReader {
    frames: FrameReader,
    disk: DiskState,
    state: Mutex<State>,
    opened: Condvar,
    /// Buffers at rest; at most as many as there are readers at once.
    fetchers: Mutex<Vec<(Fetcher, Vec<u8>)>>,
}

struct State {
    cache: Cache<FrameAddress, Arc<Opened>>,
    /// Frames that somebody is opening right now.
    opening: HashSet<FrameAddress>,
    /// Where the last reads ended.
    ends: heapless::Deque<u64, ENDS>,
}

/// A frame's content and what its blocks' fingerprints come to.
struct Opened {
    bytes: Vec<u8>,
    fingerprints: heapless::Vec<Fingerprint, EXTENT_BLOCKS_MAX>,
}

/// A block that a read wants: its place in the leaf and what the map says of it.
type Wanted = (usize, BlockRef);

impl PointReader {
    /// A reader of one disk of a point; keeps about `cache_bytes` of opened frames.
    pub fn new(frames: FrameReader, disk: DiskState, cache_bytes: usize) -> Self {
        let state = State {
            cache: Cache::new(cache_bytes),
            opening: HashSet::new(),
            ends: heapless::Deque::new(),
        };
        let (state, fetchers) = (Mutex::new(state), Mutex::default());
        Self { frames, disk, state, opened: Condvar::new(), fetchers }
    }

    /// A reader of the disk that has this name in a point of a chain.
    pub fn open(
        access: &Access,
        view: &ChainView,
        point: &Link,
        disk_name: &str,
        cache_bytes: usize,
    ) -> Result<Self, Error> {
        let manifest = point.record.point().ok_or_else(|| {
            Error::misuse(names::chain_slot(&view.server, point.record.slot), "is no point")
        })?;
        let disk = manifest.disks.iter().find(|disk| disk.name == disk_name).ok_or_else(|| {
            let known: Vec<&str> = manifest.disks.iter().map(|disk| disk.name.as_str()).collect();
            Error::misuse(format!("disk {disk_name}"), "is not in this point")
                .remedy(format!("its disks are: {}", known.join(", ")))
        })?;
        if disk.root.height != height_of(blocks_of(disk.bytes)) {
            return Err(Error::corrupt(disk_name, "its map's height does not fit its size"));
        }
        let frames = FrameReader::new(access, view.server, &view.upkeep, PAGE_CACHE_BYTES)?;
        Ok(Self::new(frames, disk.clone(), cache_bytes))
    }

    /// The disk's size.
    pub fn bytes(&self) -> u64 {
        self.disk.bytes
    }

    /// The disk as the point has it.
    pub fn disk(&self) -> &DiskState {
        &self.disk
    }

    /// Fills all of `into` from `offset`; callable from many threads at once.
    ///
    /// Errors: a range past the disk's end, blocks that the source could not read when the point was made
    /// (the error names their range), damage. `into` is undefined then.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(into.len() as u64).filter(|end| *end <= self.disk.bytes);
        let Some(end) = end else {
            return Err(Error::misuse(
                &self.disk.name,
                format!(
                    "has {} bytes; {} from byte {offset} on were asked for",
                    self.disk.bytes,
                    into.len()
                ),
            ));
        };
        let forwards = self.note(offset, end);
        let mut at = offset;
        let mut rest = into;
        while at < end {
            let leaf = at / LEAF_BYTES;
            let stop = end.min((leaf + 1).saturating_mul(LEAF_BYTES));
            let here = usize::try_from(stop - at).expect("at most one leaf: 16 MiB");
            let (part, behind) = rest.split_at_mut(here);
            let start = usize::try_from(at % LEAF_BYTES).expect("inside one leaf: 16 MiB");
            self.read_leaf(leaf, start, part, forwards && stop == end)?;
            (at, rest) = (stop, behind);
        }
        Ok(())
    }

    /// Whether the source could not read some block of a range.
    pub fn is_unread(&self, offset: u64, bytes: u64) -> Result<bool, Error> {
        let end = offset.saturating_add(bytes).min(self.disk.bytes);
        let block = BLOCK_BYTES as u64;
        let (first, end) = (offset / block, end.div_ceil(block));
        for leaf in first / LEAF_BLOCKS..end.div_ceil(LEAF_BLOCKS) {
            let entries = tree::load_leaf(&self.frames, &self.disk.root, leaf)?;
            let blocks = leaf * LEAF_BLOCKS..(leaf + 1) * LEAF_BLOCKS;
            let mut all = blocks.zip(&entries.entries);
            if all.any(|(at, entry)| (first..end).contains(&at) && *entry == Entry::Unread) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first range at or after `offset` of which not all is known to be zeros, at most one leaf of it.
    pub fn data_after(&self, offset: u64) -> Result<Option<(u64, u64)>, Error> {
        let mut at = offset;
        while at < self.disk.bytes {
            let leaf = at / LEAF_BYTES;
            let end = (leaf + 1).saturating_mul(LEAF_BYTES).min(self.disk.bytes);
            let entries = tree::load_leaf(&self.frames, &self.disk.root, leaf)?;
            let blank = |entry: &Entry| matches!(entry, Entry::Zero | Entry::Discarded);
            if !entries.entries.iter().all(blank) {
                return Ok(Some((at, end)));
            }
            at = end;
        }
        Ok(None)
    }

    /// Whether this read goes on where another one ended.
    fn note(&self, offset: u64, end: u64) -> bool {
        let mut state = lock(&self.state);
        let forwards = state.ends.iter().any(|known| *known == offset);
        if state.ends.is_full() {
            state.ends.pop_front();
        }
        // Full deques were just made room in.
        let _ = state.ends.push_back(end);
        forwards
    }

    /// Fills `into` from byte `start` of a leaf.
    fn read_leaf(
        &self,
        leaf: u64,
        start: usize,
        into: &mut [u8],
        forwards: bool,
    ) -> Result<(), Error> {
        let entries = tree::load_leaf(&self.frames, &self.disk.root, leaf)?;
        let blocks = start / BLOCK_BYTES..(start + into.len()).div_ceil(BLOCK_BYTES);
        self.refuse_unread(leaf, &entries, blocks.clone())?;
        let mut wanted: Vec<Wanted> = Vec::new();
        for place in blocks.clone() {
            match &entries.entries[place] {
                Entry::Data(block) => wanted.push((place, *block)),
                _ => {
                    let (target, _) = part(start, place, into.len());
                    into[target].fill(0);
                }
            }
        }
        let mut ahead = if forwards { ahead(&entries, blocks.end) } else { Vec::new() };
        let mut give = |place: usize, content: &[u8]| {
            let (target, from) = part(start, place, into.len());
            let bytes = target.len();
            into[target].copy_from_slice(&content[from..from + bytes]);
        };
        while !wanted.is_empty() {
            let (claim, mut missing) = self.take_known(&mut wanted, &ahead, &mut give)?;
            if missing.is_empty() {
                self.wait_for(&wanted);
                continue;
            }
            match self.fetch(&claim, &mut missing, &mut wanted, &mut give) {
                // What was only read ahead may be damaged: that is for whoever asks for it.
                Err(_) if !ahead.is_empty() => ahead.clear(),
                other => other?,
            }
        }
        Ok(())
    }

    fn refuse_unread(&self, leaf: u64, entries: &Leaf, blocks: Range<usize>) -> Result<(), Error> {
        let unread = |place: &usize| entries.entries[*place] == Entry::Unread;
        let Some(first) = blocks.clone().find(unread) else { return Ok(()) };
        let count = (first..blocks.end).take_while(unread).count();
        let start = leaf * LEAF_BYTES + (first * BLOCK_BYTES) as u64;
        let end = (start + (count * BLOCK_BYTES) as u64).min(self.disk.bytes);
        Err(Error::corrupt(
            &self.disk.name,
            format!(
                "bytes {start} to {end} are unknown: the source could not read them when the point was made"
            ),
        )
        .remedy("read around them, or use an older point"))
    }

    /// Gives what the cache has, claims what nobody is opening yet (with what is worth reading ahead), and
    /// leaves in `wanted` what is not given yet.
    fn take_known(
        &self,
        wanted: &mut Vec<Wanted>,
        ahead: &[Wanted],
        give: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(Claim<'_>, Vec<Wanted>), Error> {
        let mut known = Vec::new();
        let mut claim = Claim { reader: self, addresses: Vec::new() };
        let mut missing = Vec::new();
        let mut state = lock(&self.state);
        wanted.retain(|(place, block)| match state.cache.find(&block.address, weigh) {
            Some(opened) => {
                known.push((*place, *block, opened));
                false
            }
            None => true,
        });
        for (place, block) in wanted.iter() {
            if claim.addresses.contains(&block.address) || state.opening.insert(block.address) {
                missing.push((*place, *block));
                if !claim.addresses.contains(&block.address) {
                    claim.addresses.push(block.address);
                }
            }
        }
        if !missing.is_empty() {
            for (place, block) in ahead {
                let known = state.cache.find(&block.address, weigh).is_some();
                if !known && state.opening.insert(block.address) {
                    missing.push((*place, *block));
                    claim.addresses.push(block.address);
                }
            }
        }
        drop(state);
        for (place, block, opened) in known {
            give(place, self.checked(&opened, &block, place)?);
        }
        Ok((claim, missing))
    }

    /// Opens what was claimed, keeps it, and gives those of its blocks that are wanted.
    fn fetch(
        &self,
        claim: &Claim<'_>,
        missing: &mut [Wanted],
        wanted: &mut Vec<Wanted>,
        give: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), Error> {
        debug_assert!(!claim.addresses.is_empty(), "whoever fetches has claimed");
        let spare = lock(&self.fetchers).pop();
        let (mut fetcher, mut plain) =
            spare.unwrap_or_else(|| (Fetcher::new(), vec![0; EXTENT_BYTES_MAX]));
        let mut take = |plain: &mut Vec<u8>, bytes: usize, blocks: &[Wanted]| {
            let opened = Arc::new(self.judge(&plain[..bytes]));
            if let Some((_, block)) = blocks.first() {
                let mut state = lock(&self.state);
                state.cache.insert(block.address, Arc::clone(&opened), weigh(&opened));
                state.opening.remove(&block.address);
                drop(state);
                self.opened.notify_all();
            }
            for (place, block) in blocks {
                if let Some(at) = wanted.iter().position(|(wanted, _)| wanted == place) {
                    give(*place, self.checked(&opened, block, *place)?);
                    wanted.swap_remove(at);
                }
            }
            Ok(())
        };
        let fetched = fetcher.each_frame(&self.frames, missing, &mut plain, &mut take);
        lock(&self.fetchers).push((fetcher, plain));
        fetched.map(|_| ())
    }

    fn judge(&self, plain: &[u8]) -> Opened {
        let blocks = plain.chunks_exact(BLOCK_BYTES);
        let fingerprints = blocks.map(|block| self.frames.fingerprinter().of(block)).collect();
        Opened { bytes: plain.to_vec(), fingerprints }
    }

    /// The block of an opened frame that the map means, if it is that block.
    fn checked<'a>(
        &self,
        opened: &'a Opened,
        block: &BlockRef,
        place: usize,
    ) -> Result<&'a [u8], Error> {
        let index = usize::from(block.index);
        let same = opened.fingerprints.get(index) == Some(&block.fingerprint);
        let content = opened.bytes.get(index * BLOCK_BYTES..(index + 1) * BLOCK_BYTES);
        content.filter(|_| same).ok_or_else(|| {
            Error::corrupt(
                names::segment(&self.frames.server(), &block.address.segment),
                format!(
                    "holds other content in frame {} than the map of {} says for block {place} of a leaf",
                    block.address.ordinal, self.disk.name
                ),
            )
            .remedy("run verify --deep; read another point or from --secondary")
        })
    }

    /// Waits until nobody is opening any of these frames.
    fn wait_for(&self, wanted: &[Wanted]) {
        let mut state = lock(&self.state);
        while wanted.iter().any(|(_, block)| state.opening.contains(&block.address)) {
            state = self.opened.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Frames that one reader opens for all; given up however opening them ends.
struct Claim<'a> {
    reader: &'a PointReader,
    addresses: Vec<FrameAddress>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.addresses.is_empty() {
            return;
        }
        let mut state = lock(&self.reader.state);
        for address in &self.addresses {
            state.opening.remove(address);
        }
        drop(state);
        self.reader.opened.notify_all();
    }
}

/// The blocks behind a read that its reader will want next: one per frame, so that each frame is opened.
fn ahead(entries: &Leaf, from: usize) -> Vec<Wanted> {
    let end = from.saturating_add(AHEAD_BLOCKS).min(entries.entries.len());
    let mut ahead: Vec<Wanted> = Vec::new();
    for place in from..end {
        if let Entry::Data(block) = &entries.entries[place]
            && !ahead.iter().any(|(_, known)| known.address == block.address)
        {
            ahead.push((place, *block));
        }
    }
    ahead
}

/// Where a block lands in a buffer that starts at byte `start` of the leaf and is `length` long: the range of
/// the buffer, and the first byte of the block that goes there.
fn part(start: usize, place: usize, length: usize) -> (Range<usize>, usize) {
    let block = place * BLOCK_BYTES;
    let first = block.max(start);
    let end = (block + BLOCK_BYTES).min(start + length);
    (first - start..end - start, first - block)
}

fn weigh(opened: &Arc<Opened>) -> usize {
    opened.bytes.len()
}

/// A poisoned lock means that a reader panicked; cache and claims are whole, they change in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

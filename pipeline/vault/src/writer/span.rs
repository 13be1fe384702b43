//! One leaf span: read its extents, find what is new, compress and seal that, say what the leaf is now.

use std::sync::Arc;

use hal::disk::{Disk, DiskError, ErrorKind, Operation, Request};
use pipeline::extent::runs;
use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::Fingerprint;
use pipeline::limits::{BLOCK_BYTES, EXTENT_BLOCKS_MAX, EXTENT_BYTES_MAX, PAGE_ENTRIES};
use pipeline::segment::FrameKind;
use pipeline::zero::is_zero;

use super::known_blocks::KnownBlocks;
use super::lanes::Lane;
use crate::error::Error;
use crate::map::{BlockRef, Entry, LEAF_BLOCKS, Leaf, blocks_of};

/// What a worker needs of the run.
pub(crate) struct Shared<'run> {
    pub(crate) known: &'run KnownBlocks,
    pub(crate) fingerprinter: &'run Fingerprinter,
}

/// One worker's queue onto one disk, and its buffers.
pub(crate) struct SpanReader<D: Disk> {
    disk: D,
    name: String,
    bytes: u64,
    free: Vec<D::Buffer>,
    /// (asked from, next data): between the two the disk is known to read as zeros.
    hole: (u64, u64),
}

/// What a span came to.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) read_bytes: u64,
    pub(crate) new_blocks: u64,
    pub(crate) known_blocks: u64,
    /// Byte offsets of blocks that could not be read.
    pub(crate) unread: Vec<u64>,
}

/// A run of blocks inside one extent of a span: (first block in the leaf, blocks).
#[derive(Clone, Copy)]
struct Piece {
    first: usize,
    blocks: usize,
}

impl<D: Disk> SpanReader<D> {
    pub(crate) fn new(mut disk: D, name: &str, bytes: u64) -> Result<Self, Error> {
        let depth = disk.depth().clamp(1, 8);
        let buffers: Result<Vec<_>, _> =
            (0..depth).map(|_| disk.buffer(EXTENT_BYTES_MAX)).collect();
        let free = buffers.map_err(|error| about(name, &error))?;
        Ok(Self { disk, name: name.to_owned(), bytes, free, hole: (0, 0) })
    }

    /// Whether a sparse disk has a hole where all of these runs are: then nothing needs to be read.
    pub(crate) fn is_hole(&mut self, leaf: u64, runs: &[(u64, u64)]) -> Result<bool, Error> {
        let (Some((first, _)), Some((_, end))) = (runs.first(), runs.last()) else {
            return Ok(true);
        };
        let base = leaf * LEAF_BLOCKS;
        let (data, _) = self.data_at((base + first) * BLOCK_BYTES as u64)?;
        Ok(data >= (base + end) * BLOCK_BYTES as u64)
    }

    /// Brings `leaf` up to date for these runs of its blocks.
    pub(crate) fn process(
        &mut self,
        shared: &Shared<'_>,
        lane: &mut Lane<'_>,
        leaf: u64,
        runs: &[(u64, u64)],
        entries: &mut Leaf,
    ) -> Result<Found, Error> {
        let mut found = Found::default();
        let mut waiting = self.pieces(leaf, runs, entries)?;
        waiting.reverse();
        let mut failed = Vec::new();
        let mut in_flight = 0;
        loop {
            while let Some(buffer) = self.free.pop() {
                let Some(piece) = waiting.pop() else {
                    self.free.push(buffer);
                    break;
                };
                self.submit(leaf, piece, buffer)?;
                in_flight += 1;
            }
            if in_flight == 0 {
                break;
            }
            let done = self.disk.complete().map_err(|error| about(&self.name, &error))?;
            let done = done.ok_or_else(|| Error::device(&self.name, "lost a read request"))?;
            in_flight -= 1;
            let piece = piece_of(done.token);
            let buffer = done.buffer.ok_or_else(|| Error::device(&self.name, "lost a buffer"))?;
            match done.result {
                Ok(()) => self.take(shared, lane, leaf, piece, &buffer, entries, &mut found)?,
                Err(error) if error.kind == ErrorKind::Medium => failed.push(piece),
                Err(error) => return Err(about(&self.name, &error)),
            }
            self.free.push(buffer);
        }
        failed.into_iter().try_for_each(|piece| {
            self.block_by_block(shared, lane, leaf, piece, entries, &mut found)
        })?;
        Ok(found)
    }

    /// The pieces to read; blocks inside holes of a sparse disk are zero without being read.
    fn pieces(
        &mut self,
        leaf: u64,
        runs: &[(u64, u64)],
        entries: &mut Leaf,
    ) -> Result<Vec<Piece>, Error> {
        let base = leaf * LEAF_BLOCKS;
        let mut pieces = Vec::new();
        for (first, end) in runs {
            if end - first <= EXTENT_BLOCKS_MAX as u64 {
                // So little is read sooner than a file system says where the data around it ends.
                cut_at_extents(*first, *end, &mut pieces);
                continue;
            }
            let mut block = *first;
            while block < *end {
                let start = (base + block) * BLOCK_BYTES as u64;
                let (data, data_end) = self.data_at(start)?;
                if data > start {
                    let hole_end = (data / BLOCK_BYTES as u64).saturating_sub(base).min(*end);
                    let hole_end = hole_end.max(block);
                    entries.entries[index(block)..index(hole_end)].fill(Entry::Zero);
                    if hole_end > block {
                        block = hole_end;
                        continue;
                    }
                }
                let stop = data_end.div_ceil(BLOCK_BYTES as u64).saturating_sub(base);
                let stop = stop.clamp(block + 1, *end);
                cut_at_extents(block, stop, &mut pieces);
                block = stop;
            }
        }
        Ok(pieces)
    }

    /// The next data at or after an offset, remembered while it answers for later offsets too.
    fn data_at(&mut self, offset: u64) -> Result<(u64, u64), Error> {
        if self.hole.0 <= offset && offset < self.hole.1 {
            return Ok((self.hole.1, self.hole.1));
        }
        match self.disk.data_after(offset).map_err(|error| about(&self.name, &error))? {
            Some((start, end)) => {
                self.hole = (offset, start);
                Ok((start, end))
            }
            None => {
                self.hole = (offset, u64::MAX);
                Ok((u64::MAX, u64::MAX))
            }
        }
    }

    fn submit(&mut self, leaf: u64, piece: Piece, mut buffer: D::Buffer) -> Result<(), Error> {
        let (offset, length, whole) = self.range(leaf, piece);
        // The disk's last block may be partial: it is padded with zeros, and restored to its length.
        buffer.as_mut()[length..whole].fill(0);
        let request = Request {
            token: token_of(piece),
            operation: Operation::Read,
            offset,
            length: u32::try_from(length).expect("at most 1 MiB"),
            buffer: Some(buffer),
        };
        self.disk.submit(request).map_err(|rejected| about(&self.name, &rejected.error))
    }

    /// (offset on the disk, bytes to read, bytes of whole blocks)
    fn range(&self, leaf: u64, piece: Piece) -> (u64, usize, usize) {
        let offset = (leaf * LEAF_BLOCKS + piece.first as u64) * BLOCK_BYTES as u64;
        let whole = piece.blocks * BLOCK_BYTES;
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        (offset, whole.min(left), whole)
    }

    /// Sorts the blocks of a piece into zero, unchanged, known and new; seals the new ones as one frame.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, and every argument is a different thing"
    )]
    fn take(
        &self,
        shared: &Shared<'_>,
        lane: &mut Lane<'_>,
        leaf: u64,
        piece: Piece,
        buffer: &D::Buffer,
        entries: &mut Leaf,
        found: &mut Found,
    ) -> Result<(), Error> {
        let bytes = &buffer.as_ref()[..piece.blocks * BLOCK_BYTES];
        found.read_bytes += self.range(leaf, piece).1 as u64;
        let mut fresh = Fresh::default();
        for (at, block) in bytes.chunks_exact(BLOCK_BYTES).enumerate() {
            let entry = &mut entries.entries[piece.first + at];
            if is_zero(block) {
                *entry = Entry::Zero;
                continue;
            }
            let fingerprint = shared.fingerprinter.of(block);
            if matches!(entry, Entry::Data(known) if known.fingerprint == fingerprint) {
                continue;
            }
            if let Some(known) = shared.known.find(&fingerprint) {
                *entry = Entry::Data(known);
                found.known_blocks += 1;
                continue;
            }
            fresh.push(piece.first + at, at, fingerprint);
        }
        fresh.seal(shared, lane, bytes, entries, found)
    }

    /// After a medium error: each block alone, so that one bad sector costs one block.
    fn block_by_block(
        &mut self,
        shared: &Shared<'_>,
        lane: &mut Lane<'_>,
        leaf: u64,
        piece: Piece,
        entries: &mut Leaf,
        found: &mut Found,
    ) -> Result<(), Error> {
        for first in piece.first..piece.first + piece.blocks {
            let single = Piece { first, blocks: 1 };
            let buffer =
                self.free.pop().ok_or_else(|| Error::device(&self.name, "lost a buffer"))?;
            self.submit(leaf, single, buffer)?;
            let done = self.disk.complete().map_err(|error| about(&self.name, &error))?;
            let done = done.ok_or_else(|| Error::device(&self.name, "lost a read request"))?;
            let buffer = done.buffer.ok_or_else(|| Error::device(&self.name, "lost a buffer"))?;
            match done.result {
                Ok(()) => self.take(shared, lane, leaf, single, &buffer, entries, found)?,
                Err(error) if error.kind == ErrorKind::Medium => {
                    entries.entries[first] = Entry::Unread;
                    found.unread.push(self.range(leaf, single).0);
                }
                Err(error) => return Err(about(&self.name, &error)),
            }
            self.free.push(buffer);
        }
        Ok(())
    }

    /// A disk that shrank or grew while it was read is not the disk that the map is of.
    pub(crate) fn check_size(&mut self) -> Result<(), Error> {
        let now = self.disk.geometry().map_err(|error| about(&self.name, &error))?.bytes;
        if now == self.bytes {
            return Ok(());
        }
        Err(Error::device(
            &self.name,
            format!("its size changed from {} to {now} bytes while it was read", self.bytes),
        )
        .remedy("nothing was published; run again once the size is settled"))
    }
}

/// Blocks of one piece that the server does not have yet.
#[derive(Default)]
struct Fresh {
    /// Places in the leaf, and for each which block of the frame it is: equal blocks are stored once.
    places: heapless::Vec<(usize, u8), EXTENT_BLOCKS_MAX>,
    /// Which blocks of the piece go into the frame, a bit each.
    keep: u16,
    fingerprints: heapless::Vec<Fingerprint, EXTENT_BLOCKS_MAX>,
}

impl Fresh {
    fn push(&mut self, place: usize, at: usize, fingerprint: Fingerprint) {
        let full = "a piece has at most 16 blocks";
        let same = self.fingerprints.iter().position(|known| *known == fingerprint);
        let index = same.unwrap_or_else(|| {
            self.keep |= 1 << at;
            self.fingerprints.push(fingerprint).expect(full);
            self.fingerprints.len() - 1
        });
        self.places.push((place, u8::try_from(index).expect(full))).expect(full);
    }

    fn seal(
        &self,
        shared: &Shared<'_>,
        lane: &mut Lane<'_>,
        bytes: &[u8],
        entries: &mut Leaf,
        found: &mut Found,
    ) -> Result<(), Error> {
        if self.keep == 0 {
            return Ok(());
        }
        let address = lane.append(FrameKind::Data, &runs(bytes, self.keep), &self.fingerprints)?;
        found.new_blocks += self.fingerprints.len() as u64;
        found.known_blocks += (self.places.len() - self.fingerprints.len()) as u64;
        for (place, index) in &self.places {
            let fingerprint = self.fingerprints[usize::from(*index)];
            let block = BlockRef { address, index: *index, fingerprint };
            entries.entries[*place] = Entry::Data(block);
            shared.known.learn(&block);
        }
        Ok(())
    }
}

/// Clears what a leaf says of blocks beyond the disk's end.
pub(crate) fn clear_beyond(leaf: u64, disk_bytes: u64, entries: &mut Arc<Leaf>) {
    let inside = blocks_of(disk_bytes).saturating_sub(leaf * LEAF_BLOCKS);
    let inside = index(inside.min(LEAF_BLOCKS));
    if entries.entries[inside..].iter().any(|entry| *entry != Entry::Zero) {
        Arc::make_mut(entries).entries[inside..].fill(Entry::Zero);
    }
}

/// Frames never reach over an extent's edge, so that a frame is one extent of the disk.
fn cut_at_extents(first: u64, end: u64, pieces: &mut Vec<Piece>) {
    let extent = EXTENT_BLOCKS_MAX as u64;
    let mut block = first;
    while block < end {
        let stop = ((block / extent + 1) * extent).min(end);
        pieces.push(Piece { first: index(block), blocks: index(stop - block) });
        block = stop;
    }
}

fn token_of(piece: Piece) -> u64 {
    (piece.first as u64) << 32 | piece.blocks as u64
}

fn piece_of(token: u64) -> Piece {
    Piece { first: index(token >> 32), blocks: index(token & 0xFFFF_FFFF) }
}

fn index(block: u64) -> usize {
    debug_assert!(block <= PAGE_ENTRIES as u64, "a place inside one leaf");
    usize::try_from(block).expect("a place inside one leaf")
}

/// A disk's error with the disk's label and what to do.
pub(crate) fn about(name: &str, error: &DiskError) -> Error {
    let remedy = match error.kind {
        ErrorKind::Gone => {
            "the disk vanished or shrank: check its cabling and size, then run again; what was sent is kept"
        }
        ErrorKind::Refused => "run as a user who may read the disk",
        ErrorKind::Full => "make room, then run again",
        _ => "check the disk; nothing was published",
    };
    Error::from(error.clone()).on(name).remedy(remedy)
}

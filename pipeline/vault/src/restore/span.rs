//! One worker of a restore: looks at leaves, leaving alone what is the same; fetches, checks and writes what differs.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use hal::disk::{Disk, Operation, Request};
use pipeline::ids::SegmentId;
use pipeline::limits::{BLOCK_BYTES, EXTENT_BLOCKS_MAX, EXTENT_BYTES_MAX, PAGE_ENTRIES};
use pipeline::zero::is_zero;

use super::early::Early;
use super::fetch::{Fetcher, Wanted};
use super::gate::Gate;
use super::turns::Turns;
use super::{Objects, Options, Tally};
use crate::error::Error;
use crate::frames::FrameReader;
use crate::map::{Child, Entry, LEAF_BLOCKS, Leaf, Root, blocks_of, tree};
use crate::record::DiskState;

/// One worker's queue onto the target, and its buffers.
pub(super) struct Span<'a, D: Disk> {
    frames: &'a FrameReader,
    target: D,
    name: &'a str,
    compare: bool,
    /// The map of what the target holds, where that is known without reading it.
    before: Option<Root>,
    fetcher: Fetcher,
    /// Nothing is written before it is open.
    gate: Arc<Gate>,
    /// What need not be asked for any more.
    early: Arc<Early>,
    /// One for frames, one for reading the target back.
    buffers: Vec<D::Buffer>,
    /// (asked from, next data): between the two the target is known to read as zeros.
    hole: (u64, u64),
}

/// Bytes of disk that a leaf covers.
pub(super) fn span_bytes(disk: &DiskState, leaf: u64) -> u64 {
    let start = leaf * LEAF_BLOCKS * BLOCK_BYTES as u64;
    (disk.bytes - start.min(disk.bytes)).min(LEAF_BLOCKS * BLOCK_BYTES as u64)
}

impl<'a, D: Disk> Span<'a, D> {
    pub(super) fn new(
        frames: &'a FrameReader,
        mut target: D,
        name: &'a str,
        options: &Options,
        turns: Arc<Turns>,
    ) -> Result<Self, Error> {
        let buffers: Result<Vec<_>, _> = (0..2).map(|_| target.buffer(EXTENT_BYTES_MAX)).collect();
        let buffers = buffers.map_err(|error| Error::from(error).on(name))?;
        let compare = options.compare;
        Ok(Self {
            frames,
            target,
            name,
            compare,
            before: None,
            fetcher: Fetcher::of_segments(turns),
            gate: Gate::open(),
            early: Arc::default(),
            buffers,
            hole: (0, 0),
        })
    }

    /// The same for a target that holds another point of the disk.
    pub(super) fn instead_of(self, before: Root) -> Self {
        Self { before: Some(before), compare: false, ..self }
    }

    /// The same that writes nothing before this gate is open, and asks for nothing that was fetched early.
    pub(super) fn behind(self, gate: Arc<Gate>, early: Arc<Early>) -> Self {
        Self { gate, early, ..self }
    }

    /// What has to be brought of a leaf, by the numbers of its blocks on the disk; what is to be zero is made so.
    pub(super) fn look(
        &mut self,
        disk: &DiskState,
        leaf: u64,
        tally: &Tally,
    ) -> Result<Vec<Wanted>, Error> {
        let child = tree::find_leaf(self.frames, &disk.root, leaf)?;
        let before = match &self.before {
            Some(root) => Some(tree::find_leaf(self.frames, root, leaf)?),
            None => None,
        };
        match before {
            Some(before) if before.has_bytes_of(&child) => return Ok(Vec::new()),
            None if child == Child::Zero && (!self.compare || self.is_hole(disk, leaf)?) => {
                return Ok(Vec::new());
            }
            _ => {}
        }
        let entries = tree::load_leaf(self.frames, &disk.root, leaf)?;
        let blocks = blocks_of(disk.bytes).saturating_sub(leaf * LEAF_BLOCKS).min(LEAF_BLOCKS);
        let blocks = usize::try_from(blocks).expect("at most one leaf");
        let mut differs = [true; PAGE_ENTRIES];
        if self.compare {
            self.compare(disk, leaf, &entries, blocks, &mut differs)?;
        } else if let Some(root) = &self.before {
            let before = tree::load_leaf(self.frames, root, leaf)?;
            let pairs = before.entries.iter().zip(&entries.entries);
            for (differs, (before, entry)) in differs.iter_mut().zip(pairs) {
                *differs = !before.reads_as(entry);
            }
        }
        let same = differs[..blocks].iter().filter(|differs| !**differs).count();
        tally.same.fetch_add(same as u64, Ordering::Relaxed);
        let first = usize::try_from(leaf * LEAF_BLOCKS).expect("a disk has fewer than 2^40 blocks");
        let mut wanted: Vec<Wanted> = Vec::new();
        for (place, entry) in entries.entries[..blocks].iter().enumerate() {
            match entry {
                Entry::Data(block) if differs[place] => wanted.push((first + place, *block)),
                Entry::Unread => {
                    tally.unread.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
        if self.compare || self.before.is_some() {
            self.zero_runs(disk, leaf, &entries, &differs[..blocks], tally)?;
        }
        Ok(wanted)
    }

    /// Whether the target has a hole where the leaf is.
    fn is_hole(&mut self, disk: &DiskState, leaf: u64) -> Result<bool, Error> {
        let start = leaf * LEAF_BLOCKS * BLOCK_BYTES as u64;
        let end = start + span_bytes(disk, leaf);
        if self.hole.0 <= start && end <= self.hole.1 {
            return Ok(true);
        }
        let data =
            self.target.data_after(start).map_err(|error| Error::from(error).on(self.name))?;
        self.hole = (start, data.map_or(u64::MAX, |(data, _)| data));
        Ok(end <= self.hole.1)
    }

    /// Reads the target and finds which blocks are not yet what the point says.
    fn compare(
        &mut self,
        disk: &DiskState,
        leaf: u64,
        entries: &Leaf,
        blocks: usize,
        differs: &mut [bool; PAGE_ENTRIES],
    ) -> Result<(), Error> {
        let fingerprinter = self.frames.fingerprinter();
        for first in (0..blocks).step_by(EXTENT_BLOCKS_MAX) {
            let count = EXTENT_BLOCKS_MAX.min(blocks - first);
            let (offset, length) = range(disk, leaf, first, count);
            let mut buffer = self.take_buffer()?;
            buffer.as_mut()[length..count * BLOCK_BYTES].fill(0);
            let buffer = self.run(Operation::Read, offset, length, Some(buffer))?;
            let Some(buffer) = buffer else { continue };
            let bytes = &buffer.as_ref()[..count * BLOCK_BYTES];
            for (at, block) in bytes.chunks_exact(BLOCK_BYTES).enumerate() {
                differs[first + at] = match entries.entries[first + at] {
                    Entry::Zero | Entry::Discarded => !is_zero(block),
                    Entry::Data(known) => {
                        is_zero(block) || fingerprinter.of(block) != known.fingerprint
                    }
                    Entry::Unread => false,
                };
            }
            self.buffers.push(buffer);
        }
        Ok(())
    }

    /// Clears runs of blocks that are zero in the point and not on the target.
    fn zero_runs(
        &mut self,
        disk: &DiskState,
        leaf: u64,
        entries: &Leaf,
        differs: &[bool],
        tally: &Tally,
    ) -> Result<(), Error> {
        let clear = |place: usize| {
            differs[place] && matches!(entries.entries[place], Entry::Zero | Entry::Discarded)
        };
        let mut place = 0;
        while place < differs.len() {
            let count = (place..differs.len()).take_while(|at| clear(*at)).count();
            if count > 0 {
                self.gate.pass()?;
                let (offset, length) = range(disk, leaf, place, count);
                self.run(Operation::Zero, offset, length, None)?;
                tally.written.fetch_add(length as u64, Ordering::Relaxed);
            }
            place += count.max(1);
        }
        Ok(())
    }

    /// Fetches, opens, checks and writes blocks of one segment. Gives the bytes fetched.
    pub(super) fn bring(
        &mut self,
        disk: &DiskState,
        segment: SegmentId,
        wanted: &mut [Wanted],
        objects: &Objects,
        tally: &Tally,
    ) -> Result<u64, Error> {
        let frame = Some(self.take_buffer()?);
        let mut slot: Slot<D> = Slot { frame, spare: Some(self.take_buffer()?) };
        let Self { frames, target, name, fetcher, gate, early, .. } = self;
        let frames: &FrameReader = frames;
        let take = |slot: &mut Slot<D>, bytes: usize, blocks: &[Wanted]| {
            gate.pass()?;
            write_frame(frames, target, name, disk, slot, bytes, blocks, tally)
        };
        let whole = match early.take(&segment) {
            Some(early) => Some(fetcher.hold(early)),
            None => objects
                .worth_reading_whole(frames, &segment, wanted.len())
                .map(|bytes| fetcher.fetch(frames, &segment, bytes)),
        };
        let fetched = match whole {
            Some(whole) => whole.and_then(|bytes| {
                fetcher.each_frame_of(frames, (segment, bytes), wanted, &mut slot, take)
            }),
            None => fetcher.each_frame(frames, wanted, &mut slot, take),
        };
        // Also where it failed: it may be tried once more.
        self.buffers.extend(slot.frame.into_iter().chain(slot.spare));
        let fetched = fetched?;
        tally.fetched.fetch_add(fetched, Ordering::Relaxed);
        Ok(fetched)
    }

    fn take_buffer(&mut self) -> Result<D::Buffer, Error> {
        self.buffers.pop().ok_or_else(|| Error::device(self.name, "lost a buffer"))
    }

    fn run(
        &mut self,
        operation: Operation,
        offset: u64,
        length: usize,
        buffer: Option<D::Buffer>,
    ) -> Result<Option<D::Buffer>, Error> {
        run(&mut self.target, self.name, operation, offset, length, buffer)
    }
}

/// The buffer that a frame is opened into and written from, and one for runs from its middle.
struct Slot<D: Disk> {
    frame: Option<D::Buffer>,
    spare: Option<D::Buffer>,
}

impl<D: Disk> AsMut<[u8]> for Slot<D> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.frame.as_mut().map_or(&mut [], |buffer| buffer.as_mut())
    }
}

/// Checks the blocks of one opened frame and writes them, as runs where they follow one another.
#[expect(clippy::too_many_arguments, reason = "one call, and every argument is a different thing")]
fn write_frame<D: Disk>(
    frames: &FrameReader,
    target: &mut D,
    name: &str,
    disk: &DiskState,
    slot: &mut Slot<D>,
    bytes: usize,
    blocks: &[Wanted],
    tally: &Tally,
) -> Result<(), Error> {
    for (place, block) in blocks {
        let at = usize::from(block.index) * BLOCK_BYTES;
        let content = slot.as_mut().get(at..at + BLOCK_BYTES).filter(|_| at + BLOCK_BYTES <= bytes);
        if content.map(|content| frames.fingerprinter().of(content)) != Some(block.fingerprint) {
            let segment = crate::names::segment(&frames.server(), &block.address.segment);
            return Err(Error::corrupt(
                segment,
                format!("holds other content than the map says for block {place}"),
            )
            .remedy("run verify --deep; restore another point or from --secondary"));
        }
    }
    let mut rest = blocks;
    while let Some((place, block)) = rest.first() {
        let follows = |(at, (next, other)): (usize, &Wanted)| {
            *next == place + at && usize::from(other.index) == usize::from(block.index) + at
        };
        let count = rest.iter().enumerate().take_while(|pair| follows((pair.0, pair.1))).count();
        let (offset, length) = range(disk, 0, *place, count);
        let at = usize::from(block.index) * BLOCK_BYTES;
        let source = if at == 0 {
            &mut slot.frame
        } else {
            // Writes go out from a buffer's start: runs inside a frame are moved to another buffer.
            let run = at..at + count * BLOCK_BYTES;
            if let (Some(frame), Some(spare)) = (&slot.frame, &mut slot.spare) {
                spare.as_mut()[..run.len()].copy_from_slice(&frame.as_ref()[run]);
            }
            &mut slot.spare
        };
        let buffer = source.take().ok_or_else(|| Error::device(name, "lost a buffer"))?;
        *source = run(target, name, Operation::Write, offset, length, Some(buffer))?;
        tally.written.fetch_add(length as u64, Ordering::Relaxed);
        rest = &rest[count..];
    }
    Ok(())
}

fn run<D: Disk>(
    target: &mut D,
    name: &str,
    operation: Operation,
    offset: u64,
    length: usize,
    buffer: Option<D::Buffer>,
) -> Result<Option<D::Buffer>, Error> {
    let about = |error: hal::disk::DiskError| {
        Error::from(error)
            .on(name)
            .remedy("the target is incomplete: mend it and run again, only what differs is written")
    };
    let length = u32::try_from(length).expect("at most one leaf: 16 MiB");
    let done =
        target.run(Request { token: 0, operation, offset, length, buffer }).map_err(about)?;
    done.result.map_err(about)?;
    Ok(done.buffer)
}

/// (offset on the disk, bytes) of some blocks counted from a leaf on; the disk's last block may be partial.
fn range(disk: &DiskState, leaf: u64, first: usize, count: usize) -> (u64, usize) {
    let offset = (leaf * LEAF_BLOCKS + first as u64) * BLOCK_BYTES as u64;
    let left = usize::try_from(disk.bytes - offset.min(disk.bytes)).unwrap_or(usize::MAX);
    (offset, (count * BLOCK_BYTES).min(left))
}

//! A server's disk as the spool has it: reads of blocks come from their records; what the spool does not have is refused.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hal::disk::{Completion, Disk, DiskError, ErrorKind, Geometry, Operation, Rejected, Request};
use pipeline::limits::BLOCK_BYTES;

use super::extents::{Extents, Part};
use super::journal;
use crate::spool::records::Reading;
use crate::spool::{Mark, Read};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Records that are kept open: neighbours on the disk were mostly sent together.
const RECORDS_MAX: usize = 24;
/// Requests of one handle at once.
const DEPTH: usize = 4;

/// Where the content of blocks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a record, so many blocks behind the beginning of its payload.
    Record(Mark, u64),
    /// Nowhere: they are zeros.
    Zeros,
    /// Nowhere: the source could not read them.
    Unread,
}

impl Part for Place {
    fn later(self, blocks: u64) -> Self {
        match self {
            Self::Record(mark, first) => Self::Record(mark, first + blocks),
            other => other,
        }
    }
}

type Opened = VecDeque<(Mark, Arc<Vec<u8>>)>;

/// Reads records, some of which stay in memory: one for everybody who drains.
pub struct Shelf {
    reader: Mutex<(Box<dyn Reading>, Mark)>,
    opened: Mutex<Opened>,
    damaged: AtomicBool,
}

impl Shelf {
    /// Reads through a handle.
    #[must_use]
    pub fn new(reader: Box<dyn Reading>) -> Self {
        Self {
            reader: Mutex::new((reader, Mark::default())),
            opened: Mutex::new(VecDeque::new()),
            damaged: AtomicBool::new(false),
        }
    }

    /// Everything before this may be read.
    pub fn reach(&self, durable: Mark) {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).1 = durable;
    }

    /// Whether a record turned out to be damaged since this was asked.
    pub fn take_damage(&self) -> bool {
        self.damaged.swap(false, Ordering::SeqCst)
    }

    /// What is behind a mark.
    pub fn read(&self, at: Mark) -> Result<Read, DiskError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let (reader, durable) = &mut *reader;
        reader.read(at, *durable).map_err(|error| {
            DiskError::words(ErrorKind::Gone, format_args!("the spool cannot be read: {error}"))
        })
    }

    /// Takes a payload back that is not needed any more.
    pub fn give_back(&self, payload: Vec<u8>) {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).0.give_back(payload);
    }

    fn record(&self, at: Mark) -> Result<Arc<Vec<u8>>, DiskError> {
        let find = |opened: &Opened| {
            opened.iter().find(|(mark, _)| *mark == at).map(|(_, record)| Arc::clone(record))
        };
        if let Some(record) = find(&self.opened.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(record);
        }
        let Read::Record { payload, .. } = self.read(at)? else {
            self.damaged.store(true, Ordering::SeqCst);
            return Err(DiskError::new(ErrorKind::Gone, "a record of the spool is damaged"));
        };
        let record = Arc::new(payload);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.push_back((at, Arc::clone(&record)));
        let oldest = if opened.len() > RECORDS_MAX { opened.pop_front() } else { None };
        drop(opened);
        if let Some(payload) = oldest.and_then(|(_, record)| Arc::into_inner(record)) {
            self.give_back(payload);
        }
        Ok(record)
    }
}

/// What a read came to: mostly a part of one record where it lies in memory already, else a copy of parts.
///
/// Whoever wants to write into it gets memory of its own, which costs nothing while nobody does.
pub struct Content {
    own: Vec<u8>,
    shared: Option<(Arc<Vec<u8>>, Range<usize>)>,
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        let shared = self.shared.as_ref().and_then(|(record, part)| record.get(part.clone()));
        shared.unwrap_or(&self.own)
    }
}

impl AsMut<[u8]> for Content {
    fn as_mut(&mut self) -> &mut [u8] {
        self.shared = None;
        &mut self.own
    }
}

/// A disk of one piece of the journal.
pub struct SpooledDisk {
    shelf: Arc<Shelf>,
    extents: Arc<Extents<Place>>,
    geometry: Geometry,
    waiting: VecDeque<Request<Content>>,
}

impl SpooledDisk {
    /// A disk of so many bytes with what the journal says of it.
    #[must_use]
    pub fn new(
        shelf: Arc<Shelf>,
        extents: Arc<Extents<Place>>,
        bytes: u64,
        sector_bytes: u32,
    ) -> Self {
        let geometry = Geometry {
            bytes,
            logical_sector_bytes: sector_bytes,
            physical_sector_bytes: sector_bytes,
            request_align_bytes: 1,
            discard_bytes: 0,
            read_only: true,
        };
        Self { shelf, extents, geometry, waiting: VecDeque::new() }
    }

    fn read(&self, offset: u64, length: usize, buffer: &mut Content) -> Result<(), DiskError> {
        if let Some(part) = self.one_record(offset, length) {
            let record = self.shelf.record(part.0)?;
            let first = usize::try_from(part.1).unwrap_or(usize::MAX);
            let range = payload_part(&record, first, 0, length).ok_or_else(not_what_it_was)?;
            buffer.shared = Some((record, range));
            return Ok(());
        }
        let room = buffer.as_mut().get_mut(..length);
        let small = || DiskError::new(ErrorKind::Misuse, "a buffer that is too small");
        self.fill(offset, room.ok_or_else(small)?)
    }

    /// The record in which all of these blocks are, in this order, and its first of them.
    fn one_record(&self, offset: u64, length: usize) -> Option<(Mark, u64)> {
        // The last block of a disk may be a part of one, and then zeros are put behind it.
        if !offset.is_multiple_of(BLOCK) || !length.is_multiple_of(BLOCK_BYTES) {
            return None;
        }
        let blocks = length as u64 / BLOCK;
        let (end, Place::Record(mark, first)) = self.extents.at(offset / BLOCK)? else {
            return None;
        };
        (blocks > 0 && end >= offset / BLOCK + blocks).then_some((mark, first))
    }

    fn fill(&self, offset: u64, mut room: &mut [u8]) -> Result<(), DiskError> {
        let mut at = offset;
        while !room.is_empty() {
            let block = at / BLOCK;
            let inside = usize::try_from(at % BLOCK).unwrap_or(0);
            let length = room.len().min(BLOCK_BYTES - inside);
            let (here, rest) = room.split_at_mut(length);
            match self.extents.at(block).map(|(_, place)| place) {
                Some(Place::Zeros) => here.fill(0),
                Some(Place::Unread) => {
                    let words = "the server could not read this block";
                    return Err(DiskError::new(ErrorKind::Medium, words).at(at));
                }
                Some(Place::Record(mark, first)) => {
                    let record = self.shelf.record(mark)?;
                    let first = usize::try_from(first).unwrap_or(usize::MAX);
                    let part = payload_part(&record, first, inside, length);
                    let part = part.and_then(|part| record.get(part));
                    here.copy_from_slice(part.ok_or_else(not_what_it_was)?);
                }
                None => {
                    let words = "the spool does not have this block, and was asked for it";
                    return Err(DiskError::new(ErrorKind::Misuse, words).at(at));
                }
            }
            at += length as u64;
            room = rest;
        }
        Ok(())
    }
}

/// Where in a record so many bytes of its payload are: behind so many blocks, and bytes inside the next one.
fn payload_part(record: &[u8], first: usize, inside: usize, length: usize) -> Option<Range<usize>> {
    let (payload, _) = journal::parse(record)?;
    let from = first.checked_mul(BLOCK_BYTES)?.checked_add(inside)?;
    let end = from.checked_add(length)?;
    // The payload stands first in its record.
    (end <= payload.len()).then_some(from..end)
}

fn not_what_it_was() -> DiskError {
    DiskError::new(ErrorKind::Gone, "a record of the spool is not what it was")
}

impl Disk for SpooledDisk {
    type Buffer = Content;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        Ok(self.geometry)
    }

    fn buffer(&mut self, length: usize) -> Result<Content, DiskError> {
        Ok(Content { own: vec![0; length], shared: None })
    }

    fn depth(&self) -> usize {
        DEPTH
    }

    fn submit(&mut self, request: Request<Content>) -> Result<(), Rejected<Content>> {
        let refused = self.geometry.check(&request).err().or_else(|| {
            let busy = self.waiting.len() >= DEPTH;
            busy.then(|| DiskError::new(ErrorKind::Busy, "as many requests as there may be"))
        });
        match refused {
            Some(error) => Err(Rejected { request, error }),
            None => {
                self.waiting.push_back(request);
                Ok(())
            }
        }
    }

    fn complete(&mut self) -> Result<Option<Completion<Content>>, DiskError> {
        let Some(mut request) = self.waiting.pop_front() else { return Ok(None) };
        let length = usize::try_from(request.length).unwrap_or(usize::MAX);
        let result = match (request.operation, &mut request.buffer) {
            (Operation::Read, Some(buffer)) => self.read(request.offset, length, buffer),
            _ => Err(DiskError::new(ErrorKind::Refused, "this disk can only be read")),
        };
        Ok(Some(Completion { token: request.token, buffer: request.buffer, result }))
    }

    /// What the journal calls zeros is none; everything else may be data, what it says nothing of too.
    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        let mut block = offset / BLOCK;
        while let Some((end, Place::Zeros)) = self.extents.at(block) {
            block = end;
        }
        let first = block.saturating_mul(BLOCK).max(offset);
        if first >= self.geometry.bytes {
            return Ok(None);
        }
        while let Some((next, place)) = self.extents.at(block)
            && place != Place::Zeros
        {
            block = next;
        }
        // Behind what it knows it says no more than one block: the next question finds zeros that may follow.
        let end = block.saturating_add(1).saturating_mul(BLOCK);
        let end = if matches!(self.extents.at(block), Some((_, Place::Zeros))) {
            block.saturating_mul(BLOCK)
        } else {
            end
        };
        Ok(Some((first, end.max(first + 1).min(self.geometry.bytes))))
    }

    fn another(&self) -> Result<Self, DiskError> {
        let (shelf, extents) = (Arc::clone(&self.shelf), Arc::clone(&self.extents));
        let Geometry { bytes, logical_sector_bytes, .. } = self.geometry;
        Ok(Self::new(shelf, extents, bytes, logical_sector_bytes))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::ids::ServerId;
    use pipeline_wire::message::{Blocks, Content as Sent};
    use pipeline_wire::runs::Run;

    use super::*;
    use crate::ingest::journal::{Entry, Life};
    use crate::spool::memory::MemoryRing;
    use crate::spool::records::Records as _;

    /// Records of blocks that hold their number, in a ring: where they are, and the shelf that reads them.
    fn shelf(records: &[Range<u8>]) -> (Vec<Mark>, Arc<Shelf>) {
        let mut ring = MemoryRing::new(1 << 24);
        let mut marks = Vec::new();
        for (numbers, sequence) in records.iter().zip(1..) {
            let runs = vec![Run { first: u64::from(numbers.start), blocks: numbers.len() as u64 }];
            let blocks = Blocks { sequence, disk: 0, content: Sent::Data, runs };
            let life = Life { server: ServerId([1; 16]), run: [2; 16] };
            let payload: Vec<u8> =
                numbers.clone().flat_map(|number| vec![number; BLOCK_BYTES]).collect();
            marks.push(ring.sync().unwrap());
            ring.append(&[&payload, &journal::emit(&Entry::Blocks(life, blocks))]).unwrap();
        }
        let shelf = Shelf::new(ring.reader().unwrap());
        shelf.reach(ring.sync().unwrap());
        (marks, Arc::new(shelf))
    }

    fn read(disk: &mut SpooledDisk, offset: u64, length: usize, buffer: Content) -> Content {
        let (token, length) = (7, u32::try_from(length).unwrap());
        let request =
            Request { token, operation: Operation::Read, offset, length, buffer: Some(buffer) };
        let done = disk.run(request).unwrap();
        done.result.unwrap();
        done.buffer.unwrap()
    }

    /// Seen to fail: the first with `one_record` finding none, the others with it looking at the first block alone.
    #[test]
    fn what_is_in_one_record_is_read_where_it_lies_and_everything_else_is_put_together() {
        let (marks, shelf) = shelf(&[10..14, 14..16]);
        let mut extents = Extents::default();
        extents.say(10..14, Place::Record(marks[0], 0));
        extents.say(14..16, Place::Record(marks[1], 0));
        extents.say(16..18, Place::Zeros);
        let bytes = 17 * BLOCK + 512;
        let mut disk = SpooledDisk::new(Arc::clone(&shelf), Arc::new(extents), bytes, 512);
        let buffer = disk.buffer(8 * BLOCK_BYTES).unwrap();
        let content = read(&mut disk, 11 * BLOCK, 2 * BLOCK_BYTES, buffer);
        let expected = [[11; BLOCK_BYTES], [12; BLOCK_BYTES]].concat();
        assert_eq!(content.as_ref(), expected);
        let record = shelf.record(marks[0]).unwrap();
        assert_eq!(content.as_ref().as_ptr(), record[BLOCK_BYTES..].as_ptr());
        let mut content = content;
        content.as_mut().fill(9);
        assert_eq!(record[BLOCK_BYTES], 11, "nobody writes into a record");
        let content = read(&mut disk, 13 * BLOCK, 2 * BLOCK_BYTES, content);
        assert_eq!(
            content.as_ref()[..2 * BLOCK_BYTES],
            [[13; BLOCK_BYTES], [14; BLOCK_BYTES]].concat()
        );
        let content = read(&mut disk, 15 * BLOCK, 2 * BLOCK_BYTES + 512, content);
        assert_eq!(content.as_ref()[..BLOCK_BYTES], [15; BLOCK_BYTES]);
        assert_eq!(content.as_ref()[BLOCK_BYTES..2 * BLOCK_BYTES + 512], [0; BLOCK_BYTES + 512]);
    }
}

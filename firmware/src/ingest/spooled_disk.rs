//! A server's disk as the spool has it: reads of blocks come from their records; what the spool does not have is refused.

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

/// A disk of one piece of the journal.
pub struct SpooledDisk {
    shelf: Arc<Shelf>,
    extents: Arc<Extents<Place>>,
    geometry: Geometry,
    waiting: VecDeque<Request<Vec<u8>>>,
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
                    let whole = journal::parse(&record).and_then(|(payload, _)| {
                        let from = usize::try_from(first).ok()?.checked_mul(BLOCK_BYTES)?;
                        payload.get(from + inside..from + inside + length)
                    });
                    let damaged = "a record of the spool is not what it was";
                    here.copy_from_slice(
                        whole.ok_or_else(|| DiskError::new(ErrorKind::Gone, damaged))?,
                    );
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

impl Disk for SpooledDisk {
    type Buffer = Vec<u8>;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        Ok(self.geometry)
    }

    fn buffer(&mut self, length: usize) -> Result<Vec<u8>, DiskError> {
        Ok(vec![0; length])
    }

    fn depth(&self) -> usize {
        DEPTH
    }

    fn submit(&mut self, request: Request<Vec<u8>>) -> Result<(), Rejected<Vec<u8>>> {
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

    fn complete(&mut self) -> Result<Option<Completion<Vec<u8>>>, DiskError> {
        let Some(mut request) = self.waiting.pop_front() else { return Ok(None) };
        let length = usize::try_from(request.length).unwrap_or(usize::MAX);
        let result = match (request.operation, &mut request.buffer) {
            (Operation::Read, Some(buffer)) => match buffer.get_mut(..length) {
                Some(room) => self.fill(request.offset, room),
                None => Err(DiskError::new(ErrorKind::Misuse, "a buffer that is too small")),
            },
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

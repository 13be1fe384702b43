//! A page blob as a disk: what a managed disk is while it is uploaded, and what a warm seed is.
//!
//! Writes go out behind the caller, many at a time, and are there for sure after a flush. Pages of zeros are not sent where
//! nothing is. It refuses to go on behind a write that failed: all that follows fails too, with the same reason.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hal::buffer::HeapBuffer;
use hal::disk::{Completion, Disk, DiskError, ErrorKind, Geometry, Operation, Rejected, Request};
use pipeline_vault::{Blame, Error};

use super::pages::{PAGE_BYTES, PUT_BYTES_MAX, Pages};

/// Writes that are under way behind the caller.
mod behind;
/// What the blob holds already.
mod held;
/// Which parts of a write have to be sent.
mod split;
#[cfg(test)]
pub(crate) mod tests;

use behind::{Behind, Work};
use held::{Held, Known};
use split::{Part, split};

/// Requests that a handle keeps before it says that it is full.
const QUEUE_MAX: usize = 16;
/// So much is looked at in one question for what there is.
const WINDOW_BYTES: u64 = 256 * 1024 * 1024;

/// What is in the blob when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "nothing is known, or one of two things")]
pub enum Holds {
    /// Zeros.
    Nothing,
    /// Part of what is going to be written to it, and zeros: a write of what is there already is not sent again.
    PartOfIt,
    /// Anything.
    Anything,
}

/// What a page blob was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Bytes put.
    pub put_bytes: u64,
    /// Puts.
    pub puts: u64,
    /// Ranges cleared.
    pub clears: u64,
    /// Bytes that were there from an earlier run, and were not sent again.
    pub kept_bytes: u64,
}

/// A handle on a page blob.
pub struct PageDisk {
    shared: Arc<Shared>,
    /// What is there already is right.
    trusting: bool,
    waiting: VecDeque<Request<HeapBuffer>>,
}

struct Shared {
    pages: Arc<dyn Pages>,
    geometry: Geometry,
    holds: Holds,
    held: Mutex<Held>,
    known: Mutex<Known>,
    behind: Behind,
    kept_bytes: core::sync::atomic::AtomicU64,
}

impl PageDisk {
    /// The first `bytes` of a page blob, with so many requests in flight at most.
    ///
    /// Errors: a size that is no whole number of pages.
    pub fn new(
        pages: Arc<dyn Pages>,
        bytes: u64,
        holds: Holds,
        in_flight: usize,
    ) -> Result<Self, Error> {
        if !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(Error::misuse("page blob", format!("{bytes} bytes are no whole pages")));
        }
        let page = 512;
        let geometry = Geometry {
            bytes,
            logical_sector_bytes: page,
            physical_sector_bytes: page,
            request_align_bytes: page,
            discard_bytes: 0,
            read_only: false,
        };
        let behind = Behind::start(Arc::clone(&pages), in_flight)?;
        let shared = Shared {
            pages,
            geometry,
            holds,
            held: Mutex::new(Held::new(bytes, holds == Holds::Anything)),
            known: Mutex::default(),
            behind,
            kept_bytes: 0.into(),
        };
        Ok(Self::handle(Arc::new(shared), holds == Holds::PartOfIt))
    }

    fn handle(shared: Arc<Shared>, trusting: bool) -> Self {
        Self { shared, trusting, waiting: VecDeque::with_capacity(QUEUE_MAX) }
    }

    /// A handle that writes whatever it is told, whatever was there before: for what goes on top of a point.
    #[must_use]
    pub fn exact(&self) -> Self {
        if self.shared.holds == Holds::PartOfIt {
            lock(&self.shared.held).mark_all();
        }
        Self::handle(Arc::clone(&self.shared), false)
    }

    /// What was sent so far.
    #[must_use]
    pub fn sent(&self) -> Sent {
        let kept_bytes = self.shared.kept_bytes.load(core::sync::atomic::Ordering::Relaxed);
        Sent { kept_bytes, ..self.shared.behind.sent() }
    }

    /// Why writes fail, in full; a disk's own error holds less.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared.behind.failure()
    }
}

impl Shared {
    fn perform(&self, request: &mut Request<HeapBuffer>, trusting: bool) -> Result<(), DiskError> {
        let Request { operation, offset, length, .. } = *request;
        let length = usize::try_from(length).expect("32 bits");
        let buffer = request.buffer.as_mut().map_or(&mut [][..], |buffer| buffer.as_mut());
        match operation {
            Operation::Read => self.read(offset, &mut buffer[..length]),
            Operation::Write => self.write(offset, &buffer[..length], trusting),
            Operation::Zero => self.behind.push(Work::Clear { offset, bytes: length as u64 }),
            Operation::Flush => self.behind.settle(),
            _ => Err(DiskError::new(ErrorKind::Unsupported, "a page blob discards nothing")),
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.behind.settle()?;
        let mut at = offset;
        for part in into.chunks_mut(PUT_BYTES_MAX) {
            self.pages.read(at, part).map_err(|trouble| disk_error(&trouble.into(), at))?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8], trusting: bool) -> Result<(), DiskError> {
        let held = lock(&self.held).any(offset, bytes.len() as u64);
        for part in split(bytes, held) {
            match part {
                Part::Put(range) => {
                    let start = offset + range.start as u64;
                    let length = range.len() as u64;
                    if trusting && self.is_there(start, length)? {
                        self.kept_bytes.fetch_add(length, core::sync::atomic::Ordering::Relaxed);
                        continue;
                    }
                    lock(&self.held).mark(start, length);
                    self.behind.push(Work::put(start, &bytes[range]))?;
                }
                Part::Clear(range) => {
                    let bytes = range.len() as u64;
                    self.behind.push(Work::Clear { offset: offset + range.start as u64, bytes })?;
                }
            }
        }
        Ok(())
    }

    /// Whether pages of an earlier run cover the range.
    fn is_there(&self, offset: u64, bytes: u64) -> Result<bool, DiskError> {
        let end = offset + bytes;
        let mut at = offset;
        while at < end {
            let stop = end.min((at / WINDOW_BYTES + 1) * WINDOW_BYTES);
            let mut known = lock(&self.known);
            let window = known.window(at / WINDOW_BYTES, || self.look(at / WINDOW_BYTES))?;
            if !held::covers(window, at, stop) {
                return Ok(false);
            }
            at = stop;
        }
        Ok(true)
    }

    fn look(&self, window: u64) -> Result<Vec<(u64, u64)>, DiskError> {
        let from = window * WINDOW_BYTES;
        let to = self.geometry.bytes.min(from + WINDOW_BYTES);
        self.pages.ranges(from, to).map_err(|trouble| disk_error(&trouble.into(), from))
    }

    fn data_after(&self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        self.behind.settle()?;
        let mut at = offset;
        while at < self.geometry.bytes {
            let window = self.look(at / WINDOW_BYTES)?;
            let found = window.into_iter().find(|(_, end)| *end > at);
            if let Some((start, end)) = found {
                return Ok(Some((start.max(at), end)));
            }
            at = (at / WINDOW_BYTES + 1) * WINDOW_BYTES;
        }
        Ok(None)
    }
}

impl Disk for PageDisk {
    type Buffer = HeapBuffer;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        Ok(self.shared.geometry)
    }

    fn buffer(&mut self, length: usize) -> Result<HeapBuffer, DiskError> {
        HeapBuffer::zeroed(length)
    }

    fn depth(&self) -> usize {
        1
    }

    fn submit(&mut self, request: Request<HeapBuffer>) -> Result<(), Rejected<HeapBuffer>> {
        if let Err(error) = self.shared.geometry.check(&request) {
            return Err(Rejected { request, error });
        }
        if self.waiting.len() == QUEUE_MAX {
            let error = DiskError::new(ErrorKind::Busy, "the queue of this page blob is full");
            return Err(Rejected { request, error });
        }
        self.waiting.push_back(request);
        Ok(())
    }

    fn complete(&mut self) -> Result<Option<Completion<HeapBuffer>>, DiskError> {
        let Some(mut request) = self.waiting.pop_front() else { return Ok(None) };
        let result = self.shared.perform(&mut request, self.trusting);
        Ok(Some(Completion { token: request.token, buffer: request.buffer, result }))
    }

    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        self.shared.data_after(offset)
    }

    fn another(&self) -> Result<Self, DiskError> {
        Ok(Self::handle(Arc::clone(&self.shared), self.trusting))
    }
}

/// What a disk can say of a failure; the whole of it is kept beside.
fn disk_error(error: &Error, offset: u64) -> DiskError {
    let kind = match error.blame {
        Blame::Misuse => ErrorKind::Misuse,
        Blame::Refused => ErrorKind::Refused,
        Blame::Exhausted => ErrorKind::Exhausted,
        _ => ErrorKind::Gone,
    };
    DiskError::words(kind, format_args!("{error}")).at(offset)
}

/// A poisoned lock means that somebody panicked; what is behind these changes in single steps.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

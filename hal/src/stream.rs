//! A disk as a stream of bytes: embedded-io's `Read`, `Write` and `Seek` over one window of aligned
//! memory.
//!
//! For what reads a few bytes here and there: partition tables, file systems, headers. It copies by
//! nature, so the path of the blocks never comes through here. It writes whole windows: while it
//! lives, nobody else may write.

use embedded_io::{ErrorType, Read, Seek, SeekFrom, Write};

use crate::disk::{Disk, DiskError, ErrorKind, Operation, Request};

/// The part of the disk that is held at a time: large enough to spare calls, a multiple of every
/// alignment.
const WINDOW_BYTES: u64 = 65_536;

/// A stream over a disk, starting at its first byte.
#[derive(Debug)]
pub struct DiskStream<D: Disk> {
    disk: D,
    bytes: u64,
    position: u64,
    /// `None` until first used, and after a request that lost it.
    buffer: Option<D::Buffer>,
    window: Window,
}

/// Which bytes of the disk are in the buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    start: u64,
    length: usize,
    /// Changed, and not yet on the disk.
    dirty: bool,
}

impl<D: Disk> DiskStream<D> {
    /// A stream over the disk as large as it is now. Nothing may be in flight on this handle.
    pub fn new(mut disk: D) -> Result<Self, DiskError> {
        let bytes = disk.geometry()?.bytes;
        Ok(Self { disk, bytes, position: 0, buffer: None, window: Window::default() })
    }

    /// Writes what is still held, flushes, and gives the disk back. (Just dropping a stream loses
    /// what it holds.)
    pub fn finish(mut self) -> Result<D, DiskError> {
        self.flush()?;
        Ok(self.disk)
    }

    /// The part of the window from the position on, at most `most` bytes; empty at the end of the
    /// disk. `whole` says that the caller overwrites all of it, so that a window that it covers
    /// need not be read.
    fn at_position(&mut self, most: usize, whole: bool) -> Result<&mut [u8], DiskError> {
        let within = self.position % WINDOW_BYTES;
        let start = self.position - within;
        if self.position >= self.bytes {
            return Ok(&mut []);
        }
        let length = to_size((self.bytes - start).min(WINDOW_BYTES))?;
        if self.window.length == 0 || self.window.start != start {
            self.write_back()?;
            self.window = Window::default();
            if !(whole && within == 0 && most >= length) {
                self.transfer(Operation::Read, start, length)?;
            }
            self.window = Window { start, length, dirty: false };
        }
        if self.buffer.is_none() {
            self.buffer = Some(self.disk.buffer(to_size(WINDOW_BYTES)?)?);
        }
        let from = to_size(within)?;
        let to = length.min(from.saturating_add(most));
        let held = self.buffer.as_mut().and_then(|buffer| buffer.as_mut().get_mut(from..to));
        held.ok_or_else(|| {
            DiskError::new(ErrorKind::Misuse, "the disk gave a buffer that is too short")
        })
    }

    fn write_back(&mut self) -> Result<(), DiskError> {
        if self.window.dirty {
            self.transfer(Operation::Write, self.window.start, self.window.length)?;
            self.window.dirty = false;
        }
        Ok(())
    }

    fn transfer(
        &mut self,
        operation: Operation,
        offset: u64,
        length: usize,
    ) -> Result<(), DiskError> {
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => self.disk.buffer(to_size(WINDOW_BYTES)?)?,
        };
        let length = u32::try_from(length)
            .map_err(|_| DiskError::new(ErrorKind::Misuse, "a window larger than a request"))?;
        let request = Request { token: 0, operation, offset, length, buffer: Some(buffer) };
        if let Err(rejected) = self.disk.submit(request) {
            self.buffer = rejected.request.buffer;
            return Err(rejected.error);
        }
        let done = self.disk.complete()?.ok_or_else(|| {
            DiskError::new(ErrorKind::Misuse, "the disk has lost a request").at(offset)
        })?;
        self.buffer = done.buffer;
        done.result
    }
}

impl<D: Disk> ErrorType for DiskStream<D> {
    type Error = DiskError;
}

impl<D: Disk> Read for DiskStream<D> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, DiskError> {
        let held = self.at_position(into.len(), false)?;
        let count = held.len();
        if let Some(target) = into.get_mut(..count) {
            target.copy_from_slice(held);
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl<D: Disk> Write for DiskStream<D> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, DiskError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let position = self.position;
        let held = self.at_position(bytes.len(), true)?;
        let count = held.len();
        if count == 0 {
            return Err(
                DiskError::new(ErrorKind::Full, "writing past the end of the disk").at(position)
            );
        }
        if let Some(source) = bytes.get(..count) {
            held.copy_from_slice(source);
        }
        self.window.dirty = true;
        self.position += count as u64;
        Ok(count)
    }

    /// Everything written is on the disk and durable afterwards.
    fn flush(&mut self) -> Result<(), DiskError> {
        self.write_back()?;
        let flush =
            Request { token: 0, operation: Operation::Flush, offset: 0, length: 0, buffer: None };
        self.disk.run(flush)?.result
    }
}

impl<D: Disk> Seek for DiskStream<D> {
    /// Past the end is allowed: reads there find nothing, writes are refused.
    fn seek(&mut self, to: SeekFrom) -> Result<u64, DiskError> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| {
            DiskError::new(ErrorKind::Misuse, "seeking before the start of the disk")
        })?;
        Ok(self.position)
    }
}

fn to_size(value: u64) -> Result<usize, DiskError> {
    usize::try_from(value).map_err(|_| DiskError::new(ErrorKind::Misuse, "larger than memory"))
}

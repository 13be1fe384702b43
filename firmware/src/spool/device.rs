//! A disk as the spool uses it: writes that queue, everything else one at a time.
//!
//! A write that fails is told by the next call that waits; nobody is told "durable" before every write was.

use hal::disk::{Disk, DiskError, ErrorKind, Operation, Request};

use super::SpoolError;
use super::layout::PAGE_BYTES;

/// Bytes that are cleared at once.
const CLEAR_BYTES: u64 = 1024 * 1024;

/// Buffers that are kept to be used again: fresh memory costs more than what is done with it.
const SPARE_MAX: usize = 4;

/// A disk whose sectors fit.
pub(super) struct Device<D: Disk> {
    disk: D,
    flying: usize,
    spare: Vec<D::Buffer>,
}

impl<D: Disk> Device<D> {
    pub(super) fn new(mut disk: D) -> Result<Self, SpoolError> {
        let align = disk.geometry()?.request_align_bytes.max(1);
        if !PAGE_BYTES.is_multiple_of(u64::from(align)) {
            return Err(SpoolError::Sectors(align));
        }
        Ok(Self { disk, flying: 0, spare: Vec::new() })
    }

    /// A handle of its own on the same disk.
    pub(super) fn another(&self) -> Result<D, DiskError> {
        self.disk.another()
    }

    pub(super) fn bytes(&mut self) -> Result<u64, SpoolError> {
        Ok(self.disk.geometry()?.bytes)
    }

    /// A buffer of at least so many bytes, in which anything may be.
    fn buffer(&mut self, bytes: usize) -> Result<D::Buffer, DiskError> {
        let fits = |buffer: &D::Buffer| buffer.as_ref().len() >= bytes;
        match self.spare.iter().position(fits) {
            Some(place) => Ok(self.spare.swap_remove(place)),
            None => self.disk.buffer(bytes),
        }
    }

    /// Takes a buffer back that is not needed any more.
    pub(super) fn give_back(&mut self, buffer: D::Buffer) {
        // Large ones serve for what is small too.
        if self.spare.len() >= SPARE_MAX {
            let smallest =
                self.spare.iter().enumerate().min_by_key(|(_, kept)| kept.as_ref().len());
            let smaller = smallest.filter(|(_, kept)| kept.as_ref().len() < buffer.as_ref().len());
            let Some(place) = smaller.map(|(place, _)| place) else { return };
            self.spare.swap_remove(place);
        }
        self.spare.push(buffer);
    }

    /// Starts a write of what `fill` makes of the buffer, in which anything may be before.
    pub(super) fn write_with(
        &mut self,
        offset: u64,
        length: u64,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SpoolError> {
        while self.flying >= self.disk.depth().max(1) {
            self.collect()?;
        }
        let (length, bytes) = (short(length)?, long(length)?);
        let mut buffer = self.buffer(bytes)?;
        fill(buffer.as_mut().get_mut(..bytes).unwrap_or_default());
        let request =
            Request { token: 0, operation: Operation::Write, offset, length, buffer: Some(buffer) };
        self.disk.submit(request).map_err(|rejected| rejected.error)?;
        self.flying += 1;
        Ok(())
    }

    /// Starts a write of one page.
    pub(super) fn write_page(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SpoolError> {
        self.write_with(offset, PAGE_BYTES, |room| {
            room.fill(0);
            room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        })
    }

    /// Writes zeros; the ends may be anywhere that the disk's sectors allow.
    pub(super) fn clear(&mut self, from: u64, to: u64) -> Result<(), SpoolError> {
        let mut at = from;
        while at < to {
            let length = CLEAR_BYTES.min(to - at);
            self.write_with(at, length, |room| room.fill(0))?;
            at += length;
        }
        Ok(())
    }

    /// Waits for every write that was started.
    pub(super) fn drain(&mut self) -> Result<(), DiskError> {
        while self.flying > 0 {
            self.collect()?;
        }
        Ok(())
    }

    /// Makes durable what was written.
    pub(super) fn flush(&mut self) -> Result<(), SpoolError> {
        self.drain()?;
        self.alone(Operation::Flush, 0, 0, None)?;
        Ok(())
    }

    pub(super) fn discard(&mut self, offset: u64, length: u64) -> Result<(), SpoolError> {
        self.drain()?;
        self.alone(Operation::Discard, offset, short(length)?, None)?;
        Ok(())
    }

    /// Reads into the beginning of a buffer, which should be given back; `None` where the medium cannot read these sectors,
    /// which others do not share.
    pub(super) fn read(
        &mut self,
        offset: u64,
        length: u64,
    ) -> Result<Option<D::Buffer>, SpoolError> {
        self.drain()?;
        let buffer = self.buffer(long(length)?)?;
        match self.alone(Operation::Read, offset, short(length)?, Some(buffer)) {
            Ok(buffer) => Ok(buffer),
            Err(error) if error.kind == ErrorKind::Medium => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn alone(
        &mut self,
        operation: Operation,
        offset: u64,
        length: u32,
        buffer: Option<D::Buffer>,
    ) -> Result<Option<D::Buffer>, DiskError> {
        let done = self.disk.run(Request { token: 1, operation, offset, length, buffer })?;
        done.result.map(|()| done.buffer)
    }

    fn collect(&mut self) -> Result<(), DiskError> {
        let Some(done) = self.disk.complete()? else {
            let kind = ErrorKind::Misuse;
            return Err(DiskError::new(kind, "a write of the spool was lost on its way"));
        };
        self.flying -= 1;
        if let Some(buffer) = done.buffer {
            self.give_back(buffer);
        }
        done.result
    }
}

fn short(length: u64) -> Result<u32, SpoolError> {
    u32::try_from(length).map_err(|_| SpoolError::Large(usize::MAX))
}

fn long(length: u64) -> Result<usize, SpoolError> {
    usize::try_from(length).map_err(|_| SpoolError::Large(usize::MAX))
}

//! A disk of a point, behind the trait that writers read: how a chain begins with what another one has.
//!
//! What the source could not read fails as a medium does, so that it is unread here too; damage ends the run. It takes no
//! writes.

use std::collections::VecDeque;
use std::sync::Arc;

use hal::disk::{Completion, Disk, DiskError, ErrorKind, Geometry, Operation, Rejected, Request};

use crate::error::Error;
use crate::reader::PointReader;

/// Requests at once: a reader of the vault is worth no more here.
const DEPTH: usize = 4;

/// A disk of a point.
pub(super) struct PointDisk {
    reader: Arc<PointReader>,
    waiting: VecDeque<Request<Vec<u8>>>,
}

impl PointDisk {
    pub(super) fn new(reader: Arc<PointReader>) -> Self {
        Self { reader, waiting: VecDeque::new() }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let Err(error) = self.reader.read_at(offset, into) else { return Ok(()) };
        let unread =
            self.reader.is_unread(offset, into.len() as u64).map_err(|error| gone(&error))?;
        let kind = if unread { ErrorKind::Medium } else { ErrorKind::Gone };
        Err(DiskError::words(kind, format_args!("{error}")).at(offset))
    }
}

fn gone(error: &Error) -> DiskError {
    DiskError::words(ErrorKind::Gone, format_args!("{error}"))
}

impl Disk for PointDisk {
    type Buffer = Vec<u8>;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        let disk = self.reader.disk();
        Ok(Geometry {
            bytes: disk.bytes,
            logical_sector_bytes: disk.sector_bytes,
            physical_sector_bytes: disk.sector_bytes,
            request_align_bytes: 1,
            discard_bytes: 0,
            read_only: true,
        })
    }

    fn buffer(&mut self, length: usize) -> Result<Self::Buffer, DiskError> {
        Ok(vec![0; length])
    }

    fn depth(&self) -> usize {
        DEPTH
    }

    fn submit(&mut self, request: Request<Self::Buffer>) -> Result<(), Rejected<Self::Buffer>> {
        let checked = match self.geometry() {
            Ok(geometry) if self.waiting.len() < DEPTH => geometry.check(&request),
            Ok(_) => Err(DiskError::new(ErrorKind::Busy, "the queue is full")),
            Err(error) => Err(error),
        };
        match checked {
            Ok(()) => {
                self.waiting.push_back(request);
                Ok(())
            }
            Err(error) => Err(Rejected { request, error }),
        }
    }

    fn complete(&mut self) -> Result<Option<Completion<Self::Buffer>>, DiskError> {
        let Some(request) = self.waiting.pop_front() else { return Ok(None) };
        let Request { token, operation, offset, length, mut buffer } = request;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let into = buffer.as_mut().and_then(|buffer| buffer.get_mut(..length));
        let result = match (operation, into) {
            (Operation::Read, Some(into)) => self.read(offset, into),
            (Operation::Flush, _) => Ok(()),
            _ => Err(DiskError::new(ErrorKind::Refused, "a point takes no writes")),
        };
        Ok(Some(Completion { token, buffer, result }))
    }

    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        self.reader.data_after(offset).map_err(|error| gone(&error))
    }

    fn another(&self) -> Result<Self, DiskError> {
        Ok(Self::new(Arc::clone(&self.reader)))
    }
}

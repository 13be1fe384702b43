//! A disk that is written to between any two blocks that are read.

use std::collections::VecDeque;

use hal::disk::{Completion, DiskError, Geometry, Rejected, Request};

use super::*;

/// One of a machine's, and what is asked of it.
pub(super) struct Restless {
    machine: Shared,
    place: usize,
    waiting: VecDeque<Request<Vec<u8>>>,
}

impl Restless {
    pub(super) fn new(machine: Shared, place: usize) -> Self {
        Self { machine, place, waiting: VecDeque::new() }
    }

    fn perform(&self, request: &mut Request<Vec<u8>>) -> Result<(), DiskError> {
        let mut machine = self.machine.lock().unwrap();
        let buffer = request.buffer.as_mut().unwrap();
        let first = request.offset / BLOCK_BYTES as u64;
        let blocks = usize::try_from(request.length).unwrap().div_ceil(BLOCK_BYTES);
        if machine.frozen && machine.fault == Fault::Breaks {
            return Err(DiskError::new(hal::disk::ErrorKind::Refused, "the test breaks it"));
        }
        if machine.refuses && self.place == 1 {
            return Err(DiskError::new(hal::disk::ErrorKind::Refused, "the test has it so"));
        }
        let end = first + u64::try_from(blocks).unwrap();
        if self.place == 0 && (first..end).any(|block| machine.bad.contains(block)) {
            return Err(DiskError::new(hal::disk::ErrorKind::Medium, "the test has it so"));
        }
        for (block, bytes) in (first..).zip(buffer.chunks_mut(BLOCK_BYTES)).take(blocks) {
            machine.write_while_read();
            let stamp = machine.blocks[self.place][usize::try_from(block).unwrap()];
            bytes.fill(0);
            bytes[..8].copy_from_slice(&stamp.to_le_bytes());
            machine.write_while_read();
            if machine.fault == Fault::ClearsLate {
                machine.marks[self.place].remove(block);
            }
        }
        Ok(())
    }
}

impl hal::disk::Disk for Restless {
    type Buffer = Vec<u8>;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        let blocks = self.machine.lock().unwrap().blocks[self.place].len();
        Ok(Geometry {
            bytes: (blocks * BLOCK_BYTES) as u64,
            logical_sector_bytes: 512,
            physical_sector_bytes: 4096,
            request_align_bytes: 512,
            discard_bytes: 0,
            read_only: false,
        })
    }

    fn buffer(&mut self, length: usize) -> Result<Vec<u8>, DiskError> {
        Ok(vec![0; length])
    }

    fn depth(&self) -> usize {
        4
    }

    fn submit(&mut self, request: Request<Vec<u8>>) -> Result<(), Rejected<Vec<u8>>> {
        self.waiting.push_back(request);
        Ok(())
    }

    fn complete(&mut self) -> Result<Option<Completion<Vec<u8>>>, DiskError> {
        let most = self.waiting.len() as u64;
        let at = usize::try_from(self.machine.lock().unwrap().random.below(most)).unwrap();
        let Some(mut request) = self.waiting.remove(at) else { return Ok(None) };
        let result = self.perform(&mut request);
        Ok(Some(Completion { token: request.token, buffer: request.buffer, result }))
    }

    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        Ok(Some((offset, u64::MAX)))
    }

    fn another(&self) -> Result<Self, DiskError> {
        Ok(Self::new(Arc::clone(&self.machine), self.place))
    }
}

//! A disk in memory: sparse, so that 8 TiB cost what is written; shared by its handles; breakable
//! by seed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hal::buffer::HeapBuffer;
use hal::disk::{Completion, Disk, DiskError, ErrorKind, Geometry, Operation, Rejected, Request};

use crate::fault::Faults;

/// Content, durability, faults.
mod medium;
/// Sparse content.
mod pages;

use medium::Medium;

/// Requests in flight on one handle unless a test says otherwise.
const DEPTH: usize = 16;

/// Sector sizes that disks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sectors {
    /// 512 bytes, all through.
    Small,
    /// 512e: 512 bytes at the interface, 4096 on the medium.
    Emulated,
    /// 4Kn: 4096 bytes, all through.
    Large,
    /// An image file in the page cache: requests and sizes of any length.
    Unaligned,
}

/// What a disk was asked to do since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Reads that succeeded.
    pub reads: u64,
    /// Bytes of them.
    pub read_bytes: u64,
    /// Writes that claimed success.
    pub writes: u64,
    /// Bytes of them.
    pub written_bytes: u64,
    /// Ranges zeroed.
    pub zeros: u64,
    /// Bytes of them.
    pub zeroed_bytes: u64,
    /// Discards.
    pub discards: u64,
    /// Flushes, failed ones too.
    pub flushes: u64,
}

/// A handle on a simulated disk.
#[derive(Debug)]
pub struct SimDisk {
    medium: Arc<Mutex<Medium>>,
    /// The geometry as this handle last saw it.
    known: Geometry,
    /// The power cycle that this handle was opened in.
    power: u64,
    depth: usize,
    waiting: VecDeque<Request<HeapBuffer>>,
}

impl SimDisk {
    /// An empty disk of this size with 512-byte sectors. The size is cut to whole sectors.
    pub fn new(bytes: u64) -> Self {
        Self::with_sectors(bytes, Sectors::Small)
    }

    /// An empty disk of this size, cut to whole sectors.
    pub fn with_sectors(bytes: u64, sectors: Sectors) -> Self {
        let (logical, physical, align) = match sectors {
            Sectors::Small => (512, 512, 512),
            Sectors::Emulated => (512, 4096, 512),
            Sectors::Large => (4096, 4096, 4096),
            Sectors::Unaligned => (512, 4096, 1),
        };
        Self::with_geometry(Geometry {
            bytes: bytes / u64::from(align) * u64::from(align),
            logical_sector_bytes: logical,
            physical_sector_bytes: physical,
            request_align_bytes: align,
            discard_bytes: physical,
            read_only: false,
        })
    }

    /// An empty disk with exactly this geometry.
    pub fn with_geometry(geometry: Geometry) -> Self {
        let medium = Arc::new(Mutex::new(Medium::new(geometry)));
        Self { medium, known: geometry, power: 0, depth: DEPTH, waiting: VecDeque::new() }
    }

    /// The same handle with another number of requests in flight.
    #[must_use]
    pub fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth.max(1);
        self
    }

    /// What goes wrong from now on, on all handles; counts of requests and bytes start over.
    pub fn set_faults(&self, faults: Faults) {
        self.medium().set_faults(faults);
    }

    /// The power goes: unflushed writes survive, are lost, or are torn between sectors, as the seed
    /// has it. Every handle is dead afterwards; `reopen` gives a living one.
    pub fn cut_power(&self, seed: u64) {
        self.medium().cut_power(seed);
    }

    /// A new handle on the disk as it is now, after a power cut too.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let medium = self.medium();
        Self {
            medium: Arc::clone(&self.medium),
            known: medium.geometry,
            power: medium.power,
            depth: self.depth,
            waiting: VecDeque::new(),
        }
    }

    /// Puts content on the disk from outside: durable, without faults, not counted.
    pub fn load(&self, offset: u64, bytes: &[u8]) {
        self.medium().load(offset, bytes);
    }

    /// The content as a reader would see it, without faults, not counted.
    pub fn content(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.medium().peek(offset, &mut bytes);
        bytes
    }

    /// Where reads were put by "DMA", oldest first: offset on the disk, address of the buffer,
    /// length in bytes. Of very many, the last 65,536.
    pub fn dma_log(&self) -> Vec<(u64, usize, usize)> {
        self.medium().dma_log()
    }

    /// Forgets the log of reads.
    pub fn clear_dma_log(&self) {
        self.medium().clear_dma_log();
    }

    /// What was asked of the disk on all handles.
    pub fn counts(&self) -> Counts {
        self.medium().counts
    }

    /// Memory held for content.
    pub fn held_bytes(&self) -> u64 {
        self.medium().held_bytes()
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        // A test that panicked while holding the lock must not hide its panic behind another.
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(&self, request: &mut Request<HeapBuffer>) -> Result<(), DiskError> {
        let (offset, length) = (request.offset, request.length as usize);
        let mut medium = self.medium();
        medium.count(self.power)?;
        let transfer = request.buffer.as_mut().and_then(|buffer| buffer.as_mut().get_mut(..length));
        match (request.operation, transfer) {
            (Operation::Read, Some(bytes)) => medium.read(offset, bytes),
            (Operation::Write, Some(bytes)) => medium.write(offset, bytes),
            (Operation::Read | Operation::Write, None) => {
                Err(DiskError::new(ErrorKind::Misuse, "a transfer without a buffer").at(offset))
            }
            (Operation::Flush, _) => medium.flush(),
            (operation, _) => medium.clear(operation, offset, u64::from(request.length)),
        }
    }
}

impl Disk for SimDisk {
    type Buffer = HeapBuffer;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        let medium = self.medium();
        medium.alive(self.power)?;
        let now = medium.geometry;
        drop(medium);
        self.known = now;
        Ok(now)
    }

    fn buffer(&mut self, length: usize) -> Result<HeapBuffer, DiskError> {
        HeapBuffer::zeroed(length)
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn submit(&mut self, request: Request<HeapBuffer>) -> Result<(), Rejected<HeapBuffer>> {
        if let Err(error) = self.known.check(&request) {
            return Err(Rejected { request, error });
        }
        if self.waiting.len() >= self.depth {
            let error =
                DiskError::new(ErrorKind::Busy, "the queue is full: complete a request first");
            return Err(Rejected { request, error });
        }
        self.waiting.push_back(request);
        Ok(())
    }

    fn complete(&mut self) -> Result<Option<Completion<HeapBuffer>>, DiskError> {
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let next = self.medium().next_of(self.waiting.len());
        let Some(mut request) = self.waiting.remove(next) else { return Ok(None) };
        let result = self.perform(&mut request);
        Ok(Some(Completion { token: request.token, buffer: request.buffer, result }))
    }

    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        let medium = self.medium();
        medium.alive(self.power)?;
        Ok(medium.data_after(offset))
    }

    fn another(&self) -> Result<Self, DiskError> {
        self.medium().alive(self.power)?;
        Ok(Self {
            medium: Arc::clone(&self.medium),
            known: self.known,
            power: self.power,
            depth: self.depth,
            waiting: VecDeque::new(),
        })
    }
}

#[cfg(test)]
mod tests;

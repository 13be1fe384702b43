//! Block devices and image files as `hal::disk::Disk`.
//!
//! Block devices are read and written past the page cache, through io_uring where the kernel lets
//! us; image files go through the page cache unless asked otherwise.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use hal::disk::{Completion, Disk, DiskError, ErrorKind, Geometry, Operation, Rejected, Request};

use crate::sys::memory::AlignedBuffer;

/// What an errno means for a disk, in words.
pub(crate) mod fault;
/// Size and sectors by ioctl and stat.
pub(crate) mod geometry;
/// Opening and creating, with every refusal.
mod open;
/// One request at a time by pread and pwrite.
mod plain;
/// Many requests at a time by io_uring.
mod queue;
/// Holes: finding data, making zeros, discarding.
mod sparse;

use open::Opened;
pub use open::{Access, Direct, OpenOptions};
use queue::Queue;

/// Requests that the plain backend keeps before it says that it is full.
const PLAIN_QUEUE_MAX: usize = 16;

/// A block device or an image file.
#[derive(Debug)]
pub struct LinuxDisk {
    opened: Arc<Opened>,
    geometry: Geometry,
    backend: Backend,
    /// The range found last that may hold data: looking for its end walks the whole of it, and on tmpfs page by page.
    data: (u64, u64),
}

#[derive(Debug)]
enum Backend {
    /// Work is done in `complete`, in order of submission.
    Plain(VecDeque<Request<AlignedBuffer>>),
    /// The kernel works on many requests at once.
    Ring(Box<Queue>),
}

impl LinuxDisk {
    /// Opens a block device or an image file. A block device for writing is claimed alone: the
    /// kernel refuses one that is mounted, or held by LVM, md or another program.
    pub fn open(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self, DiskError> {
        Self::with(Opened::open(path.as_ref(), options)?, true)
    }

    /// As `open`, but never through io_uring: for machines whose io_uring is not to be trusted.
    pub fn open_without_ring(
        path: impl AsRef<Path>,
        options: OpenOptions,
    ) -> Result<Self, DiskError> {
        Self::with(Opened::open(path.as_ref(), options)?, false)
    }

    /// Makes a new image file of this size that holds nothing but a hole, readable by its owner
    /// only, and opens it for writing through the page cache. Refuses a path where something is
    /// already.
    pub fn create(path: impl AsRef<Path>, bytes: u64) -> Result<Self, DiskError> {
        Self::with(Opened::create(path.as_ref(), bytes)?, false)
    }

    /// The path that was opened.
    pub fn path(&self) -> &str {
        self.opened.path()
    }

    /// Whether requests go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.opened.direct()
    }

    /// Whether requests go through io_uring.
    pub fn has_ring(&self) -> bool {
        matches!(self.backend, Backend::Ring(_))
    }

    fn with(opened: Opened, ring: bool) -> Result<Self, DiskError> {
        Self::over(Arc::new(opened), ring)
    }

    fn over(opened: Arc<Opened>, ring: bool) -> Result<Self, DiskError> {
        let geometry = geometry::of(&opened)?;
        // A ring pays where the kernel really queues; the page cache answers at once or blocks a
        // worker thread.
        let ring = if ring && opened.direct() { Queue::new(&opened) } else { None };
        let backend = match ring {
            Some(queue) => Backend::Ring(Box::new(queue)),
            None => Backend::Plain(VecDeque::with_capacity(PLAIN_QUEUE_MAX)),
        };
        Ok(Self { opened, geometry, backend, data: (0, 0) })
    }
}

impl Disk for LinuxDisk {
    type Buffer = AlignedBuffer;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        self.geometry = geometry::of(&self.opened)?;
        self.data = (0, 0);
        Ok(self.geometry)
    }

    fn buffer(&mut self, length: usize) -> Result<AlignedBuffer, DiskError> {
        AlignedBuffer::zeroed(length)
    }

    fn depth(&self) -> usize {
        match &self.backend {
            Backend::Plain(_) => 1,
            Backend::Ring(_) => queue::DEPTH,
        }
    }

    fn submit(&mut self, request: Request<AlignedBuffer>) -> Result<(), Rejected<AlignedBuffer>> {
        if let Err(error) = self.geometry.check(&request) {
            return Err(Rejected { request, error });
        }
        if matches!(request.operation, Operation::Zero | Operation::Discard) {
            self.data = (0, 0);
        }
        match &mut self.backend {
            Backend::Plain(waiting) if waiting.len() >= PLAIN_QUEUE_MAX => {
                Err(Rejected { request, error: full() })
            }
            Backend::Plain(waiting) => {
                waiting.push_back(request);
                Ok(())
            }
            Backend::Ring(queue) => queue.submit(request, &self.geometry),
        }
    }

    fn complete(&mut self) -> Result<Option<Completion<AlignedBuffer>>, DiskError> {
        match &mut self.backend {
            Backend::Plain(waiting) => Ok(waiting
                .pop_front()
                .map(|request| plain::perform(&self.opened, &self.geometry, request))),
            Backend::Ring(queue) => queue.complete(&self.opened),
        }
    }

    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        if !(self.data.0..self.data.1).contains(&offset) {
            let found = sparse::data_after(&self.opened, &self.geometry, offset)?;
            let Some(found) = found else { return Ok(None) };
            self.data = found;
        }
        Ok(Some((offset.max(self.data.0), self.data.1)))
    }

    fn another(&self) -> Result<Self, DiskError> {
        // The same open file: a second open for writing would be refused by our own claim.
        Self::over(Arc::clone(&self.opened), self.has_ring())
    }
}

fn full() -> DiskError {
    DiskError::new(ErrorKind::Busy, "the queue is full: complete a request first")
}

#[cfg(test)]
mod tests;

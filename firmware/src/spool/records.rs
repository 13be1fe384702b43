//! Where records are kept until the vault has what is in them: a spool on a disk, or the ring in memory.

use hal::disk::Disk;

use super::{Mark, Read, Reader, Spool, SpoolError, Usage};

/// A ring of records.
pub trait Records: Send {
    /// Appends a record that lies in parts; durable once `sync` returned.
    fn append(&mut self, parts: &[&[u8]]) -> Result<Mark, SpoolError>;
    /// Makes durable what was appended, and the room of what was released free.
    fn sync(&mut self) -> Result<Mark, SpoolError>;
    /// Everything before it was released.
    fn head(&self) -> Mark;
    /// Says that nothing before a mark is needed any more.
    fn release(&mut self, up_to: Mark) -> Result<(), SpoolError>;
    /// How full it is.
    fn usage(&self) -> Usage;
    /// Whether what was synced survives a power cut.
    fn lasts(&self) -> bool;
    /// A handle that reads beside this one.
    fn reader(&self) -> Result<Box<dyn Reading>, SpoolError>;
}

/// Reads records beside who writes them.
pub trait Reading: Send {
    /// Reads what is behind a mark that was not released, as far as what is durable.
    fn read(&mut self, at: Mark, durable: Mark) -> Result<Read, SpoolError>;
    /// Takes a payload back that is not needed any more: its memory may be used again.
    fn give_back(&mut self, payload: Vec<u8>);
}

impl<D: Disk + 'static> Records for Spool<D> {
    fn append(&mut self, parts: &[&[u8]]) -> Result<Mark, SpoolError> {
        self.append_parts(parts)
    }

    fn sync(&mut self) -> Result<Mark, SpoolError> {
        Spool::sync(self)
    }

    fn head(&self) -> Mark {
        Spool::head(self)
    }

    fn release(&mut self, up_to: Mark) -> Result<(), SpoolError> {
        Spool::release(self, up_to)
    }

    fn usage(&self) -> Usage {
        Spool::usage(self)
    }

    fn lasts(&self) -> bool {
        true
    }

    fn reader(&self) -> Result<Box<dyn Reading>, SpoolError> {
        Ok(Box::new(Spool::reader(self)?))
    }
}

impl<D: Disk> Reading for Reader<D> {
    fn read(&mut self, at: Mark, durable: Mark) -> Result<Read, SpoolError> {
        Reader::read(self, at, durable)
    }

    fn give_back(&mut self, payload: Vec<u8>) {
        Reader::give_back(self, payload);
    }
}

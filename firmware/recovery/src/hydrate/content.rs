//! What can be read at any byte, from any thread: a point's disk, an overlay on it, bytes in memory.

use core::ops::Range;
use std::sync::Arc;

use pipeline_vault::Error;
use pipeline_vault::reader::PointReader;

/// The content of a disk. Calls block.
pub trait ReadAt: Send + Sync {
    /// Size in bytes.
    fn bytes(&self) -> u64;

    /// Fills all of `into` from `offset`; past the end is a misuse.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error>;
}

impl ReadAt for PointReader {
    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        Self::read_at(self, offset, into)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn bytes(&self) -> u64 {
        (**self).bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        (**self).read_at(offset, into)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn bytes(&self) -> u64 {
        (**self).bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        (**self).read_at(offset, into)
    }
}

impl ReadAt for Vec<u8> {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let range = inside(offset, into.len(), self.bytes())?;
        let start = usize::try_from(range.start).expect("inside bytes that are in memory");
        into.copy_from_slice(&self[start..start + into.len()]);
        Ok(())
    }
}

/// The range that is asked for, if it is inside a disk of so many bytes.
pub(crate) fn inside(offset: u64, length: usize, bytes: u64) -> Result<Range<u64>, Error> {
    let end = offset.checked_add(length as u64).filter(|end| *end <= bytes);
    end.map(|end| offset..end).ok_or_else(|| {
        let what = format!("has {bytes} bytes; {length} from byte {offset} on were asked for");
        Error::misuse("disk", what)
    })
}

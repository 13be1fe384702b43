//! Buffers at a multiple of the page: a vector with room to start at the right address.

use hal::disk::{DiskError, ErrorKind};

const ALIGN_BYTES: usize = 512;

/// A buffer of a page blob; its address stays the same wherever it moves.
#[derive(Debug)]
pub struct PageBuffer {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl PageBuffer {
    pub(super) fn zeroed(length: usize) -> Result<Self, DiskError> {
        let too_large = || DiskError::new(ErrorKind::Misuse, "a buffer larger than memory");
        let bytes = length.max(1).checked_next_multiple_of(ALIGN_BYTES).ok_or_else(too_large)?;
        let room = bytes.checked_add(ALIGN_BYTES).ok_or_else(too_large)?;
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(room)
            .map_err(|_| DiskError::new(ErrorKind::Exhausted, "no memory for a buffer"))?;
        memory.resize(room, 0);
        // The vector is never grown again, so its memory stays where it is.
        let start = memory.as_ptr().align_offset(ALIGN_BYTES);
        Ok(Self { memory, start, bytes })
    }
}

impl AsRef<[u8]> for PageBuffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.bytes).unwrap_or_default()
    }
}

impl AsMut<[u8]> for PageBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.bytes).unwrap_or_default()
    }
}

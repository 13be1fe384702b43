//! Owned memory at a multiple of 4096, in safe code: a vector with room to start at the right
//! address.

use alloc::vec::Vec;

use crate::disk::{DiskError, ErrorKind};

/// What the strictest direct I/O asks of an address and a length.
pub const ALIGN_BYTES: usize = 4096;

/// A buffer of a disk that is no hardware; its address stays the same wherever it moves.
#[derive(Debug)]
pub struct HeapBuffer {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl HeapBuffer {
    /// A zeroed buffer of at least `length` bytes, whose address and length are multiples of 4096.
    pub fn zeroed(length: usize) -> Result<Self, DiskError> {
        let too_large =
            || DiskError::new(ErrorKind::Misuse, "a buffer larger than the address space");
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

impl AsRef<[u8]> for HeapBuffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.bytes).unwrap_or_default()
    }
}

impl AsMut<[u8]> for HeapBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::*;

    #[test]
    fn buffers_are_zeroed_aligned_and_stay_in_place() {
        for length in [0, 1, 4096, 65_537, 1 << 20] {
            let mut buffer = HeapBuffer::zeroed(length).unwrap();
            assert!(buffer.as_ref().len() >= length.max(1));
            assert_eq!(buffer.as_ref().len() % ALIGN_BYTES, 0);
            let address = buffer.as_ref().as_ptr().addr();
            assert_eq!(address % ALIGN_BYTES, 0);
            assert!(buffer.as_ref().iter().all(|byte| *byte == 0));
            buffer.as_mut().fill(1);
            let moved = Box::new(buffer);
            assert_eq!(moved.as_ref().as_ref().as_ptr().addr(), address);
        }
        assert_eq!(HeapBuffer::zeroed(usize::MAX).unwrap_err().kind, ErrorKind::Misuse);
        assert_eq!(HeapBuffer::zeroed(1 << 60).unwrap_err().kind, ErrorKind::Exhausted);
    }
}

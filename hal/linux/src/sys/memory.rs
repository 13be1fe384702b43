//! Page-aligned memory straight from the kernel: zeroed, reusable, given back on drop.
//! It refuses to hand out its address for keeps; only the ring in this folder may lend it to the
//! kernel.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::c_void;
use core::fmt;
use core::ptr::NonNull;
use core::slice;

use hal::disk::{DiskError, ErrorKind};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// What direct I/O never asks more than, and what the kernel maps anyway.
const PAGE_BYTES: usize = 4096;
/// Buffers this large are worth one entry of the processor's page table cache.
const HUGE_BYTES: usize = 2 * 1024 * 1024;

/// An owned buffer whose address and length are multiples of 4096, zeroed when it is made.
pub struct AlignedBuffer {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone and has no tie to the thread that made it.
unsafe impl Send for AlignedBuffer {}
// SAFETY: a shared reference only reads, and nothing writes without a unique one.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// A zeroed buffer of at least `length` bytes.
    pub fn zeroed(length: usize) -> Result<Self, DiskError> {
        let bytes = length.max(1).checked_next_multiple_of(PAGE_BYTES).ok_or_else(too_large)?;
        // SAFETY: a new private mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            mmap_anonymous(
                core::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }
        .map_err(|error| no_memory(bytes).code(error.raw_os_error()))?;
        if bytes >= HUGE_BYTES {
            // SAFETY: the range is the mapping made above; the advice does not change its content.
            // A kernel without huge pages refuses the advice, which costs nothing but speed.
            let _ = unsafe { madvise(start, bytes, Advice::LinuxHugepage) };
        }
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| no_memory(bytes))?;
        Ok(Self { start, bytes })
    }

    /// Where the kernel may transfer to and from, for the ring only.
    pub(super) fn address(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }
}

fn too_large() -> DiskError {
    DiskError::new(ErrorKind::Misuse, "a buffer larger than the address space")
}

fn no_memory(bytes: usize) -> DiskError {
    DiskError::words(ErrorKind::Exhausted, format_args!("no memory for a buffer of {bytes} bytes"))
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is `bytes` long, initialised (zeroed by the kernel) and ours until
        // drop.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`, and the unique borrow of `self` is the only way to the bytes.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `zeroed` with this length and no borrow of it can be
        // left.
        let result = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.bytes) };
        debug_assert!(result.is_ok(), "unmapping our own mapping cannot fail");
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer({} bytes at {:p})", self.bytes, self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zeroed_aligned_and_long_enough() {
        for length in [0, 1, 4095, 4096, 65_536, 1_000_001, HUGE_BYTES, 3 * HUGE_BYTES + 1] {
            let mut buffer = AlignedBuffer::zeroed(length).unwrap();
            assert!(buffer.as_ref().len() >= length.max(1), "{length}");
            assert_eq!(buffer.as_ref().as_ptr().addr() % PAGE_BYTES, 0);
            assert!(buffer.as_ref().iter().all(|byte| *byte == 0));
            buffer.as_mut().fill(7);
            assert!(buffer.as_ref().iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn a_buffer_that_cannot_be_is_an_error() {
        assert_eq!(AlignedBuffer::zeroed(usize::MAX).unwrap_err().kind, ErrorKind::Misuse);
        assert_eq!(AlignedBuffer::zeroed(1 << 60).unwrap_err().kind, ErrorKind::Exhausted);
    }
}

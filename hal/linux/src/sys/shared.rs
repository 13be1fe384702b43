//! Memory that the kernel, programs in it or other processes write to as well: words that are only used atomically.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::c_void;
use core::ops::Deref;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::AtomicU64;
use std::fs::File;
use std::os::fd::AsFd;

use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};

/// A mapping, as words.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to this value alone, and its words are only ever used atomically.
unsafe impl Send for SharedWords {}
// SAFETY: as above; a shared reference gives atomic words.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// So many bytes, from the beginning, of what a descriptor stands for. A multiple of the page.
    pub(crate) fn of(descriptor: impl AsFd, bytes: usize) -> Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            mmap(
                core::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                descriptor,
                0,
            )
        }?;
        let start = NonNull::new(start.cast::<AtomicU64>()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, words: bytes / 8 })
    }

    /// All whole pages of a file. Whoever cuts the file off ends this process with a signal at the next touch.
    pub fn of_file(file: &File) -> Result<Self> {
        let length =
            file.metadata().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let bytes = usize::try_from(length.len()).map_err(|_| Errno::OVERFLOW)?;
        Self::of(file, bytes - bytes % 4096)
    }

    /// Has the kernel write what was changed to where it came from.
    pub fn flush(&self) -> Result<()> {
        // SAFETY: the range is this value's own mapping; its content is not changed.
        unsafe { msync(self.start.as_ptr().cast::<c_void>(), self.words * 8, MsyncFlags::SYNC) }
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is so many words long, aligned to a page, of bytes that the kernel initialised, and there
        // until drop. Whoever else writes does so outside of this program, as to any shared memory.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and no borrow of it can be left.
        let result = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.words * 8) };
        debug_assert!(result.is_ok(), "unmapping our own mapping cannot fail");
    }
}

//! How this process stands among others: its I/O class, and the signals that it does not hear.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use rustix::io::{Errno, Result};

/// `IOPRIO_WHO_PROCESS`: with the number 0, the calling thread.
const WHO_PROCESS: libc::c_int = 1;
/// The calling thread, and threads and processes that it starts from now on, read and write with this class and level, as
/// the kernel packs them.
pub(crate) fn set_io_priority(packed: i64) -> Result<()> {
    // SAFETY: the call takes numbers alone.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, packed) };
    if done == 0 { Ok(()) } else { Err(last()) }
}

/// The I/O class and level of the calling thread, as the kernel packs them.
pub(crate) fn io_priority() -> Result<i64> {
    // SAFETY: the call takes numbers alone.
    let found = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    if found < 0 { Err(last()) } else { Ok(found) }
}

/// This process does not hear a signal any more.
pub(crate) fn ignore(signal: i32) -> Result<()> {
    // SAFETY: SIG_IGN runs no code of ours.
    let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(last()) } else { Ok(()) }
}

/// Files that are open behind the first three are handed on to no program that this process starts. What is opened later is
/// as whoever opens it says.
pub(crate) fn hand_on_nothing() -> Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).unwrap_or_default();
    // SAFETY: the call takes numbers alone, and with this flag closes nothing here: every file stays its owner's.
    let done = unsafe { libc::close_range(3, libc::c_uint::MAX, flags) };
    if done == 0 { Ok(()) } else { Err(last()) }
}

/// From now on the allocator takes pieces of so many bytes and more straight from the kernel, and gives them back there when
/// they are freed; it keeps so many heaps at most, whatever the number of threads. False where it does not take that.
pub(crate) fn set_allocator(large_bytes: i32, heaps: i32) -> bool {
    // SAFETY: the calls take numbers alone, and change where memory comes from, never what is in it.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, large_bytes) == 1
            && libc::mallopt(libc::M_ARENA_MAX, heaps) == 1
    }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

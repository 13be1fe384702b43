//! A filter of the kernel over the system calls of a thread. Once set it stays, for the thread and all that it starts.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use libc::{sock_filter, sock_fprog};
use rustix::io::{Errno, Result};

/// Sets it for the calling thread and for every thread and process that it starts from now on. Nothing that is started
/// so becomes more than it is: the kernel wants that of whoever is not mighty.
pub(crate) fn set(steps: &mut [sock_filter]) -> Result<()> {
    let length = u16::try_from(steps.len()).map_err(|_| Errno::TOOBIG)?;
    let program = sock_fprog { len: length, filter: steps.as_mut_ptr() };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the kernel reads `len` steps from where `filter` points, both of which live until it returns, and writes
    // nothing.
    let done =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if done == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

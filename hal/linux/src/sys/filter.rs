//! A filter of the kernel over the system calls of a thread. Once set it stays, for the thread and all that it starts.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use libc::{sock_filter, sock_fprog};
use rustix::io::{Errno, Result};

/// What the kernel calls this architecture (`AUDIT_ARCH_X86_64`).
const ARCHITECTURE: u32 = 0xC000_003E;
/// Calls of the other interface of the same architecture begin here.
const OTHER_INTERFACE: u32 = 0x4000_0000;
/// `io_uring_setup`.
const RING_SETUP: u32 = 425;
/// Where a filter finds the number of the call, and the architecture.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const ANSWER: u16 = 0x06;

const ALLOW: u32 = 0x7FFF_0000;
/// The call is not made and fails with `EPERM`.
const REFUSE: u32 = 0x0005_0000 | 1;

/// Refuses new rings to the calling thread and to every thread and process that it starts from now on. Rings that are
/// open already work on.
pub(crate) fn refuse_rings() -> Result<()> {
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD, 0, 0, ARCHITECTURE_AT),
        // Another architecture numbers its calls otherwise: none of ours uses one.
        step(IF_EQUAL, 0, 4, ARCHITECTURE),
        step(LOAD, 0, 0, NUMBER_AT),
        step(IF_EQUAL, 2, 0, RING_SETUP),
        step(IF_AT_LEAST, 1, 0, OTHER_INTERFACE),
        step(ANSWER, 0, 0, ALLOW),
        step(ANSWER, 0, 0, REFUSE),
    ];
    let length = u16::try_from(steps.len()).unwrap_or(0);
    let program = sock_fprog { len: length, filter: steps.as_mut_ptr() };
    // Without this the kernel takes filters from the mighty only; and nothing we start may become more than we are.
    // SAFETY: this option takes numbers alone.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    check(done)?;
    // SAFETY: the kernel reads `len` steps from where `filter` points, both of which live until it returns, and writes
    // nothing.
    let done =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    check(done)
}

fn check(done: i32) -> Result<()> {
    if done == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

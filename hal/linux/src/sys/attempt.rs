//! System calls that a service must not make, each made so that it does no harm where nothing stops it.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use rustix::io::{Errno, Result};

/// Calls with nothing but zeros, each as wide as a pointer, or the upper half would be whatever lay there: where
/// the call is made at all, the kernel finds something missing.
pub(crate) fn empty(call: Empty) -> Result<()> {
    let number = match call {
        Empty::Bpf => libc::SYS_bpf,
        Empty::InitModule => libc::SYS_init_module,
        Empty::KexecLoad => libc::SYS_kexec_file_load,
        Empty::PerfEvent => libc::SYS_perf_event_open,
        Empty::Keyctl => libc::SYS_keyctl,
        Empty::Mount => libc::SYS_mount,
        Empty::Unmount => libc::SYS_umount2,
        Empty::MoveMount => libc::SYS_move_mount,
        Empty::ChangeMount => libc::SYS_mount_setattr,
        Empty::ReadOther => libc::SYS_process_vm_readv,
        Empty::MemoryFile => libc::SYS_memfd_create,
    };
    // SAFETY: each of the numbers above is of a call that reads memory through its pointers only, finds them null, and
    // changes nothing.
    check(unsafe { libc::syscall(number, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize) })
}

/// Which of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Empty {
    Bpf,
    InitModule,
    KexecLoad,
    PerfEvent,
    Keyctl,
    Mount,
    Unmount,
    MoveMount,
    ChangeMount,
    ReadOther,
    MemoryFile,
}

/// Attaches to a process as a debugger does, and lets it go again.
pub(crate) fn trace(process: i32) -> Result<()> {
    let (seize, process) = (i64::from(libc::PTRACE_SEIZE), i64::from(process));
    // SAFETY: attaching takes numbers alone.
    check(unsafe { libc::syscall(libc::SYS_ptrace, seize, process, 0_usize, 0_usize) })
}

/// A world of its own, where it would be root.
pub(crate) fn user_namespace() -> Result<()> {
    // SAFETY: takes numbers alone.
    check(unsafe { libc::syscall(libc::SYS_unshare, i64::from(libc::CLONE_NEWUSER)) })
}

/// A new process, which ends at once.
pub(crate) fn fork() -> Result<()> {
    let signal = i64::from(libc::SIGCHLD);
    // SAFETY: with no memory named the child has a copy of ours, and makes no other call than to end.
    let made =
        unsafe { libc::syscall(libc::SYS_clone, signal, 0_usize, 0_usize, 0_usize, 0_usize) };
    if made == 0 {
        // SAFETY: ends the child; nothing of ours runs in it.
        unsafe { libc::_exit(0) };
    }
    if made > 0 { Ok(()) } else { Err(last()) }
}

/// A page that could be run.
pub(crate) fn runnable_page() -> Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new page, nowhere in particular; nobody has anything in it.
    let made = unsafe { libc::mmap(core::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if made == libc::MAP_FAILED { Err(last()) } else { Ok(()) }
}

/// A page that is made one that could be run.
pub(crate) fn made_runnable() -> Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new page, nowhere in particular; nobody has anything in it.
    let page = unsafe { libc::mmap(core::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(last());
    }
    // SAFETY: the page is ours, and nothing is in it that anybody runs.
    check(unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC) }.into())
}

fn check(done: i64) -> Result<()> {
    if done >= 0 { Ok(()) } else { Err(last()) }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

//! Rules of the kernel over what a process may open, and to which TCP ports it may go (Landlock).
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};

/// What a set of rules governs: whatever is named here and no rule allows is refused.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Governed {
    /// Bits of access to files.
    pub(crate) files: u64,
    /// Bits of access to ports, since version 4.
    pub(crate) ports: u64,
    /// What reaches processes outside, since version 6.
    pub(crate) scopes: u64,
}

#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

#[repr(C)]
struct Port {
    allowed: u64,
    port: u64,
}

const RULE_BENEATH: i32 = 1;
const RULE_PORT: i32 = 2;
const ASK_VERSION: u32 = 1;

/// Which version of Landlock the kernel has; `None` where it has none.
pub(crate) fn version() -> Option<u32> {
    // SAFETY: with this flag the kernel takes no memory, and answers with a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            core::ptr::null::<Governed>(),
            0_usize,
            ASK_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// A new set of rules that allows nothing of what it governs. `bytes` of `governed` are known to the kernel's version.
pub(crate) fn rules(governed: &Governed, bytes: usize) -> Result<OwnedFd> {
    let bytes = bytes.min(size_of::<Governed>());
    // SAFETY: the kernel reads `bytes` of `governed`, which is at least as large and lives until it returns.
    let made = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *governed, bytes, 0_u32)
    };
    let made = i32::try_from(made).ok().filter(|made| *made >= 0).ok_or_else(last)?;
    // SAFETY: the kernel gave this descriptor just now, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// Allows access to a file, or to all that is beneath a folder.
pub(crate) fn allow_file(rules: BorrowedFd<'_>, allowed: u64, file: impl AsFd) -> Result<()> {
    let rule = Beneath { allowed, parent: file.as_fd().as_raw_fd() };
    // SAFETY: the kernel reads one rule of this kind, which lives until it returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            rules.as_raw_fd(),
            RULE_BENEATH,
            &raw const rule,
            0_u32,
        )
    };
    check(done)
}

/// Allows access to a TCP port.
pub(crate) fn allow_port(rules: BorrowedFd<'_>, allowed: u64, port: u16) -> Result<()> {
    let rule = Port { allowed, port: port.into() };
    // SAFETY: the kernel reads one rule of this kind, which lives until it returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            rules.as_raw_fd(),
            RULE_PORT,
            &raw const rule,
            0_u32,
        )
    };
    check(done)
}

/// The calling thread, and all that it starts from now on, is under these rules for good.
pub(crate) fn restrict(rules: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes numbers alone.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0_u32) })
}

fn check(done: i64) -> Result<()> {
    if done == 0 { Ok(()) } else { Err(last()) }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

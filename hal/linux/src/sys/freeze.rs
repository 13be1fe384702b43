//! The two ioctls that hold a file system still and let it go on.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::c_int;
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

// Both are declared with an int that nobody reads.
const FIFREEZE: Opcode = opcode::read_write::<c_int>(b'X', 119);
const FITHAW: Opcode = opcode::read_write::<c_int>(b'X', 120);

/// Writes everything out and holds the file system still.
pub(crate) fn freeze(file: impl AsFd) -> Result<()> {
    // SAFETY: FIFREEZE takes no argument: what it is handed is neither read nor written.
    unsafe { ioctl(file, Setter::<FIFREEZE, c_int>::new(0)) }
}

/// Lets the file system go on.
pub(crate) fn thaw(file: impl AsFd) -> Result<()> {
    // SAFETY: FITHAW takes no argument: what it is handed is neither read nor written.
    unsafe { ioctl(file, Setter::<FITHAW, c_int>::new(0)) }
}

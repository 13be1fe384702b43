//! The ioctls that hold a file system still, let it go on, and tell its disks what is free.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::c_int;
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{Opcode, Setter, Updater, ioctl, opcode};

// Both are declared with an int that nobody reads.
const FIFREEZE: Opcode = opcode::read_write::<c_int>(b'X', 119);
const FITHAW: Opcode = opcode::read_write::<c_int>(b'X', 120);
const FITRIM: Opcode = opcode::read_write::<[u64; 3]>(b'X', 121);

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

/// Tells the disks below which blocks are free; how many bytes they were told of.
pub(crate) fn trim(file: impl AsFd) -> Result<u64> {
    // Where to begin, how much to look at, and which pieces are worth it.
    let mut range = [0, u64::MAX, 0];
    // SAFETY: FITRIM reads three u64 from where its argument points, and writes the second.
    unsafe { ioctl(file, Updater::<FITRIM, [u64; 3]>::new(&mut range)) }?;
    Ok(range[1])
}

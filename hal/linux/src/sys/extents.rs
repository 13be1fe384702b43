//! Where the kernel says that a file lies on its file system's device.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::c_void;
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

// Declared with the head alone; the kernel writes as many extents behind it as the head says there is room for.
const FS_IOC_FIEMAP: Opcode = opcode::read_write::<Head>(b'f', 11);

/// Extents that one call can return.
pub(crate) const EXTENTS_MAX: usize = 64;

/// `struct fiemap` without its extents.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Head {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
}

/// `struct fiemap_extent`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Extent {
    /// First byte in the file.
    pub(crate) logical: u64,
    /// First byte on the device.
    pub(crate) physical: u64,
    /// Bytes.
    pub(crate) length: u64,
    reserved: [u64; 2],
    /// What the kernel says of it.
    pub(crate) flags: u32,
    reserved_more: [u32; 3],
}

#[derive(Debug)]
#[repr(C)]
struct Question {
    head: Head,
    extents: [Extent; EXTENTS_MAX],
}

const _: () = assert!(size_of::<Head>() == 32 && size_of::<Extent>() == 56);

/// The first extents of a file from a byte on, and how many of them there are.
pub(crate) fn extents(file: impl AsFd, start: u64) -> Result<([Extent; EXTENTS_MAX], usize)> {
    let head = Head { start, length: u64::MAX - start, room: 64, ..Head::default() };
    let mut question = Question { head, extents: [Extent::default(); EXTENTS_MAX] };
    // SAFETY: FS_IOC_FIEMAP reads the head and writes it, and at most `room` extents behind it, which is what
    // `Question` has room for.
    unsafe { ioctl(file, Ask(&mut question)) }?;
    let found = usize::try_from(question.head.mapped).unwrap_or(0).min(EXTENTS_MAX);
    Ok((question.extents, found))
}

struct Ask<'a>(&'a mut Question);

// SAFETY: `as_ptr` points at a whole `Question`, which is all that the call reads and writes.
unsafe impl Ioctl for Ask<'_> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        FS_IOC_FIEMAP
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut *self.0).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<()> {
        Ok(())
    }
}

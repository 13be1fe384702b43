//! The ioctls of block devices that rustix does not have.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::{c_int, c_void};
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, Opcode, ioctl, opcode};

const BLKROGET: Opcode = opcode::none(0x12, 94);
// The kernel declared it with size_t, whose width is in the number; it always writes 64 bits.
const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
const BLKDISCARD: Opcode = opcode::none(0x12, 119);
const BLKZEROOUT: Opcode = opcode::none(0x12, 127);

/// Size of a block device in bytes.
pub(crate) fn device_bytes(device: impl AsFd) -> Result<u64> {
    // SAFETY: BLKGETSIZE64 writes one u64 to where its argument points, whatever the device.
    unsafe { ioctl(device, Getter::<BLKGETSIZE64, u64>::new()) }
}

/// Whether the device takes no writes.
pub(crate) fn device_is_read_only(device: impl AsFd) -> Result<bool> {
    // SAFETY: BLKROGET writes one int to where its argument points, whatever the device.
    unsafe { ioctl(device, Getter::<BLKROGET, c_int>::new()) }.map(|flag| flag != 0)
}

/// Tells the device that a range's content no longer matters.
pub(crate) fn device_discard(device: impl AsFd, offset: u64, length: u64) -> Result<()> {
    // SAFETY: BLKDISCARD reads two u64 from where its argument points, and writes no memory of
    // ours.
    unsafe { ioctl(device, DeviceRange::<BLKDISCARD>([offset, length])) }
}

/// Makes a range of the device read as zeros.
pub(crate) fn device_zero(device: impl AsFd, offset: u64, length: u64) -> Result<()> {
    // SAFETY: BLKZEROOUT reads two u64 from where its argument points, and writes no memory of
    // ours.
    unsafe { ioctl(device, DeviceRange::<BLKZEROOUT>([offset, length])) }
}

/// The argument of the two range calls: start and length in bytes.
struct DeviceRange<const OPCODE: Opcode>([u64; 2]);

// SAFETY: `as_ptr` points at the two u64 that both opcodes read; neither returns anything.
unsafe impl<const OPCODE: Opcode> Ioctl for DeviceRange<OPCODE> {
    type Output = ();

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<()> {
        Ok(())
    }
}

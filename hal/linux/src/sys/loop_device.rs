//! The ioctls that make a file a block device.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};
use rustix::ioctl::{Ioctl, IoctlOutput, NoArg, Opcode, Setter, ioctl, opcode};

const LOOP_CTL_GET_FREE: Opcode = opcode::none(0x4C, 0x82);
const LOOP_CONFIGURE: Opcode = opcode::none(0x4C, 0x0A);
const LOOP_CLR_FD: Opcode = opcode::none(0x4C, 0x01);
const READ_ONLY: u32 = 1;
/// The device lets go of its file when nobody has it open any more, however that came about.
const AUTOCLEAR: u32 = 4;

/// `struct loop_config` of `<linux/loop.h>`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// `struct loop_info64`: what it says of offset and encryption is never used here.
#[repr(C)]
struct Info {
    unused: [u64; 5],
    number_and_encryption: [u32; 3],
    flags: u32,
    names_and_key: [u8; 160],
    init: [u64; 2],
}

const _: () = assert!(size_of::<Config>() == 304, "as the kernel has it");

/// The number of a loop device that nobody uses; by the time it is asked for, somebody may.
pub(crate) fn free_number(control: BorrowedFd<'_>) -> Result<u32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and touches no memory of ours; its answer is what it returns.
    unsafe { ioctl(control, FreeNumber) }
}

/// Makes a loop device of an open file, until the last who has the device open closes it.
pub(crate) fn configure(device: BorrowedFd<'_>, file: impl AsFd, read_only: bool) -> Result<()> {
    let fd = u32::try_from(file.as_fd().as_raw_fd()).map_err(|_| Errno::BADF)?;
    let info = Info {
        unused: [0; 5],
        number_and_encryption: [0; 3],
        flags: AUTOCLEAR | if read_only { READ_ONLY } else { 0 },
        names_and_key: [0; 160],
        init: [0; 2],
    };
    let config = Config { fd, block_size: 512, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config` from where its argument points, and writes nothing; the
    // structure is laid out as the kernel's, which the assertion above holds to its size.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, Config>::new(config)) }
}

/// Takes the device's file away, now or when the last who has it open closes it.
pub(crate) fn clear(device: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: LOOP_CLR_FD takes no argument and touches no memory of ours.
    unsafe { ioctl(device, NoArg::<LOOP_CLR_FD>::new()) }
}

/// An ioctl without argument whose answer is the number that it returns.
struct FreeNumber;

// SAFETY: it has no argument to point at; what it returns is not negative where it did not fail.
unsafe impl Ioctl for FreeNumber {
    type Output = u32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        core::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<u32> {
        u32::try_from(output).map_err(|_| Errno::RANGE)
    }
}

//! The one ioctl of hardware watchdogs that is needed.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::c_int;
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

const WDIOC_SETTIMEOUT: Opcode = opcode::read_write::<c_int>(b'W', 6);

/// Asks for a timeout in seconds; the one that the hardware took.
pub(crate) fn set_timeout(device: impl AsFd, seconds: i32) -> Result<i32> {
    let mut value: c_int = seconds;
    // SAFETY: WDIOC_SETTIMEOUT reads and writes one int at its argument, whatever the watchdog.
    unsafe { ioctl(device, Updater::<WDIOC_SETTIMEOUT, c_int>::new(&mut value)) }?;
    Ok(value)
}

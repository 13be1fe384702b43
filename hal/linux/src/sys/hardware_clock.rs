//! The two ioctls of hardware clocks that are needed.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::ffi::c_int;
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

const RTC_RD_TIME: Opcode = opcode::read::<Calendar>(b'p', 0x09);
const RTC_SET_TIME: Opcode = opcode::write::<Calendar>(b'p', 0x0A);

/// The kernel's `rtc_time`: months from 0, years from 1900.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Calendar {
    pub(crate) second: c_int,
    pub(crate) minute: c_int,
    pub(crate) hour: c_int,
    pub(crate) day: c_int,
    pub(crate) month: c_int,
    pub(crate) year: c_int,
    pub(crate) week_day: c_int,
    pub(crate) year_day: c_int,
    pub(crate) summer: c_int,
}

/// What the clock says.
pub(crate) fn get(device: impl AsFd) -> Result<Calendar> {
    // SAFETY: RTC_RD_TIME writes one rtc_time, which Calendar is, to where its argument points.
    unsafe { ioctl(device, Getter::<RTC_RD_TIME, Calendar>::new()) }
}

/// Sets the clock.
pub(crate) fn set(device: impl AsFd, time: &Calendar) -> Result<()> {
    // SAFETY: RTC_SET_TIME reads one rtc_time, which Calendar is, from where its argument points.
    unsafe { ioctl(device, Setter::<RTC_SET_TIME, Calendar>::new(*time)) }
}

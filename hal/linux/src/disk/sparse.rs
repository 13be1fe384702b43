//! Holes: where data may be, ranges that read as zeros, ranges that no longer matter.

use hal::disk::{DiskError, ErrorKind, Geometry};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::{Errno, Result, pwrite};

use super::open::{Kind, Opened};
use crate::sys::ioctl;
use crate::sys::memory::AlignedBuffer;

/// Zeros written at a time where the system cannot make holes.
const ZEROS_BYTES: usize = 1024 * 1024;

/// The first range at or after `offset` that may hold data.
pub(super) fn data_after(
    opened: &Opened,
    geometry: &Geometry,
    offset: u64,
) -> core::result::Result<Option<(u64, u64)>, DiskError> {
    if offset >= geometry.bytes {
        return Ok(None);
    }
    let everything = Ok(Some((offset, geometry.bytes)));
    if opened.kind() == Kind::Device {
        return everything;
    }
    // The position that seek moves is shared by all handles and used by none: reads and writes name
    // theirs.
    let start = match seek(opened, SeekFrom::Data(offset)) {
        Ok(start) => start,
        // Nothing but a hole up to the end. (A file that shrank below `offset` says so when it is
        // read.)
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return everything,
        Err(errno) => return Err(opened.error(errno, "looking for data in").at(offset)),
    };
    let end = match seek(opened, SeekFrom::Hole(start)) {
        Ok(end) => end,
        Err(Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(opened.error(errno, "looking for holes in").at(start)),
    };
    let (start, end) = (start.clamp(offset, geometry.bytes), end.min(geometry.bytes));
    Ok(Some((start, end)).filter(|(start, end)| start < end))
}

/// Makes a range read as zeros: by a hole, by the device's own way of writing zeros, or by writing
/// them.
pub(super) fn zero(
    opened: &Opened,
    offset: u64,
    length: u64,
) -> core::result::Result<(), DiskError> {
    let punched = punch(opened, offset, length);
    let ranged = punched.or_else(|errno| {
        unsupported(errno)?;
        match opened.kind() {
            Kind::File => {
                let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
                retried(|| fallocate(opened, flags, offset, length))
            }
            Kind::Device => retried(|| ioctl::device_zero(opened, offset, length)),
        }
    });
    ranged
        .or_else(|errno| {
            unsupported(errno)?;
            write_zeros(opened, offset, length)
        })
        .map_err(|errno| opened.error(errno, "zeroing").at(offset))
}

/// Gives a range's storage back.
pub(super) fn discard(
    opened: &Opened,
    offset: u64,
    length: u64,
) -> core::result::Result<(), DiskError> {
    let result = match opened.kind() {
        Kind::File => punch(opened, offset, length),
        Kind::Device => retried(|| ioctl::device_discard(opened, offset, length)),
    };
    result.map_err(|errno| match unsupported(errno) {
        Ok(()) => opened
            .failed(ErrorKind::Unsupported, "this disk cannot discard", "discarding")
            .at(offset),
        Err(errno) => opened.error(errno, "discarding").at(offset),
    })
}

fn punch(opened: &Opened, offset: u64, length: u64) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    retried(|| fallocate(opened, flags, offset, length))
}

/// Passes where another way may work; everything else stays an error.
fn unsupported(errno: Errno) -> Result<()> {
    match errno {
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY | Errno::INVAL | Errno::NODEV => Ok(()),
        errno => Err(errno),
    }
}

fn retried(mut call: impl FnMut() -> Result<()>) -> Result<()> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn write_zeros(opened: &Opened, offset: u64, length: u64) -> Result<()> {
    let most = usize::try_from(length).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
    let zeros = AlignedBuffer::zeroed(most).map_err(|_| Errno::NOMEM)?;
    let mut done = 0;
    while done < length {
        let part = usize::try_from(length - done).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        match pwrite(opened, zeros.as_ref().get(..part).ok_or(Errno::IO)?, offset + done) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => done += written as u64,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

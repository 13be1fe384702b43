//! One request at a time by pread and pwrite: for image files in the page cache, and where io_uring
//! is not to be had.

use hal::disk::{Completion, DiskError, ErrorKind, Geometry, Operation, Request};
use rustix::fs::fdatasync;
use rustix::io::{Errno, pread, pwrite};

use super::open::Opened;
use super::sparse;
use crate::sys::memory::AlignedBuffer;

/// Does one checked request now.
pub(super) fn perform(
    opened: &Opened,
    geometry: &Geometry,
    mut request: Request<AlignedBuffer>,
) -> Completion<AlignedBuffer> {
    let (offset, length) = (request.offset, request.length as usize);
    let result = match (request.operation, &mut request.buffer) {
        (Operation::Read, Some(buffer)) => read(opened, geometry, offset, length, buffer.as_mut()),
        (Operation::Write, Some(buffer)) => write(opened, offset, length, buffer.as_ref()),
        (Operation::Read | Operation::Write, None) => {
            Err(DiskError::new(ErrorKind::Misuse, "a transfer without a buffer").at(offset))
        }
        (Operation::Zero, _) => sparse::zero(opened, offset, u64::from(request.length)),
        (Operation::Discard, _) => sparse::discard(opened, offset, u64::from(request.length)),
        (Operation::Flush, _) => opened.flushed(fdatasync(opened)),
    };
    Completion { token: request.token, buffer: request.buffer, result }
}

/// The length to ask of the system: a direct read that ends with the disk is rounded up to the
/// alignment.
pub(super) fn asked(geometry: &Geometry, length: usize) -> usize {
    length.next_multiple_of(geometry.request_align_bytes.max(1) as usize)
}

/// The end of the file came before the end of the disk that we know.
pub(super) fn shrank(opened: &Opened, offset: u64) -> DiskError {
    opened.failed(ErrorKind::Gone, "it shrank while in use", "reading").at(offset)
}

fn read(
    opened: &Opened,
    geometry: &Geometry,
    offset: u64,
    length: usize,
    buffer: &mut [u8],
) -> Result<(), DiskError> {
    let asked = asked(geometry, length);
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let Some(room) = buffer.get_mut(done..asked) else {
            return Err(DiskError::new(ErrorKind::Misuse, "a buffer shorter than its request"));
        };
        match pread(opened, room, at) {
            Ok(0) => return Err(shrank(opened, at)),
            Ok(read) => done += read,
            // A direct read goes on unaligned only behind a last part that was cut by the end of
            // the file.
            Err(Errno::INVAL) if done > 0 => return Err(shrank(opened, at)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(opened.error(errno, "reading").at(at)),
        }
    }
    Ok(())
}

fn write(opened: &Opened, offset: u64, length: usize, buffer: &[u8]) -> Result<(), DiskError> {
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let Some(rest) = buffer.get(done..length) else {
            return Err(DiskError::new(ErrorKind::Misuse, "a buffer shorter than its request"));
        };
        match pwrite(opened, rest, at) {
            Ok(0) => return Err(opened.error(Errno::IO, "writing").at(at)),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(opened.error(errno, "writing").at(at)),
        }
    }
    Ok(())
}

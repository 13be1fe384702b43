//! Size and sectors: by ioctl from a block device, by stat from an image file.

use std::fs;

use hal::disk::{DiskError, Geometry};
use rustix::fs::{
    AtFlags, StatxFlags, fstat, ioctl_blkpbszget, ioctl_blksszget, major, minor, statx,
};
use rustix::io::{Errno, pread};

use super::open::{Access, Kind, Opened};
use crate::sys::ioctl;
use crate::sys::memory::AlignedBuffer;

/// The smallest sector there is.
const SECTOR_BYTES: u32 = 512;
/// The sector of newer disks, and the largest unit that any direct I/O asks for.
const LARGE_SECTOR_BYTES: u32 = 4096;

/// Size and sectors as they are now.
pub(super) fn of(opened: &Opened) -> Result<Geometry, DiskError> {
    let found = match opened.kind() {
        Kind::Device => of_device(opened),
        Kind::File => of_file(opened),
    };
    found.map_err(|errno| opened.error(errno, "asking the size of"))
}

fn of_device(opened: &Opened) -> Result<Geometry, Errno> {
    let logical = ioctl_blksszget(opened)?.max(SECTOR_BYTES);
    let bytes = ioctl::device_bytes(opened)?;
    Ok(Geometry {
        // A loop device with large sectors may have a rest that no request of its own can reach.
        bytes: bytes - bytes % u64::from(logical),
        logical_sector_bytes: logical,
        physical_sector_bytes: ioctl_blkpbszget(opened).unwrap_or(logical).max(logical),
        request_align_bytes: opened.direct_align().max(1),
        discard_bytes: discard_granularity(fstat(opened)?.st_rdev),
        read_only: opened.access() == Access::Read || ioctl::device_is_read_only(opened)?,
    })
}

fn of_file(opened: &Opened) -> Result<Geometry, Errno> {
    let found = fstat(opened)?;
    let read_only = opened.access() == Access::Read;
    Ok(Geometry {
        request_align_bytes: opened.direct_align().max(1),
        ..of_image(found.st_size, found.st_blksize, read_only)
    })
}

/// An image file of this size, in a file system that works in units of `unit`, through the page
/// cache.
pub(crate) fn of_image(bytes: i64, unit: i64, read_only: bool) -> Geometry {
    let unit = u32::try_from(unit).unwrap_or(LARGE_SECTOR_BYTES);
    Geometry {
        bytes: u64::try_from(bytes).unwrap_or(0),
        logical_sector_bytes: SECTOR_BYTES,
        physical_sector_bytes: unit.clamp(SECTOR_BYTES, LARGE_SECTOR_BYTES),
        request_align_bytes: 1,
        discard_bytes: unit,
        read_only,
    }
}

/// What direct requests on this disk must be aligned to; `None` where it takes none.
pub(super) fn direct_align(opened: &Opened) -> Result<Option<u32>, DiskError> {
    let found = match opened.kind() {
        Kind::Device => ioctl_blksszget(opened).map(|sector| Some(sector.max(SECTOR_BYTES))),
        Kind::File => direct_align_of_file(opened),
    };
    found.map_err(|errno| opened.error(errno, "asking the alignment of"))
}

fn direct_align_of_file(opened: &Opened) -> Result<Option<u32>, Errno> {
    if let Ok(found) = statx(opened, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
        && found.stx_mask & StatxFlags::DIOALIGN.bits() != 0
        // Buffers are aligned to 4096, so a file system that wants more is as good as one without.
        && found.stx_dio_mem_align <= LARGE_SECTOR_BYTES
    {
        return Ok(Some(found.stx_dio_offset_align).filter(|align| align.is_power_of_two()));
    }
    // An older kernel: try.
    let Ok(mut buffer) = AlignedBuffer::zeroed(LARGE_SECTOR_BYTES as usize) else {
        return Err(Errno::NOMEM);
    };
    for align in [SECTOR_BYTES, LARGE_SECTOR_BYTES] {
        let Some(room) = buffer.as_mut().get_mut(..align as usize) else { continue };
        match pread(opened, room, 0) {
            Ok(_) => return Ok(Some(align)),
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

/// The smallest discard of a device, 0 where it has none. A partition's queue is its disk's.
fn discard_granularity(device: u64) -> u32 {
    let base = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let value = |name: &str| -> Option<u64> {
        ["queue", "../queue"]
            .iter()
            .find_map(|queue| fs::read_to_string(format!("{base}/{queue}/{name}")).ok())
            .and_then(|text| text.trim().parse().ok())
    };
    match value("discard_max_bytes") {
        None | Some(0) => 0,
        Some(_) => value("discard_granularity")
            .and_then(|bytes| u32::try_from(bytes).ok())
            .unwrap_or(LARGE_SECTOR_BYTES),
    }
}

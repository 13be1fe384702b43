//! Where a file lies on the device of its file system.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::sys;

/// The last extent of a file.
const LAST: u32 = 0x1;
/// Not on the device yet, not there as it is, or beside other things: of such an extent nothing may be concluded.
const UNSURE: u32 = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x400;
/// Extents of one file, before it is refused as shredded.
const ALL_EXTENTS_MAX: usize = 65_536;

/// A part of a file that lies in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a piece of a file has these three and no more")]
pub struct FileExtent {
    /// First byte in the file.
    pub in_file: u64,
    /// First byte on the device that is mounted, which may be a partition.
    pub on_device: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Given to a file, and nothing written there yet: it reads as zeros, whatever lies there.
const UNWRITTEN: u32 = 0x800;

/// Where a file lies, in the file's order. An error where the file system cannot say, or says that it is not sure.
pub fn extents_of(path: &Path) -> io::Result<Vec<FileExtent>> {
    extents(&File::open(path)?, UNSURE)
}

/// The same of a file that is open; an error too where it has room that nothing was written to: what lies there is not what
/// it reads as.
pub fn written_extents_of(file: &File) -> io::Result<Vec<FileExtent>> {
    extents(file, UNSURE | UNWRITTEN)
}

fn extents(file: &File, refused: u32) -> io::Result<Vec<FileExtent>> {
    let mut found = Vec::new();
    let mut from = 0;
    loop {
        let (extents, count) = sys::extents::extents(file, from)?;
        let Some(extents) = extents.get(..count).filter(|extents| !extents.is_empty()) else {
            return Ok(found);
        };
        for extent in extents {
            let end = extent.logical.checked_add(extent.length).ok_or(Errno::OVERFLOW)?;
            if extent.flags & refused != 0 || end <= from || found.len() >= ALL_EXTENTS_MAX {
                return Err(io::ErrorKind::Unsupported.into());
            }
            from = end;
            found.push(FileExtent {
                in_file: extent.logical,
                on_device: extent.physical,
                bytes: extent.length,
            });
            if extent.flags & LAST != 0 {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_a_device_says_nothing() {
        assert!(extents_of(Path::new("/proc/version")).is_err());
        assert!(extents_of(Path::new("/nowhere")).is_err());
    }
}

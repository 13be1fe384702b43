//! What the system says of a disk, as verbs use it: whose it is, who uses it, what an error on it means.

use std::path::Path;

use hal::disk::{DiskError, ErrorKind};
use hal::inventory::DiskFacts;
pub use hal_linux::inventory::identity;
use pipeline_vault::Error;

/// Whether somebody may write to the disk while it is read: it is mounted for writing, or swap.
#[must_use]
pub fn is_written_to(facts: &DiskFacts) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    facts.mounted_at.iter().any(|place| !is_read_only_mount(&mounts, place))
}

/// Whether the newest mount at `place` is read-only. A place that is not found counts as writable.
fn is_read_only_mount(mounts: &str, place: &str) -> bool {
    let escaped = place.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011");
    let options = mounts.lines().rev().find_map(|line| {
        let mut words = line.split(' ');
        (words.nth(1) == Some(escaped.as_str())).then(|| words.nth(1).unwrap_or_default())
    });
    options.is_some_and(|options| options.split(',').any(|option| option == "ro"))
}

/// A disk's error, on the disk that the person named, with what to do.
#[must_use]
pub fn disk_error(error: DiskError, path: &Path) -> Error {
    let remedy = match error.kind {
        ErrorKind::Gone => "check the path and that the disk is connected",
        ErrorKind::Refused if is_neither(path) => "name an image file or a block device",
        ErrorKind::Refused => "check permissions and who uses it",
        ErrorKind::Full => "free some space and run again",
        _ => "check the disk",
    };
    let error = Error::from(error).on(path.display().to_string());
    if error.remedy.is_empty() { error.remedy(remedy) } else { error }
}

/// Whether it is there, and neither a file nor a block device.
fn is_neither(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = std::fs::metadata(path).map(|facts| facts.file_type());
    kind.is_ok_and(|kind| !kind.is_file() && !kind.is_block_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_read_only_mount_keeps_writers_away() {
        let mounts = "/dev/sda1 / ext4 rw,relatime 0 0\n/dev/sdb1 /mnt/a\\040b ext4 ro,noatime 0 0\n\
                      /dev/sdc1 /x ext4 ro 0 0\n/dev/sdc1 /x ext4 rw 0 0\n";
        assert!(!is_read_only_mount(mounts, "/"));
        assert!(is_read_only_mount(mounts, "/mnt/a b"));
        assert!(!is_read_only_mount(mounts, "/x"), "the newest mount counts");
        assert!(!is_read_only_mount(mounts, "[swap]"));
    }
}

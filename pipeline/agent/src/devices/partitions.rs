//! The partitions of a disk, as sysfs has them.

use std::fs;
use std::path::Path;

use super::Leaf;
use super::sysfs::parse_number;

/// Sysfs counts in these, whatever the disk's sectors are.
const UNIT_BYTES: u64 = 512;

/// A partition of a protected disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Its first byte on the disk.
    pub start: u64,
    /// Its size.
    pub bytes: u64,
    /// The kernel's number of it.
    pub number: (u32, u32),
    /// What stands on it.
    pub holders: Vec<String>,
}

/// The partitions of a disk in the order in which they lie; one that reaches beyond the disk is left out.
#[must_use]
pub fn partitions(leaf: &Leaf) -> Vec<Partition> {
    let folder = format!("/sys/dev/block/{}:{}", leaf.number.0, leaf.number.1);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<Partition> =
        entries.filter_map(|entry| partition(&entry.path(), leaf.bytes)).collect();
    found.sort();
    found
}

/// What stands on a whole disk: device mapper, md, bcache.
#[must_use]
pub fn holders(leaf: &Leaf) -> Vec<String> {
    let (major, minor) = leaf.number;
    holders_in(Path::new(&format!("/sys/dev/block/{major}:{minor}")))
}

fn partition(path: &Path, disk_bytes: u64) -> Option<Partition> {
    let text = |name: &str| fs::read_to_string(path.join(name)).ok();
    let bytes = |name: &str| text(name)?.trim().parse::<u64>().ok()?.checked_mul(UNIT_BYTES);
    text("partition")?;
    let (start, bytes) = (bytes("start")?, bytes("size")?);
    start.checked_add(bytes).filter(|end| *end <= disk_bytes)?;
    let number = parse_number(text("dev")?.trim())?;
    Some(Partition { start, bytes, number, holders: holders_in(path) })
}

fn holders_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("holders")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

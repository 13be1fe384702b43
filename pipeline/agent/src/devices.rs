//! Which disks a server has, what lies on them, and which can be tracked.

use std::path::{Path, PathBuf};

/// What is mounted, and on which leaves it lies.
mod file_systems;
/// The partitions of a disk.
mod partitions;
/// Block devices as sysfs has them.
mod sysfs;

use hal_linux::inventory::{facts_under, identity};

pub use partitions::{Partition, holders, partitions};
use sysfs::{Device, Sysfs};

/// A protected disk: a leaf of the kernel's block devices, with nothing below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The kernel's name now.
    pub name: String,
    /// Where it is opened.
    pub path: PathBuf,
    /// The kernel's number of the whole disk.
    pub number: (u32, u32),
    /// Its size.
    pub bytes: u64,
    /// Its logical sector.
    pub sector_bytes: u32,
    /// What hardware and partition table say of it, words `kind=value`.
    pub identity: String,
    /// Why changes of it cannot be tracked; nothing where they can.
    pub untracked: Option<String>,
}

/// A file system that has a part on a protected disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Where it is mounted first.
    pub at: PathBuf,
    /// What kind, as the kernel calls it.
    pub kind: String,
    /// The kernel's number of what is mounted.
    pub number: (u32, u32),
    /// Protected disks below it, by name.
    pub leaves: Vec<String>,
    /// It is mounted for reading only.
    pub read_only: bool,
}

/// The leaves of this server, in order of their names: every disk that holds data of its own.
///
/// Left out are drives of removable media without one, RAM disks, loop devices and other names of the same data:
/// partitions, device mapper and md on top, and the hidden paths of NVMe's multipath.
#[must_use]
pub fn leaves() -> Vec<Leaf> {
    leaves_under(Path::new("/"))
}

/// As `leaves`, with `sys`, `proc` and `dev` under another root.
#[must_use]
pub fn leaves_under(root: &Path) -> Vec<Leaf> {
    let sysfs = Sysfs::new(root);
    let disks = sysfs.disks();
    let all = disks.iter().filter(|device| sysfs.is_leaf(device));
    all.filter_map(|device| leaf(&sysfs, device)).collect()
}

/// File systems that have a part on a disk, innermost first: the order to freeze them in.
#[must_use]
pub fn file_systems() -> Vec<FileSystem> {
    file_systems::under(Path::new("/"))
}

/// As `file_systems`, with `sys`, `proc` and `dev` under another root.
#[must_use]
pub fn file_systems_under(root: &Path) -> Vec<FileSystem> {
    file_systems::under(root)
}

/// Names of the leaves below the block device with this number.
#[must_use]
pub fn leaves_of(number: (u32, u32)) -> Vec<String> {
    let sysfs = Sysfs::new(Path::new("/"));
    let mut leaves = sysfs.leaves_below(number, &mut |_| None);
    leaves.sort();
    leaves
}

/// Names of the hidden paths of an NVMe disk; none of any other, or where NVMe has no multipath of its own.
#[must_use]
pub fn paths_of(name: &str) -> Vec<String> {
    Sysfs::new(Path::new("/")).paths_of(name)
}

fn leaf(sysfs: &Sysfs, device: &Device) -> Option<Leaf> {
    let facts = facts_under(sysfs.root(), &device.name)?;
    let number = sysfs.number(device)?;
    Some(Leaf {
        path: PathBuf::from("/dev").join(device.name.replace('!', "/")),
        number,
        bytes: facts.geometry.bytes,
        sector_bytes: facts.geometry.logical_sector_bytes,
        identity: identity(&facts),
        untracked: sysfs.untracked(device),
        name: device.name.clone(),
    })
}

#[cfg(test)]
mod tests;

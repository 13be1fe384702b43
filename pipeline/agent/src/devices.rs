//! Which disks a server has, what lies on them, and which can be tracked.

use std::path::PathBuf;

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

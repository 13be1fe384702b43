//! What a disk says of itself, as plain values: what `lifeboat` prints, matches disks by, and
//! refuses to write over.

use alloc::string::String;
use alloc::vec::Vec;

use crate::disk::Geometry;

/// One block device or image file as the system describes it. Absent facts are `None`, never
/// guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFacts {
    /// Where it is opened: a device node or a file path.
    pub path: String,
    /// Vendor's model name.
    pub model: Option<String>,
    /// Vendor's serial number.
    pub serial: Option<String>,
    /// World wide name, as the kernel spells it (`naa.…`, `eui.…`, `t10.…`).
    pub wwn: Option<String>,
    /// GUID of the GPT, where the disk holds one.
    pub table_guid: Option<[u8; 16]>,
    /// Size and sectors.
    pub geometry: Geometry,
    /// True for spinning media.
    pub rotational: Option<bool>,
    /// Partitions in order of their start.
    pub partitions: Vec<PartitionFacts>,
    /// Mount points of the disk itself and of anything on top of it (partitions, LVM, md, crypt),
    /// and `[swap]`.
    pub mounted_at: Vec<String>,
}

impl DiskFacts {
    /// A disk of which no more is known than where it is opened, and its size and sectors.
    pub fn of(path: impl Into<String>, geometry: Geometry) -> Self {
        Self {
            path: path.into(),
            model: None,
            serial: None,
            wwn: None,
            table_guid: None,
            geometry,
            rotational: None,
            partitions: Vec::new(),
            mounted_at: Vec::new(),
        }
    }

    /// The kernel's name of a device: the last part of its path.
    pub fn kernel_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// One partition, in bytes from the start of its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    /// Number in its table.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
}

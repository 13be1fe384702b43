//! One block device as sysfs describes it. Attributes are text from outside: read up to a limit,
//! trimmed, never trusted.

use core::ops::RangeInclusive;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use hal::disk::Geometry;
use hal::inventory::PartitionFacts;

/// Sizes and starts in sysfs are in this unit, whatever the disk's sectors are.
const UNIT_BYTES: u64 = 512;
/// Sectors that a disk may have; the kernel's own limits.
const SECTOR_RANGE: RangeInclusive<u32> = 512..=65_536;
/// The kernel gives no attribute more than a page.
const ATTRIBUTE_BYTES_MAX: u64 = 4096;
/// SCSI's number for CD and DVD drives.
const SCSI_TYPE_CD: &str = "5";

/// A block device: a disk, a partition, or something made of them.
#[derive(Debug)]
pub(super) struct Device {
    name: String,
    /// Its folder, with symbolic links resolved, so that its parent is the disk of a partition.
    folder: PathBuf,
}

impl Device {
    /// Every block device that is not a partition, in order of name.
    pub(super) fn all_disks(root: &Path) -> Vec<Self> {
        let mut names = entries(&root.join("sys/block"));
        // sdb before sdaa, nvme2n1 before nvme10n1.
        names.sort_by(|one, two| (one.len(), one).cmp(&(two.len(), two)));
        names.iter().filter_map(|name| Self::named(root, name)).collect()
    }

    /// The device with this kernel name.
    pub(super) fn named(root: &Path, name: &str) -> Option<Self> {
        let folder = fs::canonicalize(root.join("sys/class/block").join(name)).ok()?;
        Some(Self { name: name.to_owned(), folder })
    }

    /// The device with these numbers.
    pub(super) fn numbered(root: &Path, major: u32, minor: u32) -> Option<Self> {
        let folder = fs::canonicalize(root.join(format!("sys/dev/block/{major}:{minor}"))).ok()?;
        let name = folder.file_name()?.to_str()?.to_owned();
        Some(Self { name, folder })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name of its node under /dev: the kernel writes the slash of some drivers' names as `!`.
    pub(super) fn node(&self) -> String {
        self.name.replace('!', "/")
    }

    /// `major:minor`.
    pub(super) fn numbers(&self) -> Option<String> {
        self.text("dev")
    }

    /// The name that device mapper gave it.
    pub(super) fn mapper_name(&self) -> Option<String> {
        self.text("dm/name")
    }

    /// The file or device behind a loop device.
    pub(super) fn backing_file(&self) -> Option<String> {
        self.text("loop/backing_file")
    }

    /// A disk that one can hold, with a medium in it.
    pub(super) fn is_hardware(&self) -> bool {
        let hidden = self.text("hidden").is_some_and(|flag| flag != "0");
        let optical = self.text("device/type").is_some_and(|kind| kind == SCSI_TYPE_CD);
        self.folder.join("device").is_dir() && !hidden && !optical && self.geometry().bytes > 0
    }

    /// Kernel names of what was made of it: device mapper, md.
    pub(super) fn holders(&self) -> Vec<String> {
        entries(&self.folder.join("holders"))
    }

    /// Kernel names of its partitions.
    pub(super) fn partition_names(&self) -> Vec<String> {
        let mut names = entries(&self.folder);
        names.retain(|name| self.folder.join(name).join("partition").is_file());
        names
    }

    pub(super) fn partitions(&self) -> Vec<PartitionFacts> {
        let mut found: Vec<PartitionFacts> = self
            .partition_names()
            .iter()
            .filter_map(|name| {
                let value = |attribute: &str| self.number(&format!("{name}/{attribute}"));
                Some(PartitionFacts {
                    number: u32::try_from(value("partition")?).ok()?,
                    start: value("start")?.checked_mul(UNIT_BYTES)?,
                    bytes: value("size")?.checked_mul(UNIT_BYTES)?,
                })
            })
            .collect();
        found.sort_by_key(|partition| (partition.start, partition.number));
        found
    }

    pub(super) fn geometry(&self) -> Geometry {
        let size = |name| self.queue(name).and_then(|bytes| u32::try_from(bytes).ok());
        let logical = size("logical_block_size")
            .filter(|bytes| bytes.is_power_of_two() && SECTOR_RANGE.contains(bytes))
            .unwrap_or(512);
        let bytes = self.number("size").unwrap_or(0).saturating_mul(UNIT_BYTES);
        let discards = self.queue("discard_max_bytes").unwrap_or(0) > 0;
        Geometry {
            bytes: bytes - bytes % u64::from(logical),
            logical_sector_bytes: logical,
            physical_sector_bytes: size("physical_block_size").unwrap_or(logical).max(logical),
            request_align_bytes: logical,
            discard_bytes: size("discard_granularity").filter(|_| discards).unwrap_or(0),
            read_only: self.number("ro").unwrap_or(0) != 0,
        }
    }

    pub(super) fn rotational(&self) -> Option<bool> {
        self.queue("rotational").map(|flag| flag != 0)
    }

    pub(super) fn model(&self) -> Option<String> {
        // A partition's model is its disk's; MMC calls it a name.
        ["device/model", "../device/model", "device/name"].iter().find_map(|name| self.text(name))
    }

    /// Of a disk only: a partition that bore its disk's serial number would be taken for the disk.
    pub(super) fn serial(&self) -> Option<String> {
        ["serial", "device/serial"]
            .iter()
            .find_map(|name| self.text(name))
            .or_else(|| unit_serial(&self.bytes("device/vpd_pg80")?))
    }

    pub(super) fn wwn(&self) -> Option<String> {
        ["wwid", "device/wwid"].iter().find_map(|name| self.text(name))
    }

    /// An attribute of the request queue; a partition's is its disk's.
    fn queue(&self, name: &str) -> Option<u64> {
        ["queue", "../queue"].iter().find_map(|queue| self.number(&format!("{queue}/{name}")))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// An attribute as text; `None` where it is missing or empty.
    fn text(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes(name)?).into_owned();
        let kept = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\0');
        if kept.is_empty() { None } else { Some(kept.to_owned()) }
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.folder.join(name)).ok()?;
        file.take(ATTRIBUTE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// The serial number in a SCSI page 0x80: type, page, length in two bytes, letters.
fn unit_serial(page: &[u8]) -> Option<String> {
    let [_, 0x80, high, low, rest @ ..] = page else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let letters = rest.get(..length.min(rest.len()))?;
    let text = String::from_utf8_lossy(letters);
    let kept = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\0');
    if kept.is_empty() { None } else { Some(kept.to_owned()) }
}

/// Names in a folder, in order; none where there is no folder.
pub(super) fn entries(folder: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        found.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

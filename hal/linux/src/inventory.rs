//! What disks the machine has and what is on top of them, from sysfs and /proc.
//!
//! Everything is read under a root folder, so that tests bring a machine of their own. It never
//! writes, and where the kernel does not tell a fact it tells none.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hal::disk::{DiskError, ErrorKind};
use hal::inventory::DiskFacts;
use hal::table::table_guid;
use rustix::fs::{FileType, Mode, Stat};

use crate::disk::fault;
use crate::disk::geometry::of_image;

/// What is mounted and what is swap.
pub mod mounts;
/// One block device as sysfs describes it.
mod sysfs;
/// What stands on top of a device: partitions, LVM, md, crypt, loop devices.
mod users;

use sysfs::Device;

/// Sectors that a partition table may have been written for.
const SECTOR_SIZES: [u32; 2] = [512, 4096];
/// Who may write a file: anybody at all.
const WRITERS: Mode = Mode::WUSR.union(Mode::WGRP).union(Mode::WOTH);

/// The disks of this machine: hardware with a medium in it, without CD drives and without what is
/// made of other disks (partitions, LVM, md, loop devices), which `facts_of` describes all the
/// same.
pub fn inventory() -> Vec<DiskFacts> {
    inventory_under(Path::new("/"))
}

/// As `inventory`, with `sys`, `proc` and `dev` under another root.
pub fn inventory_under(root: &Path) -> Vec<DiskFacts> {
    let mounts = mounts::read(root);
    let mut devices = Device::all_disks(root);
    devices.retain(Device::is_hardware);
    devices.iter().map(|device| facts(root, device, &mounts)).collect()
}

/// What the system says of the block device with this kernel name, with `sys`, `proc` and `dev` under another root.
#[must_use]
pub fn facts_under(root: &Path, name: &str) -> Option<DiskFacts> {
    Device::named(root, name).map(|device| facts(root, &device, &mounts::read(root)))
}

/// What tells this disk from others, whatever it is called today, as words `kind=value`: WWN, serial number, GUID of
/// its partition table, or where there is none of them the file's full path.
#[must_use]
pub fn identity(facts: &DiskFacts) -> String {
    let mut parts = Vec::new();
    if let Some(wwn) = &facts.wwn {
        parts.push(format!("wwn={wwn}"));
    }
    if let Some(serial) = &facts.serial {
        parts.push(format!("serial={serial}"));
    }
    if let Some(guid) = &facts.table_guid {
        let digits: String = guid.iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push(format!("gpt={digits}"));
    }
    if parts.is_empty() {
        let full =
            std::fs::canonicalize(&facts.path).unwrap_or_else(|_| PathBuf::from(&facts.path));
        parts.push(format!("path={}", full.display()));
    }
    parts.join(" ")
}

/// What the system says of one block device (any: a partition, an array) or image file.
pub fn facts_of(path: impl AsRef<Path>) -> Result<DiskFacts, DiskError> {
    const DOING: &str = "describing";
    let path = path.as_ref();
    let text = path.to_string_lossy();
    let root = Path::new("/");
    let found = rustix::fs::stat(path).map_err(|errno| fault::error(errno, DOING, &text))?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => Ok(facts_of_file(root, path, &found)),
        FileType::BlockDevice => {
            let (major, minor) =
                (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
            let Some(device) = Device::numbered(root, major, minor) else {
                let cause = "sysfs is not mounted, or does not know it";
                return Err(fault::failed(ErrorKind::Unsupported, cause, DOING, &text));
            };
            let known = facts(root, &device, &mounts::read(root));
            Ok(DiskFacts { path: text.into_owned(), ..known })
        }
        _ => {
            let cause = "neither a block device nor an image file";
            Err(fault::failed(ErrorKind::Refused, cause, DOING, &text))
        }
    }
}

fn facts(root: &Path, device: &Device, mounts: &mounts::Mounts) -> DiskFacts {
    let node = root.join("dev").join(device.node());
    let geometry = device.geometry();
    DiskFacts {
        path: node.to_string_lossy().into_owned(),
        model: device.model(),
        serial: device.serial(),
        wwn: device.wwn(),
        table_guid: guid_in(&node, geometry.bytes, &[geometry.logical_sector_bytes]),
        geometry,
        rotational: device.rotational(),
        partitions: device.partitions(),
        mounted_at: users::mounted_at(root, device.name(), mounts),
    }
}

fn facts_of_file(root: &Path, path: &Path, found: &Stat) -> DiskFacts {
    // As the file system has it: a file that its owner may not write is no disk to write to.
    let read_only = Mode::from_raw_mode(found.st_mode) & WRITERS == Mode::empty();
    let geometry = of_image(found.st_size, found.st_blksize, read_only);
    let mounts = mounts::read(root);
    let mut mounted_at: Vec<String> = users::loop_devices_on(root, path)
        .iter()
        .flat_map(|name| users::mounted_at(root, name, &mounts))
        .collect();
    mounted_at.sort();
    mounted_at.dedup();
    DiskFacts {
        table_guid: guid_in(path, geometry.bytes, &SECTOR_SIZES),
        mounted_at,
        ..DiskFacts::of(path.to_string_lossy(), geometry)
    }
}

/// The GUID of the partition table, from its main header or, where that is damaged, from the spare
/// one at the end.
fn guid_in(path: &Path, bytes: u64, sector_sizes: &[u32]) -> Option<[u8; 16]> {
    let file = File::open(path).ok()?;
    sector_sizes.iter().find_map(|sector_bytes| {
        let last = (bytes / u64::from(*sector_bytes)).checked_sub(1)?;
        [1, last].into_iter().find_map(|lba| {
            let mut sector = vec![0; *sector_bytes as usize];
            file.read_exact_at(&mut sector, lba.checked_mul(u64::from(*sector_bytes))?).ok()?;
            table_guid(&sector, lba)
        })
    })
}

#[cfg(test)]
mod tests;

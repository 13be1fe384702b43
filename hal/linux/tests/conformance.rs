//! Files through the page cache, direct I/O with and without io_uring, and loop devices pass the
//! suite.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::File;
use std::path::Path;

use core::cell::Cell;

use hal::disk::{Disk, ErrorKind, Operation, Request};
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions};
use hal_sim::conformance;

#[path = "support/folder.rs"]
mod folder;
#[path = "support/loop_device.rs"]
mod loop_device;

use folder::Folder;
use loop_device::LoopDevice;

/// 6 MiB and one large sector: no multiple of a block.
const ODD_BYTES: u64 = 6 * 1024 * 1024 + 4096;
const DIRECT: OpenOptions = OpenOptions { access: Access::Write, direct: Direct::Always };

/// A new file for every check.
fn fresh_files(folder: &Folder, bytes: u64) -> impl Fn() -> LinuxDisk {
    let count = Cell::new(0);
    let first = folder.file("");
    move || {
        count.set(count.get() + 1);
        LinuxDisk::create(first.join(format!("disk{}.img", count.get())), bytes).unwrap()
    }
}

fn direct(made: &LinuxDisk, ring: bool) -> Option<LinuxDisk> {
    let opened = if ring {
        LinuxDisk::open(made.path(), DIRECT)
    } else {
        LinuxDisk::open_without_ring(made.path(), DIRECT)
    };
    match opened {
        Ok(disk) => Some(disk),
        Err(error) if error.kind == ErrorKind::Unsupported => {
            eprintln!("SKIPPED, not tested on this machine: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn files_in_the_page_cache_conform() {
    let folder = Folder::on_disk();
    conformance::run(fresh_files(&folder, ODD_BYTES + 777));
}

#[test]
fn files_in_memory_conform() {
    if !Path::new("/dev/shm").is_dir() {
        eprintln!("SKIPPED, not tested on this machine: no /dev/shm");
        return;
    }
    let folder = Folder::under(Path::new("/dev/shm"));
    conformance::run(fresh_files(&folder, ODD_BYTES + 512));
}

#[test]
fn direct_files_with_io_uring_conform() {
    let folder = Folder::on_disk();
    let fresh = fresh_files(&folder, ODD_BYTES);
    let Some(probe) = direct(&fresh(), true) else { return };
    if !probe.has_ring() {
        eprintln!("SKIPPED, not tested on this machine: no io_uring");
        return;
    }
    conformance::run(|| direct(&fresh(), true).unwrap());
}

#[test]
fn direct_files_without_io_uring_conform() {
    let folder = Folder::on_disk();
    let fresh = fresh_files(&folder, ODD_BYTES);
    if direct(&fresh(), false).is_some() {
        conformance::run(|| direct(&fresh(), false).unwrap());
    }
}

#[test]
fn direct_files_in_memory_conform_where_there_are_any() {
    let folder = Folder::under(Path::new("/dev/shm"));
    let fresh = fresh_files(&folder, ODD_BYTES);
    if direct(&fresh(), true).is_some() {
        conformance::run(|| direct(&fresh(), true).unwrap());
    }
}

/// One device for all checks, emptied before each.
fn emptied(node: &Path, ring: bool) -> LinuxDisk {
    let options = OpenOptions { access: Access::Write, direct: Direct::Auto };
    let mut disk = if ring {
        LinuxDisk::open(node, options)
    } else {
        LinuxDisk::open_without_ring(node, options)
    }
    .unwrap();
    assert!(disk.is_direct(), "a block device is read past the page cache");
    let bytes = disk.geometry().unwrap().bytes;
    let length = u32::try_from(bytes).unwrap();
    let zero = Request { token: 0, operation: Operation::Zero, offset: 0, length, buffer: None };
    disk.run(zero).unwrap().result.unwrap();
    disk
}

fn loop_conforms(sector_bytes: u32, bytes: u64, ring: bool) {
    let folder = Folder::on_disk();
    let file = folder.file("backing.img");
    File::create_new(&file).unwrap().set_len(bytes).unwrap();
    let Some(device) = LoopDevice::attach(&file, sector_bytes, false) else { return };
    let geometry = emptied(device.node(), ring).geometry().unwrap();
    assert_eq!(geometry.logical_sector_bytes, sector_bytes);
    assert_eq!(geometry.request_align_bytes, sector_bytes);
    assert_eq!(geometry.bytes, bytes);
    conformance::run(|| emptied(device.node(), ring));
}

#[test]
fn loop_device_with_small_sectors_conforms() {
    loop_conforms(512, ODD_BYTES + 512, true);
}

#[test]
fn loop_device_with_large_sectors_conforms() {
    loop_conforms(4096, ODD_BYTES, true);
}

#[test]
fn loop_device_without_io_uring_conforms() {
    loop_conforms(512, ODD_BYTES + 512, false);
}

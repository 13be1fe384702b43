//! What goes wrong with real files and devices ends in an error of the right kind that names the
//! object.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use hal::disk::{Disk, DiskError, ErrorKind, Operation, Request};
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions, facts_of};

#[path = "support/folder.rs"]
mod folder;
#[path = "support/loop_device.rs"]
mod loop_device;
#[path = "support/mounted.rs"]
mod mounted;

use folder::Folder;
use loop_device::LoopDevice;
use mounted::Mounted;

const READ: OpenOptions = OpenOptions { access: Access::Read, direct: Direct::Auto };
const WRITE: OpenOptions = OpenOptions { access: Access::Write, direct: Direct::Auto };
const MIB: u64 = 1024 * 1024;

fn perform(
    disk: &mut LinuxDisk,
    operation: Operation,
    offset: u64,
    length: u32,
) -> Result<(), DiskError> {
    let buffer = disk.buffer(length as usize).unwrap();
    let request = Request { token: 3, operation, offset, length, buffer: Some(buffer) };
    let done = disk.run(request)?;
    assert!(done.buffer.is_some(), "the buffer comes back");
    done.result
}

fn refused(path: &Path, options: OpenOptions, kind: ErrorKind, says: &str) {
    let error = LinuxDisk::open(path, options).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let text = error.to_string();
    assert!(text.contains(&name) && text.contains(says), "{text}");
}

#[test]
fn what_is_no_disk_is_not_opened() {
    let folder = Folder::on_disk();
    refused(&folder.file("missing.img"), READ, ErrorKind::Gone, "no such disk or image file");
    refused(Path::new("/tmp"), READ, ErrorKind::Refused, "directory");
    refused(Path::new("/dev/null"), WRITE, ErrorKind::Refused, "neither a block device");
    let pipe = folder.file("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    refused(&pipe, READ, ErrorKind::Refused, "neither a block device");
}

#[test]
fn creating_refuses_what_exists_and_leaves_nothing_half_made() {
    let folder = Folder::on_disk();
    let path = folder.file("disk.img");
    fs::write(&path, "precious").unwrap();
    let error = LinuxDisk::create(&path, MIB).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("exists already"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let huge = folder.file("huge.img");
    let error = LinuxDisk::create(&huge, u64::MAX / 2).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(!huge.exists(), "no empty file is left behind");
    let error = LinuxDisk::create(folder.file("no/such/folder.img"), MIB).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Gone, "{error}");
}

#[test]
fn a_created_disk_is_sparse_and_its_owners_only() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::on_disk();
    let path = folder.file("disk.img");
    let mut disk = LinuxDisk::create(&path, 8 << 40).unwrap();
    assert_eq!(disk.geometry().unwrap().bytes, 8 << 40);
    assert_eq!(disk.data_after(0).unwrap(), None);
    perform(&mut disk, Operation::Write, 5 << 40, 65_536).unwrap();
    assert_eq!(disk.data_after(0).unwrap(), Some((5 << 40, (5 << 40) + 65_536)));
    assert_eq!(disk.data_after((5 << 40) + 100).unwrap().unwrap().0, (5 << 40) + 100);
    let found = fs::metadata(&path).unwrap();
    assert!(found.blocks() * 512 < MIB, "{} blocks", found.blocks());
    assert_eq!(found.mode() & 0o777, 0o600);
}

#[test]
fn a_handle_for_reading_takes_no_writes() {
    let folder = Folder::on_disk();
    let path = folder.file("disk.img");
    drop(LinuxDisk::create(&path, MIB).unwrap());
    let mut disk = LinuxDisk::open(&path, READ).unwrap();
    assert!(disk.geometry().unwrap().read_only);
    for operation in [Operation::Write, Operation::Zero, Operation::Discard] {
        let error = perform(&mut disk, operation, 0, 4096).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    }
    perform(&mut disk, Operation::Read, 0, 4096).unwrap();
}

#[test]
fn a_file_that_shrinks_in_use_is_gone_from_there_on() {
    let folder = Folder::on_disk();
    for (name, direct) in [("cached", Direct::Never), ("direct", Direct::Always)] {
        let path = folder.file(name);
        drop(LinuxDisk::create(&path, 4 * MIB).unwrap());
        let mut disk =
            LinuxDisk::open(&path, OpenOptions { access: Access::Read, direct }).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(MIB + 512).unwrap();
        perform(&mut disk, Operation::Read, 0, 65_536).unwrap();
        for offset in [MIB, 2 * MIB] {
            let error = perform(&mut disk, Operation::Read, offset, 65_536).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Gone, "{error}");
            assert!(error.to_string().contains("shrank"), "{error}");
            assert!(error.offset.unwrap() >= MIB + 512, "{error}");
        }
        assert_eq!(disk.geometry().unwrap().bytes, MIB + 512, "asked again, it says so");
    }
}

#[test]
fn direct_reads_reach_an_odd_end_and_direct_writes_refuse_it() {
    let folder = Folder::on_disk();
    let path = folder.file("odd.img");
    let content: Vec<u8> = (0..100_777_u32).map(|index| index.to_le_bytes()[0] ^ 0x5A).collect();
    fs::write(&path, &content).unwrap();
    for ring in [true, false] {
        let options = OpenOptions { access: Access::Read, direct: Direct::Always };
        let opened = if ring {
            LinuxDisk::open(&path, options)
        } else {
            LinuxDisk::open_without_ring(&path, options)
        };
        let mut disk = opened.unwrap();
        assert!(disk.is_direct());
        let buffer = disk.buffer(65_536).unwrap();
        let length = u32::try_from(content.len()).unwrap() - 65_536;
        let read = Request {
            token: 1,
            operation: Operation::Read,
            offset: 65_536,
            length,
            buffer: Some(buffer),
        };
        let done = disk.run(read).unwrap();
        done.result.unwrap();
        assert_eq!(&done.buffer.unwrap().as_ref()[..length as usize], &content[65_536..]);
    }
    let options = OpenOptions { access: Access::Write, direct: Direct::Always };
    refused(&path, options, ErrorKind::Unsupported, "go through the page cache");
    assert_eq!(fs::read(&path).unwrap(), content);
}

#[test]
fn a_full_file_system_is_told_apart() {
    let folder = Folder::on_disk();
    let at = folder.file("small");
    fs::create_dir(&at).unwrap();
    let Some(_mounted) = Mounted::mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &at) else {
        return;
    };
    let mut disk = LinuxDisk::create(at.join("disk.img"), 4 * MIB).unwrap();
    let results: Vec<_> = (0..8)
        .map(|index| perform(&mut disk, Operation::Write, index * MIB / 2, 1 << 19))
        .collect();
    let error = results.into_iter().find_map(Result::err).unwrap();
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
}

/// A loop device over a new file of `bytes`; the folder and the device live together.
fn device(bytes: u64, read_only: bool) -> Option<(Folder, LoopDevice)> {
    device_of(512, bytes, read_only)
}

fn device_of(sector_bytes: u32, bytes: u64, read_only: bool) -> Option<(Folder, LoopDevice)> {
    let folder = Folder::on_disk();
    let file = folder.file("backing.img");
    File::create_new(&file).unwrap().set_len(bytes).unwrap();
    let device = LoopDevice::attach(&file, sector_bytes, read_only)?;
    Some((folder, device))
}

#[test]
fn a_device_is_claimed_by_one_writer_alone() {
    let Some((_folder, device)) = device(4 * MIB, false) else { return };
    let mut writer = LinuxDisk::open(device.node(), WRITE).unwrap();
    refused(device.node(), WRITE, ErrorKind::Refused, "in use");
    let mut reader = LinuxDisk::open(device.node(), READ).unwrap();
    perform(&mut reader, Operation::Read, 0, 4096).unwrap();
    perform(&mut writer.another().unwrap(), Operation::Write, 0, 4096).unwrap();
    perform(&mut writer, Operation::Flush, 0, 0).unwrap();
    drop(writer);
    drop(LinuxDisk::open(device.node(), WRITE).unwrap());
}

#[test]
fn a_mounted_device_is_refused_and_described() {
    let Some((folder, device)) = device(8 * MIB, false) else { return };
    let made = Command::new("mke2fs").args(["-q", "-F"]).arg(device.node()).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED, not tested on this machine: no mke2fs");
        return;
    }
    let at = folder.file("mounted");
    fs::create_dir(&at).unwrap();
    let node = device.node().to_string_lossy().into_owned();
    let Some(mounted) = Mounted::mount(&[&node], &at) else { return };
    refused(device.node(), WRITE, ErrorKind::Refused, "mounted");
    let at = at.to_string_lossy().into_owned();
    assert_eq!(facts_of(device.node()).unwrap().mounted_at, core::slice::from_ref(&at));
    // The image file under the loop device is in use as well.
    assert_eq!(facts_of(folder.file("backing.img")).unwrap().mounted_at, [at]);
    let mut reader = LinuxDisk::open(device.node(), READ).unwrap();
    perform(&mut reader, Operation::Read, 1024, 1024).unwrap();
    drop((mounted, reader));
    assert_eq!(facts_of(device.node()).unwrap().mounted_at, [""; 0]);
}

#[test]
fn a_write_protected_device_is_refused() {
    let Some((_folder, device)) = device(4 * MIB, true) else { return };
    let error = LinuxDisk::open(device.node(), WRITE).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    assert!(facts_of(device.node()).unwrap().geometry.read_only);
}

#[test]
fn a_disk_says_the_same_to_an_open_handle_and_to_the_inventory() {
    let folder = Folder::on_disk();
    let path = folder.file("disk.img");
    let opened = LinuxDisk::create(&path, MIB + 5).unwrap().geometry().unwrap();
    assert_eq!(facts_of(&path).unwrap().geometry, opened);
    for sector_bytes in [512, 4096] {
        let found = device_of(sector_bytes, 4 * MIB + 512, false);
        let Some((_folder, device)) = found else { return };
        let mut disk = LinuxDisk::open(device.node(), WRITE).unwrap();
        let opened = disk.geometry().unwrap();
        assert_eq!(facts_of(device.node()).unwrap().geometry, opened);
        assert_eq!(opened.bytes, 4 * MIB + 512 / u64::from(sector_bytes) * 512, "whole sectors");
        let last = opened.bytes - u64::from(sector_bytes);
        perform(&mut disk, Operation::Read, last, sector_bytes).unwrap();
    }
}

#[test]
fn an_error_of_the_medium_names_its_place() {
    let Some((folder, device)) = device(4 * MIB, false) else { return };
    for ring in [true, false] {
        let backing = File::options().write(true).open(folder.file("backing.img")).unwrap();
        let opened = if ring {
            LinuxDisk::open(device.node(), READ)
        } else {
            LinuxDisk::open_without_ring(device.node(), READ)
        };
        let mut disk = opened.unwrap();
        // What is behind the device goes away while the device keeps its size.
        backing.set_len(MIB).unwrap();
        perform(&mut disk, Operation::Read, 0, 65_536).unwrap();
        let error = perform(&mut disk, Operation::Read, 2 * MIB, 65_536).unwrap_err();
        assert_eq!((error.kind, error.offset), (ErrorKind::Medium, Some(2 * MIB)), "{error}");
        perform(&mut disk, Operation::Read, 65_536, 65_536).unwrap();
        backing.set_len(4 * MIB).unwrap();
    }
}

#[test]
fn zeroing_gives_storage_back() {
    use std::os::unix::fs::MetadataExt;
    let Some((folder, device)) = device(4 * MIB, false) else { return };
    let used = || fs::metadata(folder.file("backing.img")).unwrap().blocks() * 512;
    let mut disk = LinuxDisk::open(device.node(), WRITE).unwrap();
    for operation in [Operation::Zero, Operation::Discard] {
        perform(&mut disk, Operation::Write, 0, 2 << 20).unwrap();
        perform(&mut disk, Operation::Flush, 0, 0).unwrap();
        let before = used();
        assert!(before >= 2 * MIB, "{before}");
        perform(&mut disk, operation, 0, 1 << 20).unwrap();
        perform(&mut disk, Operation::Flush, 0, 0).unwrap();
        assert!(used() + MIB <= before, "{operation:?}: {before}, then {}", used());
    }
}

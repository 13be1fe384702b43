//! Where the kernel gives no io_uring, requests go through pread. Alone in its file, because it
//! uses up the process's open files.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::File;

use hal::disk::{Disk, ErrorKind};
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions};
use hal_sim::conformance;

#[path = "support/folder.rs"]
mod folder;

const DIRECT: OpenOptions = OpenOptions { access: Access::Write, direct: Direct::Always };

#[test]
fn a_disk_without_a_ring_works_all_the_same() {
    let folder = folder::Folder::on_disk();
    let path = folder.file("disk.img");
    drop(LinuxDisk::create(&path, 2 << 20).unwrap());
    let usual = match LinuxDisk::open(&path, DIRECT) {
        Ok(disk) => disk,
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
            eprintln!("SKIPPED, not tested on this machine: {error}");
            return;
        }
    };
    let had_ring = usual.has_ring();
    drop(usual);

    // All files but one are taken: enough for the disk, none left for a ring.
    let mut taken: Vec<File> = core::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    drop(taken.pop());
    let disk = LinuxDisk::open(&path, DIRECT).unwrap();
    assert!(!disk.has_ring());
    assert_eq!(disk.depth(), 1);
    let error = LinuxDisk::open(&path, DIRECT).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exhausted, "{error}");
    let mut runs = 0;
    conformance::run(|| {
        let fresh = disk.another().unwrap();
        assert!(!fresh.has_ring());
        runs += 1;
        emptied(fresh)
    });
    assert!(runs > 10);
    drop((taken, disk));
    assert_eq!(LinuxDisk::open(&path, DIRECT).unwrap().has_ring(), had_ring);
}

fn emptied(mut disk: LinuxDisk) -> LinuxDisk {
    let length = u32::try_from(disk.geometry().unwrap().bytes).unwrap();
    let operation = hal::disk::Operation::Zero;
    let zero = hal::disk::Request { token: 0, operation, offset: 0, length, buffer: None };
    disk.run(zero).unwrap().result.unwrap();
    disk
}

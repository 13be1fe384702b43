//! Disks conform while system calls fail now and then, or are not there at all: strace makes them
//! fail.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use hal::disk::Disk;
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions};
use hal_sim::conformance;

#[path = "support/folder.rs"]
mod folder;

use folder::Folder;

/// Tells the child which disk to make; without it the child's test does nothing.
const CHILD: &str = "HAL_LINUX_CHILD";
const BYTES: u64 = 2 * 1024 * 1024 + 4096;

/// What strace runs: the suite over one kind of disk. On its own it is the same suite without
/// faults.
#[test]
fn the_suite_runs_in_a_process_of_its_own() {
    let kind = env::var(CHILD).unwrap_or_else(|_| "cached".to_owned());
    let folder = Folder::on_disk();
    let mut count = 0;
    let mut fresh = || {
        count += 1;
        let path = folder.file(&format!("disk{count}.img"));
        let made = LinuxDisk::create(&path, BYTES).unwrap();
        let options = OpenOptions { access: Access::Write, direct: Direct::Always };
        match kind.as_str() {
            "ring" => LinuxDisk::open(&path, options).unwrap(),
            "plain" => LinuxDisk::open_without_ring(&path, options).unwrap(),
            _ => made,
        }
    };
    let probe = fresh();
    println!("ring: {}, depth: {}", probe.has_ring(), probe.depth());
    conformance::run(fresh);
}

/// What the child said with these calls failing; `None`, loudly, where there is no strace or no
/// direct I/O.
fn under_strace(kind: &str, calls: &str, failure: &str) -> Option<String> {
    let usable =
        Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !usable.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED, not tested on this machine: no strace");
        return None;
    }
    let folder = Folder::on_disk();
    let probe = folder.file("probe.img");
    drop(LinuxDisk::create(&probe, BYTES).unwrap());
    let options = OpenOptions { access: Access::Read, direct: Direct::Always };
    if kind != "cached" && LinuxDisk::open(&probe, options).is_err() {
        eprintln!("SKIPPED, not tested on this machine: no direct I/O in {}", probe.display());
        return None;
    }
    let log = folder.file("strace");
    let output = Command::new("timeout")
        .args(["300", "strace", "-f", "-qq", "-o"])
        .arg(&log)
        .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{failure}")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "the_suite_runs_in_a_process_of_its_own", "--nocapture"])
        .env(CHILD, kind)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind}, {calls}, {failure}:\n{said}\n{errors}");
    assert!(injections(&log) > 0, "{kind}, {calls}, {failure}: nothing failed");
    Some(said)
}

fn injections(log: &Path) -> usize {
    fs::read_to_string(log).unwrap().matches("(INJECTED)").count()
}

#[test]
fn interrupted_and_short_of_resources_is_tried_again() {
    for (kind, calls, failure) in [
        ("cached", "pread64,pwrite64", "error=EINTR:when=2+2"),
        ("plain", "pread64,pwrite64", "error=EINTR:when=2+2"),
        ("cached", "fallocate", "error=EINTR:when=2+2"),
    ] {
        let _ = under_strace(kind, calls, failure);
    }
    let here = OpenOptions { access: Access::Read, direct: Direct::Always };
    let folder = Folder::on_disk();
    let path = folder.file("probe.img");
    drop(LinuxDisk::create(&path, BYTES).unwrap());
    if !LinuxDisk::open(&path, here).is_ok_and(|disk| disk.has_ring()) {
        eprintln!("SKIPPED, not tested on this machine: no io_uring");
        return;
    }
    for error in ["EINTR", "EAGAIN", "EBUSY"] {
        // From the fourth call on, so that the ring's own proof is past and the ring is used.
        let failure = format!("error={error}:when=4+3");
        if let Some(said) = under_strace("ring", "io_uring_enter", &failure) {
            assert!(said.contains("ring: true"), "{said}");
        }
    }
}

#[test]
fn a_kernel_that_refuses_io_uring_is_read_plainly() {
    for (call, error) in [
        ("io_uring_setup", "ENOSYS"),
        ("io_uring_setup", "EPERM"),
        ("io_uring_setup", "ENOMEM"),
        ("io_uring_register", "EPERM"),
        ("io_uring_enter", "EPERM"),
    ] {
        if let Some(said) = under_strace("ring", call, &format!("error={error}")) {
            assert!(said.contains("ring: false, depth: 1"), "{said}");
        }
    }
}

#[test]
fn file_systems_without_holes_get_zeros_written() {
    for kind in ["cached", "plain", "ring"] {
        let _ = under_strace(kind, "fallocate", "error=EOPNOTSUPP");
    }
    let _ = under_strace("cached", "lseek", "error=EINVAL");
}

#[test]
fn kernels_that_do_not_tell_the_alignment_are_tried() {
    let _ = under_strace("plain", "statx", "error=ENOSYS");
}

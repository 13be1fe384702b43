//! File systems in bytes of ours: mounted where nobody sees them, changed by the kernel, and whole afterwards.
//!
//! Needs root; says loudly where it cannot mount.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use hal_linux::block_file::Content;
use hal_linux::mounted::{MountOptions, Mounted};
use rustix::fs::{Mode, OFlags, openat};

#[path = "support/folder.rs"]
mod folder;

use folder::Folder;

/// An image file of the test's, by way of this process.
struct Image(File);

impl Content for Image {
    fn bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.0.write_all_at(from, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn made(folder: &Folder, program: &str, arguments: &[&str], bytes: u64) -> PathBuf {
    let path = folder.file(program);
    File::create(&path).unwrap().set_len(bytes).unwrap();
    assert!(Command::new(program).args(arguments).arg(&path).status().unwrap().success());
    path
}

fn content(path: &Path) -> Arc<dyn Content> {
    Arc::new(Image(File::options().read(true).write(true).open(path).unwrap()))
}

/// `None`, loudly, where this machine does not let us mount.
fn mounted(path: &Path, kind: &str, read_only: bool) -> Option<Mounted> {
    let options = MountOptions { kind: kind.to_owned(), read_only, options: Vec::new() };
    match Mounted::mount(content(path), &options) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED, not tested on this machine: {error}");
            None
        }
        other => Some(other.unwrap()),
    }
}

#[test]
fn the_kernel_writes_into_bytes_of_ours_and_leaves_them_clean() {
    let folder = Folder::on_disk();
    let checks: [(&str, &[&str], &str, &[&str]); 2] = [
        ("mke2fs", &["-q", "-t", "ext4"], "ext4", &["e2fsck", "-f", "-n"]),
        ("mkfs.xfs", &["-q"], "xfs", &["xfs_repair", "-n"]),
    ];
    for (program, arguments, kind, check) in checks {
        let image = made(&folder, program, arguments, 320 << 20);
        let Some(mount) = mounted(&image, kind, false) else { return };
        let text: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = openat(mount.root().unwrap(), "written", flags, Mode::RUSR).unwrap();
        File::from(file).write_all(&text).unwrap();
        mount.unmount().unwrap();
        let checked = Command::new(check[0]).args(&check[1..]).arg(&image).output().unwrap();
        assert!(checked.status.success(), "{kind}: {checked:?}");

        let mount = mounted(&image, kind, true).unwrap();
        let root = mount.root().unwrap();
        let file = openat(root, "written", OFlags::RDONLY, Mode::empty()).unwrap();
        let mut read = Vec::new();
        File::from(file).read_to_end(&mut read).unwrap();
        assert!(read == text, "{kind} gives back what was written");
        assert!(openat(root, "other", flags, Mode::RUSR).is_err(), "read-only");
    }
}

#[test]
fn what_is_no_file_system_is_refused_in_words_and_nothing_is_left_behind() {
    let folder = Folder::on_disk();
    let image = made(&folder, "mke2fs", &["-q", "-t", "ext4"], 16 << 20);
    let Some(mount) = mounted(&image, "ext4", false) else { return };
    drop(mount);
    // Its superblock no longer is one.
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&[0; 64], 1024 + 32).unwrap();
    for (kind, says) in [("ext4", "ext4"), ("no-such-kind", "does not know")] {
        let options = MountOptions { kind: kind.to_owned(), read_only: true, options: Vec::new() };
        let error = Mounted::mount(content(&image), &options).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // They end when nobody has the file any more, and so the loop device has let go of it. Each test is a process.
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten().filter(|task| {
        fs::read_to_string(task.path().join("comm"))
            .is_ok_and(|name| name.starts_with("block-file"))
    });
    assert_eq!(threads.count(), 0);
}

/// Panics where nothing else would be read but by a mount.
struct Panics(Image);

impl Content for Panics {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn read_at(&self, offset: u64, _: &mut [u8]) -> io::Result<()> {
        panic!("on purpose, at byte {offset}")
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, from)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn the_kernel_does_not_wait_for_what_panics() {
    let folder = Folder::on_disk();
    let image = made(&folder, "mke2fs", &["-q", "-t", "ext4"], 16 << 20);
    let Some(mount) = mounted(&image, "ext4", true) else { return };
    drop(mount);
    let content = Panics(Image(File::options().read(true).write(true).open(&image).unwrap()));
    let options = MountOptions { kind: "ext4".to_owned(), read_only: true, options: Vec::new() };
    let error = Mounted::mount(Arc::new(content), &options).unwrap_err().to_string();
    assert!(error.contains("cannot be mounted"), "{error}");
}

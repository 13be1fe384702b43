//! What is mounted where, as data, and the program's own file systems.
//!
//! It refuses to mount a disk's file system unless asked for that one by name.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use image_layout::initrd::INIT;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

/// One of the kernel's own file systems.
struct Row {
    kind: &'static str,
    at: &'static str,
    flags: MountFlags,
    options: &'static str,
    /// Without it nothing works; the others are told of when they are missing.
    needed: bool,
}

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

const EARLY: [Row; 6] = [
    Row { kind: "proc", at: "/proc", flags: PLAIN, options: "", needed: true },
    Row { kind: "sysfs", at: "/sys", flags: PLAIN, options: "", needed: true },
    Row {
        kind: "devtmpfs",
        at: "/dev",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        options: "mode=0755",
        needed: true,
    },
    Row { kind: "tmpfs", at: "/run", flags: PLAIN, options: "size=16m,mode=0755", needed: true },
    // Limits of memory and tasks for services, without which they do not run.
    Row { kind: "cgroup2", at: "/sys/fs/cgroup", flags: PLAIN, options: "", needed: false },
    Row {
        kind: "securityfs",
        at: "/sys/kernel/security",
        flags: PLAIN,
        options: "",
        needed: false,
    },
];

/// What is only there once its module is, or on machines that have it.
const LATE: [Row; 2] = [
    Row {
        kind: "efivarfs",
        at: "/sys/firmware/efi/efivars",
        flags: PLAIN.union(MountFlags::RDONLY),
        options: "",
        needed: false,
    },
    Row { kind: "pstore", at: "/sys/fs/pstore", flags: PLAIN, options: "", needed: false },
];

/// The file systems that everything else stands on.
pub(crate) fn early() -> Result<String, String> {
    all(&EARLY)
}

/// Folder of what is said of name servers and hosts, which is the only part of /etc that changes.
pub(crate) const NAMES: &str = "/run/names";

/// From now on nothing is written to the first file system and nothing run from it, but this program itself: its file is
/// mounted over itself, and stays a program.
pub(crate) fn seal() -> Result<String, String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |errno: Errno| format!("{what}: {errno}; the machine works, but less well protected")
    };
    for name in ["resolv.conf", "hosts"] {
        let (at, to) = (Path::new("/etc").join(name), Path::new(NAMES).join(name));
        match std::os::unix::fs::symlink(to, &at) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(format!("{}: {error}", at.display()));
            }
            _ => {}
        }
    }
    let fixed = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_bind(INIT, INIT).map_err(failed("the program cannot be mounted over itself"))?;
    mount_remount(INIT, fixed, c"").map_err(failed("the program can be written to"))?;
    mount_remount("/", fixed | MountFlags::NOEXEC, c"").map_err(failed("/ can be written to"))?;
    Ok("nothing is written to it, and nothing run from it but this program".to_owned())
}

/// By which root restarts, crashes or freezes the machine with one byte, whatever the switches say.
pub(crate) const TRIGGER: &str = "/proc/sysrq-trigger";

/// From now on what is written there goes nowhere. Who mounts the same file system once more has it still.
pub(crate) fn cover_trigger() -> Result<(), String> {
    match mount_bind("/dev/null", TRIGGER) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(format!("{TRIGGER} cannot be covered: {errno}")),
    }
}

/// Those of the firmware and of a crashed kernel's last words.
pub(crate) fn late() -> Result<String, String> {
    all(&LATE)
}

fn all(rows: &[Row]) -> Result<String, String> {
    let mut missing = Vec::new();
    for row in rows {
        match one(row) {
            Ok(()) => {}
            Err(errno) if row.needed => {
                return Err(format!("{} cannot be mounted at {}: {errno}", row.kind, row.at));
            }
            Err(_) => missing.push(row.kind),
        }
    }
    Ok(match missing.as_slice() {
        [] => format!("{} file systems", rows.len()),
        _ => format!("this machine has no {}", missing.join(", ")),
    })
}

fn one(row: &Row) -> Result<(), Errno> {
    // The folder is there already where the kernel makes it; what mount says is what counts.
    let _ = fs::create_dir_all(row.at);
    let options = CString::new(row.options).map_err(|_| Errno::INVAL)?;
    match mount(row.kind, row.at, row.kind, row.flags, options.as_c_str()) {
        // Already there.
        Err(Errno::BUSY) => Ok(()),
        result => result,
    }
}

/// Mounts the file system on a partition, read-only or for writing.
pub(crate) fn disk(device: &Path, at: &Path, kind: &str, writable: bool) -> Result<(), String> {
    fs::create_dir_all(at).map_err(|error| format!("{}: {error}", at.display()))?;
    let flags = if writable { PLAIN } else { PLAIN | MountFlags::RDONLY };
    mount(device, at, kind, flags, None).map_err(|errno| {
        format!("{}: its {kind} file system cannot be mounted: {errno}", device.display())
    })
}

/// Unmounts it again; a file system that is still in use goes as soon as it is not.
pub(crate) fn release(at: &Path) -> Result<(), String> {
    unmount(at, UnmountFlags::DETACH).map_err(|errno| format!("{}: {errno}", at.display()))
}

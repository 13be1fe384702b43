//! Programs of our own inside the kernel, the maps that they share with us, and names under which both outlive us.
//!
//! It probes by trying, never by a kernel's version: what cannot be done says so when it is asked for.

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, setrlimit};

/// The kernel's answers.
pub use rustix::io::Errno;

pub use crate::sys::bpf::{Link, Map, MapKind, MapShape, Program, Rejected, pin};
pub use crate::sys::shared::SharedWords;

/// Where distributions mount bpffs.
pub const FILE_SYSTEM: &str = "/sys/fs/bpf";
/// The number that tells bpffs from other file systems.
const MAGIC: u64 = 0xCAFE_4A11;

/// Lets maps be as large as they must: kernels before 5.11 count them as locked memory. Without the right to it a map
/// that is too large is refused when it is made.
pub fn lift_memory_limit() {
    let none = Rlimit { current: None, maximum: None };
    // A refusal shows when the map is made, in its own words.
    let _ = setrlimit(Resource::Memlock, none);
}

/// Sees to it that bpffs is mounted.
///
/// # Errors
/// It is not, and cannot be.
pub fn mount_file_system() -> io::Result<()> {
    if is_mounted() {
        return Ok(());
    }
    mount("bpf", FILE_SYSTEM, "bpf", MountFlags::NOSUID | MountFlags::NODEV, None)?;
    Ok(())
}

fn is_mounted() -> bool {
    rustix::fs::statfs(FILE_SYSTEM).is_ok_and(|facts| u64::try_from(facts.f_type) == Ok(MAGIC))
}

/// Names pinned in a folder, ascending; none where there is no such folder.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The kernel's answer in words of the operator's.
#[must_use]
pub fn words(errno: Errno) -> String {
    let what = match errno {
        Errno::PERM | Errno::ACCESS => {
            "the kernel does not permit it: run as root, outside of a container"
        }
        Errno::NOSYS => "the kernel was built without bpf(2)",
        Errno::NOMEM => "the kernel has no memory for it",
        Errno::OPNOTSUPP => "this kernel cannot do it",
        _ => return io::Error::from(errno).to_string(),
    };
    what.to_owned()
}

#[cfg(test)]
mod tests;

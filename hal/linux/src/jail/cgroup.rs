//! What a group of processes may use of the machine, by the kernel's control groups, version 2.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Jail;

/// Where they are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// A group, with its limits set.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// A group of this name below `root`, with a jail's limits. Where memory runs out in it, all of it ends.
    ///
    /// Errors: the kernel has no such limits, or we may not set them.
    pub fn make(root: &Path, name: &str, jail: &Jail<'_>) -> io::Result<Self> {
        fs::write(root.join("cgroup.subtree_control"), "+memory +pids")?;
        let folder = root.join(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::write(folder.join("memory.max"), jail.memory_bytes.to_string())?;
        fs::write(folder.join("memory.oom.group"), "1")?;
        fs::write(folder.join("pids.max"), jail.tasks.to_string())?;
        // Not there where the kernel has no swap.
        let _ = fs::write(folder.join("memory.swap.max"), "0");
        Ok(Self(folder))
    }

    /// Puts a process in, with all that it starts from now on.
    pub fn add(&self, process: u32) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), process.to_string())
    }
}

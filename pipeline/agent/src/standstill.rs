//! A server that stands still for good: applications stopped by their hooks, every file system read-only, power off in the end;
//! and all of that undone.
//!
//! What was made read-only is written down in memory beyond the agent's life, so that another one can undo it. It refuses to
//! decide when.

use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{MountFlags, mount_remount};
use rustix::system::{RebootCommand, reboot};

use crate::devices::{self, FileSystem};
use crate::hooks::HookFolder;

/// Makes all file systems read-only at once, whoever has files open.
const EMERGENCY: &str = "/proc/sysrq-trigger";
/// How long that may take.
const EMERGENCY_LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked whether it is done.
const LOOK: Duration = Duration::from_millis(100);

/// What a drain does to a server beside its points.
pub trait Standstill: Send {
    /// Stops the applications; what went wrong, in words.
    fn stop(&mut self) -> Vec<String>;

    /// Makes every file system read-only.
    ///
    /// Errors: which is not, and why. Those that are stay so until `writable`.
    fn read_only(&mut self) -> Result<(), String>;

    /// Whether every file system is.
    fn is_read_only(&self) -> bool;

    /// File systems are written to again, and applications started; what went wrong, in words.
    fn go_on(&mut self) -> Vec<String>;

    /// Switches the machine off.
    ///
    /// Errors: it is not allowed.
    fn power_off(&mut self) -> Result<(), String>;

    /// The cards by which it can be switched on again.
    fn cards(&self) -> Vec<[u8; 6]> {
        Vec::new()
    }
}

/// This machine.
pub struct ThisMachine {
    hooks: HookFolder,
    /// Where it is written down what was made read-only.
    record: PathBuf,
    find: fn() -> Vec<FileSystem>,
    emergency: Option<PathBuf>,
}

impl ThisMachine {
    /// With hooks of this folder, and a record in this file, which must not be on a disk.
    #[must_use]
    pub fn new(hooks: &Path, record: &Path) -> Self {
        let (find, emergency) = (devices::file_systems as _, Some(PathBuf::from(EMERGENCY)));
        Self { hooks: HookFolder::new(hooks), record: record.to_path_buf(), find, emergency }
    }

    /// Those that take writes, without what is only stacked on others.
    fn written_to(&self) -> Vec<PathBuf> {
        let all = (self.find)().into_iter();
        all.filter(|system| !system.read_only).map(|system| system.at).collect()
    }

    /// What was made read-only and was not undone.
    fn recorded(&self) -> Vec<PathBuf> {
        let text = fs::read_to_string(&self.record).unwrap_or_default();
        text.split('\0').filter(|at| !at.is_empty()).map(PathBuf::from).collect()
    }

    fn note(&self, made: &[PathBuf]) -> Result<(), String> {
        let lines: Vec<String> =
            made.iter().map(|at| format!("{}\0", at.to_string_lossy())).collect();
        fs::write(&self.record, lines.concat()).map_err(|error| {
            format!("{}: {error}; file systems stay as they are", self.record.display())
        })
    }

    /// Where a file is open for writing the kernel refuses; then all are made read-only at once, by force.
    fn force(&self) -> Result<(), String> {
        let Some(emergency) = &self.emergency else { return Ok(()) };
        fs::write(emergency, "u").map_err(|error| format!("{}: {error}", emergency.display()))?;
        let until = Instant::now() + EMERGENCY_LIMIT;
        while !self.written_to().is_empty() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Standstill for ThisMachine {
    fn cards(&self) -> Vec<[u8; 6]> {
        crate::cards::of_this_machine()
    }

    fn stop(&mut self) -> Vec<String> {
        self.hooks.all("stop")
    }

    fn read_only(&mut self) -> Result<(), String> {
        let mut made = self.recorded();
        let now = self.written_to();
        made.extend(now.iter().filter(|at| !self.recorded().contains(at)).cloned());
        // First, so that another life of the agent knows of each.
        self.note(&made)?;
        rustix::fs::sync();
        let refused = now.iter().filter(|at| remount(at, true).is_err()).count();
        if refused > 0 {
            self.force()?;
        }
        match self.written_to().first() {
            None => Ok(()),
            Some(at) => Err(format!("{} cannot be made read-only", at.display())),
        }
    }

    fn is_read_only(&self) -> bool {
        self.written_to().is_empty()
    }

    fn go_on(&mut self) -> Vec<String> {
        let mut troubles = Vec::new();
        for at in self.recorded().iter().rev() {
            if let Err(error) = remount(at, false) {
                troubles.push(format!(
                    "{} is still read-only ({error}): mount -o remount,rw {}",
                    at.display(),
                    at.display()
                ));
            }
        }
        // What is left in it would be undone at another time, when it may be meant.
        let _ = fs::remove_file(&self.record);
        troubles.extend(self.hooks.all("start"));
        troubles
    }

    fn power_off(&mut self) -> Result<(), String> {
        rustix::fs::sync();
        reboot(RebootCommand::PowerOff).map_err(|error| format!("the machine stays on: {error}"))
    }
}

/// Changes whether a file system takes writes, and nothing else of how it is mounted.
fn remount(at: &Path, read_only: bool) -> io::Result<()> {
    let now = statvfs(at)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        (StatVfsMountFlags::SYNCHRONOUS, MountFlags::SYNCHRONOUS),
    ];
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, read_only);
    for (is, keep) in pairs {
        flags.set(keep, now.contains(is));
    }
    Ok(mount_remount(at, flags, c"")?)
}

#[cfg(test)]
mod tests;

//! A process that shuts itself in, before it reads the first byte of a stranger: a user of its own, no capabilities but those
//! that are listed, no system calls, files and ports but those that are listed, no core file.
//!
//! It is for a process that has one thread yet: identity and Landlock are each thread's own. What it needs that the list does not
//! give (a listening socket, a key) it is handed as an open file before. Limits of memory and tasks are the starter's to set:
//! [`cgroup`].

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{
    CapabilitySets, Gid, Uid, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

pub use calls::Calls;
pub(crate) use calls::MIGHT;
pub use rustix::thread::CapabilitySet;

use crate::sys::{filter as kernel_filter, landlock};
use filter::Verdict;

/// What somebody would try who took a service over.
pub mod attempt;
mod calls;
/// What a group of processes may use of the machine.
pub mod cgroup;
pub(crate) mod filter;

/// Capabilities that any kernel could know.
const CAPABILITIES: u32 = 64;

/// What a service may do. Whatever is not named it may not.
#[derive(Clone, Copy, Debug)]
pub struct Jail<'a> {
    /// Its user and group, nobody else's; kept by whoever is not root.
    pub user: u32,
    /// What it may do of what only root may.
    pub capabilities: CapabilitySet,
    /// System calls.
    pub calls: &'a [Calls],
    /// Files, and folders with all that is in them, that it may read. What is not there is left out.
    pub reads: &'a [&'a Path],
    /// The same to be written and made.
    pub writes: &'a [&'a Path],
    /// TCP ports of others.
    pub connects: &'a [u16],
    /// TCP ports of its own.
    pub binds: &'a [u16],
    /// Descriptors at once.
    pub files: u64,
    /// Memory in all.
    pub memory_bytes: u64,
    /// Threads and processes in all.
    pub tasks: u64,
}

/// What the kernel, or who we are, did not let a jail have. Everything else of it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entered {
    /// In words, each a clause.
    pub lacks: Vec<String>,
}

/// How many services of one user a machine may have, each of another program: `lifeboat serve` more than once.
const TASKS_OF_A_USER: u64 = 64;

impl Jail<'_> {
    /// Shuts the calling process in, for good.
    ///
    /// Errors: it has other threads already; or the kernel refused what every kernel of ours has.
    pub fn enter(&self) -> io::Result<Entered> {
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads != 1 {
            return Err(io::Error::other(format!("{threads} threads run already")));
        }
        let mut entered = Entered::default();
        let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(Resource::Core, limit(0))?;
        setrlimit(Resource::Nofile, limit(self.files))?;
        // While everything can still be opened.
        let rules = self.rules(&mut entered)?;
        if rustix::process::geteuid().is_root() {
            self.become_nobody()?;
            // Counted by user, over all programs of the machine: the exact limit is the group's. A small machine allows
            // nobody as much.
            let tasks = self.tasks.saturating_mul(TASKS_OF_A_USER);
            let most = getrlimit(Resource::Nproc).maximum.unwrap_or(u64::MAX);
            setrlimit(Resource::Nproc, limit(tasks.min(most)))?;
        } else {
            entered.lacks.push("a user of its own: it is not root that started it".to_owned());
        }
        clear_ambient_capability_set()?;
        let kept = self.capabilities & rustix::thread::capabilities(None)?.permitted;
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: none };
        set_capabilities(None, sets)?;
        set_no_new_privs(true)?;
        // No core file, and no other process looks in. Changing the user set it anew.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        if let Some(rules) = rules {
            landlock::restrict(rules.as_fd())?;
        }
        let rows = self.calls.iter().flat_map(|calls| calls.rows());
        kernel_filter::set(&mut filter::program(rows, Verdict::Kill, Verdict::Kill))?;
        Ok(entered)
    }

    /// Root gives up being root.
    fn become_nobody(&self) -> io::Result<()> {
        drop_from_bounding_set(!self.capabilities)?;
        set_keep_capabilities(!self.capabilities.is_empty())?;
        set_thread_groups(&[])?;
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.user));
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        set_keep_capabilities(false)?;
        Ok(())
    }

    /// What it may open, as Landlock wants it; `None` where the kernel has none.
    fn rules(&self, entered: &mut Entered) -> io::Result<Option<std::os::fd::OwnedFd>> {
        let Some(version) = landlock::version() else {
            entered.lacks.push(
                "files and ports that are only its own: this kernel has no Landlock".to_owned(),
            );
            return Ok(None);
        };
        let known = known_to(version);
        if version < 4 {
            entered
                .lacks
                .push("ports that are only its own: this kernel's Landlock is too old".to_owned());
        }
        let rules = landlock::rules(&known.governed, known.bytes)?;
        let reading = READ_FILE | READ_FOLDER;
        let writing = known.governed.files & !EXECUTE & !MAKE_DEVICE;
        let wanted = self.reads.iter().map(|path| (path, reading));
        for (path, wanted) in wanted.chain(self.writes.iter().map(|path| (path, writing))) {
            let opened = rustix::fs::open(*path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            let file = match opened {
                Err(Errno::NOENT) => continue,
                opened => opened?,
            };
            let mode = rustix::fs::fstat(&file)?.st_mode;
            let is_folder = rustix::fs::FileType::from_raw_mode(mode).is_dir();
            let wanted = if is_folder { wanted } else { wanted & OF_FILES };
            landlock::allow_file(rules.as_fd(), wanted & known.governed.files, &file)?;
        }
        if version >= 4 {
            let connects = self.connects.iter().map(|port| (CONNECT, *port));
            let binds = self.binds.iter().map(|port| (BIND, *port));
            for (wanted, port) in connects.chain(binds) {
                landlock::allow_port(rules.as_fd(), wanted, port)?;
            }
        }
        Ok(Some(rules))
    }
}

/// Takes capabilities from all that this thread starts from now on, whoever that is.
pub(crate) fn drop_from_bounding_set(dropped: CapabilitySet) -> io::Result<()> {
    for place in 0..CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << place);
        if !dropped.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // Behind the last that this kernel knows.
            Err(Errno::INVAL) => break,
            done => done?,
        }
    }
    Ok(())
}

/// `LANDLOCK_ACCESS_FS_...`: what is run, what is read, what is written.
const EXECUTE: u64 = 1;
const READ_FILE: u64 = 1 << 2;
const READ_FOLDER: u64 = 1 << 3;
/// Nodes of devices, of both kinds.
const MAKE_DEVICE: u64 = 1 << 6 | 1 << 11;
/// What a rule for a file that is no folder may speak of: run, write, read, cut, ioctl.
const OF_FILES: u64 = EXECUTE | 1 << 1 | READ_FILE | 1 << 14 | 1 << 15;
const BIND: u64 = 1;
const CONNECT: u64 = 2;

struct Known {
    governed: landlock::Governed,
    bytes: usize,
}

/// All that a version of Landlock can govern, and how many bytes it takes to say so.
fn known_to(version: u32) -> Known {
    let files = match version {
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    };
    let ports = if version >= 4 { BIND | CONNECT } else { 0 };
    // Sockets by abstract names, and signals.
    let scopes = if version >= 6 { 3 } else { 0 };
    let bytes = match version {
        ..4 => 8,
        4 | 5 => 16,
        _ => 24,
    };
    Known { governed: landlock::Governed { files, ports, scopes }, bytes }
}

#[cfg(test)]
mod tests;

//! Processes: children of our own, and orphans, whose last bit of work the first process does.
//!
//! A child that we started is waited for by whoever started it; only others are reaped here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use hal_linux::confine::give_up_might;
use rustix::process::{Pid, WaitOptions, waitpid};

/// How this program is named where everybody else starts it once more.
const ITSELF: &str = "/proc/self/exe";

/// By whom this process was started, where that was this program, to run a verb of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starter {
    /// The first process of an appliance.
    First,
    /// Another one.
    Other,
}

/// Whose job this process is; `None` where somebody else started it, and of the first process itself.
pub(crate) fn starter() -> Option<Starter> {
    let name = std::env::args_os().next()?;
    let starters = [(image_layout::initrd::INIT, Starter::First), (ITSELF, Starter::Other)];
    let starter = starters.into_iter().find(|(own, _)| name == **own);
    starter.map(|(_, starter)| starter).filter(|_| !super::is_first_process())
}

/// This program, to be started once more: the first process names its file, from where alone something may be run; everybody
/// else may have lost his.
pub(crate) fn program() -> &'static str {
    if super::is_first_process() { image_layout::initrd::INIT } else { ITSELF }
}

/// Children of our own that somebody waits for. Held while one is started, so that none is reaped before it is in here.
static OWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A child of our own.
pub(crate) struct Owned(pub(crate) Child);

impl Owned {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        own.insert(child.id());
        Ok(Self(child))
    }

    /// Starts a job: it has no business with the kernel's own inside or with other processes, and so can have none.
    pub(crate) fn start_job(command: &mut Command) -> io::Result<Self> {
        // What a thread gave up, whatever it starts does not have: so it is a thread that does nothing else.
        std::thread::scope(|scope| {
            let start = || {
                give_up_might()?;
                Self::start(command)
            };
            let started = std::thread::Builder::new().name("starts".to_owned());
            let started = started.spawn_scoped(scope, start)?;
            started
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it fell")))
        })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Waited for already where its owner did; a zombie otherwise, which the next round takes.
        let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        own.remove(&self.0.id());
    }
}

/// Takes the exit codes of all orphans that ended; how many there were.
pub(crate) fn reap() -> usize {
    let own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut reaped = 0;
    for number in numbers.filter(|number: &u32| !own.contains(number)) {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        if !is_orphaned_zombie(&stat, std::process::id()) {
            continue;
        }
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
        if matches!(waitpid(pid, WaitOptions::NOHANG), Ok(Some(_))) {
            reaped += 1;
        }
    }
    reaped
}

/// Whether a line of /proc/PID/stat is of a dead child of `parent`. The name in brackets may hold anything.
fn is_orphaned_zombie(stat: &str, parent: u32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_whitespace();
    fields.next() == Some("Z") && fields.next().and_then(|text| text.parse().ok()) == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_children_of_ours_are_taken() {
        assert!(is_orphaned_zombie("17 (lifeboat) Z 1 17 17 0", 1));
        assert!(is_orphaned_zombie("17 (a) Z 9 (x) Z 1 17 17 0", 1), "a name may hold anything");
        for other in ["17 (x) S 1 17", "17 (x) Z 2 17", "", ")", "17 (x) Z", "17 (x Z 1"] {
            assert!(!is_orphaned_zombie(other, 1), "{other}");
        }
    }

    #[test]
    fn an_owned_child_is_left_to_its_owner() {
        let mut child = Owned::start(Command::new("/bin/true").arg("x")).unwrap();
        let stat = format!("/proc/{}/stat", child.0.id());
        let me = std::process::id();
        while !is_orphaned_zombie(&fs::read_to_string(&stat).unwrap(), me) {
            std::thread::yield_now();
        }
        assert_eq!(reap(), 0);
        assert!(child.0.wait().unwrap().success());
        let left = Owned::start(Command::new("/bin/true").arg("x")).unwrap();
        let stat = format!("/proc/{}/stat", left.0.id());
        while !is_orphaned_zombie(&fs::read_to_string(&stat).unwrap(), me) {
            std::thread::yield_now();
        }
        drop(left);
        assert_eq!(reap(), 1, "whom nobody waits for");
    }
}

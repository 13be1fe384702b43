//! How this process stands among others: locked memory, priority, signals, process groups.

use std::io;

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Pid, Signal, getpriority_process, kill_process_group, setpriority_process};

use crate::sys;

/// Where the class of an I/O priority is in its number.
const CLASS_SHIFT: u32 = 13;
/// `IOPRIO_CLASS_IDLE`.
const CLASS_IDLE: i64 = 3 << CLASS_SHIFT;
/// No class of its own: as the nice value says.
const CLASS_NONE: i64 = 0;

/// Pieces of this size and more are given back to the kernel when they are freed.
const LARGE_BYTES: i32 = 256 << 10;
/// One for what is done mostly, and one for those who would wait for it.
const HEAPS: i32 = 2;

/// Large pieces of memory go back to the kernel as soon as they are freed, and threads share their heaps: for a program that
/// lives for months beside others. Each such piece costs its page faults again.
///
/// Errors: this allocator is another one.
pub fn spare_memory() -> io::Result<()> {
    let done = sys::manners::set_allocator(LARGE_BYTES, HEAPS);
    if done { Ok(()) } else { Err(io::Error::from(io::ErrorKind::Unsupported)) }
}

/// All memory that this process has now is brought in and stays; what it gets from now on stays once it was touched. So
/// nothing waits for a disk that is still.
pub fn lock_memory() -> io::Result<()> {
    mlockall(MlockAllFlags::CURRENT)?;
    Ok(mlockall(MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?)
}

/// As `lock_memory`, and what it gets from now on is brought in at once: for a small process.
pub fn lock_all_memory() -> io::Result<()> {
    Ok(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)?)
}

/// Files that were left open by whoever started this program are not handed on to what it starts.
///
/// Errors: this kernel is older than Linux 5.11.
pub fn hand_on_nothing() -> io::Result<()> {
    Ok(sys::manners::hand_on_nothing()?)
}

/// The calling thread, and what it starts from now on, stands behind others: 19 behind all, 0 beside them.
pub fn be_nice(nice: i32) -> io::Result<()> {
    Ok(setpriority_process(None, nice)?)
}

/// The calling thread, and what it starts from now on, reads and writes only when nobody else does.
pub fn be_idle_on_disks() -> io::Result<()> {
    Ok(sys::manners::set_io_priority(CLASS_IDLE)?)
}

/// Whether the calling thread is one that reads and writes only when nobody else does.
pub fn is_idle_on_disks() -> io::Result<bool> {
    Ok(sys::manners::io_priority()? >> CLASS_SHIFT == CLASS_IDLE >> CLASS_SHIFT)
}

/// Where a thread stood among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    nice: i32,
    io: i64,
}

/// The calling thread, and what it starts from now on, stands beside others for a while: where it stood, to be stood back to.
/// For moments in which others wait for it.
pub fn stand_up() -> io::Result<Standing> {
    let standing = Standing { nice: getpriority_process(None)?, io: sys::manners::io_priority()? };
    if standing.nice > 0 {
        be_nice(0)?;
    }
    sys::manners::set_io_priority(CLASS_NONE)?;
    Ok(standing)
}

impl Standing {
    /// Stands where it stood, in the same thread.
    pub fn stand_back(self) -> io::Result<()> {
        sys::manners::set_io_priority(self.io)?;
        be_nice(self.nice)
    }
}

/// This process no longer ends when a terminal or a service manager asks it to.
pub fn ignore_requests_to_end() -> io::Result<()> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE] {
        sys::manners::ignore(signal)?;
    }
    Ok(())
}

/// Ends every process of a group; one that is gone already is no error.
pub fn end_group(group: u32) -> io::Result<()> {
    let group = i32::try_from(group).ok().and_then(Pid::from_raw);
    let group = group.ok_or(io::ErrorKind::InvalidInput)?;
    match kill_process_group(group, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::{fs, thread};

    use super::*;

    #[test]
    fn large_pieces_go_back_when_they_are_freed() {
        const CHILD: &str = "LIFEBOAT_TEST_SPARE";
        if std::env::var_os(CHILD).is_none() {
            // What this does to a process stays with it.
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["large_pieces_go_back", "--nocapture"]).env(CHILD, "1");
            assert!(child.status().unwrap().success());
            return;
        }
        spare_memory().unwrap();
        let resident = || crate::process::residency().unwrap().now_bytes;
        let before = resident();
        for _ in 0..4 {
            // By itself the allocator keeps such pieces from the second time on, below one that stays.
            let pieces: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 1 << 20]).collect();
            let stays = vec![1_u8; 1000];
            assert!(resident() >= before + (48 << 20));
            drop(core::hint::black_box(pieces));
            assert!(resident() < before + (8 << 20), "{} more", resident().saturating_sub(before));
            drop(core::hint::black_box(stays));
        }
    }

    #[test]
    fn a_thread_becomes_nice_and_idle_and_so_does_what_it_starts() {
        let child = thread::spawn(|| {
            assert!(!is_idle_on_disks().unwrap());
            be_nice(19).unwrap();
            be_idle_on_disks().unwrap();
            assert!(is_idle_on_disks().unwrap());
            let standing = stand_up().unwrap();
            assert!(!is_idle_on_disks().unwrap());
            assert_eq!(Command::new("nice").output().unwrap().stdout, b"0\n");
            standing.stand_back().unwrap();
            assert!(is_idle_on_disks().unwrap());
            Command::new("nice").output().unwrap().stdout
        });
        assert_eq!(child.join().unwrap(), b"19\n");
        assert!(!is_idle_on_disks().unwrap(), "other threads keep what they had");
    }

    #[test]
    fn locked_memory_is_locked() {
        const CHILD: &str = "HAL_LINUX_LOCK";
        if std::env::var_os(CHILD).is_none() {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let said = child.args(["locked_memory_is_locked", "--nocapture"]).env(CHILD, "1");
            let said = said.output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            return;
        }
        if let Err(error) = lock_memory() {
            eprintln!("SKIPPED, not tested on this machine: memory cannot be locked: {error}");
            return;
        }
        let locked = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let before = locked();
        assert!(before > 0);
        let touched = core::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(locked() >= before + (32 << 10));
        drop(touched);
    }

    #[test]
    fn a_whole_group_ends() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & sleep 1000"]).process_group(0);
        let mut child = shell.spawn().unwrap();
        end_group(child.id()).unwrap();
        assert!(!child.wait().unwrap().success());
        end_group(child.id()).unwrap();
        assert!(end_group(0).is_err(), "never our own group");
    }
}

//! What a thread gives up for good, so that a fault in it can do less.
//!
//! io_uring is the disks' alone: it is where the kernel was broken into most often, and nothing else of ours needs it.

use std::io;

use io_uring::IoUring;
use rustix::thread::CapabilitySet;

use crate::jail::{self, filter};
use crate::sys::filter as kernel_filter;

/// What no job of ours does that only root may.
const MIGHT: CapabilitySet = CapabilitySet::SYS_MODULE
    .union(CapabilitySet::SYS_BOOT)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_TIME)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYS_PACCT)
    .union(CapabilitySet::SYS_TTY_CONFIG)
    .union(CapabilitySet::WAKE_ALARM)
    .union(CapabilitySet::BLOCK_SUSPEND)
    .union(CapabilitySet::MAC_OVERRIDE)
    .union(CapabilitySet::MAC_ADMIN)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::AUDIT_READ)
    .union(CapabilitySet::AUDIT_CONTROL)
    .union(CapabilitySet::CHECKPOINT_RESTORE);

/// The calling thread, and whatever it starts from now on, makes no new ring of io_uring any more. Disks that it opens are
/// read and written without.
pub fn give_up_rings() -> io::Result<()> {
    let rows = [filter::refused(libc::SYS_io_uring_setup)];
    // Another architecture numbers its calls otherwise: none of ours uses one.
    let mut steps = filter::program(&rows, filter::Verdict::Allow, filter::REFUSE);
    Ok(kernel_filter::set(&mut steps)?)
}

/// The calling thread, and whatever it starts from now on, loads nothing into the kernel, looks into no other process, puts
/// nothing over a path, sets no clock and ends no machine by the calls that are there for it. For jobs on disks and vaults,
/// for whose work no list of what they may do is short enough to be complete.
///
/// Where it is root it stays root: it can end other processes, and write devices and the kernel's switches. It makes a fault
/// in a job harder to use, and no wall.
pub fn give_up_might() -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        jail::drop_from_bounding_set(MIGHT)?;
    }
    let rows: Vec<_> = jail::MIGHT.iter().map(|call| filter::refused(*call)).collect();
    let mut steps = filter::program(&rows, filter::Verdict::Allow, filter::REFUSE);
    Ok(kernel_filter::set(&mut steps)?)
}

/// Tries to make a ring, and says with which errno the kernel refuses it; 0 where it does not.
pub fn try_ring() -> i32 {
    match IoUring::new(1) {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use super::*;

    const EPERM: i32 = 1;

    #[test]
    fn a_thread_that_gave_might_up_reaches_neither_the_kernel_nor_other_processes() {
        thread::spawn(|| {
            // Whoever may mount nothing is told first that nothing was asked for.
            assert_ne!(jail::attempt::attempt("change-mount"), Some(EPERM));
            give_up_might().unwrap();
            // Seen to fail with the filter left out (module comes back with ENOSYS), and with the capabilities left in.
            let kernel = ["module", "kexec", "bpf", "perf", "keys"];
            let others = ["trace", "read-other"];
            let paths = ["mount", "unmount", "move-mount", "change-mount", "user-namespace"];
            for what in kernel.iter().chain(&others).chain(&paths) {
                assert_eq!(jail::attempt::attempt(what), Some(EPERM), "{what}");
            }
            let mut child = Command::new("grep");
            let said = child.args(["CapBnd:", "/proc/self/status"]).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            let bound = u64::from_str_radix(said.trim_start_matches("CapBnd:").trim(), 16).unwrap();
            if rustix::process::geteuid().is_root() {
                assert_eq!(bound & MIGHT.bits(), 0, "{said}");
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_that_gave_rings_up_gets_none_nor_does_what_it_starts() {
        let before = try_ring();
        if before != 0 {
            eprintln!("SKIPPED in part, this kernel gives nobody a ring: errno {before}");
        }
        thread::spawn(move || {
            assert_eq!(try_ring(), before);
            give_up_rings().unwrap();
            assert_eq!(try_ring(), EPERM);
            assert_eq!(thread::spawn(try_ring).join().unwrap(), EPERM, "a thread of its own");
            let mut child = Command::new("grep");
            let said = child.args(["Seccomp:", "/proc/self/status"]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), "Seccomp:\t2\n", "a process");
        })
        .join()
        .unwrap();
        assert_eq!(try_ring(), before, "other threads keep what they had");
    }
}

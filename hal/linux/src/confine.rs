//! What a thread gives up for good, so that a fault in it can do less.
//!
//! io_uring is the disks' alone: it is where the kernel was broken into most often, and nothing else of ours needs it.

use std::io;

use io_uring::IoUring;

use crate::sys::filter;

/// The calling thread, and whatever it starts from now on, makes no new ring of io_uring any more. Disks that it opens are
/// read and written without.
pub fn give_up_rings() -> io::Result<()> {
    Ok(filter::refuse_rings()?)
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

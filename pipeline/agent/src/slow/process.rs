//! The process that pauses: in turns, until whoever started it is gone or says that it is enough.

use core::time::Duration;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use hal_linux::freeze::Channel;
use hal_linux::manners;

/// How long writers stand still: less than what a freeze may cost them anyway.
pub const PAUSE: Duration = Duration::from_millis(200);
/// How long they run then.
const RUN: Duration = Duration::from_millis(50);
/// Longer than this nobody is slowed down for one point.
const LIMIT: Duration = Duration::from_secs(20);

/// Pauses these control groups.
///
/// Errors: it was not started as it must be, or one of them cannot be paused; then none is.
pub fn run(groups: impl Iterator<Item = OsString>) -> io::Result<()> {
    let channel = Channel::inherited()?;
    // Refused on machines that let nobody: it works without, only less surely.
    let _ = manners::ignore_requests_to_end();
    let _ = manners::stand_up();
    let _ = manners::be_nice(-20);
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    let opened =
        groups.map(|group| OpenOptions::new().write(true).open(super::switch(Path::new(&group))));
    let switches: Vec<File> = opened.collect::<Result<_, _>>()?;
    let _ = manners::lock_all_memory();
    let until = Instant::now() + LIMIT;
    let mut result = Ok(());
    while result.is_ok() && Instant::now() < until {
        result = set(&switches, b"1");
        let gone = channel.wait_for_end(Some(PAUSE)).unwrap_or(true);
        let let_go = set(&switches, b"0");
        result = result.and(let_go);
        if gone || channel.wait_for_end(Some(RUN)).unwrap_or(true) {
            break;
        }
    }
    result
}

/// All of them, whatever becomes of one; a group that is gone needs nothing.
fn set(switches: &[File], state: &[u8]) -> io::Result<()> {
    let mut result = Ok(());
    for switch in switches {
        if let Err(error) = switch.write_all_at(state, 0)
            && error.kind() != io::ErrorKind::NotFound
            && error.raw_os_error() != Some(rustix::io::Errno::NODEV.raw_os_error())
        {
            result = Err(error);
        }
    }
    result
}

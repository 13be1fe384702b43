//! Work of this program's that is given up when it takes too long: whoever waits for it, waits no longer than that, whatever
//! a disk or the kernel does.

use core::time::Duration;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Runs this program once more with these words, and kills it at the limit. Whether it came to its end.
#[must_use]
pub fn run(words: &[&str], limit: Duration) -> bool {
    let mut command = Command::new("/proc/self/exe");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if began.elapsed() < limit => thread::sleep(LOOK),
            _ => {
                // Not waited for: one that waits for a disk ends when that answers.
                let _ = child.kill();
                return false;
            }
        }
    }
}

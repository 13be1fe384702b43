//! For tests alone, where `LIFEBOAT_TEST` is set: a host is told on the serial line when all is frozen, and is waited for, so
//! that it can take a copy of its own to judge the point by.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::report::PointReport;

/// The serial line.
const LINE: &str = "/dev/ttyS0";
/// How long a host may take.
const PATIENCE: Timespec = Timespec { tv_sec: 120, tv_nsec: 0 };
/// What a freeze may be longer than it else is.
pub(super) const SLACK: Duration = Duration::from_secs(180);

/// Who looks on, if anybody does.
#[derive(Debug, Default)]
pub(super) struct Witness {
    line: Option<File>,
    told: u64,
}

impl Witness {
    /// The host, where this is a test.
    pub(super) fn of_test() -> Self {
        let line = std::env::var_os("LIFEBOAT_TEST")
            .and_then(|_| OpenOptions::new().read(true).write(true).open(LINE).ok());
        Self { line, told: 0 }
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.line.is_some()
    }

    /// All is frozen: tells so, and waits for a word.
    pub(super) fn frozen(&mut self) {
        let Some(line) = &mut self.line else { return };
        // What was typed before means nothing now, and a host that is gone is not waited for beyond its patience.
        let _ = line.write_all(b"\n@lifeboat frozen\n");
        let mut waiting = [PollFd::new(&*line, PollFlags::IN)];
        if poll(&mut waiting, Some(&PATIENCE)).is_ok_and(|ready| ready > 0) {
            let _ = line.read(&mut [0; 64]);
        }
    }

    /// A point was made: tells which, once.
    pub(super) fn point(&mut self, point: &PointReport) {
        let Some(line) = self.line.as_mut().filter(|_| self.told != point.epoch) else { return };
        self.told = point.epoch;
        let PointReport { epoch, at_millis, instant, frozen_micros, blocks, .. } = point;
        let words = instant.replace(' ', "-");
        let _ = line.write_all(
            format!("\n@lifeboat point epoch={epoch} at={at_millis} instant={words} micros={frozen_micros} blocks={blocks}\n")
                .as_bytes(),
        );
    }
}

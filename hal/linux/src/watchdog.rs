//! A hardware watchdog: resets the machine unless it is told in time that all is well.
//!
//! From the moment it is opened it counts. It is never disarmed by accident: dropping it lets it run out.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::sys::watchdog::set_timeout;

/// What every driver takes as a sign of life.
const ALIVE: &[u8] = b"1";
/// What stops the count, where the driver lets itself be stopped.
const GOOD_BYE: &[u8] = b"V";

/// An armed watchdog.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    timeout: Duration,
}

impl Watchdog {
    /// Arms the watchdog at `path`. It takes a timeout as near to the wanted one as it can; where
    /// it takes none, its own is unknown and the wanted one is told.
    pub fn arm(path: &Path, wanted: Duration) -> io::Result<Self> {
        let device = OpenOptions::new().write(true).open(path)?;
        let seconds = i32::try_from(wanted.as_secs()).unwrap_or(i32::MAX);
        let taken = set_timeout(&device, seconds).unwrap_or(seconds);
        let timeout = Duration::from_secs(u64::try_from(taken).unwrap_or(0).max(1));
        Ok(Self { device, timeout })
    }

    /// How long it waits for a sign of life.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// All is well.
    pub fn pet(&mut self) -> io::Result<()> {
        self.device.write_all(ALIVE)
    }

    /// Stops it, for a machine that is switched off in order; hardware that cannot be stopped goes
    /// on.
    pub fn disarm(mut self) -> io::Result<()> {
        self.device.write_all(GOOD_BYE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_reach_the_device_and_what_is_none_is_an_error() {
        let path = std::env::temp_dir().join(format!("hal-watchdog-{}", std::process::id()));
        assert!(Watchdog::arm(&path, Duration::from_secs(60)).is_err());
        std::fs::write(&path, b"").unwrap();
        let mut watchdog = Watchdog::arm(&path, Duration::from_secs(60)).unwrap();
        assert_eq!(watchdog.timeout(), Duration::from_secs(60));
        watchdog.pet().unwrap();
        watchdog.pet().unwrap();
        watchdog.disarm().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"11V");
        std::fs::remove_file(&path).unwrap();
    }
}

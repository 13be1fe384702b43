//! The device that answers as a security chip.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::ChipError;

/// Where the kernel shows it, with room for as many sessions as are wanted.
const DEVICE: &str = "/dev/tpmrm0";
/// No answer is longer.
pub(super) const ANSWER_BYTES_MAX: usize = 4096;

/// Whatever takes a command and gives its answer.
pub trait Link {
    /// One command, and its answer.
    fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// The kernel's device.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// Whether the machine has one.
    #[must_use]
    pub fn is_there() -> bool {
        Path::new(DEVICE).exists()
    }

    /// Opens it.
    pub fn open() -> Result<Self, ChipError> {
        // The kernel shows this device for chips of version 2.0 alone.
        if !Self::is_there() {
            return Err(ChipError::Absent);
        }
        let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
        opened.map(Self).map_err(|error| ChipError::Device(error.to_string()))
    }
}

impl Link for Device {
    fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        let length = self.0.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}

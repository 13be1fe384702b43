//! A disk that can be written to while its point stays as it is: what clients write lies in an overlay.

use core::str::FromStr;
use std::fs::{self, File};
use std::path::PathBuf;

use firmware_recovery::hydrate::content::ReadAt;
use firmware_recovery::hydrate::overlay::{Overlay, Scratch};
use pipeline_vault::Error;

use crate::nbd::source::{BlockSink, BlockSource};

/// What an overlay keeps in memory at most.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Where what clients write is kept until the program ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "as the option is written")]
pub enum Place {
    /// In memory, 1 GiB at most.
    Memory,
    /// In a new file, which is gone when the program is.
    File(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("give memory, or the name of a new file".to_owned()),
            "memory" => Ok(Self::Memory),
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }
}

impl Place {
    /// An overlay on this content, kept here.
    pub fn over<B: ReadAt>(&self, base: B) -> Result<Overlay<B>, Error> {
        let path = match self {
            Self::Memory => {
                let scratch = Scratch::Memory { bytes_max: MEMORY_BYTES_MAX };
                return Ok(Overlay::new(base, scratch));
            }
            Self::File(path) => path,
        };
        let failed = |error: std::io::Error| {
            let there = error.kind() == std::io::ErrorKind::AlreadyExists;
            let remedy = if there { "name a file that is not there yet" } else { "name another" };
            Error::device(path.display().to_string(), format!("cannot be an overlay: {error}"))
                .remedy(remedy)
        };
        let file = File::options().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(failed)?;
        // Its name goes at once and its content with the program, whatever ends that.
        fs::remove_file(path).and_then(|()| file.set_len(base.bytes())).map_err(failed)?;
        Ok(Overlay::new(base, Scratch::File(file)))
    }
}

impl<B: ReadAt> BlockSource for Overlay<B> {
    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        Self::read_at(self, offset, into)
    }

    fn sink(&self) -> Option<&dyn BlockSink> {
        Some(self)
    }
}

impl<B: ReadAt> BlockSink for Overlay<B> {
    fn write_at(&self, offset: u64, from: &[u8]) -> Result<(), Error> {
        Self::write_at(self, offset, from)
    }

    fn zero_at(&self, offset: u64, bytes: u64) -> Result<(), Error> {
        Self::zero_at(self, offset, bytes)
    }

    fn flush(&self) -> Result<(), Error> {
        Self::flush(self)
    }
}

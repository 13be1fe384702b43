//! The first file system, which is the only one: modules and firmware in one archive, our program in a second. The
//! kernel unpacks both; only the second changes when only the program does.

use image_layout::initrd;

use crate::base::Base;
use crate::compress;
use crate::cpio::Cpio;
use crate::error::Error;
use crate::program;

/// Version of the image: that of its program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A program's file: its name, for messages, and its bytes.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Program {
    /// What of it is loaded.
    fn bare(&self) -> Result<Vec<u8>, Error> {
        program::bare(&self.name, &self.bytes)
    }
}

/// Both archives, compressed, one after the other. The agent goes in as a file that is only read.
pub fn join(
    base: &Base,
    init: &Program,
    agent: Option<&Program>,
    built: u64,
    level: i32,
) -> Result<Vec<u8>, Error> {
    let mut archive = Cpio::new();
    archive.program(initrd::INIT, &init.bare()?)?;
    if let Some(agent) = agent {
        archive.file(initrd::AGENT, &agent.bare()?)?;
    }
    archive.file(initrd::VERSION, format!("{VERSION}\n").as_bytes())?;
    archive.file(initrd::BUILT, format!("{built}\n").as_bytes())?;
    let ours = compress::squeeze(&archive.end()?, level)?;
    let mut whole = base.archive.clone();
    whole.extend_from_slice(&ours);
    Ok(whole)
}

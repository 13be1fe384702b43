//! The first file system, which is the only one: modules and firmware in one archive, our program in a second. The
//! kernel unpacks both; only the second changes when only the program does.

use image_layout::initrd;
use image_layout::keys::Keys;
use image_layout::version::Version;

use crate::base::Base;
use crate::compress::{Codec, Content};
use crate::cpio::Cpio;
use crate::error::Error;
use crate::program;

/// What tells one image from another.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its version.
    pub version: Version,
    /// The oldest version that a machine takes once this one has proven itself there.
    pub least: Version,
    /// When its sources were made, in seconds since 1970.
    pub built: u64,
    /// Whose updates it takes.
    pub keys: Keys,
    /// The kernel's command line, where it is in a slot.
    pub words: Option<String>,
}

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
    facts: &Facts,
    bill: &str,
    codec: Codec,
) -> Result<Vec<u8>, Error> {
    let mut archive = Cpio::new();
    archive.program(initrd::INIT, &init.bare()?)?;
    if let Some(agent) = agent {
        archive.file(initrd::AGENT, &agent.bare()?)?;
    }
    archive.file(initrd::VERSION, format!("{}\n", facts.version).as_bytes())?;
    archive.file(initrd::LEAST, format!("{}\n", facts.least).as_bytes())?;
    archive.file(initrd::BUILT, format!("{}\n", facts.built).as_bytes())?;
    archive.file(initrd::KEYS, facts.keys.to_string().as_bytes())?;
    if let Some(words) = &facts.words {
        archive.file(initrd::WORDS, format!("{words}\n").as_bytes())?;
    }
    archive.file(initrd::BILL, bill.as_bytes())?;
    let ours = codec.squeeze(&archive.end()?, Content::Programs)?;
    let mut whole = base.archive.clone();
    whole.extend_from_slice(&ours);
    Ok(whole)
}

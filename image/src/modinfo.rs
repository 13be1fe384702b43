//! What a kernel module says of itself: the section `.modinfo` of its file.
//!
//! Debian's packages have no index of modules; it is made when they are installed. This reads what that is made of.

use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader as _, SectionHeader as _};

use crate::error::Error;

/// A module's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Modules whose symbols it uses.
    pub depends: Vec<String>,
    /// Names or aliases of what should be loaded before it.
    pub before: Vec<String>,
    /// Names or aliases of what should be loaded after it.
    pub after: Vec<String>,
    /// Patterns of modaliases, and other names that it goes by.
    pub aliases: Vec<String>,
    /// Firmware files that it may ask for.
    pub firmware: Vec<String>,
}

impl ModuleInfo {
    /// Reads it from the module's file.
    pub fn read(name: &str, file: &[u8]) -> Result<Self, Error> {
        let section = section(file)
            .map_err(|error| Error::corrupt(name, format!("no kernel module: {error}")))?;
        let section = section.ok_or_else(|| Error::corrupt(name, "says nothing of itself"))?;
        Ok(Self::of(section))
    }

    /// Reads the words themselves: `key=value`, each ended by a zero.
    fn of(section: &[u8]) -> Self {
        let mut info = Self::default();
        for word in section.split(|&byte| byte == 0) {
            let Ok(word) = core::str::from_utf8(word) else { continue };
            let Some((key, value)) = word.split_once('=') else { continue };
            match key {
                "depends" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    info.depends.extend(names.map(canonical));
                }
                "softdep" => info.soft(value),
                "alias" => info.aliases.push(value.to_owned()),
                "firmware" => info.firmware.push(value.to_owned()),
                _ => {}
            }
        }
        info
    }

    /// `pre: a b post: c`
    fn soft(&mut self, words: &str) {
        let mut unknown = Vec::new();
        let mut list = &mut unknown;
        for word in words.split_whitespace() {
            match word {
                "pre:" => list = &mut self.before,
                "post:" => list = &mut self.after,
                // A kind of wish that later kernels may know.
                word if word.ends_with(':') => list = &mut unknown,
                word => list.push(canonical(word)),
            }
        }
    }
}

/// A module's name as the kernel knows it: it makes no difference between hyphens and underscores.
#[must_use]
pub fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn section(file: &[u8]) -> Result<Option<&[u8]>, object::Error> {
    let header = FileHeader64::<Endianness>::parse(file)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, file)?;
    match sections.section_by_name(endian, b".modinfo") {
        Some((_, section)) => section.data(endian, file).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;

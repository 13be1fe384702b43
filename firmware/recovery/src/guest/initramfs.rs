//! What is in an initramfs, read as the kernel reads it: archives one behind the other, plain or compressed, later
//! files over earlier ones; and one archive more to put behind them.
//!
//! It keeps names and a few small files, never the archive: memory is as large as the longest list of names it will
//! read.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Error, ErrorKind, Read};

/// Archives in the format `newc`.
mod cpio;
/// Whatever an archive is compressed with.
mod unpack;

pub use cpio::Archive;

use cpio::Walk;

/// Names that are remembered.
const NAMES_MAX: usize = 400_000;
/// Archives one behind the other.
const ARCHIVES_MAX: usize = 1024;

/// What may still be read of an initramfs, counted down.
struct Budget {
    /// Bytes that all archives may unpack to, zeros between them too.
    unpacked: u64,
    /// Bytes of names, of links' targets and of the few files that stay in memory.
    kept: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { unpacked: 8 << 30, kept: 64 << 20 }
    }
}

impl Budget {
    fn unpack(&mut self, bytes: u64) -> io::Result<()> {
        Self::take(&mut self.unpacked, bytes, "it unpacks to too much")
    }

    fn keep(&mut self, bytes: u64) -> io::Result<()> {
        Self::take(&mut self.kept, bytes, "its names and links are longer than is read")
    }

    fn take(from: &mut u64, bytes: u64, words: &str) -> io::Result<()> {
        let left = from.checked_sub(bytes).ok_or_else(|| cpio::broken(words))?;
        *from = left;
        Ok(())
    }
}

/// What a name in it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file, with its bytes where it is one of those that are kept.
    File(Option<Vec<u8>>),
    /// A folder.
    Folder,
    /// A link, and where it points.
    Link(String),
    /// A device and the like.
    Other,
}

/// What is in an initramfs.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// By path, without a slash at the beginning.
    pub entries: BTreeMap<String, Entry>,
    /// What its archives are compressed with, in order; `plain` where they are not.
    pub packed: Vec<&'static str>,
}

/// Files that are kept whole: what decides which modules are loaded.
fn is_kept(path: &str) -> bool {
    path == "conf/modules" || path.ends_with("/modules.builtin") || path == "etc/initrd-release"
}

impl Contents {
    /// Reads an initramfs. Errors: damage, or a compression that is not known here, which the words name.
    pub fn read(source: impl Read) -> io::Result<Self> {
        Self::read_within(source, Budget::default())
    }

    fn read_within(source: impl Read, mut budget: Budget) -> io::Result<Self> {
        let mut source = io::BufReader::with_capacity(1 << 16, source);
        let mut contents = Self::default();
        loop {
            skip_zeros(&mut source, &mut budget)?;
            if contents.packed.len() >= ARCHIVES_MAX {
                return Err(cpio::broken("more archives than are read"));
            }
            let head = source.fill_buf()?;
            if head.is_empty() {
                break;
            }
            if head.starts_with(b"0707") {
                contents.packed.push("plain");
                contents.walk(&mut source, &mut budget)?;
                continue;
            }
            let packing = unpack::packing(head).ok_or_else(|| {
                let words = "an archive of it is compressed by what is not known here";
                Error::new(ErrorKind::Unsupported, words)
            })?;
            contents.packed.push(packing.name());
            let mut archive = io::BufReader::with_capacity(1 << 16, packing.open(&mut source)?);
            loop {
                skip_zeros(&mut archive, &mut budget)?;
                if archive.fill_buf()?.is_empty() {
                    break;
                }
                contents.walk(&mut archive, &mut budget)?;
            }
        }
        Ok(contents)
    }

    /// One archive, to its trailer.
    fn walk(&mut self, archive: &mut dyn BufRead, budget: &mut Budget) -> io::Result<()> {
        let mut walk = Walk::new(archive, budget);
        while let Some((path, entry)) = walk.next(&is_kept)? {
            if self.entries.len() >= NAMES_MAX {
                return Err(Error::new(
                    ErrorKind::InvalidData,
                    "it holds more names than are read",
                ));
            }
            self.entries.insert(path, entry);
        }
        Ok(())
    }

    /// The kernels whose modules are in it, and the folder that they are under.
    #[must_use]
    pub fn module_folders(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        for path in self.entries.keys() {
            for base in ["usr/lib/modules/", "lib/modules/"] {
                if let Some((version, _)) =
                    path.strip_prefix(base).and_then(|rest| rest.split_once('/'))
                    && !found.iter().any(|(known, _)| known == version)
                {
                    found.push((version.to_owned(), base.to_owned()));
                }
            }
        }
        found
    }

    /// Where files of `lib` go: a folder over a link would take the link away, and all that is behind it.
    #[must_use]
    pub fn library(&self) -> &'static str {
        match self.entries.get("lib") {
            Some(Entry::Link(_)) => "usr/lib",
            _ => "lib",
        }
    }

    /// A kept file's text.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        match self.entries.get(path) {
            Some(Entry::File(Some(bytes))) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// What made it, by what only its maker puts in.
    #[must_use]
    pub fn maker(&self) -> Maker {
        let has = |path: &str| self.entries.contains_key(path);
        if has("scripts/functions") && has("conf/initramfs.conf") {
            Maker::InitramfsTools
        } else if self
            .entries
            .keys()
            .any(|path| path.trim_start_matches("usr/").starts_with("lib/dracut"))
        {
            Maker::Dracut
        } else {
            Maker::Other
        }
    }
}

/// What made an initramfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Debian's and Ubuntu's.
    InitramfsTools,
    /// Red Hat's, SUSE's, and theirs.
    Dracut,
    /// Another one.
    Other,
}

/// Zeros unpack from next to nothing, and so count like all else.
fn skip_zeros(source: &mut dyn BufRead, budget: &mut Budget) -> io::Result<()> {
    loop {
        let buffer = source.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let ended = zeros < buffer.len();
        source.consume(zeros);
        budget.unpack(zeros as u64)?;
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;

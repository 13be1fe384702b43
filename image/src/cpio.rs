//! The archive that the kernel unpacks into its first file system: cpio, "newc".
//!
//! Only what decides the contents is in it: no times, no owners but the first, numbers in the order of the entries.

use std::collections::BTreeSet;

use crate::error::{Blame, Error};

/// Names of more bytes the kernel does not take.
const NAME_BYTES_MAX: usize = 4096 - 1;

/// Archives are a multiple of this long.
const BLOCK: usize = 512;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

/// An archive being written.
#[derive(Debug, Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Cpio {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A folder, with those above it.
    pub fn folder(&mut self, path: &str) -> Result<(), Error> {
        let path = path.trim_start_matches('/');
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            let folder = path.get(..end).unwrap_or(path);
            if !folder.is_empty() && self.folders.insert(folder.to_owned()) {
                self.entry(folder, FOLDER, &[], (0, 0))?;
            }
        }
        Ok(())
    }

    /// A file that is only read.
    pub fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.above(path)?;
        self.entry(path, FILE, bytes, (0, 0))
    }

    /// A program.
    pub fn program(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.above(path)?;
        self.entry(path, PROGRAM, bytes, (0, 0))
    }

    /// A character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<(), Error> {
        self.above(path)?;
        self.entry(path, DEVICE, &[], (major, minor))
    }

    /// The whole archive.
    pub fn end(mut self) -> Result<Vec<u8>, Error> {
        self.entry("TRAILER!!!", 0, &[], (0, 0))?;
        // Whole blocks, as every cpio writes: so that readers find what follows.
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        Ok(self.bytes)
    }

    fn above(&mut self, path: &str) -> Result<(), Error> {
        match path.rsplit_once('/') {
            Some((folder, _)) => self.folder(folder),
            None => Ok(()),
        }
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        bytes: &[u8],
        (major, minor): (u32, u32),
    ) -> Result<(), Error> {
        let name = path.trim_start_matches('/');
        let size = u32::try_from(bytes.len()).ok().filter(|_| name.len() < NAME_BYTES_MAX);
        let Some(size) = size else {
            return Err(Error::new(
                Blame::Limit,
                path,
                "too large, or its name too long, for the first file system",
                "leave it out of the recipe",
            ));
        };
        self.entries += 1;
        let links: u32 = if mode == FOLDER { 2 } else { 1 };
        let length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // Magic; then number, mode, user, group, links, time, size, device, device of the node, name's length, sum.
        self.bytes.extend_from_slice(b"070701");
        for field in [self.entries, mode, 0, 0, links, 0, size, 0, 0, major, minor, length, 0] {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(bytes);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests;

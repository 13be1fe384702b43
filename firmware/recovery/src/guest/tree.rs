//! A file system as names and bytes: what judging and repairing need of one, and no more.
//!
//! Paths have no slash at their beginning and `/` between names. What a link on the file system points at is looked
//! for on the same file system and nowhere else.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};

use serde::{Deserialize, Serialize};

/// A folder of this machine as a file system.
mod folder;

pub use folder::FolderTree;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// Anything else.
    Other,
}

/// Whose a file is and what may be done with it; file systems without such things have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// The mode's lower twelve bits.
    pub mode: u32,
    /// The owner's number.
    pub owner: u32,
    /// The group's number.
    pub group: u32,
}

/// A file system.
pub trait Tree {
    /// What is at a path, links followed; `None` where nothing is.
    fn kind(&self, path: &str) -> io::Result<Option<Kind>>;

    /// The names in a folder, in order; none where it is not there.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// A file's bytes, as they come.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>>;

    /// A file as the kernel has it open, to be asked where it lies; `None` where no kernel has.
    fn file(&self, path: &str) -> io::Result<Option<File>> {
        let _ = path;
        Ok(None)
    }

    /// A file's bytes from `offset` on; none where that is behind its end.
    fn open_at(&self, path: &str, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let mut file = self.open(path)?;
        io::copy(&mut file.by_ref().take(offset), &mut io::sink())?;
        Ok(file)
    }

    /// When a file was changed last, nanoseconds since 1970; `None` where that is not known.
    fn modified(&self, path: &str) -> io::Result<Option<i128>> {
        let _ = path;
        Ok(None)
    }

    /// Whose a file is.
    fn rights(&self, path: &str) -> io::Result<Option<Rights>>;

    /// A file's bytes become these, whether it was there or not; its rights stay. The folder must be there.
    /// A file that was not there is root's, and everybody may read it, or what `rights` say.
    fn write(&self, path: &str, bytes: &[u8], rights: Option<Rights>) -> io::Result<()>;

    /// Puts bytes behind those of a file.
    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Bytes in the middle of a file become these; its length stays.
    fn patch(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file to so many bytes.
    fn truncate(&self, path: &str, bytes: u64) -> io::Result<()>;

    /// Makes a folder and those that it is in.
    fn make_folder(&self, path: &str) -> io::Result<()>;

    /// Removes a file, or a folder that is empty.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Where a link points, as it says; `None` where there is no link.
    fn link(&self, path: &str) -> io::Result<Option<String>>;
}

impl dyn Tree + '_ {
    /// A whole file of at most `bytes_max`; `None` where there is none.
    pub fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        match self.kind(path)? {
            Some(Kind::File(bytes)) if bytes <= bytes_max => {
                let mut read = Vec::new();
                self.open(path)?.take(bytes_max).read_to_end(&mut read)?;
                Ok(Some(read))
            }
            Some(Kind::File(bytes)) => {
                let words = format!("{path} has {bytes} bytes, which is too much for what it is");
                Err(Error::new(ErrorKind::FileTooLarge, words))
            }
            _ => Ok(None),
        }
    }

    /// A settings file as text; `None` where there is none. What is no UTF-8 in it is replaced.
    pub fn text(&self, path: &str) -> io::Result<Option<String>> {
        const TEXT_BYTES_MAX: u64 = 1 << 20;
        let read = self.read(path, TEXT_BYTES_MAX)?;
        Ok(read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whether a file is there.
    pub fn has(&self, path: &str) -> io::Result<bool> {
        Ok(matches!(self.kind(path)?, Some(Kind::File(_))))
    }

    /// The path of the files in a folder, in order.
    pub fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut files = Vec::new();
        for name in self.list(folder)? {
            let path = join(folder, &name);
            if self.has(&path)? {
                files.push(path);
            }
        }
        Ok(files)
    }
}

/// A name in a folder, as a path.
#[must_use]
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folder that a path is in.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

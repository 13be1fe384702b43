//! What went wrong, on which object, whose fault it is, and what to do.

use core::fmt;
use std::io;
use std::path::Path;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blame {
    /// The command line or the recipe asks for something that cannot be.
    Misuse,
    /// Bytes that are not what they should be.
    Corrupt,
    /// A mirror or a program that was asked does not do it.
    Refused,
    /// This machine: its disk, its memory.
    Machine,
    /// A limit of the image's layout.
    Limit,
}

/// An error for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    blame: Blame,
    object: String,
    what: String,
    remedy: String,
}

impl Error {
    /// An error about `object`: what is wrong with it, and what to do.
    pub fn new(
        blame: Blame,
        object: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { blame, object: object.into(), what: what.into(), remedy: remedy.into() }
    }

    /// Bytes that are not what they should be.
    pub fn corrupt(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(
            Blame::Corrupt,
            object,
            what,
            "delete it where it is in the cache, and it is fetched again",
        )
    }

    /// A file that cannot be read or written.
    #[must_use]
    pub fn file(path: &Path, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "check the name",
            io::ErrorKind::PermissionDenied => "use a folder that you may write to",
            io::ErrorKind::StorageFull => "make room, or name another folder",
            _ => "check the disk",
        };
        Self::new(Blame::Machine, path.display().to_string(), error.to_string(), remedy)
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        self.blame
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.object, self.what, self.remedy)
    }
}

impl core::error::Error for Error {}

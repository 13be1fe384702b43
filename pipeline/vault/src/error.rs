//! What can go wrong, sorted by whose fault it is and whether trying again helps.

use core::fmt;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blame {
    /// The request was wrong: an unknown name, a wrong key, a target too small.
    Misuse,
    /// Stored bytes are not what was written: damaged, missing, swapped, rolled back.
    Corrupt,
    /// The peer or the cloud refused: permissions, policy, another writer.
    Refused,
    /// A disk, file system or network failed.
    Device,
    /// A named limit was reached.
    Exhausted,
}

/// Whether trying the same again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The answer will not change by itself.
    Never,
    /// After a while, when what is down is up again.
    Later,
    /// At once: the state moved under the operation, a new look suffices.
    Now,
}

/// One failure: what failed, on which object, whose fault it is, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Whose fault.
    pub blame: Blame,
    /// Whether to try again.
    pub retry: Retry,
    /// The object, disk, server or file concerned, as a person would name it.
    pub object: String,
    /// What failed, in a clause: "is missing", "does not open with this key".
    pub what: String,
    /// What to do now, as a sentence without its full stop; empty where `what` says it all.
    pub remedy: String,
    /// The object does not exist; read with `is_missing`.
    missing: bool,
}

impl Error {
    /// An error that trying again will not mend.
    pub fn new(blame: Blame, object: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            blame,
            retry: Retry::Never,
            object: object.into(),
            what: what.into(),
            remedy: String::new(),
            missing: false,
        }
    }

    /// A named object of the vault does not exist.
    pub fn missing(object: impl Into<String>) -> Self {
        Self { missing: true, ..Self::corrupt(object, "is missing") }
    }

    /// True where the failure is that the object does not exist, and nothing else.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.missing
    }

    /// The caller asked for something that cannot be.
    pub fn misuse(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Blame::Misuse, object, what)
    }

    /// Stored bytes are not what was written.
    pub fn corrupt(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Blame::Corrupt, object, what)
    }

    /// The peer, the cloud or another writer refused.
    pub fn refused(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Blame::Refused, object, what)
    }

    /// A disk, file system or network failed; later it may work.
    pub fn device(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self { retry: Retry::Later, ..Self::new(Blame::Device, object, what) }
    }

    /// A named limit was reached.
    pub fn exhausted(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Blame::Exhausted, object, what)
    }

    /// The same error with what to do now.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The same error about another object: the disk's label instead of "disk".
    #[must_use]
    pub fn on(mut self, object: impl Into<String>) -> Self {
        self.object = object.into();
        self
    }

    /// The same error with whether to try again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}

impl fmt::Display for Error {
    /// One line: object, what failed, what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

impl core::error::Error for Error {}

impl From<hal::disk::DiskError> for Error {
    fn from(error: hal::disk::DiskError) -> Self {
        use hal::disk::ErrorKind;
        let blame = match error.kind {
            ErrorKind::Misuse => Blame::Misuse,
            ErrorKind::Refused | ErrorKind::Unsupported => Blame::Refused,
            ErrorKind::Full | ErrorKind::Exhausted => Blame::Exhausted,
            _ => Blame::Device,
        };
        Self::new(blame, "disk", error.to_string())
    }
}

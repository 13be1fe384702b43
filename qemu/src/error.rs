//! What can go wrong with a machine, sorted by whose fault it is.

use std::io;
use std::path::Path;

use core::fmt;
use core::time::Duration;

/// Why a machine could not be had, or did not do what was waited for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The machine was described in a way that cannot be built: change the test or the command line.
    Misuse(String),
    /// Something that this machine needs is not installed; the words say what to install.
    Missing(String),
    /// A program of ours or of QEMU's failed, with its own words.
    Program(String),
    /// What was waited for did not come in time.
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// The end of the console, to see where it hangs.
        console: String,
    },
    /// The machine ended before what was waited for came.
    Ended {
        /// What was waited for.
        what: String,
        /// The end of the console.
        console: String,
    },
    /// The guest's kernel panicked before what was waited for came.
    Panicked {
        /// What was waited for.
        what: String,
        /// The end of the console.
        console: String,
    },
    /// QEMU refused a command.
    Refused(String),
    /// A file or socket of this machine's own.
    Io {
        /// What was tried, on which file.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    pub(crate) fn file(what: &str, path: &Path, source: io::Error) -> Self {
        Self::io(format!("{what} {}", path.display()), source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misuse(words) => write!(f, "such a machine cannot be built: {words}"),
            Self::Missing(words) => write!(f, "{words}"),
            Self::Program(words) => write!(f, "{words}"),
            Self::Timeout { what, after, console } => {
                let seconds = after.as_secs_f32();
                write!(f, "{what} did not come within {seconds:.1} s; the console ends:\n{console}")
            }
            Self::Ended { what, console } => {
                write!(f, "the machine ended before {what}; the console ends:\n{console}")
            }
            Self::Panicked { what, console } => {
                write!(f, "the kernel panicked before {what}; the console ends:\n{console}")
            }
            Self::Refused(words) => write!(f, "QEMU refused: {words}"),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

//! What is served: bytes that can be read anywhere, from any thread, and written to where that is meant.

use pipeline_vault::Error;

/// A disk's content at one point. Calls block; the server makes them on threads of their own.
pub trait BlockSource: Send + Sync {
    /// Size in bytes.
    fn bytes(&self) -> u64;

    /// Fills all of `into` from `offset`; the server asks for nothing past the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error>;

    /// What is known of the bytes from `offset` without reading them. A source that cannot tell says "data".
    fn extent(&self, offset: u64, bytes: u64) -> Result<Extent, Error> {
        let _ = offset;
        Ok(Extent { bytes, zero: false })
    }

    /// Where what clients write goes; `None` for what stays as it is.
    fn sink(&self) -> Option<&dyn BlockSink> {
        None
    }
}

/// Takes what clients write. Calls block and come from many threads; the server asks for nothing past the end.
pub trait BlockSink: Send + Sync {
    /// Writes all of `from` at `offset`.
    fn write_at(&self, offset: u64, from: &[u8]) -> Result<(), Error>;

    /// A range reads as zeros afterwards.
    fn zero_at(&self, offset: u64, bytes: u64) -> Result<(), Error>;

    /// What was written before is durable afterwards, as far as the sink keeps anything.
    fn flush(&self) -> Result<(), Error>;
}

/// A run of bytes of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How long the answer holds: at least 1.
    pub bytes: u64,
    /// All of it reads as zeros.
    pub zero: bool,
}

/// One disk of one point under the name that clients ask for.
pub struct Export {
    /// The name; clients that ask for no name get this export too.
    pub name: String,
    /// What a list shows beside the name.
    pub description: String,
    /// The content.
    pub source: Box<dyn BlockSource>,
}

impl Export {
    /// Whether a client that asks for `name` means this export.
    #[must_use]
    pub fn answers_to(&self, name: &str) -> bool {
        name.is_empty() || name == self.name
    }
}

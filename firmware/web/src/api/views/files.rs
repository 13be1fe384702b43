//! Files of points.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where: a point's disk, its volume, a path in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilePlace {
    /// The server's name.
    pub server: String,
    /// The point's identity.
    pub point: String,
    /// The disk's name; empty for the list of disks.
    pub disk: String,
    /// The volume: as listed; empty for the list of volumes.
    pub volume: String,
    /// From the volume's root, without a leading slash; a name that is no UTF-8 stands with `%` and two digits for each such byte.
    pub path: String,
}

/// What lies there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// Folders first, then by name; at most 5000.
    pub entries: Vec<FileEntry>,
    /// There is more.
    pub cut: bool,
}

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// As in [`FilePlace::path`], the last part alone.
    pub name: String,
    /// `disk`, `volume`, `folder`, `file`, `link`, `other`.
    pub kind: String,
    /// Of a file, disk or volume.
    pub bytes: u64,
    /// When it was changed.
    pub changed_millis: Option<i64>,
    /// A file system's kind, where a link leads to, why a volume cannot be opened.
    pub detail: String,
}

/// Bytes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileBytes {
    /// What was there.
    pub bytes: Vec<u8>,
    /// How large the file is.
    pub file_bytes: u64,
}

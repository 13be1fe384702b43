//! Who is who after a failover, and what an agent says whose server was drained for one.

use pipeline::ids::PointId;
use serde::{Deserialize, Serialize};

/// A server was failed over, and its original is here still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demotion {
    /// The order that did it.
    pub order: String,
    /// The point that it was failed over to.
    pub point: PointId,
    /// As what the vault keeps what this agent sends.
    pub branch: String,
}

/// A server stands still, and its last point is in the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// The order.
    pub order: String,
    /// The epoch of the last cut.
    pub epoch: u64,
    /// Its point in the vault.
    pub point: PointId,
    /// Bytes that the server had written when the last cut was made, as the kernel counts them.
    pub written_at_cut: u64,
    /// The same when its point was in the vault: no more, or something was written after it.
    pub written_after: u64,
    /// Blocks marked as changed since the last cut.
    pub changed_blocks: u64,
    /// Whether every file system of it is read-only.
    pub read_only: bool,
    /// What a person should know.
    pub remarks: Vec<String>,
}

impl Drained {
    /// Whether it proves that the point is the disks to the last byte.
    #[must_use]
    pub fn is_proof(&self) -> bool {
        self.read_only && self.changed_blocks == 0 && self.written_at_cut == self.written_after
    }
}

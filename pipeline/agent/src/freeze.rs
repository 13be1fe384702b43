//! All file systems still for an instant, and thawed whatever happens.
//!
//! Three hold the thread: each file system has a thread here that thaws it at the limit, the dead-man does the same in another
//! process, and at once when this one ends. Both would have to be stopped for a file system to stay frozen; where both are
//! killed in the same moment, the agent's next start thaws.

use core::time::Duration;

/// The second process that thaws.
pub mod dead_man;
/// A thread for each file system.
mod group;
/// The freezer of real file systems.
mod linux;
/// Which file system lies on which.
mod order;
/// What is about to be frozen, written down.
mod record;

pub use linux::LinuxFreezer;

/// File systems that are frozen together; a server with more is told so.
pub const SYSTEMS_MAX: usize = 256;

/// Freezes all file systems of the protected disks together.
pub trait Freezer: Send {
    /// Flushes, then freezes, inner before outer. From here on nothing may be written anywhere, and nothing allocated.
    ///
    /// Errors: nothing stays frozen.
    fn freeze(&mut self, limit: Duration) -> Result<(), String>;

    /// As `freeze`, but what is mounted of the block device with this number goes on: somebody else holds it still.
    fn freeze_beside(&mut self, number: (u32, u32), limit: Duration) -> Result<(), String>;

    /// Whether everything is still frozen: the dead-man did not thaw it.
    fn is_frozen(&mut self) -> bool;

    /// Thaws, outer before inner.
    fn thaw(&mut self) -> Thawed;
}

/// How a freeze went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thawed {
    /// How long the first that was frozen was still, microseconds.
    pub micros: u64,
    /// Whether the dead-man had thawed before: then what was read is of no one instant.
    pub too_late: bool,
    /// File systems that cannot be frozen, and what that means.
    pub remarks: Vec<String>,
}

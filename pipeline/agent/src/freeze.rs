//! All file systems still for an instant, and thawed whatever happens.

use core::time::Duration;

/// Freezes all file systems of the protected disks together.
pub trait Freezer: Send {
    /// Flushes, then freezes, inner before outer. From here on nothing may be written anywhere, and nothing allocated.
    ///
    /// Errors: nothing stays frozen.
    fn freeze(&mut self, limit: Duration) -> Result<(), String>;

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

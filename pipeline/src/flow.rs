//! Control as pure state: the caller observes, tells, and asks. No clocks, no threads, no I/O.

/// The compression level follows whichever of processor and link is the bottleneck.
mod level;

pub use level::{LevelGovernor, LevelPolicy};

//! Controllers as pure state: the caller observes, tells, and asks. No clocks, no threads, no I/O.

/// The compression level follows whichever of processor and link is the bottleneck.
mod level;
/// How many requests are in flight: grows by one while it pays, halves when told to slow down.
mod parallel;

pub use level::{LevelGovernor, LevelPolicy};
pub use parallel::{ParallelGovernor, Reply};

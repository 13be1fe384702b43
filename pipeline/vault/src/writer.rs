//! Makes recovery points: reads disks, keeps what is new, sends segments, publishes.
//!
//! The work on a disk is cut into leaf spans (16 MiB, one page of its map); a worker takes the next span,
//! reads it, tests, fingerprints, compresses and seals what is new, and writes the span's page. After so
//! many segments the workers meet, everything is flushed and a checkpoint is published; then they go on.
//! Write order (FORMAT.md): segments, durably; then the record that names them; never the other way.

/// What a point is made of and how.
pub mod job;
/// Finds blocks that the server has already, in bounded memory.
pub mod known_blocks;
/// A writer that goes on from run to run.
pub mod open;
/// Which spans of a disk must be read.
pub mod plan;
/// One leaf span: read, compare, compress, seal.
pub mod span;
/// Segments on their way to the store: bounded buffers, several in flight.
pub mod upload;

mod disks;
mod lanes;
mod preload;
mod rounds;
mod run;
mod salvage;

pub use disks::newest_of;
pub use job::{DiskJob, Options, Outcome, Progress, Publish, Run, Silent, Since};
pub use open::Writer;
pub use run::protect;

#[cfg(test)]
mod tests;

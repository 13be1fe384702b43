//! Which blocks changed since they were taken the last time.
//!
//! The rule of whoever reads a disk: take first, read then. What is written in between is marked again.

use crate::blocks::BlockSet;

/// Marks of changed blocks, kept by the kernel.
pub trait Tracker: Send {
    /// Takes the marks of a disk (by its place in the list of leaves) and adds them to a set.
    ///
    /// Errors: the marks cannot be read any more; everything may have changed.
    fn take(&mut self, disk: usize, into: &mut BlockSet) -> Result<(), String>;

    /// Holds what was marked since the last audit against the kernel's own counters. Right only while nothing writes.
    fn audit(&mut self) -> Audit;

    /// Bytes written to all disks since tracking began, as the kernel counts them.
    fn written_bytes(&mut self) -> u64;
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Disks of which a write may have been missed, by their place; each must be compared whole.
    pub incomplete: Vec<usize>,
    /// In words, for the journal.
    pub words: Vec<String>,
}

//! Which blocks changed since they were taken the last time.
//!
//! The rule of whoever reads a disk: take first, read then. What is written in between is marked again.
//!
//! What is taken is *held*, where that is possible beyond the agent's life, until the cut that it is part of is in the
//! vault. An agent that starts again sends what is held and what is marked, and misses nothing.

use crate::blocks::BlockSet;

/// Instructions for the kernel's machine.
mod assembler;
/// Counts held against the kernel's own.
mod audit;
/// The kernel's own types.
pub mod btf;
/// What was taken and is not in the vault.
mod held;
/// Programs and maps in the kernel.
mod kernel;
/// Where marks and counters lie.
mod layout;
/// What programs and agent share.
mod maps;
/// Marks in memory.
mod marks;
/// Where the fields are that the programs read.
mod places;
/// The programs.
mod program;
/// A write of our own, seen.
mod trial;

pub use kernel::{Attached, KernelTracker, Options, PINS, attach, probe, remove};
pub use program::{Making, Moment};
pub use trial::{trial, tried};

/// Marks of changed blocks, kept by the kernel.
pub trait Tracker: Send {
    /// Takes the marks of a disk (by its place in the list of leaves) and adds them to a set. What is taken is held.
    ///
    /// Errors: the marks cannot be read any more; everything may have changed.
    fn take(&mut self, disk: usize, into: &mut BlockSet) -> Result<(), String>;

    /// Holds what was marked since the last audit against the kernel's own counters. Right only while nothing writes.
    /// What it finds the next finds again, until it is said to be `doubted`.
    fn audit(&mut self) -> Audit;

    /// Bytes written to all disks since tracking began, as the kernel counts them.
    fn written_bytes(&mut self) -> u64;

    /// Blocks that were written to since tracking began, each as often as it was: from how much it grew it is known about
    /// how many changed. Counts nothing where nobody counts.
    fn written_blocks(&self) -> u64 {
        0
    }

    /// Disks that are larger than their marks, by their place: what they have grown by is not marked until the tracker
    /// follows. None where sizes are not looked at.
    fn outgrown(&mut self) -> Vec<usize> {
        Vec::new()
    }

    /// A disk was removed from the server: another may come under its number, and is not to be taken for it.
    fn forget(&mut self, disk: usize) {
        let _ = disk;
    }

    /// Holds blocks from `first` up to, not including, `end` that are to be sent though no mark named them: what a
    /// compare found. A tracker that keeps nothing beyond its life holds nothing; so for what follows.
    fn hold(&mut self, disk: usize, first: u64, end: u64) {
        let _ = (disk, first, end);
    }

    /// What the last audit found of a disk will be obeyed, also beyond the agent's life: the next need not find it again.
    fn doubted(&mut self, disk: usize) {
        let _ = disk;
    }

    /// Notes, with the marks, whether everything of a disk was sent once, but for what is marked or held.
    fn set_whole(&mut self, disk: usize, whole: bool) {
        let _ = (disk, whole);
    }

    /// Whether that is so. Never of new marks: what was written before them is in none.
    fn is_whole(&self, disk: usize) -> bool {
        let _ = disk;
        false
    }

    /// Adds what is held of a disk to a set: what must be sent again after a restart, or when the appliance asks.
    fn held(&mut self, disk: usize, into: &mut BlockSet) {
        let _ = (disk, into);
    }

    /// A cut with this epoch was made of everything taken so far.
    fn cut(&mut self, epoch: u64) {
        let _ = epoch;
    }

    /// The cut of this epoch, and so all before it, is in the vault, and no longer held.
    fn vaulted(&mut self, epoch: u64) {
        let _ = epoch;
    }

    /// Everything that is held will be sent again and be part of the cut of this epoch, which is the next.
    fn resend(&mut self, epoch: u64) {
        let _ = epoch;
    }

    /// Where the marks of a disk go on from those of an earlier start of the machine: the newest cut that was made of
    /// them, until it is `settled` that the appliance knows no newer one.
    fn goes_on_from(&self, disk: usize) -> Option<u64> {
        let _ = disk;
        None
    }

    /// The appliance was asked.
    fn settled(&mut self, disk: usize) {
        let _ = disk;
    }

    /// The agent ends in order: nothing that it knew is missing in what is marked and held.
    fn ended(&mut self) {}
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Disks of which a write may have been missed, by their place; each must be compared whole.
    pub incomplete: Vec<usize>,
    /// In words, for the journal.
    pub words: Vec<String>,
}

//! Volumes, as a cut needs to know them, and whoever takes snapshots of them.

use core::time::Duration;

use crate::blocks::BlockSet;

/// A volume that a snapshot can be taken of, as it lies on the disks of a cut. All is counted in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever knows volumes says all of it")]
pub struct Volume {
    /// As people know it.
    pub name: String,
    /// The kernel's number: what is mounted of it is held still by whoever takes the snapshot.
    pub number: (u32, u32),
    /// Where it lies, in its own order and without gaps.
    pub pieces: Vec<Piece>,
    /// Of each disk, what says where volumes lie: a snapshot changes it, and the point has it as it was before.
    pub metadata: Vec<BlockSet>,
    /// Of each disk, what is no volume's: the snapshot is written there, and its content is nobody's.
    pub free: Vec<BlockSet>,
    /// What a snapshot can hold at most.
    pub room: u64,
}

/// A part of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a range of a disk")]
pub struct Piece {
    /// The disk, by its place.
    pub disk: usize,
    /// Its first block there.
    pub first: u64,
    /// How many.
    pub blocks: u64,
}

/// Volumes of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "those, and why not the others")]
pub struct Volumes {
    /// Those that a snapshot can be taken of.
    pub found: Vec<Volume>,
    /// Why not of others.
    pub others: Vec<String>,
}

/// Takes snapshots, one at a time.
pub trait Snapshots<D> {
    /// The volumes on the disks of this cut, as they are now.
    fn volumes(&mut self) -> Volumes;

    /// Takes a snapshot that holds so many blocks of changes. What is mounted of the volume is written out and stands still for
    /// the instant; nothing else is waited for. Not longer than this.
    ///
    /// Errors: there is none, and the volume is as it was.
    fn take(&mut self, volume: &Volume, blocks: u64, patience: Duration) -> Result<(), String>;

    /// The snapshot as a disk of the volume's size.
    fn open(&mut self) -> Result<D, String>;

    /// Whether nothing but the snapshot has changed of the volumes since they were looked at.
    fn is_same(&mut self) -> bool;

    /// Whether the snapshot held all that was written since: else what was read of it may be anything.
    fn is_whole(&mut self) -> bool;

    /// Removes it, where there is one.
    ///
    /// Errors: it is left, and removed later.
    fn remove(&mut self) -> Result<(), String>;
}

impl Volume {
    /// Adds where it lies on a disk.
    pub(super) fn add_to(&self, disk: usize, set: &mut BlockSet) {
        for piece in self.pieces.iter().filter(|piece| piece.disk == disk) {
            set.insert_range(piece.first, piece.first.saturating_add(piece.blocks));
        }
    }

    /// How many it has.
    pub(super) fn blocks(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.blocks).sum()
    }
}

//! Fills the table of known blocks from the base maps before a disk is read whole, so that a block that
//! moved is found although its old place comes later.

use hal::disk::Disk;

use super::disks::DiskRun;
use super::known_blocks::KnownBlocks;
use super::plan::Plan;
use crate::error::Error;
use crate::frames::FrameReader;
use crate::map::{Entry, LEAF_BLOCKS, PageSource, walk_leaves};

/// Learns from the maps of disks that are read whole, until the table is half full.
pub(super) fn preload<D: Disk>(
    frames: &FrameReader,
    known: &KnownBlocks,
    disks: &[DiskRun<D>],
) -> Result<(), Error> {
    let mut room = known.capacity() / 2;
    for disk in disks.iter().filter(|disk| disk.plan == Plan::Whole) {
        walk_leaves(frames, &disk.root, &mut |visited| {
            if visited.level > 0 {
                return Ok(room >= LEAF_BLOCKS);
            }
            if room < LEAF_BLOCKS {
                return Ok(false);
            }
            room -= LEAF_BLOCKS;
            for entry in &frames.leaf(&visited.page)?.entries {
                if let Entry::Data(block) = entry {
                    known.learn(block);
                }
            }
            Ok(false)
        })?;
    }
    Ok(())
}

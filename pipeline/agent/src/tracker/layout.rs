//! Where the marks of each disk lie in the map, and what a disk's slot of counters holds. Programs and agent agree on
//! it here; another layout has another `VERSION`, and pinned maps of another version are not taken over.

/// Version of everything in this file and in `held`.
pub(super) const VERSION: u64 = 4;

/// A block is 64 KiB.
pub(super) const BLOCK_SHIFT: u8 = 16;
/// Bytes of one value of the map of marks.
pub(super) const PAGE_BYTES: u32 = 4096;
/// Levels of marks: a byte for each block, then for each 16, 256 and 4096 of them. A program has no time to mark the
/// 65 536 blocks of a discarded 4 GiB one by one, and 4 GiB are the most that a request can have.
pub(super) const LEVELS: u8 = 4;
/// Each level's units are 2 to this power of the one below.
pub(super) const LEVEL_SHIFT: u8 = 4;
/// Programs that run one after the other at each completion: since 6.1 the kernel leaves a program out that runs on
/// this processor already, and an interrupt in one of them finds the others free.
pub(super) const COPIES: u8 = 3;

/// Offsets in a slot, a number of 64 bits at each.
pub(super) mod slot {
    use super::{COPIES, LEVELS};

    /// Blocks of the disk.
    pub(in super::super) const BLOCKS: u8 = 0;
    /// Completed writes.
    pub(in super::super) const WRITES: u8 = 8;
    /// Writes beyond the disk's end as it was.
    pub(in super::super) const BEYOND: u8 = 16;
    /// Writes that could not be marked.
    pub(in super::super) const LOST: u8 = 24;
    /// Commands past the block layer, whose range nobody knows.
    pub(in super::super) const PASSTHROUGH: u8 = 32;
    /// Requests of many ranges.
    pub(in super::super) const RANGES: u8 = 40;
    /// Sectors of completed writes, each counted by the first program that ran.
    pub(in super::super) const SECTORS: u8 = 48;
    /// The same as each copy of the program saw it.
    pub(in super::super) const SECTORS_OF: u8 = 56;
    /// Where each level of marks begins.
    pub(in super::super) const LEVEL: u8 = SECTORS_OF + 8 * COPIES;
    /// Of the whole slot.
    pub(in super::super) const BYTES: u8 = LEVEL + 8 * LEVELS;
}

/// Where one disk's marks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Blocks of the disk.
    pub(super) blocks: u64,
    /// Where each level begins, in bytes from the map's start; a multiple of 8.
    pub(super) levels: [u64; LEVELS as usize],
}

impl Place {
    /// Units of a level.
    pub(super) fn units(&self, level: u8) -> u64 {
        units(self.blocks, level)
    }
}

/// Places for disks of so many blocks, and the bytes of marks in all.
pub(super) fn places(blocks: &[u64]) -> (Vec<Place>, u64) {
    let mut next = 0;
    let mut places = Vec::new();
    for blocks in blocks {
        let mut levels = [0; LEVELS as usize];
        for (level, start) in (0..).zip(&mut levels) {
            *start = next;
            next += units(*blocks, level).next_multiple_of(8);
        }
        places.push(Place { blocks: *blocks, levels });
    }
    (places, next)
}

/// Blocks of a disk of so many bytes.
pub(super) fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(1 << BLOCK_SHIFT)
}

fn units(blocks: u64, level: u8) -> u64 {
    blocks.div_ceil(1 << (LEVEL_SHIFT * level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_never_overlap_and_are_small() {
        let blocks = [1, 7, 8, 4097, 1 << 24, 1_000_003];
        let (places, bytes) = places(&blocks);
        let mut end = 0;
        for place in &places {
            for (level, start) in (0..).zip(place.levels) {
                assert!(start == end && start % 8 == 0, "{place:?}");
                assert!(place.units(level) << (LEVEL_SHIFT * level) >= place.blocks);
                end = start + place.units(level).next_multiple_of(8);
            }
        }
        assert_eq!(end, bytes);
        let (_, terabyte) = super::places(&[1 << 24]);
        assert!(terabyte < 18 << 20, "{terabyte} bytes of marks for 1 TiB");
        assert_eq!(
            (blocks_of(0), blocks_of(1), blocks_of(65_536), blocks_of(65_537)),
            (0, 1, 1, 2)
        );
    }
}

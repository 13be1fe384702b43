//! What a disk holds, as a few numbers: made from them, and compared with what was restored.

use std::collections::BTreeMap;

use hal::disk::Disk;
use hal_sim::SimDisk;
use hal_sim::random::Random;

pub(crate) const BLOCK: u64 = 65_536;
/// Two leaf pages of the map, the second one short.
const BLOCKS: u64 = 300;
const BLOCK_BYTES: usize = 65_536;

/// The blocks that are not zero, each by the number that its bytes are made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    blocks: BTreeMap<u64, u64>,
}

impl Content {
    /// Writes a few blocks: new content, content that other blocks have, zeros.
    pub(crate) fn change(&mut self, random: &mut Random) {
        for _ in 0..1 + random.below(8) {
            // Most in a small part of each leaf, so that blocks are often overwritten.
            let leaf = random.below(2) * 256;
            let block = (leaf + random.below(14)).min(BLOCKS - 1);
            match random.below(4) {
                0 => drop(self.blocks.remove(&block)),
                1 => drop(self.blocks.insert(block, random.below(6))),
                _ => drop(self.blocks.insert(block, random.number())),
            }
        }
    }

    /// A disk that holds this.
    pub(crate) fn disk(&self) -> SimDisk {
        let disk = Self::empty_disk();
        for (block, number) in &self.blocks {
            disk.load(block * BLOCK, &bytes_of(*number));
        }
        disk
    }

    /// A disk of the right size that reads as zeros.
    pub(crate) fn empty_disk() -> SimDisk {
        SimDisk::new(BLOCKS * BLOCK)
    }

    /// Three parts of a disk as byte ranges, none of which ends where a leaf does.
    pub(crate) fn thirds() -> [(u64, u64); 3] {
        let third = BLOCKS / 3 * BLOCK;
        [(0, third), (third, third), (2 * third, BLOCKS * BLOCK - 2 * third)]
    }

    /// The first block in which a disk differs.
    pub(crate) fn differs(&self, disk: &SimDisk) -> Option<u64> {
        let other = |(block, number): (&u64, &u64)| {
            (disk.content(block * BLOCK, BLOCK_BYTES) != bytes_of(*number)).then_some(*block)
        };
        self.blocks.iter().find_map(other).or_else(|| self.stray(disk))
    }

    /// The first block that should be zeros and is not.
    fn stray(&self, disk: &SimDisk) -> Option<u64> {
        let mut handle = disk.another().expect("a second handle");
        let mut offset = 0;
        while let Some((start, end)) = handle.data_after(offset).expect("a living disk") {
            for block in start / BLOCK..end.div_ceil(BLOCK) {
                let zero =
                    || disk.content(block * BLOCK, BLOCK_BYTES).iter().all(|byte| *byte == 0);
                if !self.blocks.contains_key(&block) && !zero() {
                    return Some(block);
                }
            }
            offset = end;
        }
        None
    }
}

/// A block that compresses well and differs from every other number's.
fn bytes_of(number: u64) -> Vec<u8> {
    let word = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    let mut bytes = vec![0; BLOCK_BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = word[at % 8] | 1 << (at / 8192);
    }
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8] = 1;
    bytes
}

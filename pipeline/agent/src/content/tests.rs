//! Simulated disks that end in the middle of a block, fail, and vanish.

use std::collections::BTreeMap;

use hal_sim::random::Random;
use hal_sim::{Faults, SimDisk};

use super::*;

fn disk(blocks: u64, more: u64, seed: u64) -> SimDisk {
    let bytes = blocks * block_bytes() + more;
    let disk = SimDisk::new(bytes).with_depth(8);
    let mut content = vec![0; usize::try_from(bytes).unwrap()];
    Random::new(seed).fill(&mut content);
    disk.load(0, &content);
    disk
}

/// What each block held; nothing where it cannot be read.
type Found = BTreeMap<u64, Option<Vec<u8>>>;

fn read(disk: &SimDisk, blocks: &[u64]) -> (Found, Result<(), DiskError>) {
    let mut found = BTreeMap::new();
    let mut reader = BlockReader::new(disk.another().unwrap());
    let result = reader.read(blocks, &mut |block, content| {
        let before = found.insert(block, content.ok().map(<[u8]>::to_vec));
        assert!(before.is_none(), "block {block} came twice");
    });
    (found, result)
}

#[test]
fn every_block_that_is_asked_for_comes_once_whole_and_right() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let disk = disk(60, 4096, seed);
        disk.set_faults(Faults { seed, reorder_per_million: 300_000, ..Faults::default() });
        let blocks: Vec<u64> = (0..61).filter(|_| random.below(3) > 0).collect();
        let (found, result) = read(&disk, &blocks);
        result.unwrap();
        assert!(found.keys().eq(&blocks), "seed {seed}");
        for (block, content) in found {
            let content = content.unwrap();
            let held = if block == 60 { 4096 } else { BLOCK_BYTES };
            assert!(content[..held] == disk.content(block * block_bytes(), held), "seed {seed}");
            assert!(content.len() == BLOCK_BYTES && content[held..].iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn a_sector_that_cannot_be_read_costs_its_block_alone() {
    let disk = disk(40, 0, 1);
    let bad = 9 * block_bytes() + 1024;
    disk.set_faults(Faults {
        read_error_ranges: core::iter::once(bad..bad + 512).collect(),
        ..Faults::default()
    });
    let blocks: Vec<u64> = (0..40).collect();
    let (found, result) = read(&disk, &blocks);
    result.unwrap();
    let unread: Vec<u64> =
        found.iter().filter(|(_, content)| content.is_none()).map(|(block, _)| *block).collect();
    assert_eq!((found.len(), unread), (40, vec![9]));
}

#[test]
fn a_disk_that_vanishes_or_is_smaller_than_it_was_is_an_error() {
    let disk = disk(40, 0, 1);
    assert_eq!(read(&disk, &[39, 40]).1.unwrap_err().kind, ErrorKind::Gone);
    disk.set_faults(Faults { vanish_after_requests: Some(3), ..Faults::default() });
    let (found, result) = read(&disk, &(0..40).collect::<Vec<_>>());
    assert_eq!(result.unwrap_err().kind, ErrorKind::Gone);
    assert!(found.len() < 40);
}

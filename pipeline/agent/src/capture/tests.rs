//! Whatever set is asked for, every block of it comes once, as the disk has it, or is named.

use hal_sim::random::Random;
use hal_sim::{Faults, HeapBuffer, SimDisk};

use super::*;

const SEED: u64 = 20_261_129;

/// A disk of so many bytes with noise in it.
fn disk(bytes: u64, random: &mut Random) -> SimDisk {
    let disk = SimDisk::new(bytes);
    let mut noise = vec![0; usize::try_from(bytes).unwrap()];
    random.fill(&mut noise);
    disk.load(0, &noise);
    disk
}

fn some_blocks(blocks: u64, random: &mut Random) -> BlockSet {
    let mut set = BlockSet::new(blocks);
    for _ in 0..random.below(20) {
        let first = random.below(blocks);
        set.insert_range(first, first + 1 + random.below(24));
    }
    set
}

/// What an arena has, block by block.
fn blocks_of(arena: &Arena<HeapBuffer>, place: usize) -> Vec<(u64, Vec<u8>)> {
    let held = arena.held().filter(|held| held.disk == place);
    let blocks = held.flat_map(|held| {
        assert_eq!(held.bytes().len(), held.blocks as usize * BLOCK_BYTES);
        (held.first..).zip(held.bytes().chunks(BLOCK_BYTES).map(<[u8]>::to_vec))
    });
    let mut blocks: Vec<(u64, Vec<u8>)> = blocks.collect();
    blocks.sort();
    blocks
}

#[test]
fn every_block_comes_once_and_is_what_the_disk_has() {
    println!("seed {SEED}");
    let mut random = Random::new(SEED);
    for round in 0..60 {
        let sizes = [4 << 20, (2 << 20) + 512 * random.below(128)];
        let disks: Vec<SimDisk> = sizes.iter().map(|bytes| disk(*bytes, &mut random)).collect();
        let faults = Faults { seed: round, reorder_per_million: 300_000, ..Faults::default() };
        disks.iter().for_each(|disk| disk.set_faults(faults.clone()));
        let mut sources: Vec<Source<SimDisk>> =
            disks.iter().map(|disk| Source::new(disk.another().unwrap()).unwrap()).collect();
        let sets: Vec<BlockSet> =
            sources.iter().map(|source| some_blocks(source.blocks(), &mut random)).collect();
        let mut arena = Arena::new(&mut sources[0].disk, 16 << 20).unwrap();
        for _ in 0..2 {
            arena.read(&mut sources, &sets, &mut || true).unwrap();
            for (place, (set, disk)) in sets.iter().zip(&disks).enumerate() {
                let found = blocks_of(&arena, place);
                assert!(found.iter().map(|(block, _)| *block).eq(set.iter()), "round {round}");
                for (block, bytes) in found {
                    let at = block * BLOCK_BYTES as u64;
                    let there =
                        usize::try_from((sizes[place] - at).min(BLOCK_BYTES as u64)).unwrap();
                    assert!(bytes[..there] == disk.content(at, there), "round {round}, {block}");
                    assert!(bytes[there..].iter().all(|byte| *byte == 0), "padded with zeros");
                }
            }
            arena.clear();
        }
        assert!(arena.is_free(), "every buffer came back");
    }
}

#[test]
fn more_than_the_arena_holds_is_said_and_less_fits_again() {
    let mut random = Random::new(SEED);
    let disk = disk(8 << 20, &mut random);
    let mut sources = [Source::new(disk.another().unwrap()).unwrap()];
    let mut arena = Arena::new(&mut sources[0].disk, 3 << 20).unwrap();
    let mut set = BlockSet::new(sources[0].blocks());
    set.insert_range(0, 128);
    assert_eq!(arena.read(&mut sources, &[set.clone()], &mut || true), Err(Trouble::Full));
    arena.clear();
    assert!(arena.is_free(), "every buffer came back");
    let mut scattered = BlockSet::new(sources[0].blocks());
    (0..arena.blocks()).for_each(|block| scattered.insert(2 * block));
    arena.read(&mut sources, &[scattered.clone()], &mut || true).unwrap();
    assert_eq!(blocks_of(&arena, 0).len() as u64, scattered.count());
    arena.clear();
    let sets = [scattered];
    assert_eq!(arena.read(&mut sources, &sets, &mut || false), Err(Trouble::Stopped));
    let mut asked = 0;
    let mut later = || {
        asked += 1;
        asked < 5
    };
    assert_eq!(arena.read(&mut sources, &sets, &mut later), Err(Trouble::Stopped));
    arena.clear();
    assert!(arena.is_free(), "every buffer came back");
}

#[test]
fn a_bad_sector_costs_its_block_alone_and_is_named() {
    let mut random = Random::new(SEED);
    let disk = disk(4 << 20, &mut random);
    let block = BLOCK_BYTES as u64;
    let faults = Faults {
        read_error_ranges: vec![5 * block + 1024..5 * block + 2048, 63 * block..63 * block + 1],
        ..Faults::default()
    };
    disk.set_faults(faults);
    let mut sources = [Source::new(disk.another().unwrap()).unwrap()];
    let mut arena = Arena::new(&mut sources[0].disk, 16 << 20).unwrap();
    let mut set = BlockSet::new(sources[0].blocks());
    set.insert_range(0, 64);
    arena.read(&mut sources, &[set], &mut || true).unwrap();
    let found = blocks_of(&arena, 0);
    assert!(found.iter().map(|(block, _)| *block).eq((0..63).filter(|block| *block != 5)));
    for (at, bytes) in found {
        assert!(bytes == disk.content(at * block, BLOCK_BYTES), "block {at}");
    }
    let mut bad: Vec<(u64, u32, Option<u64>)> =
        arena.unread().iter().map(|bad| (bad.block, bad.sectors, bad.error.offset)).collect();
    bad.sort_unstable();
    assert_eq!(bad, [(5, 2, Some(5 * block + 1024)), (63, 1, Some(63 * block))]);
}

#[test]
fn a_disk_that_vanishes_ends_it_with_its_name() {
    let mut random = Random::new(SEED);
    let disks = [disk(4 << 20, &mut random), disk(4 << 20, &mut random)];
    disks[1].set_faults(Faults { vanish_after_requests: Some(2), ..Faults::default() });
    let mut sources: Vec<Source<SimDisk>> =
        disks.iter().map(|disk| Source::new(disk.another().unwrap()).unwrap()).collect();
    let mut arena = Arena::new(&mut sources[0].disk, 16 << 20).unwrap();
    let mut set = BlockSet::new(sources[0].blocks());
    set.insert_range(0, 64);
    let trouble = arena.read(&mut sources, &[set.clone(), set], &mut || true).unwrap_err();
    assert!(matches!(trouble, Trouble::Disk(1, _)), "{trouble:?}");
    arena.clear();
    assert!(arena.is_free(), "every buffer came back");
}

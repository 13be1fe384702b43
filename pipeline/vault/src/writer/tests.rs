//! Points of simulated disks in a vault in memory: made, made again, brought back.

use std::sync::Arc;

use hal::disk::Disk;
use hal_sim::SimDisk;
use hal_sim::random::Random;

use super::*;
use crate::frames::FrameReader;
use crate::points::read_chain;
use crate::restore;
use crate::store::count::CountingStore;
use crate::store::memory::MemoryStore;
use crate::test_bed::{
    BLOCK, SERVER, access, assert_same, changed_point, point, restored, scribble,
};

mod bad_disks;
mod runs;

#[test]
fn every_point_comes_back_bit_for_bit() {
    let mut random = Random::new(7);
    let bytes = 700 * BLOCK + 512;
    let disk = SimDisk::new(bytes);
    let access = access(Arc::new(MemoryStore::new()), 1);
    let mut kept = Vec::new();
    for _ in 0..4 {
        scribble(&disk, bytes, &mut random, 200);
        let outcome = point(&access, &disk, &Options::default()).expect("a point");
        let copy = SimDisk::new(bytes);
        for block in 0..bytes.div_ceil(BLOCK) {
            let length = usize::try_from(BLOCK.min(bytes - block * BLOCK)).expect("a block");
            copy.load(block * BLOCK, &disk.content(block * BLOCK, length));
        }
        kept.push((outcome.id, copy));
    }
    for (id, copy) in &kept {
        let back = restored(&access, &id.to_string()).expect("a restore");
        assert_same(copy, &back, bytes);
    }
}

#[test]
fn unchanged_content_is_read_again_and_never_sent_again() {
    let mut random = Random::new(8);
    let bytes = 600 * BLOCK;
    let disk = SimDisk::new(bytes);
    scribble(&disk, bytes, &mut random, 400);
    let access = access(Arc::new(MemoryStore::new()), 2);
    let first = point(&access, &disk, &Options::default()).expect("a point");
    assert!(first.work.new_blocks > 0);
    let second = point(&access, &disk, &Options::default()).expect("a point");
    assert_eq!((second.work.new_blocks, second.work.stored_bytes), (0, 0));
}

#[test]
fn a_block_that_moved_is_known() {
    let mut random = Random::new(9);
    let bytes = 600 * BLOCK;
    let disk = SimDisk::new(bytes);
    scribble(&disk, bytes, &mut random, 100);
    let access = access(Arc::new(MemoryStore::new()), 3);
    point(&access, &disk, &Options::default()).expect("a point");
    let mut content = vec![0; 65_536];
    random.fill(&mut content);
    disk.load(500 * BLOCK, &content);
    point(&access, &disk, &Options::default()).expect("a point");
    disk.load(2 * BLOCK, &content);
    let moved = point(&access, &disk, &Options::default()).expect("a point");
    assert_eq!((moved.work.new_blocks, moved.work.known_blocks), (0, 1));
    assert_same(&disk, &restored(&access, "latest").expect("a restore"), bytes);
}

#[test]
fn only_changed_ranges_are_read() {
    let mut random = Random::new(10);
    let bytes = 2000 * BLOCK;
    let disk = SimDisk::new(bytes);
    scribble(&disk, bytes, &mut random, 900);
    let access = access(Arc::new(MemoryStore::new()), 4);
    point(&access, &disk, &Options::default()).expect("a point");
    let mut ranges = Vec::new();
    for _ in 0..20 {
        let at = random.below(2000);
        disk.load(at * BLOCK + 17, &[random.number().to_le_bytes()[0]; 99]);
        ranges.push((at * BLOCK + 17, 99));
    }
    let outcome =
        changed_point(&access, &disk, Some(ranges), &Options::default()).expect("a point");
    assert!(outcome.work.read_bytes <= 20 * BLOCK);
    assert_same(&disk, &restored(&access, "latest").expect("a restore"), bytes);
}

#[test]
fn a_disk_that_grew_or_shrank_is_followed() {
    let mut random = Random::new(11);
    let access = access(Arc::new(MemoryStore::new()), 5);
    for blocks in [300_u64, 70_000, 290, 5, 66_000] {
        let bytes = blocks * BLOCK + 1024;
        let disk = SimDisk::new(bytes);
        scribble(&disk, bytes, &mut random, 50);
        point(&access, &disk, &Options::default()).expect("a point");
        assert_same(&disk, &restored(&access, "latest").expect("a restore"), bytes);
    }
}

#[test]
fn a_restore_onto_similar_content_writes_only_what_differs() {
    let mut random = Random::new(12);
    let bytes = 800 * BLOCK + 4096;
    let disk = SimDisk::new(bytes);
    scribble(&disk, bytes, &mut random, 500);
    let access = access(Arc::new(MemoryStore::new()), 6);
    point(&access, &disk, &Options::default()).expect("a point");
    let target = restored(&access, "latest").expect("a restore");
    scribble(&target, bytes, &mut random, 8);
    let view = read_chain(&access, SERVER).expect("a chain");
    let state =
        view.find("latest").expect("a point").record.point().expect("a point").disks[0].clone();
    let frames = FrameReader::new(&access, SERVER, &view.upkeep, 4 << 20).expect("a reader");
    let options = restore::Options { workers: 2, ..Default::default() };
    let another = target.another().expect("a handle");
    let done = restore::restore_disk(&frames, &state, another, "target", &options, &Silent);
    assert!(done.expect("a restore").written_bytes <= 8 * BLOCK);
    assert_same(&disk, &target, bytes);
}

#[test]
fn an_eight_tebibyte_sparse_disk_costs_a_few_objects() {
    let bytes = 8_u64 << 40;
    let disk = SimDisk::new(bytes);
    for at in [0_u64, 1 << 40, (8 << 40) - 4096] {
        disk.load(at, &[7; 4096]);
    }
    let counting = Arc::new(CountingStore::new(Arc::new(MemoryStore::new())));
    let access = access(counting.clone(), 7);
    let outcome = point(&access, &disk, &Options::default()).expect("a point");
    assert!(outcome.work.read_bytes <= 8 << 20, "{}", outcome.work.read_bytes);
    let view = read_chain(&access, SERVER).expect("a chain");
    let state =
        view.find("latest").expect("a point").record.point().expect("a point").disks[0].clone();
    let frames = FrameReader::new(&access, SERVER, &view.upkeep, 4 << 20).expect("a reader");
    let target = SimDisk::new(bytes);
    let options = restore::Options { compare: false, ..Default::default() };
    let another = target.another().expect("a handle");
    restore::restore_disk(&frames, &state, another, "target", &options, &Silent)
        .expect("a restore");
    for at in [0_u64, 1 << 40, (8 << 40) - 4096] {
        assert_eq!(target.content(at, 4096), vec![7; 4096]);
    }
}

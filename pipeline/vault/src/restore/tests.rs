//! What a restore asks of the vault: round trips are what a vault far away costs.

use std::collections::HashSet;

use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk};
use pipeline::limits::EXTENT_BYTES_MAX;

mod advance;
mod behind;
mod rounds;

use super::*;
use crate::map::{Entry, PageSource, walk_leaves};
use crate::pins::pin_of_view;
use crate::points::read_chain;
use crate::scratch::Scratch;
use crate::store::BlobStore as _;
use crate::store::count::CountingStore;
use crate::store::directory::DirectoryStore;
use crate::store::memory::MemoryStore;
use crate::test_bed::{SERVER, access, assert_same, point, scribble};
use crate::writer::{self, Silent};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Blocks of noise on every fourth leaf of a disk whose map has several inner pages.
fn scattered(leaves: u64, random: &mut Random) -> SimDisk {
    let disk = SimDisk::new(leaves * 256 * BLOCK);
    for leaf in (0..leaves).step_by(4) {
        let mut noise = vec![0; 4096];
        random.fill(&mut noise);
        disk.load((leaf * 256 + random.below(256)) * BLOCK, &noise);
    }
    disk
}

/// Makes a point of the disk and brings it back; what that asked of the store, a line a call.
fn asked_of(store: &CountingStore, access: &Access, disk: &SimDisk, bytes: u64) -> Vec<String> {
    point(access, disk, &writer::Options::default()).expect("a point");
    let view = read_chain(access, SERVER).expect("a chain");
    let state = &view.find("latest").expect("a point").record.point().expect("a point").disks[0];
    let frames = FrameReader::new(access, SERVER, &view.upkeep, 16 << 20).expect("a reader");
    let target = SimDisk::new(bytes);
    let hand = target.another().expect("a handle");
    store.take_trace();
    let options = Options { compare: false, workers: 1, ..Options::default() };
    restore_disk(&frames, state, hand, "target", &options, &Silent).expect("a restore");
    assert_same(disk, &target, bytes);
    store.take_trace()
}

#[test]
fn a_small_point_comes_back_with_one_read_for_each_of_its_objects() {
    let bytes = 300 * BLOCK + 512;
    let disk = SimDisk::new(bytes);
    scribble(&disk, bytes, &mut Random::new(7), 40);
    let store = Arc::new(CountingStore::tracing(Arc::new(MemoryStore::new())));
    let access = access(store.clone(), 7);
    let trace = asked_of(&store, &access, &disk, bytes);
    let reads: Vec<&String> = trace.iter().filter(|line| line.starts_with("read")).collect();
    let objects: HashSet<&str> = reads.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(!objects.is_empty(), "{trace:#?}");
    // One more where an object holds pages and blocks, and is fetched for either.
    assert!(reads.len() <= objects.len() + 1, "{trace:#?}");
    assert_eq!(trace.len() - reads.len(), 1, "one listing: {trace:#?}");
}

#[test]
fn what_does_not_compress_comes_back_by_its_objects_too() {
    let bytes = 300 * BLOCK;
    let disk = SimDisk::new(bytes);
    let mut noise = vec![0; usize::try_from(bytes).expect("a small disk")];
    Random::new(9).fill(&mut noise);
    disk.load(0, &noise);
    let store = Arc::new(CountingStore::tracing(Arc::new(MemoryStore::new())));
    let access = access(store.clone(), 9);
    let trace = asked_of(&store, &access, &disk, bytes);
    let reads: Vec<&String> = trace.iter().filter(|line| line.starts_with("read")).collect();
    let objects: HashSet<&str> = reads.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(objects.len() > 2, "{trace:#?}");
    // Large ones in two halves; and one more where an object holds pages and blocks.
    assert!(reads.len() <= 2 * objects.len() + 1, "{trace:#?}");
}

#[test]
fn a_near_vault_is_read_a_few_frames_at_a_time() {
    let bytes = 200 * BLOCK;
    let disk = SimDisk::new(bytes);
    let mut noise = vec![0; usize::try_from(bytes).expect("a small disk")];
    Random::new(8).fill(&mut noise);
    disk.load(0, &noise);
    let scratch = Scratch::new();
    let clock = Arc::new(SimClock::at(hal::time::UnixMillis(1_767_225_600_000)));
    let folder = DirectoryStore::new(scratch.path().join("vault"), clock);
    let store = Arc::new(CountingStore::tracing(Arc::new(folder)));
    store.prepare().expect("a folder");
    let access = access(store.clone(), 8);
    let trace = asked_of(&store, &access, &disk, bytes);
    let length = |line: &String| line.split('+').nth(1)?.split(' ').next()?.parse::<usize>().ok();
    let lengths: Vec<usize> = trace.iter().filter_map(length).collect();
    // What does not compress fills its frames: each is more than is read at a time, and so read alone.
    assert!(lengths.iter().filter(|bytes| **bytes > BLOCK_BYTES).count() >= 200 / 16, "{trace:#?}");
    assert!(lengths.iter().all(|bytes| *bytes < 2 * EXTENT_BYTES_MAX), "{trace:#?}");
}

#[test]
fn a_pin_looks_again_with_one_listing_where_nothing_was_added() {
    let disk = SimDisk::new(64 * BLOCK);
    let store = Arc::new(CountingStore::new(Arc::new(MemoryStore::new())));
    let access = access(store.clone(), 8);
    point(&access, &disk, &writer::Options::default()).expect("a point");
    let view = read_chain(&access, SERVER).expect("a chain");
    let link = view.find("latest").expect("a point").clone();
    let now = access.store.now().expect("a clock");
    let before = store.counts();
    let pinned = pin_of_view(&access, &view, link.clone(), "a test", now).expect("a pin");
    let after = store.counts();
    assert_eq!((after.reads, after.lists), (before.reads, before.lists + 1));
    drop(pinned);
    // Something was added: it is read.
    point(&access, &disk, &writer::Options::default()).expect("a point");
    let before = store.counts();
    pin_of_view(&access, &view, link, "a test", now).expect("a pin");
    assert!(store.counts().reads > before.reads);
}

#[test]
fn a_map_that_is_read_by_several_at_once_names_what_one_finds_in_order() {
    let mut random = Random::new(9);
    let disk = scattered(900, &mut random);
    let access = access(Arc::new(MemoryStore::new()), 9);
    let options = writer::Options { workers: 3, checkpoint_segments: 1, ..Default::default() };
    point(&access, &disk, &options).expect("a point");
    let view = read_chain(&access, SERVER).expect("a chain");
    let root = view.find("latest").expect("a point").record.point().expect("a point").disks[0].root;
    assert!(root.height >= 2, "several inner pages");
    let frames = FrameReader::new(&access, SERVER, &view.upkeep, 1 << 20).expect("a reader");
    let (mut expected, mut data) = (HashSet::new(), 0);
    walk_leaves(&frames, &root, &mut |visited| {
        expected.insert(visited.page.address.segment);
        if visited.level == 0 {
            expected.extend(frames.leaf(&visited.page)?.entries.iter().filter_map(|entry| {
                match entry {
                    Entry::Data(block) => {
                        data += 1;
                        Some(block.address.segment)
                    }
                    _ => None,
                }
            }));
        }
        Ok(true)
    })
    .expect("a map");
    let named = Named::of(&frames, &root).expect("a map");
    assert_eq!(named, Named { segments: expected, unread: 0, data });
}

#[test]
fn a_target_with_exactly_the_room_that_a_disk_takes_is_filled_and_one_with_less_is_not_begun() {
    let disk = scattered(40, &mut Random::new(11));
    let access = access(Arc::new(MemoryStore::new()), 11);
    point(&access, &disk, &writer::Options::default()).expect("a point");
    let view = read_chain(&access, SERVER).expect("a chain");
    let state = &view.find("latest").expect("a point").record.point().expect("a point").disks[0];
    let frames = FrameReader::new(&access, SERVER, &view.upkeep, 16 << 20).expect("a reader");
    // Ten leaves have one block each that holds something.
    for (free_bytes, fits) in [(10 * BLOCK - 1, false), (10 * BLOCK, true)] {
        let target = SimDisk::new(state.bytes);
        let room = Some(Room { place: "the folder".to_owned(), free_bytes });
        let options = Options { compare: false, room, ..Options::default() };
        let hand = target.another().expect("a handle");
        match restore_disk(&frames, state, hand, "target", &options, &Silent) {
            Ok(restored) => assert!(fits && restored.written_bytes == 10 * BLOCK),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.blame, crate::error::Blame::Exhausted);
                assert_eq!(error.object, "the folder");
                assert_same(&target, &SimDisk::new(state.bytes), state.bytes);
            }
        }
    }
}

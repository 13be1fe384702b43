//! A target that holds one point is brought to another by what differs, and nothing else is read or written.

use hal::disk::Disk;
use hal_sim::SimDisk;
use hal_sim::random::Random;

use super::*;
use crate::store::memory::MemoryStore;

const BYTES: u64 = 1500 * BLOCK + 4096;

fn state(access: &Access, point: &str) -> (FrameReader, DiskState) {
    let view = read_chain(access, SERVER).expect("a chain");
    let link = view.find(point).expect("a point");
    let disk = link.record.point().expect("a point").disks[0].clone();
    (FrameReader::new(access, SERVER, &view.upkeep, 16 << 20).expect("a reader"), disk)
}

#[test]
fn a_target_at_any_point_is_brought_to_any_other() {
    let mut random = Random::new(31);
    let disk = SimDisk::new(BYTES);
    let access = access(Arc::new(MemoryStore::new()), 31);
    let mut kept: Vec<(String, SimDisk)> = Vec::new();
    for round in 0..4 {
        scribble(&disk, BYTES, &mut random, if round == 0 { 400 } else { 30 });
        let made = point(&access, &disk, &writer::Options::default()).expect("a point");
        let copy = SimDisk::new(BYTES);
        copy.load(0, &disk.content(0, usize::try_from(BYTES).expect("a small disk")));
        kept.push((made.id.to_string(), copy));
    }
    for (from, before) in &kept {
        for (to, after) in &kept {
            let target = SimDisk::new(BYTES);
            target.load(0, &before.content(0, usize::try_from(BYTES).expect("a small disk")));
            let (_, old) = state(&access, from);
            let (frames, new) = state(&access, to);
            let hand = target.another().expect("a handle");
            let options = Options { workers: 3, ..Options::default() };
            let done = advance_disk(&frames, (&old, &new), hand, "seed", &options, &Silent);
            let done = done.expect("it is brought forward");
            assert_same(&target, after, BYTES);
            assert_eq!(target.counts().reads, 0, "the target is not read");
            assert!(done.written_bytes <= 90 * BLOCK, "{done:?}");
            assert_eq!(from == to, done.written_bytes == 0, "{done:?}");
        }
    }
}

#[test]
fn only_pages_and_blocks_that_differ_are_asked_for() {
    let mut random = Random::new(33);
    let disk = scattered(600, &mut random);
    let store = Arc::new(CountingStore::new(Arc::new(MemoryStore::new())));
    let access = access(store.clone(), 33);
    let first = point(&access, &disk, &writer::Options::default()).expect("a point");
    let mut noise = vec![0; 4096];
    random.fill(&mut noise);
    disk.load(77 * 256 * BLOCK, &noise);
    point(&access, &disk, &writer::Options::default()).expect("a point");
    let (_, old) = state(&access, &first.id.to_string());
    let (frames, new) = state(&access, "latest");
    let target = SimDisk::new(new.bytes);
    let before = store.counts();
    let hand = target.another().expect("a handle");
    let options = Options::default();
    advance_disk(&frames, (&old, &new), hand, "seed", &options, &Silent).expect("it works");
    let reads = store.counts().reads - before.reads;
    assert!(reads < 20, "{reads} reads for one block of a map of {} leaves", 600);
    assert!(target.content(77 * 256 * BLOCK, 4096) == noise);
}

#[test]
fn disks_of_different_sizes_are_not_brought_to_each_other() {
    let access = access(Arc::new(MemoryStore::new()), 32);
    let disk = SimDisk::new(BYTES);
    point(&access, &disk, &writer::Options::default()).expect("a point");
    let (frames, new) = state(&access, "latest");
    let old = DiskState { bytes: BYTES - 512, ..new.clone() };
    let options = Options::default();
    let done =
        advance_disk(&frames, (&old, &new), disk.another().unwrap(), "seed", &options, &Silent);
    assert!(done.unwrap_err().to_string().contains("new target"));
}

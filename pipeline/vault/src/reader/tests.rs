//! Points read at odd places, forwards, at random and by many at once; what cannot be read is said.

use std::sync::Arc;

use hal_sim::random::Random;
use hal_sim::{Faults, SimDisk};

use super::*;
use crate::points::read_chain;
use crate::store::BlobStore;
use crate::store::count::CountingStore;
use crate::store::memory::MemoryStore;
use crate::test_bed::{BLOCK, SERVER, access, point, scribble};
use crate::writer::Options;

fn reader(access: &Access, cache_bytes: usize) -> PointReader {
    let view = read_chain(access, SERVER).expect("a chain");
    let link = view.find("latest").expect("a point");
    PointReader::open(access, &view, link, "sda", cache_bytes).expect("a reader")
}

fn filled(seed: u64, bytes: u64, blocks: u64) -> SimDisk {
    let disk = SimDisk::new(bytes);
    scribble(&disk, bytes, &mut Random::new(seed), blocks);
    disk
}

fn below(random: &mut Random, limit: u64) -> usize {
    usize::try_from(random.below(limit)).expect("below a usize")
}

#[test]
fn any_range_reads_as_the_disk_was() {
    let bytes = 700 * BLOCK + 512;
    let disk = filled(1, bytes, 500);
    let access = access(Arc::new(MemoryStore::new()), 1);
    point(&access, &disk, &Options::default()).expect("a point");
    let reader = reader(&access, 4 << 20);
    assert_eq!(reader.bytes(), bytes);
    let mut random = Random::new(2);
    for _ in 0..300 {
        let offset = random.below(bytes);
        let length = below(&mut random, (bytes - offset + 1).min(3 << 20));
        let mut read = vec![0xEE; length];
        reader.read_at(offset, &mut read).expect("a read");
        assert!(read == disk.content(offset, length), "{length} bytes from {offset}");
    }
    let mut whole = vec![0xEE; usize::try_from(bytes).expect("a small disk")];
    reader.read_at(0, &mut whole).expect("a read");
    assert!(whole == disk.content(0, whole.len()));
}

#[test]
fn reading_forwards_fetches_every_frame_about_once() {
    let bytes = 512 * BLOCK;
    let disk = filled(3, bytes, 900);
    let store = Arc::new(CountingStore::new(Arc::new(MemoryStore::new())));
    let access = access(store.clone(), 2);
    point(&access, &disk, &Options::default()).expect("a point");
    let reader = reader(&access, 8 << 20);
    let before = store.counts();
    let mut read = vec![0; 65_536 / 2 + 512];
    let mut at = 0;
    while at < bytes {
        let length = read.len().min(usize::try_from(bytes - at).expect("a small disk"));
        reader.read_at(at, &mut read[..length]).expect("a read");
        assert!(read[..length] == disk.content(at, length));
        at += length as u64;
    }
    let stored: u64 = store.counts().created_bytes;
    let read_bytes = store.counts().read_bytes - before.read_bytes;
    assert!(read_bytes < stored * 2 + (1 << 20), "{read_bytes} of {stored}");
}

#[test]
fn many_readers_at_once_see_the_same() {
    let bytes = 300 * BLOCK + 4096;
    let disk = filled(4, bytes, 300);
    let access = access(Arc::new(MemoryStore::new()), 3);
    point(&access, &disk, &Options::default()).expect("a point");
    // A cache that holds two frames: what one reader waits for may be gone when it looks.
    let reader = reader(&access, 2 << 20);
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (reader, disk) = (&reader, &disk);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..150 {
                    let offset = random.below(bytes);
                    let length = below(&mut random, (bytes - offset).min(1 << 20) + 1);
                    let mut read = vec![0xEE; length];
                    reader.read_at(offset, &mut read).expect("a read");
                    assert!(read == disk.content(offset, length));
                }
            });
        }
    });
}

#[test]
fn unread_blocks_are_an_error_that_names_them_and_their_neighbours_read() {
    let bytes = 64 * BLOCK;
    let disk = filled(5, bytes, 200);
    let bad = 10 * BLOCK;
    let ranges = core::iter::once(bad..bad + 512).collect();
    disk.set_faults(Faults { read_error_ranges: ranges, ..Faults::default() });
    let access = access(Arc::new(MemoryStore::new()), 4);
    let outcome = point(&access, &disk, &Options::default()).expect("a point");
    assert_eq!(outcome.unread_blocks, 1);
    let reader = reader(&access, 4 << 20);
    let mut read = vec![0; 65_536];
    let error = reader.read_at(bad - 100, &mut read).expect_err("unknown content");
    assert!(error.to_string().contains("655360 to 720896"), "{error}");
    reader.read_at(bad + BLOCK, &mut read).expect("a neighbour");
    assert!(read == disk.content(bad + BLOCK, 65_536));
    assert!(reader.read_at(bytes - 1, &mut [0; 2]).is_err(), "past the end");
    reader.read_at(bytes, &mut []).expect("nothing at the end is nothing");
}

#[test]
fn damage_is_an_error_for_whoever_asks_for_it_and_for_nobody_else() {
    let bytes = 256 * BLOCK;
    let disk = filled(6, bytes, 600);
    let store = Arc::new(MemoryStore::new());
    let access = access(store.clone(), 5);
    point(&access, &disk, &Options::default()).expect("a point");
    let names = store.names();
    let name = names.iter().find(|name| name.starts_with("seg/")).expect("a segment");
    let mut body = store.read_all(name, 8 << 20).expect("a segment");
    let middle = body.len() / 3;
    body[middle] ^= 1;
    store.overwrite(name, &body);
    let reader = reader(&access, 1 << 20);
    let (mut good, mut bad) = (0, 0);
    let mut read = vec![0; 65_536];
    for block in 0..256 {
        match reader.read_at(block * BLOCK, &mut read) {
            Ok(()) => {
                assert!(read == disk.content(block * BLOCK, 65_536), "wrong bytes in {block}");
                good += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(name.as_str()), "{error}");
                bad += 1;
            }
        }
    }
    assert!((1..=16).contains(&bad) && good > 200, "{good} good, {bad} bad");
}

#[test]
fn an_unknown_disk_is_refused_with_the_names_that_there_are() {
    let disk = filled(7, 4 * BLOCK, 4);
    let access = access(Arc::new(MemoryStore::new()), 6);
    point(&access, &disk, &Options::default()).expect("a point");
    let view = read_chain(&access, SERVER).expect("a chain");
    let link = view.find("latest").expect("a point");
    let error = PointReader::open(&access, &view, link, "sdb", 0).err().expect("unknown");
    assert!(error.to_string().contains("sda"), "{error}");
}

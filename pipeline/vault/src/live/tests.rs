//! What a walk finds, by a map made of pages in a vault in memory.

use std::sync::Arc;

use hal_sim::SimDisk;
use hal_sim::random::Random;

use super::*;
use crate::names;
use crate::points::read_chain;
use crate::store::count::CountingStore;
use crate::store::list_all;
use crate::store::memory::MemoryStore;
use crate::test_bed::{BLOCK, SERVER, access, point, scribble};
use crate::writer::Options;

#[test]
fn classes_are_two_bits_and_the_first_one_stays() {
    let mut marks = Marks::default();
    for (ordinal, class) in
        [(0, Class::Newest), (3, Class::Soon), (4, Class::Long), (9, Class::Soon)]
    {
        assert!(marks.mark(ordinal, class));
        assert!(!marks.mark(ordinal, Class::Newest));
    }
    let found: Vec<u8> = (0..11).map(|ordinal| marks.get(ordinal)).collect();
    assert_eq!(found, [1, 0, 0, 3, 2, 0, 0, 0, 0, 3, 0]);
    assert_eq!((marks.live, marks.bits.len(), marks.get(u32::MAX)), (4, 3, 0));
}

#[test]
fn every_frame_of_every_point_is_met_once_and_nothing_else() {
    let mut random = Random::new(5);
    let bytes = 600 * BLOCK;
    let disk = SimDisk::new(bytes);
    let counting = Arc::new(CountingStore::new(Arc::new(MemoryStore::new())));
    let access = access(counting.clone(), 5);
    for _ in 0..5 {
        scribble(&disk, bytes, &mut random, 80);
        point(&access, &disk, &Options::default()).expect("a point");
    }
    let view = read_chain(&access, SERVER).expect("a chain");
    let roots: Vec<Root> = view
        .points()
        .flat_map(|link| link.record.point().expect("a point").disks.iter().map(|disk| disk.root))
        .collect();
    let frames = FrameReader::new(&access, SERVER, &view.upkeep, 8 << 20).expect("a reader");
    let mut live = Live::new();
    live.walk(&frames, roots[4..].iter().copied(), Class::Newest, 3).expect("a walk");
    let newest: HashMap<SegmentId, u32> =
        live.segments().map(|segment| (*segment, live.count(segment))).collect();
    live.walk(&frames, roots.iter().copied(), Class::Soon, 3).expect("a walk");
    let listed = list_all(&*access.store, &names::segment_prefix(&SERVER)).expect("a listing");
    let (mut all, mut dead, mut soon) = (0, 0, 0);
    for facts in listed {
        let segment = names::segment_of(&SERVER, &facts.name).expect("a segment");
        let opened = frames.table(&segment).expect("a table");
        let classes: Vec<_> =
            opened.table.entries().map(|entry| live.class(entry.address)).collect();
        all += classes.len();
        dead += classes.iter().filter(|class| class.is_none()).count();
        soon += classes.iter().filter(|class| **class == Some(Class::Soon)).count();
        let of_newest = classes.iter().filter(|class| **class == Some(Class::Newest)).count();
        assert_eq!(of_newest as u64, u64::from(newest.get(&segment).copied().unwrap_or(0)));
    }
    // All points are kept, so every frame is live.
    assert_eq!(dead, 0, "{dead} of {all}");
    assert!(soon > 0 && soon < all);
    let before = counting.counts().reads;
    live.walk(&frames, roots, Class::Long, 3).expect("a walk");
    assert_eq!(counting.counts().reads, before, "everything was met before");
}

#[test]
fn a_missing_page_is_an_error_and_no_end() {
    let mut random = Random::new(6);
    let bytes = 600 * BLOCK;
    let disk = SimDisk::new(bytes);
    scribble(&disk, bytes, &mut random, 200);
    let store = Arc::new(MemoryStore::new());
    let access = access(store.clone(), 6);
    point(&access, &disk, &Options::default()).expect("a point");
    let view = read_chain(&access, SERVER).expect("a chain");
    let root =
        view.points().next().expect("a point").record.point().expect("a point").disks[0].root;
    let Child::Page(top) = root.top else { panic!("a disk with content") };
    store.lose(&names::segment(&SERVER, &top.address.segment));
    let frames = FrameReader::new(&access, SERVER, &view.upkeep, 1 << 20).expect("a reader");
    let error = Live::new().walk(&frames, [root], Class::Newest, 4).expect_err("a page is gone");
    assert!(error.is_missing(), "{error}");
}

//! Copies of a vault that arrived in any order: the newest point that is whole is found, newer ones are told.

use std::sync::Arc;

use hal_sim::SimDisk;
use hal_sim::random::Random;

use super::*;
use crate::reader::PointReader;
use crate::store::BlobStore;
use crate::store::memory::MemoryStore;
use crate::test_bed::{BLOCK, SERVER, access, point, relocate, scribble};
use crate::writer::{Options as Protect, Silent};

const BYTES: u64 = 280 * BLOCK;

/// A vault of several points, what the disk was at each, and which segments each brought.
struct Bed {
    store: Arc<MemoryStore>,
    access: Access,
    contents: Vec<(PointId, Vec<u8>)>,
}

fn bed(seed: u64) -> Bed {
    let store = Arc::new(MemoryStore::new());
    let access = access(store.clone(), seed);
    let disk = SimDisk::new(BYTES);
    let mut random = Random::new(seed);
    let mut contents = Vec::new();
    for blocks in [150, 30, 30, 30] {
        scribble(&disk, BYTES, &mut random, blocks);
        let id = point(&access, &disk, &Protect::default()).expect("a point").id;
        contents.push((id, disk.content(0, usize::try_from(BYTES).expect("a small disk"))));
    }
    Bed { store, access, contents }
}

impl Bed {
    fn find(&self, depth: Depth) -> Result<Secondary, Error> {
        newest_complete_point(&self.access, SERVER, &Options::new(depth), &Silent)
    }

    /// The point that is found reads as the disk was then.
    fn check(&self, found: &Secondary) -> PointId {
        let id = found.point.record.point().expect("a point").id;
        let link = found.view.find("latest").expect("a point");
        let reader =
            PointReader::open(&self.access, &found.view, link, "sda", 1 << 20).expect("a reader");
        let mut bytes = vec![0; usize::try_from(BYTES).expect("a small disk")];
        reader.read_at(0, &mut bytes).expect("whole");
        let (_, wanted) =
            self.contents.iter().find(|(known, _)| *known == id).expect("one of the points");
        assert!(bytes == *wanted, "wrong bytes");
        id
    }
}

#[test]
fn a_whole_copy_gives_its_newest_point() {
    let bed = bed(1);
    for depth in [Depth::Shallow, Depth::Deep] {
        let found = bed.find(depth).expect("a point");
        assert_eq!(bed.check(&found), bed.contents[3].0);
        assert!(found.passed_over.is_empty() && found.notes.is_empty());
    }
}

#[test]
fn objects_that_have_not_arrived_make_an_older_point_the_newest_whole_one() {
    let bed = bed(2);
    let whole = bed.store.snapshot();
    let names = bed.store.names();
    let mut random = Random::new(3);
    let mut older = 0;
    for _ in 0..40 {
        for name in &names {
            if random.below(14) == 0 {
                bed.store.lose(name);
            }
        }
        match bed.find(Depth::Shallow) {
            Ok(found) => {
                let id = bed.check(&found);
                let at = bed.contents.iter().position(|(known, _)| *known == id);
                older += u32::from(at != Some(3));
                // Whatever is newer and has a record is told.
                for (newer, _) in &bed.contents[at.expect("known") + 1..] {
                    let told = found.passed_over.iter().any(|passed| passed.point == Some(*newer));
                    let slot = found.point.record.slot;
                    let recorded = (slot + 1..8).any(|slot| {
                        read_slot(&bed.access, &SERVER, slot).is_ok_and(|link| {
                            link.record.point().is_some_and(|point| point.id == *newer)
                        })
                    });
                    assert_eq!(told, recorded);
                }
            }
            Err(error) => assert!(error.to_string().contains("replication"), "{error}"),
        }
        bed.store.roll_back(&whole);
    }
    assert!(older > 5, "only {older} rounds found an older point");
}

#[test]
fn a_cut_segment_passes_a_point_over_and_a_flipped_byte_does_when_read() {
    let bed = bed(4);
    let newest = crate::points::read_chain(&bed.access, SERVER).expect("a chain");
    let newest = newest.points().next_back().expect("a point").record.clone();
    let name = names::segment(&SERVER, &newest.segments()[0].segment);
    let body = bed.store.read_all(&name, 16 << 20).expect("a segment");
    bed.store.overwrite(&name, &body[..body.len() - 9]);
    let found = bed.find(Depth::Shallow).expect("a point");
    assert_eq!(bed.check(&found), bed.contents[2].0);
    assert!(found.passed_over[0].why.to_string().contains(&name));
    // The first frame of a small point is blocks: only reading them tells.
    let mut flipped = body;
    flipped[200] ^= 1;
    bed.store.overwrite(&name, &flipped);
    let found = bed.find(Depth::Deep).expect("a point");
    assert_eq!(bed.check(&found), bed.contents[2].0);
}

#[test]
fn frames_that_moved_are_found_whichever_of_the_two_places_has_arrived() {
    let bed = bed(5);
    let chain = crate::points::read_chain(&bed.access, SERVER).expect("a chain");
    let from = chain.points().next().expect("a point").record.segments()[0].segment;
    let into = relocate(&bed.access, SERVER, from);
    let both = bed.store.snapshot();
    for gone in [from, into] {
        assert!(bed.store.lose(&names::segment(&SERVER, &gone)));
        let found = bed.find(Depth::Deep).expect("a point");
        assert_eq!(bed.check(&found), bed.contents[3].0, "without {gone}");
        bed.store.roll_back(&both);
    }
    // Moved once more: the record of the second move is here, its segment is not.
    let again = relocate(&bed.access, SERVER, from);
    for gone in [from, again] {
        assert!(bed.store.lose(&names::segment(&SERVER, &gone)));
    }
    let found = bed.find(Depth::Deep).expect("a point");
    assert_eq!(bed.check(&found), bed.contents[3].0);
}

#[test]
fn nothing_whole_is_an_error_that_says_what_is_wrong_with_the_newest() {
    let bed = bed(6);
    for name in bed.store.names().iter().filter(|name| name.starts_with("seg/")) {
        bed.store.lose(name);
    }
    let error = bed.find(Depth::Shallow).err().expect("nothing is whole");
    assert!(error.to_string().contains("is missing"), "{error}");
}

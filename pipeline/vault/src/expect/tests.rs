//! Points and heads that somebody knows, held against chains that are whole, pruned, or rolled back.

use std::sync::Arc;

use hal_sim::SimDisk;
use hal_sim::random::Random;
use pipeline::ids::Digest;

use super::*;
use crate::chain::Chain;
use crate::points::read_chain;
use crate::record::RemovedPoint;
use crate::store::memory::MemoryStore;
use crate::test_bed::{BLOCK, SERVER, access as bed, point as protect, scribble};
use crate::writer::Options;

const BYTES: u64 = 20 * BLOCK;

fn three_points(seed: u64) -> (Arc<MemoryStore>, Access, Vec<PointId>) {
    let store = Arc::new(MemoryStore::new());
    let access = bed(store.clone(), seed);
    let disk = SimDisk::new(BYTES);
    let mut random = Random::new(seed);
    let mut ids = Vec::new();
    for _ in 0..3 {
        scribble(&disk, BYTES, &mut random, 9);
        ids.push(protect(&access, &disk, &Options::default()).expect("a point").id);
    }
    (store, access, ids)
}

#[test]
fn a_point_that_is_there_is_found_by_its_first_digits_and_nonsense_is_refused() {
    let (_, access, ids) = three_points(1);
    let view = read_chain(&access, SERVER).expect("a chain");
    for id in ids {
        assert_eq!(point(&view, &id.to_string()), Ok(Expected::Kept));
        assert_eq!(point(&view, &id.to_string()[..8].to_uppercase()), Ok(Expected::Kept));
    }
    for nonsense in ["", "latest", "zz", &"0".repeat(33)] {
        let error = point(&view, nonsense).expect_err("nonsense");
        assert_eq!(error.blame, crate::Blame::Misuse, "{error}");
    }
}

#[test]
fn a_point_that_is_gone_means_a_vault_rolled_back_unless_a_record_pruned_it() {
    let (store, access, ids) = three_points(2);
    let before = store.snapshot();
    let disk = SimDisk::new(BYTES);
    let newer = protect(&access, &disk, &Options::default()).expect("a point").id;
    store.roll_back(&before);
    let view = read_chain(&access, SERVER).expect("a chain");
    let error = point(&view, &newer.to_string()).expect_err("rolled back");
    assert!(error.to_string().contains("the vault was rolled back"), "{error}");
    let mut chain = Chain::open(&access, SERVER).expect("a chain");
    let first = view.points().next().expect("a point");
    let (slot, digest) = (first.record.slot, first.digest);
    let mut upkeep = chain.upkeep().expect("a chain");
    upkeep.cover(slot, digest);
    upkeep.action = Action::Prune { removed: vec![RemovedPoint { slot, id: ids[0], digest }] };
    chain.publish(Body::Upkeep(upkeep)).expect("a record");
    let by_slot = chain.head().expect("a head").record.slot;
    let view = read_chain(&access, SERVER).expect("a chain");
    assert_eq!(point(&view, &ids[0].to_string()), Ok(Expected::Pruned { by_slot }));
    assert!(point(&view, &newer.to_string()).is_err());
}

#[test]
fn a_head_that_was_seen_must_be_on_the_way() {
    let (store, access, _) = three_points(3);
    let before = store.snapshot();
    let old = read_chain(&access, SERVER).expect("a chain");
    let seen = KnownHead::from(&head_of(&old).expect("a head"));
    protect(&access, &SimDisk::new(BYTES), &Options::default()).expect("a point");
    let new = read_chain(&access, SERVER).expect("a chain");
    let newest = KnownHead::from(&head_of(&new).expect("a head"));
    head(&new, &seen).expect("on the way");
    head(&new, &newest).expect("the end of it");
    store.roll_back(&before);
    let back = read_chain(&access, SERVER).expect("a chain");
    assert!(head(&back, &newest).expect_err("rolled back").to_string().contains("rolled back"));
    protect(&access, &SimDisk::new(BYTES), &Options::default()).expect("a point");
    let forked = read_chain(&access, SERVER).expect("a chain");
    assert!(head(&forked, &newest).expect_err("written again").to_string().contains("replaced"));
    let other = KnownHead { digest: Digest([9; 32]), ..seen };
    assert!(head(&new, &other).is_err());
}

#[test]
fn freshness_is_said_as_people_say_it() {
    let (store, access, ids) = three_points(4);
    store.advance((3 * 60 + 12) * 60_000 + 5);
    let view = read_chain(&access, SERVER).expect("a chain");
    let fresh = freshness(&access, &view).expect("a clock").expect("a point");
    assert_eq!(fresh.point, ids[2]);
    assert!(fresh.to_string().starts_with("newest point 3 h 12 min old"), "{fresh}");
    for (millis, text) in [
        (999, "0 s"),
        (59_999, "59 s"),
        (61_000, "1 min 1 s"),
        (86_399_999, "23 h 59 min"),
        (90_000_000, "1 d 1 h"),
    ] {
        assert_eq!(Age(millis).to_string(), text);
    }
    let empty = ChainView { server: SERVER, links: Vec::new(), upkeep: Upkeep::default() };
    assert_eq!(freshness(&access, &empty), Ok(None));
}

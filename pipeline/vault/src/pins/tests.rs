//! Pins by themselves; what they keep from being deleted is in upkeep's tests.

use hal_sim::SimDisk;
use hal_sim::random::Random;

use super::*;
use crate::store::BlobStore;
use crate::store::fault::{FaultStore, Faults};
use crate::store::memory::MemoryStore;
use crate::test_bed::{BLOCK, SERVER, access, point, scribble};
use crate::writer;

fn vault() -> (Arc<MemoryStore>, Access) {
    let store = Arc::new(MemoryStore::new());
    let access = access(store.clone(), 9);
    let disk = SimDisk::new(20 * BLOCK);
    scribble(&disk, 20 * BLOCK, &mut Random::new(9), 10);
    point(&access, &disk, &writer::Options::default()).expect("a point");
    (store, access)
}

#[test]
fn a_pin_says_what_it_pins_and_goes_with_its_reader() {
    let (store, access) = vault();
    let pinned = pin_and_check(&access, SERVER, 1, "drill on host a").expect("a pin");
    let found = list(&access, &SERVER).expect("pins");
    let record = found[0].pin.clone().expect("it opens");
    assert_eq!((record.slot, record.reader.as_str()), (1, "drill on host a"));
    assert_eq!(Some(record.point), pinned.point.record.point().map(|point| point.id));
    assert_eq!(record.expires, record.made + LIFE);
    let now = access.store.now().expect("memory");
    assert!(found[0].is_live(now + LIFE + SLACK) && !found[0].is_live(now + LIFE + SLACK + 1));
    drop(pinned);
    assert_eq!(list(&access, &SERVER).expect("pins"), []);
    assert!(store.names().iter().all(|name| !name.starts_with("pin/")));
}

#[test]
fn renewing_makes_a_new_object_that_keeps_the_beginning() {
    let (store, access) = vault();
    let pinned = pin_and_check(&access, SERVER, 1, "a test").expect("a pin");
    let pin = pinned.pin.as_ref().expect("a pin");
    let first = pin.record();
    for _ in 0..3 {
        store.advance(LIFE / 2);
        pin.renew().expect("a renewal");
    }
    let found = list(&access, &SERVER).expect("pins");
    assert_eq!(found.len(), 1);
    let record = found[0].pin.clone().expect("it opens");
    assert_eq!(record.made, first.made);
    assert_eq!(record.expires, first.made + LIFE / 2 * 3 + LIFE);
    assert!(found[0].since() < first.made);
}

#[test]
fn a_checkpoint_or_a_slot_that_is_not_there_cannot_be_pinned() {
    let (store, access) = vault();
    assert!(
        pin_and_check(&access, SERVER, 0, "a test")
            .is_err_and(|e| e.what.contains("no recovery point"))
    );
    assert!(pin_and_check(&access, SERVER, 77, "a test").is_err_and(|e| e.is_missing()));
    assert!(store.names().iter().all(|name| !name.starts_with("pin/")));
}

#[test]
fn pins_that_do_not_open_are_listed_as_such() {
    let (store, access) = vault();
    let pinned = pin_and_check(&access, SERVER, 1, "a test").expect("a pin");
    let name = list(&access, &SERVER).expect("pins")[0].name.clone();
    let bytes = store.read_all(&name, 1 << 16).expect("a pin");
    store.create(&names::pin(&SERVER, "copied"), &bytes).expect("a fresh name");
    store.create(&names::pin(&SERVER, "empty"), b"").expect("a fresh name");
    crate::scratch::mutations(&bytes, 60, |bad| {
        store.overwrite(&names::pin(&SERVER, "mutated"), bad);
        let found = list(&access, &SERVER).expect("pins");
        assert_eq!(found.len(), 4);
        let unknown = found.iter().filter(|found| found.pin.is_none()).count();
        assert!(unknown >= 2, "{unknown}");
        let now = store.now().expect("memory");
        assert!(found.iter().all(|found| found.is_live(now)));
        let week = now + UNKNOWN_LIFE + 1;
        assert!(found.iter().all(|found| !found.is_live(week)));
    });
    drop(pinned);
}

#[test]
fn a_hold_is_a_pin_with_a_byte_behind() {
    let record = |hold| PinRecord {
        server: ServerId([1; 16]),
        slot: 7,
        point: PointId([8; 16]),
        made: 5,
        expires: 200,
        reader: "me".to_owned(),
        hold,
    };
    // Pinned: a change here breaks every vault.
    let plain = [&[1; 16][..], &[7], &[8; 16], &[5, 200, 1, 2], b"me"].concat();
    let held = [&plain[..], &[1]].concat();
    assert_eq!(record(false).encode().expect("a pin"), plain);
    assert_eq!(record(true).encode().expect("a pin"), held);
    assert_eq!(PinRecord::decode(&plain).expect("a pin"), record(false));
    assert_eq!(PinRecord::decode(&held).expect("a pin"), record(true));
    // What a later version puts behind is passed over, and an older one passes over the byte.
    let later = [&held[..], &[9, 9]].concat();
    assert_eq!(PinRecord::decode(&later).expect("a pin"), record(true));
    assert_eq!(postcard::from_bytes::<PinRecord>(&held).expect("a pin"), record(false));
    (0..plain.len()).for_each(|less| assert!(PinRecord::decode(&plain[..less]).is_err()));
}

#[test]
fn a_hold_outlives_its_maker_ends_by_itself_and_can_be_released() {
    let (store, access) = vault();
    let held = hold(&access, SERVER, 1, "the tripwire", 30 * LIFE).expect("a hold");
    assert_eq!(holds(&access, &SERVER).expect("holds"), core::slice::from_ref(&held));
    let reader = pin_and_check(&access, SERVER, 1, "a reader").expect("a pin");
    assert_eq!(holds(&access, &SERVER).expect("holds").len(), 1, "a reader holds nothing");
    assert_eq!(release(&access, &SERVER, PointId([7; 16])).expect("none"), 0);
    assert_eq!(release(&access, &SERVER, held.point).expect("one"), 1);
    assert_eq!(list(&access, &SERVER).expect("pins").len(), 1, "the reader's stays");
    drop(reader);
    hold(&access, SERVER, 1, "again", LIFE).expect("a hold");
    store.advance(LIFE + SLACK);
    assert_eq!(holds(&access, &SERVER).expect("holds").len(), 1);
    store.advance(1);
    assert_eq!(holds(&access, &SERVER).expect("holds"), []);
    assert!(hold(&access, SERVER, 0, "no point", LIFE).is_err());
}

#[test]
fn whatever_fails_while_a_point_is_held_for_another_reason_it_stays_held() {
    let done = (0..100).find(|calls| {
        let (store, access) = vault();
        hold(&access, SERVER, 1, "first", LIFE).expect("a hold");
        let faulty = Arc::new(FaultStore::new(store, Faults::stop_after(*calls), 1));
        let stopped = Access { store: faulty, ..access.clone() };
        let done = hold_instead(&stopped, SERVER, 1, "second", LIFE).is_ok();
        let held = holds(&access, &SERVER).expect("holds");
        let reasons: Vec<&str> = held.iter().map(|hold| &*hold.reader).collect();
        assert!(!reasons.is_empty(), "stopped after {calls} calls");
        assert!(!done || reasons == ["second"], "{reasons:?}");
        done
    });
    assert!(done.is_some_and(|calls| calls > 4), "{done:?}");
}

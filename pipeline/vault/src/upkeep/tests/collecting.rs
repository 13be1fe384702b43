//! What is deleted, what is spared, and for how long.

use super::*;
use crate::error::Blame;
use crate::pins::{self, pin_and_check};
use crate::record::{Action, Body, Condemned};
use crate::store::fault::{FaultStore, Faults};

/// Old content that only old points need, then new content; upkeep has pruned and condemned.
fn condemned(seed: u64) -> (Bed, BTreeSet<SegmentId>) {
    let mut bed = Bed::new(seed);
    for _ in 0..6 {
        bed.point(40);
        bed.pass(DAY);
    }
    let report = bed.upkeep("4d", &plain()).expect("upkeep");
    assert!(report.segments_condemned > 0, "{report:?}");
    let condemned = bed.state().condemned.iter().map(|entry| entry.segment).collect();
    (bed, condemned)
}

#[test]
fn condemned_segments_go_when_the_grace_is_over_and_not_before() {
    let (mut bed, condemned) = condemned(30);
    bed.pass(DAY - 1);
    let early = bed.upkeep("99d", &plain()).expect("upkeep");
    assert_eq!(early.objects_deleted, 0);
    assert!(condemned.is_subset(&bed.segments()));
    bed.pass(1);
    let report = bed.upkeep("99d", &plain()).expect("upkeep");
    assert!(report.objects_deleted >= condemned.len() as u64 && report.deleted_bytes > 0);
    assert!(condemned.is_disjoint(&bed.segments()));
    assert_eq!(bed.state().condemned, []);
    bed.assert_points_whole();
    bed.assert_verified();
}

#[test]
fn segments_that_no_record_names_go_when_they_are_old_enough_for_no_writer_to_name_them() {
    let mut bed = Bed::new(31);
    bed.point(30);
    // A run that stops before it publishes: its segments are orphans.
    scribble(&bed.disk, BYTES, &mut bed.random, 60);
    let mut stopped = false;
    for calls in 4..200 {
        let inner = Arc::clone(&bed.store) as Arc<dyn BlobStore>;
        let faults = FaultStore::new(inner, Faults::stop_after(calls), 1);
        let access = bed.access_to(Arc::new(faults));
        let before = bed.segments().len();
        assert!(point(&access, &bed.disk, &writer::Options::default()).is_err(), "{calls}");
        if bed.segments().len() > before {
            stopped = true;
            break;
        }
    }
    assert!(stopped);
    let orphans: BTreeSet<SegmentId> = {
        let report = bed.assert_verified();
        assert!(report.orphans.objects > 0, "{report:?}");
        bed.segments()
    };
    bed.pass(7 * DAY - 1);
    assert_eq!(bed.upkeep("999d", &plain()).expect("upkeep").segments_condemned, 0);
    bed.pass(1);
    assert!(bed.upkeep("999d", &plain()).expect("upkeep").segments_condemned > 0);
    bed.pass(DAY);
    bed.upkeep("999d", &plain()).expect("upkeep");
    assert!(bed.segments().len() < orphans.len());
    assert_eq!(bed.assert_verified().orphans.objects, 0);
    bed.point(10);
    bed.assert_settles("999d");
}

#[test]
fn objects_that_are_immutable_go_after_their_term_and_the_rest_goes_on() {
    let (mut bed, condemned) = condemned(32);
    bed.store.keep_for(Some(30 * DAY));
    bed.pass(2 * DAY);
    let report = bed.upkeep("4d", &plain()).expect("upkeep");
    assert!(report.deletes_refused > 0 && report.troubles[0].contains("immutable"), "{report:?}");
    assert!(condemned.is_subset(&bed.segments()));
    bed.assert_points_whole();
    bed.assert_verified();
    bed.point(5);
    bed.pass(30 * DAY);
    bed.upkeep("99d", &plain()).expect("upkeep");
    assert!(condemned.is_disjoint(&bed.segments()));
    bed.assert_settles("99d");
}

#[test]
fn what_is_condemned_and_reached_all_the_same_is_rescued() {
    let mut bed = Bed::new(33);
    bed.point(40);
    bed.point(40);
    let all = bed.segments();
    let access = bed.access();
    let mut chain = Chain::open(&access, SERVER).expect("a chain");
    let mut wrong = Upkeep { action: Action::Condemn, ..Upkeep::default() };
    let since = access.store.now().expect("memory");
    wrong.condemned = all.iter().map(|segment| Condemned { segment: *segment, since }).collect();
    chain.publish(Body::Upkeep(wrong)).expect("a record");
    bed.pass(2 * DAY);
    let report = bed.upkeep("99d", &plain()).expect("upkeep");
    assert!(report.segments_rescued > 0 && report.objects_deleted <= 1, "{report:?}");
    assert_eq!(bed.segments(), all);
    assert!(bed.state().condemned.is_empty());
    bed.assert_points_whole();
}

#[test]
fn a_pinned_point_is_readable_after_it_was_pruned_until_its_reader_is_done() {
    let mut bed = Bed::new(34);
    for _ in 0..6 {
        bed.point(40);
        bed.pass(DAY);
    }
    let access = bed.access();
    let view = read_chain(&access, SERVER).expect("a chain");
    let first = view.points().next().expect("a point").clone();
    let slot = first.record.slot;
    let pinned = pin_and_check(&access, SERVER, slot, "a test").expect("a pin");
    assert!(pinned.pin.is_some() && pinned.unpinned.is_none());
    for _ in 0..8 {
        bed.upkeep("3d", &Options { confirmed: true, ..Options::default() }).expect("upkeep");
        bed.pass(DAY / 4);
        pinned.pin.as_ref().expect("a pin").renew().expect("a renewal");
        bed.pass(DAY / 4);
        bed.point(8);
    }
    assert!(bed.state().gap_of(slot).is_some());
    let id = first.record.point().expect("a point").id;
    let frames = FrameReader::new(&access, SERVER, &pinned.upkeep, 1 << 20).expect("a reader");
    let restored = back(&frames, first.record.point().expect("a point"));
    assert_eq!(restored.expect("its reader began before it was pruned"), bed.contents[&id]);
    crate::chain::read_slot(&access, &SERVER, slot).expect("its record stays too");
    drop(pinned);
    assert!(list_all(&*bed.store, "pin/").expect("a listing").is_empty());
    bed.pass(2 * DAY);
    bed.upkeep("3d", &Options { confirmed: true, ..plain() }).expect("upkeep");
    assert!(back(&frames, first.record.point().expect("a point")).is_err());
    assert!(crate::chain::read_slot(&access, &SERVER, slot).is_err_and(|error| error.is_missing()));
    bed.assert_settles("3d");
}

#[test]
fn a_reader_with_a_pin_keeps_what_it_saw_and_one_without_only_for_the_grace() {
    for with_pin in [true, false] {
        let mut bed = Bed::new(35);
        for _ in 0..12 {
            bed.small_point();
            bed.pass(HOUR);
        }
        let access = bed.access();
        let newest = Chain::open(&access, SERVER).expect("a chain").trail().point.expect("a point");
        let pinned = pin_and_check(&access, SERVER, newest, "a test").expect("a pin");
        let frames = FrameReader::new(&access, SERVER, &pinned.upkeep, 1 << 20).expect("a reader");
        let kept = if with_pin { pinned.pin } else { None };
        let report = bed.upkeep("99d", &Options::default()).expect("upkeep");
        assert!(report.segments_moved >= 12, "{report:?}");
        for _ in 0..10 {
            bed.pass(DAY / 5);
            kept.iter().for_each(|pin| pin.renew().expect("a renewal"));
        }
        let report = bed.upkeep("99d", &plain()).expect("upkeep");
        assert_eq!(report.segments_pinned > 0, with_pin, "{report:?}");
        let done = back(&frames, pinned.point.record.point().expect("a point"));
        assert_eq!(done.is_ok(), with_pin, "{done:?}");
        drop(kept);
        bed.assert_points_whole();
        bed.assert_settles("99d");
    }
}

#[test]
fn a_pin_that_comes_too_late_says_so_and_protects_nothing() {
    let (mut bed, _) = condemned(36);
    let access = bed.access();
    let slot = bed.state().gaps[0].first + 1;
    let error = pin_and_check(&access, SERVER, slot, "a test").err().expect("pruned");
    assert!(error.what.contains("pruned"), "{error}");
    assert!(list_all(&*bed.store, "pin/").expect("a listing").is_empty());
}

#[test]
fn a_reader_that_may_not_write_goes_on_without_a_pin() {
    let mut bed = Bed::new(37);
    bed.point(5);
    let inner = Arc::clone(&bed.store) as Arc<dyn BlobStore>;
    let access = bed.access_to(Arc::new(GuardedStore::new(inner, |change| match change {
        Change::Create(name, _) => Err(Error::refused(name, "may not be created")),
        Change::Delete(name) => Err(Error::refused(name, "may not be deleted")),
    })));
    let pinned = pin_and_check(&access, SERVER, 1, "a test").expect("readable");
    assert!(pinned.pin.is_none());
    assert_eq!(pinned.unpinned.map(|error| error.blame), Some(Blame::Refused));
}

#[test]
fn a_pin_that_nobody_can_open_holds_for_a_week() {
    let (mut bed, condemned) = condemned(38);
    bed.store.create(&names::pin(&SERVER, "foreign"), b"what is this").expect("a fresh name");
    for _ in 0..6 {
        bed.pass(DAY);
        let report = bed.upkeep("99d", &plain()).expect("upkeep");
        assert!(report.segments_pinned > 0, "{report:?}");
        assert!(condemned.is_subset(&bed.segments()));
    }
    bed.pass(2 * DAY);
    bed.upkeep("99d", &plain()).expect("upkeep");
    assert!(condemned.is_disjoint(&bed.segments()));
    bed.assert_settles("99d");
}

#[test]
fn an_expired_pin_protects_nothing_and_is_taken_away() {
    let (mut bed, condemned) = condemned(39);
    let access = bed.access();
    let slot = Chain::open(&access, SERVER).expect("a chain").trail().point.expect("a point");
    let pinned = pin_and_check(&access, SERVER, slot, "a test").expect("a pin");
    // The reader's machine is gone: nobody renews and nobody takes the pin away.
    core::mem::forget(pinned);
    assert_eq!(pins::list(&access, &SERVER).expect("pins").len(), 1);
    bed.pass(2 * DAY);
    bed.upkeep("99d", &plain()).expect("upkeep");
    assert!(condemned.is_disjoint(&bed.segments()));
    assert!(pins::list(&access, &SERVER).expect("pins").is_empty());
}

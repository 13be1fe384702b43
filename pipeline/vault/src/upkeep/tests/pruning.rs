//! Which points go, and what is refused because it looks like a mistake.

use hal::time::UnixMillis;

use super::*;
use crate::chain::read_slot;
use crate::record::{Action, Body};
use crate::store::fault::{FaultStore, Faults};

/// Ten points, a day apart; the newest is a minute old.
fn ten_days(seed: u64) -> Bed {
    let mut bed = Bed::new(seed);
    for _ in 0..10 {
        bed.pass(DAY);
        bed.point(6);
    }
    bed.pass(60_000);
    bed
}

#[test]
fn what_the_policy_does_not_keep_goes_and_the_record_names_it() {
    let mut bed = ten_days(10);
    let before = bed.points();
    let access = bed.access();
    let planned = plan(&access, SERVER, &Policy::parse("6d").expect("a policy")).expect("a plan");
    assert_eq!(planned.refusal, None);
    let report = bed.upkeep("6d", &plain()).expect("upkeep");
    assert_eq!((report.points_kept, report.points_removed), (6, 4));
    assert_eq!(bed.points(), before[4..]);
    let gone: Vec<PointId> = planned.removed().map(|point| point.id).collect();
    assert_eq!(gone, before[..4]);
    let chain = Chain::open(&access, SERVER).expect("a chain");
    let records = (0..=chain.head().expect("a head").record.slot)
        .filter_map(|slot| read_slot(&access, &SERVER, slot).ok());
    let removed: Vec<_> = records
        .filter_map(|link| match &link.record.body {
            Body::Upkeep(Upkeep { action: Action::Prune { removed }, .. }) => Some(removed.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(removed.len(), 4);
    for (removed, id) in removed.iter().zip(&before) {
        let link = read_slot(&access, &SERVER, removed.slot).expect("it stays for the grace");
        assert_eq!((removed.id, removed.digest), (*id, link.digest));
    }
    bed.assert_points_whole();
    bed.assert_verified();
    bed.assert_settles("6d");
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_would_go() {
    let mut bed = ten_days(11);
    let before = bed.store.names();
    let options = Options { dry_run: true, ..Options::default() };
    let dry = bed.upkeep("6d", &options).expect("upkeep");
    assert_eq!(bed.store.names(), before);
    assert_eq!((dry.points_kept, dry.points_removed), (6, 4));
    let wet = bed.upkeep("6d", &plain()).expect("upkeep");
    assert!(wet.segments_condemned > 0);
    assert_eq!(dry.segments_condemned, wet.segments_condemned);
    assert_eq!(dry.condemned_bytes, wet.condemned_bytes);
}

#[test]
fn more_than_half_goes_only_when_somebody_says_so() {
    let mut bed = ten_days(12);
    let before = bed.store.names();
    let error = bed.upkeep("4d", &plain()).expect_err("6 of 10");
    assert!(error.to_string().contains("6 of 10 points"), "{error}");
    assert_eq!(bed.store.names(), before);
    let dry = Options { dry_run: true, ..plain() };
    let dry = bed.upkeep("4d", &dry).expect("a dry run");
    assert!(dry.troubles[0].contains("more than half"), "{:?}", dry.troubles);
    assert_eq!(bed.upkeep("5d", &plain()).expect("half").points_removed, 5);
    let confirmed = Options { confirmed: true, ..plain() };
    assert_eq!(bed.upkeep("1h", &confirmed).expect("confirmed").points_removed, 4);
    assert_eq!(bed.points().len(), 1);
    bed.assert_points_whole();
}

#[test]
fn the_newest_point_stays_whatever_the_clocks_say() {
    let mut bed = ten_days(13);
    bed.pass(1000 * DAY);
    let confirmed = Options { confirmed: true, ..plain() };
    let newest = bed.points()[9];
    bed.upkeep("1h", &confirmed).expect("confirmed");
    assert_eq!(bed.points(), [newest]);
    bed.pass(1000 * DAY);
    bed.upkeep("1h", &confirmed).expect("confirmed");
    assert_eq!(bed.points(), [newest]);
    bed.assert_settles("1h");
}

#[test]
fn a_machine_whose_clock_runs_ahead_prunes_by_the_stores() {
    let mut bed = ten_days(14);
    bed.clock.jump(UnixMillis(bed.clock.now().0 + 50 * 60_000));
    // The oldest point is 9 days and a minute old; by this machine's clock it would be 50 minutes older.
    let report = bed.upkeep("217h", &plain()).expect("upkeep");
    assert_eq!(report.points_removed, 0);
    let report = bed.upkeep("216h", &plain()).expect("upkeep");
    assert_eq!(report.points_removed, 1);
}

#[test]
fn a_clock_that_jumped_prunes_nothing_without_a_confirmation() {
    for (jump_local, jump_store) in [(400, 0), (0, 400), (-400, 0), (0, -400), (-400, -400)] {
        let mut bed = ten_days(15);
        let moved = |now: u64, days: i64| now.saturating_add_signed(days * 24 * 3_600_000);
        bed.clock.jump(UnixMillis(moved(bed.clock.now().0, jump_local)));
        bed.store.set_now(moved(bed.store.now().expect("memory"), jump_store));
        let before = bed.store.names();
        match bed.upkeep("6d", &plain()) {
            // By the earlier clock nothing is old enough.
            Ok(report) => assert_eq!(report.points_removed, 0),
            Err(error) => assert!(error.what.contains("clock"), "{error}"),
        }
        assert_eq!(bed.points().len(), 10);
        if (jump_local, jump_store) == (400, 0) || (jump_local, jump_store) == (0, 400) {
            assert_eq!(bed.store.names(), before);
        }
    }
}

#[test]
fn a_clock_before_the_newest_record_is_not_believed() {
    let mut bed = ten_days(16);
    let back = bed.clock.now().0 - 2 * DAY;
    bed.clock.jump(UnixMillis(back));
    bed.store.set_now(back);
    let error = bed.upkeep("5d", &plain()).expect_err("two days before the newest record");
    assert!(error.what.contains("before the newest record"), "{error}");
    assert_eq!(bed.points().len(), 10);
    let confirmed = Options { confirmed: true, ..plain() };
    assert!(bed.upkeep("5d", &confirmed).expect("confirmed").points_removed > 0);
    bed.assert_points_whole();
}

#[test]
fn a_stolen_slot_is_not_taken_for_a_pruned_one() {
    let mut bed = ten_days(17);
    assert!(bed.store.lose(&names::chain_slot(&SERVER, 5)));
    let before = bed.store.names();
    let error = bed.upkeep("6d", &plain()).expect_err("a slot is gone");
    assert!(error.is_missing() && error.object == names::chain_slot(&SERVER, 5), "{error}");
    assert_eq!(bed.store.names(), before);
}

#[test]
fn a_record_of_another_history_stops_upkeep() {
    let mut bed = ten_days(18);
    let mut other = bed.fork();
    bed.point(3);
    bed.point(3);
    other.point(3);
    other.point(3);
    let (slot, name) = (22, names::chain_slot(&SERVER, 22));
    let swapped = other.store.read_all(&name, 1 << 20).expect("a record");
    bed.store.overwrite(&name, &swapped);
    let error = bed.upkeep("6d", &plain()).expect_err("two histories");
    assert!(error.what.contains("does not follow"), "{slot}: {error}");
}

#[test]
fn superseded_records_leave_the_chain_and_go_after_the_grace() {
    let mut bed = ten_days(19);
    let slots =
        |bed: &Bed| list_all(&*bed.store, &names::chain_prefix(&SERVER)).expect("a listing").len();
    assert_eq!(slots(&bed), 20);
    let report = bed.upkeep("6d", &plain()).expect("upkeep");
    // Nine epoch-opens and, at the second record, the upkeep before: the newest of each stays, and so does the head.
    assert!(report.records_covered >= 9, "{report:?}");
    assert!(slots(&bed) > 20);
    bed.pass(23 * HOUR);
    bed.upkeep("99d", &plain()).expect("upkeep");
    assert!(slots(&bed) > 20);
    bed.pass(2 * HOUR);
    bed.upkeep("99d", &plain()).expect("upkeep");
    assert!(slots(&bed) <= 6 + 1 + 3, "{}", slots(&bed));
    bed.assert_points_whole();
    bed.assert_verified();
}

#[test]
fn an_identity_that_may_only_create_prunes_and_leaves_the_deleting_to_another() {
    let mut bed = ten_days(20);
    let faults = Faults { delete_refused: 1000, ..Faults::default() };
    let inner = Arc::clone(&bed.store) as Arc<dyn BlobStore>;
    let creating: Arc<dyn BlobStore> = Arc::new(FaultStore::new(inner, faults, 1));
    let access = bed.access_to(creating);
    let policy = Policy::parse("6d").expect("a policy");
    let first = run(&access, SERVER, &policy, &plain()).expect("upkeep");
    assert_eq!((first.points_removed, first.deletes_refused), (4, 0));
    bed.pass(2 * DAY);
    let segments = bed.segments();
    let second = run(&access, SERVER, &policy, &plain()).expect("upkeep");
    assert!(second.deletes_refused > 0 && second.objects_deleted == 0, "{second:?}");
    assert_eq!(second.deletes_refused, second.troubles.len() as u64);
    assert!(second.troubles[0].contains("may not be deleted"), "{:?}", second.troubles);
    assert_eq!(bed.segments(), segments);
    bed.assert_points_whole();
    bed.assert_verified();
    let third = bed.upkeep("6d", &plain()).expect("upkeep");
    assert_eq!(third.deletes_refused, 0);
    assert!(third.objects_deleted >= second.deletes_refused, "{third:?}");
    bed.assert_settles("6d");
}

#[test]
fn a_point_that_is_held_stays_whatever_the_policy_says_until_its_hold_ends() {
    let mut bed = ten_days(21);
    let before = bed.points();
    let access = bed.access();
    let view = read_chain(&access, SERVER).expect("a chain");
    let slots: Vec<u64> = view.points().map(|link| link.record.slot).collect();
    crate::pins::hold(&access, SERVER, slots[1], "tripwire", 3 * DAY).expect("a hold");
    crate::pins::hold(&access, SERVER, slots[1], "twice", 2 * DAY).expect("a hold");
    let planned = plan(&access, SERVER, &Policy::parse("6d").expect("a policy")).expect("a plan");
    assert_eq!(planned.points[1].fate.reasons, [crate::retain::Reason::Held]);
    assert_eq!(bed.upkeep("6d", &plain()).expect("upkeep").points_removed, 3);
    assert_eq!(bed.points(), [&before[1..2], &before[4..]].concat());
    bed.assert_points_whole();
    bed.pass(2 * DAY);
    let confirmed = Options { confirmed: true, ..plain() };
    bed.upkeep("1h", &confirmed).expect("upkeep");
    assert_eq!(bed.points(), [before[1], before[9]]);
    bed.assert_points_whole();
    bed.pass(DAY + crate::pins::SLACK + 1);
    bed.upkeep("1h", &confirmed).expect("upkeep");
    assert_eq!(bed.points(), before[9..]);
    bed.assert_verified();
}

//! A machine that stops at any call: what was published stands, what was not did not happen, a later run ends the job.

use super::*;
use crate::store::fault::{FaultStore, Faults};

const POLICY: &str = "30h,daily=4d";

/// A vault in which a run of upkeep has all of its work to do: points to prune, condemned segments and covered slots
/// whose grace is over, an ended pin, an orphan, small segments to merge.
fn busy(seed: u64) -> Bed {
    let mut bed = Bed::new(seed);
    for _ in 0..4 {
        bed.point(14);
        bed.pass(DAY / 2);
    }
    for _ in 0..9 {
        bed.small_point();
        bed.pass(HOUR);
    }
    bed.upkeep("3d", &Options::default()).expect("upkeep");
    bed.upkeep("1d", &plain()).expect("upkeep");
    let access = bed.access();
    let newest = Chain::open(&access, SERVER).expect("a chain").trail().point.expect("a point");
    let pinned = crate::pins::pin_and_check(&access, SERVER, newest, "gone").expect("a pin");
    // Its reader's machine is gone.
    core::mem::forget(pinned);
    bed.store.create(&names::segment(&SERVER, &SegmentId([7; 16])), b"orphan").expect("a name");
    bed.pass(8 * DAY);
    for _ in 0..9 {
        bed.small_point();
        bed.pass(HOUR);
    }
    bed.pass(DAY);
    bed.point(10);
    bed
}

fn options() -> Options {
    Options { confirmed: true, ..Options::default() }
}

/// What upkeep has to do in the vault above, so that the tests below cannot pass by doing nothing.
#[test]
fn the_busy_vault_needs_every_step() {
    let mut bed = busy(70);
    let report = bed.upkeep(POLICY, &options()).expect("upkeep");
    assert!(report.points_removed > 0, "{report:?}");
    assert!(report.records_covered > 0, "{report:?}");
    assert!(report.segments_condemned > 0, "{report:?}");
    assert!(report.objects_deleted > 0 && report.deleted_bytes > 0, "{report:?}");
    assert!(report.segments_moved > 0 && report.segments_written > 0, "{report:?}");
    assert!(list_all(&*bed.store, "pin/").expect("a listing").is_empty());
    bed.assert_settles(POLICY);
}

/// Runs upkeep on a machine that stops after so many calls; true where it came to its end before.
fn stopped_after(bed: &mut Bed, calls: u64, does_last: bool) -> bool {
    let faults = Faults { stop_does_last: does_last, ..Faults::stop_after(calls) };
    let inner = Arc::clone(&bed.store) as Arc<dyn BlobStore>;
    let faulty = Arc::new(FaultStore::new(inner, faults, 1));
    let access = bed.access_to(faulty.clone());
    let policy = Policy::parse(POLICY).expect("a policy");
    let result = run(&access, SERVER, &policy, &options());
    assert_eq!(result.is_ok(), !faulty.is_stopped(), "{result:?}");
    result.is_ok()
}

/// A push tries one call of three, another one before it than behind it; `LIFEBOAT_TESTS=all` each.
fn killed_at_every_call(does_last: bool) {
    let mut bed = busy(71);
    let mut goal = bed.fork();
    goal.upkeep(POLICY, &options()).expect("upkeep");
    let expected = goal.points();
    let all = std::env::var("LIFEBOAT_TESTS").is_ok_and(|which| which == "all");
    let step = if all { 1 } else { 3 };
    for calls in (u64::from(does_last)..).step_by(step) {
        let mut bed = bed.fork();
        let before = bed.points();
        let finished = stopped_after(&mut bed, calls, does_last);
        let after = bed.points();
        // Pruning is one record: all of it happened or none.
        assert!(after == before || after == expected, "call {calls}");
        bed.assert_points_whole();
        bed.point_unchanged();
        bed.upkeep(POLICY, &options()).expect("the next run");
        bed.assert_points_whole();
        if calls % 8 < 2 || finished {
            bed.assert_settles(POLICY);
        }
        if finished {
            assert!(calls > 60, "only {calls} calls: there was nothing to do");
            return;
        }
    }
}

#[test]
fn killed_before_any_call_upkeep_loses_nothing_and_ends_later() {
    killed_at_every_call(false);
}

#[test]
fn killed_after_any_call_upkeep_loses_nothing_and_ends_later() {
    killed_at_every_call(true);
}

#[test]
fn killed_again_and_again_upkeep_ends_and_leaves_nothing() {
    let mut bed = busy(72);
    for calls in [7, 40, 80, 23, 60, 100, 12, 90, 130, 33] {
        stopped_after(&mut bed, calls, calls % 2 == 0);
        bed.assert_points_whole();
        bed.pass(5 * HOUR);
        bed.small_point();
    }
    bed.assert_settles(POLICY);
}

#[test]
fn a_lost_reply_to_any_call_loses_nothing() {
    for seed in 0..12 {
        let mut bed = busy(73);
        let faults = Faults { reply_lost: 150, fails_before: 30, ..Faults::default() };
        let inner = Arc::clone(&bed.store) as Arc<dyn BlobStore>;
        let faulty = Arc::new(FaultStore::new(inner, faults, seed));
        let access = bed.access_to(faulty);
        let policy = Policy::parse(POLICY).expect("a policy");
        for _ in 0..6 {
            if let Err(error) = run(&access, SERVER, &policy, &options()) {
                assert_eq!(error.retry, Retry::Later, "{error}");
            }
            bed.assert_points_whole();
        }
        bed.point_unchanged();
        bed.assert_settles(POLICY);
    }
}

//! The schedule against clocks and writers of its own.

use super::*;

const INTERVAL: u64 = 10_000;

/// Makes points as they are due, each of which takes as long as `takes` says of its blocks; how old the newest in the vault
/// was when each came. `rate` says how many blocks are written a second at a moment.
fn ages(
    points: usize,
    rate: &dyn Fn(u64) -> u64,
    takes: &dyn Fn(u64) -> u64,
) -> (Vec<u64>, Schedule) {
    let mut schedule = Schedule::new(Moment(0));
    schedule.set_interval(INTERVAL);
    let (mut now, mut written, mut epoch, mut before) = (0, 0, 0, None);
    let mut ages = Vec::new();
    while ages.len() < points {
        while Moment(now) < schedule.due(written) {
            now += 100;
            written += rate(now) / 10;
        }
        let begun = Begun { at: Moment(now), written };
        let length = takes(begun.written - schedule.written);
        let instant = now + length / 2;
        epoch += 1;
        schedule.made(epoch, begun, (Moment(instant), false), Moment(instant + 1));
        written += rate(now) * length / 1000;
        now += length;
        schedule.vaulted(epoch, Moment(now));
        ages.extend(before.map(|before| now - before));
        before = Some(instant);
    }
    (ages, schedule)
}

#[test]
fn the_next_point_is_in_the_vault_before_the_newest_is_as_old_as_the_interval() {
    for length in [100, 1000, 2000, 3500] {
        let (ages, _) = ages(20, &|_| 0, &|_| length);
        // The first has nothing to foresee by.
        assert!(ages[1..].iter().all(|age| *age <= INTERVAL), "{length} ms: {ages:?}");
        assert!(ages[1..].iter().all(|age| *age >= INTERVAL * 3 / 4), "too often: {ages:?}");
    }
}

#[test]
fn also_where_writers_begin_that_nobody_knew_of() {
    // Nothing for half a minute, then 20 MB/s of whole blocks, each of which takes half a millisecond.
    let rate = |now: u64| if now < 35_000 { 0 } else { 305 };
    let (ages, _) = ages(20, &rate, &|blocks| 300 + blocks / 2);
    assert!(ages[1..].iter().all(|age| *age <= INTERVAL), "{ages:?}");
    // And where blocks turned out to take twice what nobody had measured, from the second on.
    let (ages, _) = self::ages(20, &rate, &|blocks| 300 + 3 * blocks / 2);
    assert!(ages.iter().filter(|age| **age > INTERVAL).count() <= 1, "{ages:?}");
}

#[test]
fn points_do_not_crowd_where_nothing_early_would_help() {
    let (ages, schedule) = ages(20, &|_| 0, &|_| 40_000);
    assert!(ages[1..].iter().all(|age| *age >= 40_000), "{ages:?}");
    let (instant, _) = schedule.newest.unwrap();
    assert_eq!(schedule.due(u64::MAX), instant.after(INTERVAL / 2));
    let mut late = Schedule::new(Moment(0));
    late.set_interval(INTERVAL);
    late.made(1, Begun::default(), (Moment(100), false), Moment(30_000));
    assert_eq!(late.due(0), Moment(32_500), "compares want to go on too");
}

#[test]
fn an_outage_says_nothing_of_points_and_a_slow_one_is_forgotten() {
    let mut schedule = Schedule::new(Moment(0));
    schedule.set_interval(INTERVAL);
    schedule.made(1, Begun::default(), (Moment(100), false), Moment(200));
    schedule.session_lost();
    schedule.vaulted(1, Moment(500_000));
    assert_eq!(schedule.due(0), Moment(100 + INTERVAL - MARGIN_MILLIS));
    for epoch in 2..2 + 9 {
        let at = Moment(epoch * 1_000_000);
        let length = if epoch == 2 { 3000 } else { 100 };
        schedule.made(epoch, Begun { at, written: 0 }, (at, false), at);
        schedule.vaulted(epoch, at.after(length));
        let foreseen = if epoch < 10 { 3000 } else { 100 };
        let lead = foreseen * 3 / 2 + MARGIN_MILLIS;
        assert_eq!(schedule.due(0), at.after(INTERVAL - lead), "epoch {epoch}");
    }
}

#[test]
fn a_member_of_a_group_makes_points_by_itself_only_where_the_group_makes_none() {
    let mut schedule = Schedule::new(Moment(0));
    schedule.set_interval(INTERVAL);
    schedule.made(1, Begun::default(), (Moment(100), true), Moment(200));
    schedule.vaulted(1, Moment(3100));
    assert_eq!(schedule.due(0), Moment(100 + INTERVAL * 3 / 2));
    schedule.made(2, Begun::default(), (Moment(20_000), false), Moment(20_100));
    assert!(schedule.due(0) < Moment(20_000 + INTERVAL - 3000));
}

#[test]
fn the_first_point_is_due_at_once_and_a_new_interval_counts_from_the_newest() {
    let mut schedule = Schedule::new(Moment(77));
    assert_eq!(schedule.due(9), Moment(77));
    schedule.set_interval(60_000);
    schedule.made(1, Begun::default(), (Moment(100), false), Moment(200));
    assert_eq!(schedule.due(0), Moment(60_100 - MARGIN_MILLIS));
    schedule.set_interval(INTERVAL);
    assert_eq!(schedule.due(0), Moment(100 + INTERVAL - MARGIN_MILLIS), "not the rest of a minute");
}

#[test]
fn nothing_that_is_counted_overflows() {
    let mut schedule = Schedule::new(Moment(0));
    schedule.set_interval(u64::MAX);
    schedule.made(1, Begun { at: Moment(0), written: u64::MAX }, (Moment(0), true), Moment(0));
    schedule.vaulted(1, Moment(u64::MAX));
    assert!(schedule.due(0) > Moment(0));
    schedule.made(2, Begun::default(), (Moment(0), false), Moment(u64::MAX));
    assert_eq!(schedule.due(u64::MAX), Moment(u64::MAX));
    for epoch in 3..500 {
        schedule.made(epoch, Begun::default(), (Moment(0), false), Moment(0));
    }
    assert_eq!(schedule.under_way.len(), UNDER_WAY_MAX);
}

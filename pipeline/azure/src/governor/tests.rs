//! The limit follows what the link can do.

use std::sync::mpsc;
use std::thread;

use super::*;

fn governor(start: usize, least: usize, most: usize) -> Governor {
    Governor::new(FlowOptions { start, least, most })
}

/// Rounds of a link that moves `mib_per_second(in flight)`, always fully used.
fn rounds(
    governor: &Governor,
    count: u32,
    mut now: Duration,
    link: &dyn Fn(usize) -> u64,
) -> Duration {
    for _ in 0..count {
        let limit = governor.limit();
        let slots: Vec<_> = (0..limit).map(|_| governor.enter()).collect();
        drop(slots);
        now += ROUND;
        let bytes = link(limit) * 1024 * 1024 / 2 / u64::try_from(limit).unwrap();
        (0..limit).for_each(|_| governor.answered(bytes, now));
    }
    now
}

#[test]
fn the_limit_grows_while_that_brings_more_and_settles_where_it_does_not() {
    let governor = governor(4, 1, 64);
    // Each request brings 5 MiB/s until the link is full at 100.
    let link = |in_flight: usize| (5 * u64::try_from(in_flight).unwrap()).min(100);
    rounds(&governor, 40, Duration::from_secs(10), &link);
    let limit = governor.limit();
    assert!((18..=32).contains(&limit), "{limit} in flight on a link that 20 fill");
}

#[test]
fn a_link_that_one_request_fills_stays_where_it_began() {
    let governor = governor(4, 1, 64);
    rounds(&governor, 40, Duration::from_secs(10), &|_| 100);
    assert!(governor.limit() <= 5, "{}", governor.limit());
}

#[test]
fn a_refusal_halves_the_limit_once_however_many_hear_it() {
    let governor = governor(32, 2, 64);
    let now = Duration::from_secs(10);
    (0..32).for_each(|_| governor.throttled(now, Duration::ZERO));
    assert_eq!(governor.limit(), 16);
    governor.throttled(now + ROUND * 2, Duration::ZERO);
    assert_eq!(governor.limit(), 8);
    let mut now = now;
    for _ in 0..10 {
        now += Duration::from_secs(5);
        governor.throttled(now, Duration::ZERO);
    }
    assert_eq!(governor.limit(), 2, "never below the least");
}

#[test]
fn it_grows_again_after_a_refusal_has_passed() {
    let governor = governor(16, 1, 64);
    let link = |in_flight: usize| 10 * u64::try_from(in_flight).unwrap();
    let now = Duration::from_secs(10);
    governor.throttled(now, Duration::ZERO);
    let now = rounds(&governor, 1, now, &link);
    assert_eq!(governor.limit(), 8, "calm after a refusal");
    rounds(&governor, 20, now, &link);
    assert!(governor.limit() > 16, "{}", governor.limit());
}

#[test]
fn a_limit_that_nobody_reaches_proves_nothing() {
    let governor = governor(8, 1, 64);
    let mut now = Duration::from_secs(10);
    for _ in 0..50 {
        drop(governor.enter());
        now += ROUND;
        (0..8).for_each(|_| governor.answered(1 << 20, now));
    }
    assert_eq!(governor.limit(), 8);
}

#[test]
fn who_comes_when_it_is_full_waits_for_a_place() {
    let governor = governor(2, 1, 2);
    let held = [governor.enter(), governor.enter()];
    let (entered, seen) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let slot = governor.enter();
            entered.send(()).unwrap();
            drop(slot);
        });
        assert!(seen.recv_timeout(Duration::from_millis(100)).is_err(), "two are in flight");
        let [first, _second] = held;
        drop(first);
        assert!(seen.recv_timeout(Duration::from_secs(10)).is_ok(), "one place is free");
    });
}

//! The governor against modelled links: it finds what pays, yields to throttling, and recovers.

use super::*;

const MIB: u64 = 1024 * 1024;

/// A link of `rate` bytes per second and `round_trip` microseconds shared by `width` requests of 8 MiB.
fn link_micros(rate: u64, round_trip: u64, width: usize) -> u64 {
    let bytes = 8 * MIB;
    let alone = round_trip + bytes * 1_000_000 / (64 * MIB);
    let shared = bytes * 1_000_000 * u64::try_from(width).unwrap() / rate;
    alone.max(shared)
}

fn run(governor: &mut ParallelGovernor, rate: u64, round_trip: u64, replies: usize) {
    for _ in 0..replies {
        let micros = link_micros(rate, round_trip, governor.allowed());
        governor.observe(Reply::Done { bytes: 8 * MIB, micros });
    }
}

#[test]
fn a_long_fat_link_is_filled() {
    // 64 MiB/s per request, 512 MiB/s in all, 150 ms away: about ten requests fill it.
    let mut governor = ParallelGovernor::new(1, 32);
    run(&mut governor, 512 * MIB, 150_000, 400);
    let needed =
        usize::try_from(link_micros(u64::MAX / (8 * MIB), 150_000, 1) * 512 / 8_000_000).unwrap();
    assert!(governor.allowed() >= needed, "{} of {needed}", governor.allowed());
}

#[test]
fn a_thin_link_is_not_crowded() {
    let mut governor = ParallelGovernor::new(1, 32);
    run(&mut governor, 16 * MIB, 10_000, 2000);
    assert!(governor.allowed() <= 4, "{}", governor.allowed());
}

#[test]
fn throttling_halves_at_once_and_only_once_per_window() {
    let mut governor = ParallelGovernor::new(1, 32);
    run(&mut governor, 100_000 * MIB, 150_000, 400);
    assert_eq!(governor.allowed(), 32);
    assert_eq!(governor.observe(Reply::Throttled), 16);
    assert_eq!(governor.observe(Reply::Throttled), 16);
}

#[test]
fn it_recovers_after_throttling_ends() {
    let mut governor = ParallelGovernor::new(2, 32);
    for _ in 0..100 {
        governor.observe(Reply::Throttled);
    }
    assert_eq!(governor.allowed(), 2);
    run(&mut governor, 100_000 * MIB, 150_000, 2000);
    assert!(governor.allowed() >= 16, "{}", governor.allowed());
}

#[test]
fn a_lone_failure_is_chance_and_many_are_not() {
    let mut governor = ParallelGovernor::new(1, 16);
    run(&mut governor, 100_000 * MIB, 150_000, 400);
    governor.observe(Reply::Failed);
    run(&mut governor, 100_000 * MIB, 150_000, 31);
    assert_eq!(governor.allowed(), 16);
    for _ in 0..32 {
        governor.observe(Reply::Failed);
    }
    assert!(governor.allowed() <= 8);
}

#[test]
fn bounds_hold_whatever_happens() {
    let mut governor = ParallelGovernor::new(3, 7);
    let mut seed = 1_u64;
    for _ in 0..100_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let reply = match seed >> 62 {
            0 => Reply::Throttled,
            1 => Reply::Failed,
            _ => Reply::Done { bytes: seed >> 20, micros: seed & 0xFFFF },
        };
        let allowed = governor.observe(reply);
        assert!((3..=7).contains(&allowed));
    }
    assert_eq!(ParallelGovernor::new(0, 0).allowed(), 1);
}

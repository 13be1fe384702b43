//! Waiting: spread, bounded, and as long as the peer asks for.

use std::sync::Mutex;

use super::*;
use crate::test_world::World;

fn policy() -> RetryPolicy {
    RetryPolicy {
        attempts_max: 6,
        total: Duration::from_secs(60),
        first_wait: Duration::from_millis(100),
        wait_max: Duration::from_millis(1000),
    }
}

#[test]
fn limits_double_up_to_the_longest_wait() {
    // Dice that always fall highest: each wait is its limit.
    let world = World::with_dice(u64::MAX);
    let mut attempts = Attempts::new(policy(), &world);
    let mut limits = Vec::new();
    while let Some(wait) = attempts.next_wait(None, &world).expect("dice") {
        limits.push(wait.as_millis());
        world.pause(wait);
    }
    assert_eq!(limits.len(), 5, "six tries have five waits");
    assert!(limits.iter().zip([100, 200, 400, 800, 1000]).all(|(wait, limit)| *wait <= limit));
    assert_eq!(attempts.made(), 6);
}

#[test]
fn waits_are_spread_over_the_whole_range() {
    let waits: Mutex<Vec<u128>> = Mutex::default();
    for dice in 0..=100_u64 {
        let world = World::with_dice(dice);
        let wait = Attempts::new(policy(), &world).next_wait(None, &world).expect("dice");
        waits.lock().unwrap().push(wait.expect("a wait").as_millis());
    }
    let waits = waits.into_inner().unwrap();
    assert_eq!(waits, (0..=100).collect::<Vec<u128>>(), "any millisecond up to the limit");
}

#[test]
fn what_the_peer_asks_for_is_waited_in_full() {
    let world = World::with_dice(0);
    let mut attempts = Attempts::new(policy(), &world);
    let asked = Some(Duration::from_secs(30));
    assert_eq!(attempts.next_wait(asked, &world), Ok(asked));
}

#[test]
fn the_total_time_is_never_exceeded() {
    let world = World::with_dice(0);
    let mut attempts = Attempts::new(policy(), &world);
    assert_eq!(attempts.next_wait(Some(Duration::from_secs(61)), &world), Ok(None));
    let mut attempts = Attempts::new(policy(), &world);
    world.pause(Duration::from_secs(59));
    assert!(attempts.next_wait(None, &world).expect("dice").is_some());
    world.pause(Duration::from_secs(2));
    assert_eq!(attempts.next_wait(None, &world), Ok(None));
}

#[test]
fn progress_earns_fresh_patience() {
    let world = World::with_dice(0);
    let mut attempts = Attempts::new(policy(), &world);
    for _ in 0..100 {
        assert!(attempts.next_wait(None, &world).expect("dice").is_some());
        world.pause(Duration::from_secs(10));
        attempts.progressed(&world);
    }
}

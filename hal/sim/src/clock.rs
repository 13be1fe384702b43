//! A clock that stands still until a test moves it. Clones share their time.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use hal::time::{Clock, UnixMillis};

/// A settable wall clock and a clock that only runs forwards.
#[derive(Clone, Debug)]
pub struct SimClock {
    hands: Arc<Hands>,
}

#[derive(Debug)]
struct Hands {
    wall_millis: AtomicU64,
    monotonic_nanos: AtomicU64,
}

impl SimClock {
    /// A clock that stands at this moment.
    pub fn at(now: UnixMillis) -> Self {
        let hands =
            Hands { wall_millis: AtomicU64::new(now.0), monotonic_nanos: AtomicU64::new(0) };
        Self { hands: Arc::new(hands) }
    }

    /// Time passes: both clocks run forwards.
    pub fn advance(&self, millis: u64) {
        let nanos = millis.saturating_mul(1_000_000);
        add(&self.hands.monotonic_nanos, nanos);
        add(&self.hands.wall_millis, millis);
    }

    /// Somebody set the wall clock, forwards or backwards; the other clock does not notice.
    pub fn jump(&self, now: UnixMillis) {
        self.hands.wall_millis.store(now.0, Ordering::SeqCst);
    }
}

fn add(hand: &AtomicU64, amount: u64) {
    let _ = hand
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(now.saturating_add(amount)));
}

impl Default for SimClock {
    /// 2026-01-01 00:00:00 UTC.
    fn default() -> Self {
        Self::at(UnixMillis(1_767_225_600_000))
    }
}

impl Clock for SimClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.hands.wall_millis.load(Ordering::SeqCst))
    }

    fn monotonic_nanos(&self) -> u64 {
        self.hands.monotonic_nanos.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_move_the_wall_clock_only_and_clones_share_it() {
        let clock = SimClock::default();
        let clone = clock.clone();
        clock.advance(1500);
        assert_eq!(clone.now(), UnixMillis(1_767_225_601_500));
        assert_eq!(clone.monotonic_nanos(), 1_500_000_000);
        clone.jump(UnixMillis(5));
        assert_eq!(clock.now(), UnixMillis(5));
        assert_eq!(clock.monotonic_nanos(), 1_500_000_000);
        clock.advance(u64::MAX);
        assert_eq!(clock.now(), UnixMillis(u64::MAX));
    }
}

//! How fast disks may be read, so that whoever else uses them hardly notices.

use core::time::Duration;

/// A number of bytes a second, with at most a second's worth ahead or behind.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    bytes_per_second: u64,
    /// When what was spent so far is paid for, nanoseconds of a clock.
    paid_nanos: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Pace {
    /// So many bytes a second; 0 for no limit.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, paid_nanos: 0 }
    }

    /// So many bytes are wanted now, by a clock that only runs forwards: how long to wait first.
    pub fn spend(&mut self, bytes: usize, now_nanos: u64) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let wait = self.paid_nanos.saturating_sub(now_nanos);
        let cost = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(u128::from(SECOND));
        let cost = u64::try_from(cost / u128::from(self.bytes_per_second)).unwrap_or(u64::MAX);
        // Whoever was idle for long has no more than the moment to make up for.
        self.paid_nanos = self.paid_nanos.max(now_nanos).saturating_add(cost);
        Duration::from_nanos(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_and_idleness_is_not_saved_up() {
        let mut pace = Pace::new(1000);
        let mut now = 5 * SECOND;
        assert_eq!(pace.spend(500, now), Duration::ZERO);
        assert_eq!(pace.spend(500, now), Duration::from_millis(500));
        now += SECOND;
        assert_eq!(pace.spend(1, now), Duration::ZERO);
        now += 100 * SECOND;
        assert_eq!(pace.spend(1000, now), Duration::ZERO);
        assert_eq!(pace.spend(1, now), Duration::from_secs(1));
        assert_eq!(Pace::new(0).spend(usize::MAX, 0), Duration::ZERO);
        let mut slow = Pace::new(1);
        slow.spend(usize::MAX, 0);
        assert!(slow.spend(1, 0) > Duration::from_secs(1), "no overflow");
    }
}

//! The machine's clocks. It refuses to correct them: a wall clock that is wrong is somebody else's
//! to notice.

use hal::time::{Clock, UnixMillis};
use rustix::time::{ClockId, clock_gettime};

/// The wall clock, and a clock that only runs forwards and counts on while the machine sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let time = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
        UnixMillis(seconds.saturating_mul(1000).saturating_add(millis))
    }

    fn monotonic_nanos(&self) -> u64 {
        // Boot time, not monotonic: a lease must run out while a suspended machine sleeps.
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn wall_clock_is_the_systems() {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let ours = u128::from(SystemClock.now().0);
        assert!(ours.abs_diff(system) < 10_000, "{ours} and {system}");
    }

    #[test]
    fn monotonic_clock_runs_forwards() {
        let mut last = SystemClock.monotonic_nanos();
        for _ in 0..1000 {
            let now = SystemClock.monotonic_nanos();
            assert!(now >= last);
            last = now;
        }
        assert!(last > 0);
    }
}

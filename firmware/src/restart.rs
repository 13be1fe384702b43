//! At what pace whoever failed is started again: soon where it happened once, slowly where it happens for good.

use core::time::Duration;

/// The first pause before a new start: short, for what fails once.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest: what fails for good must not fill the log, and is tried again soon enough once its cause is mended.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Who ran this long is taken for healthy, and starts over with the first pause.
const HEALTHY: Duration = Duration::from_secs(60);

/// The pace of new starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    failures: u32,
}

impl Pace {
    /// The pause after a run of this length.
    pub(crate) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY {
            self.failures = 0;
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_slows_down_and_forgives() {
        let mut pace = Pace::default();
        let short = Duration::from_millis(10);
        let pauses: Vec<u64> = (0..9).map(|_| pace.after(short).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pace.after(Duration::from_secs(61)), PAUSE_FIRST);
        assert_eq!(pace.after(short).as_secs(), 2);
        let mut long = Pace { failures: u32::MAX };
        assert_eq!(long.after(short), PAUSE_MAX);
    }
}

//! So many bytes a second and no more; pure.

use hal::time::Moment;

/// How long a burst may be, milliseconds: after a rest no more than this much is made up for.
const BURST_MILLIS: u64 = 100;

/// What a rate allows.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    bytes_per_second: u64,
    /// When everything that was taken will have been paid for, in microseconds of the clock.
    paid_micros: u64,
}

impl Pace {
    /// So many bytes a second; 0 for no limit.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, paid_micros: 0 }
    }

    /// Another rate from now on.
    pub fn change(&mut self, bytes_per_second: u64) {
        if self.bytes_per_second != bytes_per_second {
            *self = Self::new(bytes_per_second);
        }
    }

    /// Milliseconds until something may go again; 0 for now.
    #[must_use]
    pub fn wait_millis(&self, now: Moment) -> u64 {
        if self.bytes_per_second == 0 {
            return 0;
        }
        let now = now.0.saturating_add(BURST_MILLIS).saturating_mul(1000);
        self.paid_micros.saturating_sub(now).div_ceil(1000)
    }

    /// So many bytes went.
    pub fn take(&mut self, now: Moment, bytes: u64) {
        if let Some(micros) = bytes.saturating_mul(1_000_000).checked_div(self.bytes_per_second) {
            let from = self.paid_micros.max(now.0.saturating_mul(1000));
            self.paid_micros = from.saturating_add(micros);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_while_the_rate_is_kept_whatever_the_pieces() {
        for piece in [1000, 65_536, 1 << 20] {
            let (mut pace, mut now, mut sent) = (Pace::new(1 << 20), Moment(5000), 0_u64);
            while now < Moment(25_000) {
                let wait = pace.wait_millis(now);
                if wait > 0 {
                    now = now.after(wait);
                } else {
                    pace.take(now, piece);
                    sent += piece;
                }
            }
            let allowed = 20 << 20;
            let slack = piece + (1 << 20) / 5;
            assert!(sent.abs_diff(allowed) <= slack, "{sent} of {allowed} by {piece}");
        }
    }

    #[test]
    fn a_rest_is_not_made_up_for_and_no_limit_never_waits() {
        let mut pace = Pace::new(1000);
        pace.take(Moment(0), 1000);
        assert_eq!(pace.wait_millis(Moment(60_000)), 0);
        pace.take(Moment(60_000), 1000);
        assert_eq!(pace.wait_millis(Moment(60_000)), 900);
        let mut free = Pace::default();
        free.take(Moment(0), u64::MAX);
        assert_eq!(free.wait_millis(Moment(0)), 0);
    }
}

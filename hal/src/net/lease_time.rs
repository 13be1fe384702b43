//! What the leases of IPv4 and IPv6 have in common: when a number of seconds is over, and how long nothing is asked after
//! a refusal.

use crate::net::chance::Chance;
use crate::time::Moment;

/// The shortest pause, after the first refusal, and the longest, after many.
const REFUSED_MILLIS_MIN: u64 = 1000;
const REFUSED_MILLIS_MAX: u64 = 60_000;

/// When so many seconds are over, counted from the question that they answer; the largest number means never.
pub(crate) fn moment_of(asked: Moment, seconds: u32) -> Moment {
    match seconds {
        u32::MAX => Moment(u64::MAX),
        seconds => asked.after(u64::from(seconds) * 1000),
    }
}

/// Refusals in a row: a server that refuses what it offers must not be asked without pause.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(u32);

impl Refusals {
    /// One more: milliseconds until it may be asked again.
    pub(crate) fn pause(&mut self, chance: &mut Chance) -> u64 {
        let pause = REFUSED_MILLIS_MIN.checked_shl(self.0.min(16)).unwrap_or(u64::MAX);
        self.0 = self.0.saturating_add(1);
        chance.around(pause.min(REFUSED_MILLIS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_seconds_may_never_end() {
        let (mut refusals, mut chance) = (Refusals::default(), Chance::new(1));
        for expected in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            let pause = refusals.pause(&mut chance);
            assert!((expected / 4 * 3..=expected / 4 * 5 + 1).contains(&pause), "{pause}");
        }
        assert_eq!(moment_of(Moment(500), 2), Moment(2500));
        assert_eq!(moment_of(Moment(500), u32::MAX), Moment(u64::MAX));
    }
}

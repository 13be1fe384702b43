//! How fast something may go, by the hour of the week.

use core::time::Duration;
use std::sync::{Condvar, Mutex, PoisonError};

use hal::time::{Clock, Moment, UnixMillis};
use serde::{Deserialize, Serialize};

const HOUR_MILLIS: u64 = 3_600_000;
/// 1970-01-01 was a Thursday; weeks begin on Monday.
const FIRST_MONDAY_HOURS: u64 = 4 * 24;
const WEEK_HOURS: u64 = 7 * 24;
/// How much may go at once after a rest.
const BURST_MILLIS: u64 = 1000;
/// How long a wait is at most before it is asked again what may go.
const WAIT: Duration = Duration::from_millis(500);

/// Bytes a second: always, and in spans of the week.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Where no span says otherwise; 0 for no limit.
    pub bytes_per_second: u64,
    /// Hours of the week, by UTC.
    pub spans: Vec<Span>,
}

/// Some hours of some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Bit 0 is Monday.
    pub days: u8,
    /// The first hour, 0 to 23.
    pub from_hour: u8,
    /// One past the last, 1 to 24.
    pub to_hour: u8,
    /// Bytes a second meanwhile; 0 for no limit.
    pub bytes_per_second: u64,
}

impl Pace {
    /// Bytes a second at a time; `None` for no limit. The first span that fits counts.
    #[must_use]
    pub fn at(&self, now: UnixMillis) -> Option<u64> {
        let hours = (now.0 / HOUR_MILLIS + WEEK_HOURS - FIRST_MONDAY_HOURS) % WEEK_HOURS;
        let (day, hour) = (hours / 24, hours % 24);
        let fits = |span: &&Span| {
            span.days >> day & 1 == 1
                && (u64::from(span.from_hour)..u64::from(span.to_hour)).contains(&hour)
        };
        let found = self.spans.iter().find(fits).map(|span| span.bytes_per_second);
        Some(found.unwrap_or(self.bytes_per_second)).filter(|bytes| *bytes > 0)
    }
}

/// Lets bytes through at a pace.
#[derive(Debug, Default)]
pub struct Throttle {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pace: Pace,
    /// Everything up to this moment is spoken for.
    until: Moment,
    ended: bool,
}

impl Throttle {
    /// From now on this pace.
    pub fn set(&self, pace: &Pace) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.pace != *pace {
            state.pace.clone_from(pace);
            state.until = Moment::default();
            self.changed.notify_all();
        }
    }

    /// The end has come: nobody waits any more. What may go at once still goes, so that what was begun ends in order.
    pub fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }

    /// Waits until so many bytes may go; false where they may not, because the end has come.
    #[must_use]
    pub fn pass(&self, bytes: u64, clock: &dyn Clock) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(wait) = state.take(bytes, clock.now(), clock.moment()) {
            if state.ended {
                return false;
            }
            let waited = self.changed.wait_timeout(state, wait.min(WAIT));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Whether there is a limit now.
    #[must_use]
    pub fn is_limited(&self, now: UnixMillis) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pace.at(now).is_some()
    }
}

impl State {
    /// Takes leave for so many bytes, or says how long to wait before asking again.
    fn take(&mut self, bytes: u64, now: UnixMillis, moment: Moment) -> Option<Duration> {
        let rate = self.pace.at(now)?;
        let earliest = Moment(moment.0.saturating_sub(BURST_MILLIS));
        let from = self.until.max(earliest);
        if from > moment {
            return Some(Duration::from_millis(from.since(moment)));
        }
        self.until = from.after(bytes.saturating_mul(1000) / rate);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: u64 = FIRST_MONDAY_HOURS * HOUR_MILLIS;

    #[test]
    fn the_first_span_that_fits_the_hour_of_the_week_counts() {
        let span = |days, from_hour, to_hour, bytes_per_second| Span {
            days,
            from_hour,
            to_hour,
            bytes_per_second,
        };
        let spans = vec![span(0b001_1111, 8, 18, 1000), span(0b111_1111, 12, 24, 0)];
        let pace = Pace { bytes_per_second: 50, spans };
        let at =
            |day: u64, hour: u64| pace.at(UnixMillis(MONDAY + (day * 24 + hour) * HOUR_MILLIS));
        assert_eq!(
            [at(0, 7), at(0, 8), at(4, 17), at(0, 18)],
            [Some(50), Some(1000), Some(1000), None]
        );
        assert_eq!([at(5, 8), at(6, 12), at(7, 8)], [Some(50), None, Some(1000)]);
        assert_eq!(pace.at(UnixMillis(0)), Some(50), "a Thursday at midnight");
        assert_eq!(Pace::default().at(UnixMillis(MONDAY)), None);
    }

    #[test]
    fn what_goes_through_in_a_time_is_what_the_pace_allows() {
        let mut state = State::default();
        assert_eq!(state.take(u64::MAX, UnixMillis(0), Moment(0)), None, "no limit");
        state.pace = Pace { bytes_per_second: 1_000_000, spans: Vec::new() };
        let mut sent = 0_u64;
        let mut moment = Moment(50_000);
        while moment.0 < 60_000 {
            match state.take(100_000, UnixMillis(0), moment) {
                None => sent += 100_000,
                Some(wait) => {
                    assert!(!wait.is_zero());
                    moment = moment.after(u64::try_from(wait.as_millis()).unwrap());
                }
            }
        }
        // Ten seconds, and the second before them that nobody used.
        assert_eq!(sent, 11_000_000);
    }

    #[test]
    fn nobody_waits_for_leave_once_the_end_has_come() {
        let throttle = std::sync::Arc::new(Throttle::default());
        throttle.set(&Pace { bytes_per_second: 1, spans: Vec::new() });
        assert!(throttle.pass(1 << 40, &hal_linux::SystemClock), "the first goes at once");
        let waits = std::sync::Arc::clone(&throttle);
        let thread = std::thread::spawn(move || waits.pass(1, &hal_linux::SystemClock));
        throttle.end();
        assert!(!thread.join().unwrap());
        throttle.set(&Pace::default());
        assert!(throttle.pass(1 << 40, &hal_linux::SystemClock), "what need not wait still goes");
    }
}

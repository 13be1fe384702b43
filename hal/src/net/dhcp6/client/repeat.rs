//! How often a question is put again: RFC 8415, sections 7.6 and 15.

use crate::net::chance::Chance;
use crate::time::Moment;

/// The times of one kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    first_millis: u64,
    most_millis: u64,
    /// How often it is put at most, and for how long; 0 is without end.
    count: u32,
    millis: u64,
    /// The first wait is never shorter than the first time: answers of all servers are waited for.
    patient: bool,
}

const fn pace(first_millis: u64, most_millis: u64) -> Pace {
    Pace { first_millis, most_millis, count: 0, millis: 0, patient: false }
}

/// The RFC has an hour for the longest wait, for a million homes of one provider; a server may say so. A machine that is
/// needed when the server comes back is no storm.
const SEARCH_MILLIS_MAX: u64 = 120_000;

pub(super) const SOLICIT: Pace = Pace { patient: true, ..pace(1000, SEARCH_MILLIS_MAX) };
pub(super) const INFORMATION: Pace = pace(1000, SEARCH_MILLIS_MAX);
pub(super) const REQUEST: Pace = Pace { count: 10, ..pace(1000, 30_000) };
pub(super) const CONFIRM: Pace = Pace { millis: 10_000, ..pace(1000, 4000) };
pub(super) const RENEW: Pace = pace(10_000, 600_000);
pub(super) const REBIND: Pace = pace(10_000, 600_000);
pub(super) const DECLINE: Pace = Pace { count: 4, ..pace(1000, 0) };

/// RFC 8415, 21.24: other limits of a server than these are passed over.
const LIMIT_SECONDS: core::ops::RangeInclusive<u32> = 60..=86_400;

impl Pace {
    /// Another longest wait, as a server says.
    pub(super) fn limit(&mut self, seconds: u32) {
        if LIMIT_SECONDS.contains(&seconds) {
            self.most_millis = u64::from(seconds) * 1000;
        }
    }
}

/// A question that is put again, less and less often.
#[derive(Clone, Debug)]
pub(super) struct Repeat {
    pace: Pace,
    began: Moment,
    next: Moment,
    millis: u64,
    sent: u32,
}

impl Repeat {
    pub(super) fn new(pace: Pace, now: Moment) -> Self {
        Self { pace, began: now, next: now, millis: 0, sent: 0 }
    }

    /// How often it was put.
    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    /// When it is put again, or given up.
    pub(super) fn next(&self) -> Moment {
        match self.pace.millis {
            0 => self.next,
            millis => self.next.min(self.began.after(millis)),
        }
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        now >= self.next
    }

    /// Whether it was put often enough, or for long enough.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        let often = self.pace.count > 0 && self.sent >= self.pace.count && self.is_due(now);
        let long = self.pace.millis > 0 && now >= self.began.after(self.pace.millis);
        often || long
    }

    /// It was put now.
    pub(super) fn say(&mut self, now: Moment, chance: &mut Chance) {
        let Pace { first_millis, most_millis, .. } = self.pace;
        let (base, spread) = match self.millis {
            0 => (first_millis, first_millis),
            before => (before * 2, before),
        };
        let (base, spread) = match most_millis {
            1.. if base > most_millis => (most_millis, most_millis),
            _ => (base, spread),
        };
        let tenth = spread / 10;
        self.millis = if self.sent == 0 && self.pace.patient {
            base + 1 + chance.number() % tenth.max(1)
        } else {
            base - tenth + chance.number() % (2 * tenth + 1)
        };
        self.next = now.after(self.millis);
        self.sent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn waits(pace: Pace, seed: u64, count: usize) -> Vec<u64> {
        let mut chance = Chance::new(seed);
        let mut repeat = Repeat::new(pace, Moment(0));
        let mut now = Moment(0);
        let put = |_| {
            assert!(repeat.is_due(now));
            repeat.say(now, &mut chance);
            let wait = repeat.next.since(now);
            now = repeat.next;
            wait
        };
        (0..count).map(put).collect()
    }

    #[test]
    fn waits_double_to_the_limit_a_tenth_more_or_less() {
        for seed in 0..500 {
            let waits = waits(SOLICIT, seed, 12);
            assert!((1001..=1100).contains(&waits[0]), "never shorter at first: {waits:?}");
            for pair in waits.windows(2) {
                let (before, after) = (pair[0], pair[1]);
                let double = before * 2 - before / 10..=before * 2 + before / 10;
                let limit = 108_000..=132_000;
                assert!(double.contains(&after) || limit.contains(&after), "{waits:?}");
            }
            assert!(waits[11] >= 108_000);
        }
        let spread: Vec<u64> = (0..100).map(|seed| waits(RENEW, seed, 1)[0]).collect();
        assert!(spread.iter().any(|wait| *wait < 9500) && spread.iter().any(|wait| *wait > 10_500));
    }

    #[test]
    fn some_questions_end_by_count_and_some_by_time() {
        let mut chance = Chance::new(1);
        let mut repeat = Repeat::new(REQUEST, Moment(0));
        for _ in 0..10 {
            assert!(!repeat.is_over(repeat.next));
            repeat.say(repeat.next, &mut chance);
        }
        assert!(!repeat.is_over(Moment(repeat.next.0 - 1)), "the last is waited for, too");
        assert!(repeat.is_over(repeat.next));
        let repeat = Repeat::new(CONFIRM, Moment(5));
        assert!(!repeat.is_over(Moment(10_004)) && repeat.is_over(Moment(10_005)));
    }

    #[test]
    fn a_server_may_set_the_longest_wait_within_reason() {
        let mut pace = SOLICIT;
        for (seconds, millis) in [(59, 120_000), (86_401, 120_000), (3600, 3_600_000)] {
            pace.limit(seconds);
            assert_eq!(pace.most_millis, millis);
        }
    }
}

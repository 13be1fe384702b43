//! A page blob that is written to no faster than it may be: a seed that is brought forward leaves the link to what is urgent.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::pages::{Pages, Trouble};

/// What was not used of its time is kept for so long: a pause is no reason for a flood.
const KEPT: Duration = Duration::from_secs(1);

/// How many bytes may go, and when.
#[derive(Debug)]
struct Budget {
    bytes_per_second: u64,
    /// Until then all of it is spent.
    spent: Duration,
}

impl Budget {
    /// How long so many bytes have to wait from now on.
    fn wait(&mut self, bytes: u64, now: Duration) -> Duration {
        let begins = self.spent.max(now.saturating_sub(KEPT));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.spent = begins.saturating_add(takes);
        begins.saturating_sub(now)
    }
}

/// The blob.
pub struct Paced {
    pages: Arc<dyn Pages>,
    budget: Mutex<Budget>,
    began: Instant,
}

impl Paced {
    /// Writes to it no more than so much each second.
    #[must_use]
    pub fn new(pages: Arc<dyn Pages>, bytes_per_second: u64) -> Self {
        let budget = Budget { bytes_per_second, spent: Duration::ZERO };
        Self { pages, budget: Mutex::new(budget), began: Instant::now() }
    }
}

impl Pages for Paced {
    fn bytes(&self) -> Result<u64, Trouble> {
        self.pages.bytes()
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let wait = {
            let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
            budget.wait(bytes.len() as u64, self.began.elapsed())
        };
        std::thread::sleep(wait);
        self.pages.put(offset, bytes)
    }

    fn clear(&self, offset: u64, bytes: u64) -> Result<(), Trouble> {
        self.pages.clear(offset, bytes)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Trouble> {
        self.pages.read(offset, into)
    }

    fn ranges(&self, from: u64, to: u64) -> Result<Vec<(u64, u64)>, Trouble> {
        self.pages.ranges(from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_a_long_time_is_what_may_go_and_a_pause_brings_no_flood() {
        let mut budget = Budget { bytes_per_second: 1 << 20, spent: Duration::ZERO };
        let mut now = Duration::from_secs(100);
        let began = now;
        // A second's worth was kept; then each mebibyte takes its second, whoever asks.
        for _ in 0..10 {
            now += budget.wait(1 << 20, now);
        }
        assert_eq!(now - began, Duration::from_secs(8));
        now += Duration::from_secs(3600);
        let again = now;
        for _ in 0..3 {
            now += budget.wait(1 << 20, now);
        }
        assert_eq!(now - again, Duration::from_secs(1));
    }
}

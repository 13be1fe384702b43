//! Trying again: when, how often, and for how long at most. Full jitter, so that many clients do not come back at once.

use core::time::Duration;

use pipeline_vault::Error;

use crate::surroundings::{Surroundings, random_below};

/// How patient a store is.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub attempts_max: u32,
    /// Longest time from the first try to the start of the last.
    pub total: Duration,
    /// The first wait is at most this; each further one at most twice the one before.
    pub first_wait: Duration,
    /// No wait that we choose ourselves is longer.
    pub wait_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            total: Duration::from_secs(180),
            first_wait: Duration::from_millis(250),
            wait_max: Duration::from_secs(20),
        }
    }
}

/// One request's tries.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: RetryPolicy,
    started: Duration,
    made: u32,
}

impl Attempts {
    pub(crate) fn new(policy: RetryPolicy, surroundings: &dyn Surroundings) -> Self {
        Self { policy, started: surroundings.elapsed(), made: 0 }
    }

    /// How many tries have failed.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// For how long it has been tried.
    pub(crate) fn lasted(&self, surroundings: &dyn Surroundings) -> Duration {
        surroundings.elapsed().saturating_sub(self.started)
    }

    /// The progress that a try made before it failed, which earns it fresh patience.
    pub(crate) fn progressed(&mut self, surroundings: &dyn Surroundings) {
        self.made = 0;
        self.started = surroundings.elapsed();
    }

    /// Counts a failed try; answers how long to wait before the next, `None` when there is none.
    pub(crate) fn next_wait(
        &mut self,
        asked_for: Option<Duration>,
        surroundings: &dyn Surroundings,
    ) -> Result<Option<Duration>, Error> {
        self.made += 1;
        if self.made >= self.policy.attempts_max {
            return Ok(None);
        }
        let wait = self.policy.wait(self.made, asked_for, surroundings)?;
        let fits = self.lasted(surroundings) + wait <= self.policy.total;
        Ok(fits.then_some(wait))
    }
}

impl RetryPolicy {
    /// The wait after `failed` failures: any time up to a limit that doubles. What the peer asks for
    /// (`Retry-After`) is waited in full, and then some, for it asked all others for the same.
    fn wait(
        &self,
        failed: u32,
        asked_for: Option<Duration>,
        surroundings: &dyn Surroundings,
    ) -> Result<Duration, Error> {
        let doublings = failed.saturating_sub(1).min(16);
        let limit = self.first_wait.saturating_mul(1 << doublings).min(self.wait_max);
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let jitter = Duration::from_millis(random_below(surroundings, millis)?);
        Ok(asked_for.unwrap_or_default() + jitter)
    }
}

#[cfg(test)]
mod tests;

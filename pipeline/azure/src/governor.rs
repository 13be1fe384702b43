//! How many requests are in flight at once: more while that brings more, half as many when Azure asks for less.
//!
//! Throughput is measured in rounds. A round that beats the best one raises the limit; rounds that do not
//! take it back to where the best was, and try again after a while. A refusal for load halves it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use core::time::Duration;

/// Bounds of the limit.
#[derive(Clone, Copy, Debug)]
pub struct FlowOptions {
    /// In flight at first.
    pub start: usize,
    /// In flight at least.
    pub least: usize,
    /// In flight at most.
    pub most: usize,
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self { start: 32, least: 1, most: 64 }
    }
}

/// Shortest round: shorter ones measure noise.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds that may bring nothing before the limit goes back.
const FLAT_ROUNDS_MAX: u32 = 3;
/// After this many rounds the best is forgotten: links change.
const BEST_ROUNDS_MAX: u32 = 60;

/// Decides how many requests are in flight.
#[derive(Debug)]
pub struct Governor {
    state: Mutex<State>,
    changed: Condvar,
    options: FlowOptions,
}

#[derive(Debug)]
struct State {
    limit: usize,
    in_flight: usize,
    /// Most in flight in this round: a limit that nobody reaches proves nothing.
    peak: usize,
    round_began: Duration,
    round_bytes: u64,
    round_requests: u64,
    best: Best,
    flat_rounds: u32,
    calm_until: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Best {
    limit: usize,
    score: u64,
    age: u32,
}

impl Governor {
    /// A governor at its starting limit.
    pub fn new(options: FlowOptions) -> Self {
        let least = options.least.max(1);
        let most = options.most.max(least);
        let options = FlowOptions { start: options.start.clamp(least, most), least, most };
        let state = State {
            limit: options.start,
            in_flight: 0,
            peak: 0,
            round_began: Duration::ZERO,
            round_bytes: 0,
            round_requests: 0,
            best: Best::default(),
            flat_rounds: 0,
            calm_until: Duration::ZERO,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), options }
    }

    /// How many requests may be in flight now.
    pub fn limit(&self) -> usize {
        self.lock().limit
    }

    /// Waits until one more request may go; it counts until the slot is dropped.
    pub(crate) fn enter(&self) -> Slot<'_> {
        let mut state = self.lock();
        while state.in_flight >= state.limit {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.in_flight += 1;
        state.peak = state.peak.max(state.in_flight);
        Slot { governor: self }
    }

    /// A request was answered; `bytes` went over the wire, `now` is time since a fixed moment.
    pub(crate) fn answered(&self, bytes: u64, now: Duration) {
        let mut state = self.lock();
        state.round_bytes = state.round_bytes.saturating_add(bytes);
        state.round_requests += 1;
        let lasted = now.saturating_sub(state.round_began);
        let full = u64::try_from(state.limit).unwrap_or(u64::MAX);
        if lasted >= ROUND && state.round_requests >= full {
            state.end_round(lasted, now, self.options);
            self.changed.notify_all();
        }
    }

    /// Azure asked for less, or fell silent. Many requests hear that at once: one of them counts.
    pub(crate) fn throttled(&self, now: Duration, quiet: Duration) {
        let mut state = self.lock();
        if now < state.calm_until {
            return;
        }
        state.limit = (state.limit / 2).max(self.options.least);
        state.calm_until = now + quiet.max(ROUND * 2);
        state.best = Best::default();
        state.flat_rounds = 0;
        state.start_round(now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn start_round(&mut self, now: Duration) {
        self.round_began = now;
        self.round_bytes = 0;
        self.round_requests = 0;
        self.peak = self.in_flight;
    }

    fn end_round(&mut self, lasted: Duration, now: Duration, options: FlowOptions) {
        let millis = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX).max(1);
        // Small requests count by their number: 4 KiB each stands for what a request costs.
        let work = self.round_bytes.saturating_add(self.round_requests.saturating_mul(4096));
        let score = work.saturating_mul(1000) / millis;
        let used = self.peak >= self.limit;
        self.start_round(now);
        self.best.age += 1;
        if !used || now < self.calm_until {
            return;
        }
        if self.best.age > BEST_ROUNDS_MAX {
            self.best = Best::default();
        }
        // One part in twenty more is more; less than that is noise.
        if score > self.best.score + self.best.score / 20 {
            self.best = Best { limit: self.limit, score, age: 0 };
            self.flat_rounds = 0;
            self.limit = (self.limit + (self.limit / 4).max(1)).min(options.most);
        } else {
            self.flat_rounds += 1;
            if self.flat_rounds >= FLAT_ROUNDS_MAX {
                self.limit = self.best.limit.clamp(options.least, options.most);
                self.flat_rounds = 0;
            }
        }
    }
}

/// The right to have one request in flight.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    governor: &'a Governor,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.governor.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        drop(state);
        self.governor.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;

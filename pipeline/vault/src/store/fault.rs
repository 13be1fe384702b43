//! A wrapper over any store that fails in every way that a network store can, by a seed.
//!
//! The faults are what protocols must survive: a reply lost after the work was done, a request that lands long after
//! its caller gave up, a machine that stops at any instant.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Retry};
use crate::store::{BlobStore, Created, Listing, ObjectFacts};

/// How often each fault happens, in thousandths of the calls it can happen to; all zero is a healthy store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The call fails before anything is done.
    pub fails_before: u32,
    /// A create or delete is done, and its caller is told that it failed.
    pub reply_lost: u32,
    /// A create or delete is told as failed and is done some calls later: requests change their order.
    pub lands_later: u32,
    /// Calls that a late request may be overtaken by, at most.
    pub lands_later_calls_max: u32,
    /// The call waits first.
    pub delay: u32,
    /// Longest wait, in microseconds.
    pub delay_micros_max: u32,
    /// Deleting is refused, as to an identity that may only create and read.
    pub delete_refused: u32,
    /// After this many calls every further one fails for good: the machine stopped. `None` never.
    pub stop_after_calls: Option<u64>,
    /// The call at which the machine stops is still done, unknown to its caller.
    pub stop_does_last: bool,
}

impl Faults {
    /// Faults that happen for good: a machine that stops after `calls` calls and does nothing else wrong.
    pub fn stop_after(calls: u64) -> Self {
        Self { stop_after_calls: Some(calls), ..Self::default() }
    }
}

/// A store that fails by a seed.
pub struct FaultStore {
    inner: Arc<dyn BlobStore>,
    state: Mutex<State>,
}

struct State {
    faults: Faults,
    random: u64,
    calls: u64,
    late: Vec<Late>,
}

/// A request whose caller was told that it failed, and that will still be done.
struct Late {
    calls_left: u64,
    request: LateRequest,
}

enum LateRequest {
    Create(String, Vec<u8>),
    Delete(Vec<String>),
}

/// What is to happen to one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Healthy,
    FailsBefore,
    ReplyLost,
    LandsLater,
    Stopped { does_last: bool },
}

impl FaultStore {
    /// Wraps `inner`; the same seed gives the same faults to the same calls.
    pub fn new(inner: Arc<dyn BlobStore>, faults: Faults, seed: u64) -> Self {
        let state = State { faults, random: seed, calls: 0, late: Vec::new() };
        Self { inner, state: Mutex::new(state) }
    }

    /// Calls so far, failed ones included.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// True once every call fails for good.
    pub fn is_stopped(&self) -> bool {
        let state = self.state();
        state.faults.stop_after_calls.is_some_and(|limit| state.calls > limit)
    }

    /// Changes what happens from here on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Lets every request that is still under way land now.
    pub fn land_all(&self) {
        let late = core::mem::take(&mut self.state().late);
        late.into_iter().for_each(|late| self.land(late.request));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Plain counters and a list: a panic elsewhere leaves them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn land(&self, request: LateRequest) {
        // Nobody waits for the answer.
        match request {
            LateRequest::Create(name, body) => drop(self.inner.create(&name, &body)),
            LateRequest::Delete(names) => drop(self.inner.delete(&names)),
        }
    }

    /// Counts a call, lets what is due land, waits, and says what happens to the call.
    fn fate(&self, changes: bool) -> Fate {
        let (fate, due, wait) = {
            let mut state = self.state();
            state.calls += 1;
            let limit = state.faults.stop_after_calls.unwrap_or(u64::MAX);
            if state.calls > limit {
                let does_last = state.faults.stop_does_last && state.calls == limit + 1;
                return Fate::Stopped { does_last };
            }
            let due = state.due();
            let wait = match state.happens(|faults| faults.delay) {
                true => state.below(|faults| faults.delay_micros_max),
                false => 0,
            };
            (state.fate(changes), due, wait)
        };
        due.into_iter().for_each(|request| self.land(request));
        if wait > 0 {
            std::thread::sleep(Duration::from_micros(wait));
        }
        fate
    }

    /// A call that changes nothing.
    fn look<T>(&self, what: &str, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        match self.fate(false) {
            Fate::Healthy => call(),
            fate => Err(self.failed(what, fate)),
        }
    }

    fn failed(&self, what: &str, fate: Fate) -> Error {
        let place = self.inner.place();
        match fate {
            Fate::Stopped { .. } => {
                Error::device(place, format!("{what}: the machine stopped")).retry(Retry::Never)
            }
            _ => Error::device(place, format!("{what}: no answer")),
        }
    }
}

impl State {
    /// SplitMix64: enough for faults, and the same on every machine.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn happens(&mut self, of: impl Fn(&Faults) -> u32) -> bool {
        let thousandths = u64::from(of(&self.faults));
        thousandths > 0 && self.next() % 1000 < thousandths
    }

    fn below(&mut self, of: impl Fn(&Faults) -> u32) -> u64 {
        let limit = u64::from(of(&self.faults)) + 1;
        self.next() % limit
    }

    fn fate(&mut self, changes: bool) -> Fate {
        if self.happens(|faults| faults.fails_before) {
            Fate::FailsBefore
        } else if changes && self.happens(|faults| faults.reply_lost) {
            Fate::ReplyLost
        } else if changes && self.happens(|faults| faults.lands_later) {
            Fate::LandsLater
        } else {
            Fate::Healthy
        }
    }

    /// The late requests whose time has come.
    fn due(&mut self) -> Vec<LateRequest> {
        self.late.iter_mut().for_each(|late| late.calls_left = late.calls_left.saturating_sub(1));
        self.late.extract_if(.., |late| late.calls_left == 0).map(|late| late.request).collect()
    }

    fn put_off(&mut self, request: LateRequest) {
        let calls_left = 1 + self.below(|faults| faults.lands_later_calls_max);
        self.late.push(Late { calls_left, request });
    }
}

impl BlobStore for FaultStore {
    fn prepare(&self) -> Result<(), Error> {
        self.look("prepare", || self.inner.prepare())
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        let fate = self.fate(true);
        match fate {
            Fate::Healthy => return self.inner.create(name, body),
            Fate::ReplyLost | Fate::Stopped { does_last: true } => {
                drop(self.inner.create(name, body));
            }
            Fate::LandsLater => {
                let request = LateRequest::Create(name.to_owned(), body.to_vec());
                self.state().put_off(request);
            }
            Fate::FailsBefore | Fate::Stopped { does_last: false } => {}
        }
        Err(self.failed(&format!("creating {name}"), fate))
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.look("reading", || self.inner.read(name, offset, into))
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        self.look("reading", || self.inner.read_all(name, bytes_max))
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        self.look("looking at an object", || self.inner.facts(name))
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        self.look("listing", || self.inner.list(prefix, next, limit))
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        let fate = self.fate(true);
        if matches!(fate, Fate::Healthy) && !self.state().happens(|faults| faults.delete_refused) {
            return self.inner.delete(names);
        }
        match fate {
            Fate::ReplyLost | Fate::Stopped { does_last: true } => drop(self.inner.delete(names)),
            Fate::LandsLater => self.state().put_off(LateRequest::Delete(names.to_vec())),
            Fate::Healthy => {
                let refused = |name: &String| {
                    let object = format!("{}/{name}", self.inner.place());
                    Err(Error::refused(object, "may not be deleted by this identity"))
                };
                return names.iter().map(refused).collect();
            }
            Fate::FailsBefore | Fate::Stopped { does_last: false } => {}
        }
        names.iter().map(|name| Err(self.failed(&format!("deleting {name}"), fate))).collect()
    }

    fn now(&self) -> Result<u64, Error> {
        self.look("asking the time", || self.inner.now())
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn parallel(&self) -> usize {
        self.inner.parallel()
    }

    fn is_near(&self) -> bool {
        self.inner.is_near()
    }
}

#[cfg(test)]
mod tests;

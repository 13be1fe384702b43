//! What holds a restore's writes back until its point was looked at behind its pin.
//!
//! Content may be fetched before that: every block is checked against its fingerprint, so what a collector does meanwhile makes
//! a fetch fail and nothing else. Whoever failed so looks here whether there is another place to fetch from.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Objects;
use crate::error::Error;

/// Closed until somebody says what the look found.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
enum State {
    /// Nobody knows yet.
    #[default]
    Looking,
    /// The point is there; where objects were moved in between, those that there are now.
    Open(Option<Objects>),
    /// It is not, or nobody can tell.
    Refused(Error),
}

impl Gate {
    /// One that is open.
    pub(super) fn open() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Open(None)), changed: Condvar::new() })
    }

    /// Who opens it; where he ends without a word it stays shut, and nobody waits for it.
    pub(super) fn keeper(&self) -> Keeper<'_> {
        Keeper(self)
    }

    /// Says what was found.
    pub(super) fn settle(&self, found: Result<Option<Objects>, Error>) {
        *self.lock() = found.map_or_else(State::Refused, State::Open);
        self.changed.notify_all();
    }

    /// Waits until something may be written.
    ///
    /// Errors: nothing may.
    pub(super) fn pass(&self) -> Result<(), Error> {
        self.moved().map(drop)
    }

    /// The same; gives the objects that there are now, where that is not what was listed before.
    pub(super) fn moved(&self) -> Result<Option<Objects>, Error> {
        let mut state = self.lock();
        while matches!(*state, State::Looking) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match &*state {
            State::Refused(error) => Err(error.clone()),
            State::Open(objects) => Ok(objects.clone()),
            State::Looking => Ok(None),
        }
    }

    /// For whoever waits for somebody who is gone.
    fn end(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Looking) {
            *state = State::Refused(Error::device("this machine", "lost a thread"));
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who looks on behalf of a gate.
pub(super) struct Keeper<'a>(&'a Gate);

impl Keeper<'_> {
    /// Says what was found.
    pub(super) fn settle(&self, found: Result<Option<Objects>, Error>) {
        self.0.settle(found);
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_look_that_ended_without_a_word() {
        let gate = Gate::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.pass().is_err());
            drop(gate.keeper());
            assert!(waiting.join().expect("no panic"));
        });
        // What was said stays.
        let gate = Gate::default();
        gate.keeper().settle(Ok(None));
        assert_eq!(gate.pass(), Ok(()));
    }
}

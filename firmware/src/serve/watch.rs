//! How the vault fares: servers, points, and how old the newest is.

use std::sync::{Mutex, PoisonError};

use firmware_web::{Vault, VaultState};
use hal::time::Clock;

/// What was seen at the last look, by whichever clock the machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// In a word.
    pub state: VaultState,
    /// Servers in it.
    pub servers: u64,
    /// Recovery points in it.
    pub points: u64,
    /// When the newest point began, in milliseconds since 1970.
    pub newest: Option<u64>,
    /// When it was looked at, by a clock that only runs forwards, in nanoseconds.
    pub looked: u64,
}

impl Sight {
    /// As the page tells it.
    #[must_use]
    pub fn told(&self, clock: &dyn Clock) -> Vault {
        let looked = clock.monotonic_nanos().saturating_sub(self.looked) / 1_000_000_000;
        let seen = matches!(self.state, VaultState::Readable | VaultState::Trouble);
        Vault {
            state: self.state,
            servers: self.servers,
            points: self.points,
            newest_age_seconds: self.newest.map(|at| clock.now().0.saturating_sub(at) / 1000),
            looked_age_seconds: seen.then_some(looked),
        }
    }
}

/// The last look, shared.
#[derive(Debug, Default)]
pub struct Watched(Mutex<Sight>);

impl Watched {
    /// The last look.
    #[must_use]
    pub fn sight(&self) -> Sight {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new look. One that failed keeps what was seen before it.
    pub fn note(&self, sight: Result<Sight, u64>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sight {
            Ok(sight) => *last = sight,
            Err(looked) => {
                last.state = VaultState::Trouble;
                last.looked = looked;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hal_linux::SystemClock;

    use super::*;

    #[test]
    fn a_look_that_failed_keeps_what_was_seen() {
        let watched = Watched::default();
        assert_eq!(watched.sight().told(&SystemClock).state, VaultState::None);
        let clock = SystemClock;
        let looked = clock.monotonic_nanos();
        let newest = Some(clock.now().0.saturating_sub(7_000));
        let state = VaultState::Readable;
        watched.note(Ok(Sight { state, servers: 2, points: 9, newest, looked }));
        watched.note(Err(looked));
        let told = watched.sight().told(&clock);
        assert_eq!((told.state, told.servers, told.points), (VaultState::Trouble, 2, 9));
        assert!(told.newest_age_seconds.is_some_and(|age| age >= 7));
    }
}

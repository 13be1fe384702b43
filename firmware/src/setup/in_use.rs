//! The vault that is in use, for whoever waits for one: a machine may come up before anybody said where it is.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::cli::Opening;
use crate::session::Machine;

/// How to get at the vault.
#[derive(Clone)]
pub struct Way {
    /// As a person wrote it: `azure://...`, `dir:...`, `disk:...`.
    pub place: String,
    /// Vault and key.
    pub opening: Opening,
    /// The machine with what opens the storage.
    pub machine: Machine,
    /// The same for a verb in a process of its own, beside what it has anyway; empty where it has all it needs.
    pub environment: Vec<(String, String)>,
}

impl core::fmt::Debug for Way {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Way({})", self.place)
    }
}

/// The vault in use, shared.
#[derive(Clone, Debug, Default)]
pub struct InUse(Arc<(Mutex<Option<Way>>, Condvar)>);

impl InUse {
    /// From now on it is this one.
    pub fn set(&self, way: Way) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
        self.0.1.notify_all();
    }

    /// It, where there is one yet.
    #[must_use]
    pub fn way(&self) -> Option<Way> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits so long for it.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Option<Way> {
        let held = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(held, patience, |way| way.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Waits until there is one, or `ended` says that nobody wants it any more.
    pub fn wait_until(&self, ended: impl Fn() -> bool) -> Option<Way> {
        const LOOK: Duration = Duration::from_millis(250);
        while !ended() {
            if let Some(way) = self.wait(LOOK) {
                return Some(way);
            }
        }
        None
    }
}

impl Way {
    /// The way to a vault that the command line names.
    #[must_use]
    pub fn of(opening: &Opening, machine: &Machine) -> Self {
        Self {
            place: opening.vault.to_string(),
            opening: opening.clone(),
            machine: machine.clone(),
            environment: Vec::new(),
        }
    }

    /// The file of its key.
    #[must_use]
    pub fn key_file(&self) -> &PathBuf {
        &self.opening.key_file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Way {
        let opening = Opening {
            vault: "dir:/srv/v".parse().unwrap(),
            key_file: "/run/key".into(),
            passphrase_file: None,
            older_key: false,
        };
        Way::of(&opening, &Machine::with_table(Vec::new()))
    }

    #[test]
    fn whoever_waits_gets_it_and_nobody_waits_in_vain() {
        let shared = InUse::default();
        assert!(shared.way().is_none() && shared.wait(Duration::from_millis(1)).is_none());
        assert!(shared.wait_until(|| true).is_none());
        let waiting = shared.clone();
        let waiter = std::thread::spawn(move || waiting.wait_until(|| false));
        shared.set(way());
        assert_eq!(waiter.join().unwrap().unwrap().place, "dir:/srv/v");
        assert_eq!(shared.way().unwrap().key_file(), &PathBuf::from("/run/key"));
    }
}

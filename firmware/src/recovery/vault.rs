//! A vault's documents by an opened session, which several threads share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_recovery::documents::{Documents, read_from};
use pipeline_vault::Error;
use pipeline_vault::document::{self, Class, Name, Replaced};

use crate::session::Session;

/// An opened vault that several threads share.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Session>>);

impl Shared {
    /// Takes the session over.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }

    /// The session; held for short.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An opened vault that somebody else has, lent for a moment.
pub struct Borrowed<'a>(pub Mutex<&'a mut Session>);

impl Documents for Borrowed<'_> {
    fn read(&self, name: Name) -> Result<Option<(u64, Vec<u8>)>, Error> {
        read_from(self.0.lock().unwrap_or_else(PoisonError::into_inner).vault()?, name)
    }

    fn replace(&self, name: Name, version: u64, bytes: &[u8]) -> Result<Replaced, Error> {
        let mut session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        replaced_in(&mut session, name, version, bytes)
    }

    fn list(&self, class: Class) -> Result<Vec<Name>, Error> {
        let session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        document::list(&session.access(), class)
    }

    fn remove(&self, name: Name) -> Result<(), Error> {
        let session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        document::remove(&session.access(), name)
    }
}

fn replaced_in(
    session: &mut Session,
    name: Name,
    version: u64,
    bytes: &[u8],
) -> Result<Replaced, Error> {
    let replaced = document::replace(session.vault()?, name, version, bytes)?;
    // The first document of a vault brings a new key ring.
    session.note_ring();
    Ok(replaced)
}

impl Documents for Shared {
    fn read(&self, name: Name) -> Result<Option<(u64, Vec<u8>)>, Error> {
        read_from(self.session().vault()?, name)
    }

    fn replace(&self, name: Name, version: u64, bytes: &[u8]) -> Result<Replaced, Error> {
        replaced_in(&mut self.session(), name, version, bytes)
    }

    fn list(&self, class: Class) -> Result<Vec<Name>, Error> {
        document::list(&self.session().access(), class)
    }

    fn remove(&self, name: Name) -> Result<(), Error> {
        document::remove(&self.session().access(), name)
    }
}

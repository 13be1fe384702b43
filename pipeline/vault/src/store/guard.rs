//! A wrapper over any store that asks before anything is created or deleted: to look on, to interfere, or to refuse.

use std::sync::Arc;

use crate::error::Error;
use crate::store::{BlobStore, Created, Listing, ObjectFacts};

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// An object of this name and body is created.
    Create(&'a str, &'a [u8]),
    /// The object of this name is deleted.
    Delete(&'a str),
}

/// Called before each change, by whichever thread makes it; its error is the caller's answer, and nothing is done.
pub type Guard = dyn Fn(Change<'_>) -> Result<(), Error> + Send + Sync;

/// A store with a guard before it.
pub struct GuardedStore {
    inner: Arc<dyn BlobStore>,
    guard: Box<Guard>,
}

impl GuardedStore {
    /// Asks `guard` before each change of `inner`.
    pub fn new(
        inner: Arc<dyn BlobStore>,
        guard: impl Fn(Change<'_>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        Self { inner, guard: Box::new(guard) }
    }
}

impl BlobStore for GuardedStore {
    fn prepare(&self) -> Result<(), Error> {
        self.inner.prepare()
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        (self.guard)(Change::Create(name, body))?;
        self.inner.create(name, body)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.inner.read(name, offset, into)
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        self.inner.read_all(name, bytes_max)
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        self.inner.facts(name)
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        self.inner.list(prefix, next, limit)
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        let verdicts: Vec<_> =
            names.iter().map(|name| (self.guard)(Change::Delete(name))).collect();
        let allowed = names.iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_ok());
        let allowed: Vec<String> = allowed.map(|(name, _)| name.clone()).collect();
        let mut answers = self.inner.delete(&allowed).into_iter();
        let missing = || Err(Error::device(self.inner.place(), "gave fewer answers than names"));
        let answer = |verdict: Result<(), Error>| {
            verdict.and_then(|()| answers.next().unwrap_or_else(missing))
        };
        verdicts.into_iter().map(answer).collect()
    }

    fn now(&self) -> Result<u64, Error> {
        self.inner.now()
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
mod tests {
    use super::*;
    use crate::store::conformance;
    use crate::store::memory::MemoryStore;

    #[test]
    fn with_a_guard_that_allows_everything_it_is_a_store_like_any_other() {
        conformance::run(&|| Box::new(GuardedStore::new(Arc::new(MemoryStore::new()), |_| Ok(()))));
    }

    #[test]
    fn what_is_refused_is_not_done_and_the_rest_is() {
        let memory = Arc::new(MemoryStore::new());
        let store = GuardedStore::new(memory.clone(), |change| match change {
            Change::Create("kept" | "gone", _) | Change::Delete("gone") => Ok(()),
            Change::Create(name, _) | Change::Delete(name) => Err(Error::refused(name, "no")),
        });
        assert_eq!(store.create("other", b"1"), Err(Error::refused("other", "no")));
        for name in ["kept", "gone"] {
            store.create(name, b"1").expect("allowed");
        }
        let answers = store.delete(&["kept".to_owned(), "gone".to_owned(), "kept".to_owned()]);
        let refused = || Err(Error::refused("kept", "no"));
        assert_eq!(answers, [refused(), Ok(true), refused()]);
        assert_eq!(memory.names(), ["kept"]);
    }
}

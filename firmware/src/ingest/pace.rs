//! A store to which no more is sent than some limits allow.

use std::sync::Arc;

use hal::time::Clock;
use pipeline_vault::Error;
use pipeline_vault::store::{BlobStore, Created, Listing, ObjectFacts};

use super::calendar::Throttle;

/// A store behind limits. Reading is not held back.
pub struct PacedStore {
    inner: Arc<dyn BlobStore>,
    throttles: Vec<Arc<Throttle>>,
    clock: Arc<dyn Clock>,
}

impl PacedStore {
    /// Every limit counts.
    #[must_use]
    pub fn new(
        inner: Arc<dyn BlobStore>,
        throttles: Vec<Arc<Throttle>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { inner, throttles, clock }
    }
}

impl BlobStore for PacedStore {
    fn prepare(&self) -> Result<(), Error> {
        self.inner.prepare()
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        for throttle in &self.throttles {
            if !throttle.pass(body.len() as u64, &*self.clock) {
                return Err(Error::device(name, "is not sent: replication is about to end"));
            }
        }
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
        self.inner.delete(names)
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
    use hal_linux::SystemClock;
    use pipeline_vault::store::conformance;
    use pipeline_vault::store::memory::MemoryStore;

    use super::*;

    #[test]
    fn without_limits_it_is_a_store_like_any_other() {
        conformance::run(&|| {
            let throttles = vec![Arc::default()];
            Box::new(PacedStore::new(
                Arc::new(MemoryStore::new()),
                throttles,
                Arc::new(SystemClock),
            ))
        });
    }
}

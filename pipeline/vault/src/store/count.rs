//! A wrapper over any store that counts what goes through it: calls and bytes per operation, and a line per call.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::store::{BlobStore, Created, Listing, ObjectFacts};

/// Calls and bytes per operation, for the figures of cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that create an object.
    pub creates: u64,
    /// Bytes of their bodies.
    pub created_bytes: u64,
    /// Calls that read, ranged or whole.
    pub reads: u64,
    /// Bytes that they brought.
    pub read_bytes: u64,
    /// Calls that ask for an object's facts.
    pub facts: u64,
    /// Pages listed.
    pub lists: u64,
    /// Objects on them.
    pub listed_objects: u64,
    /// Calls that delete; one call takes many names.
    pub deletes: u64,
    /// Names in them.
    pub deleted_names: u64,
    /// Calls that ask for the time or prepare the place.
    pub others: u64,
}

/// A store that counts what goes through it and, if asked, keeps one line per call.
pub struct CountingStore {
    inner: Arc<dyn BlobStore>,
    counters: [AtomicU64; 10],
    trace: Option<Mutex<Vec<String>>>,
}

impl CountingStore {
    /// Counts calls to `inner`.
    pub fn new(inner: Arc<dyn BlobStore>) -> Self {
        Self { inner, counters: Default::default(), trace: None }
    }

    /// Counts, and keeps a line per call for `trace`; memory grows with the calls.
    pub fn tracing(inner: Arc<dyn BlobStore>) -> Self {
        Self { trace: Some(Mutex::new(Vec::new())), ..Self::new(inner) }
    }

    /// What went through so far.
    pub fn counts(&self) -> Counts {
        let value = |index: usize| self.counters[index].load(Ordering::Relaxed);
        Counts {
            creates: value(0),
            created_bytes: value(1),
            reads: value(2),
            read_bytes: value(3),
            facts: value(4),
            lists: value(5),
            listed_objects: value(6),
            deletes: value(7),
            deleted_names: value(8),
            others: value(9),
        }
    }

    /// The lines kept so far, and none of them again.
    pub fn take_trace(&self) -> Vec<String> {
        let Some(trace) = &self.trace else { return Vec::new() };
        core::mem::take(&mut *trace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, counter: usize, amount: usize) {
        self.counters[counter].fetch_add(amount as u64, Ordering::Relaxed);
    }

    fn line(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.lock().unwrap_or_else(PoisonError::into_inner).push(line());
        }
    }
}

impl BlobStore for CountingStore {
    fn prepare(&self) -> Result<(), Error> {
        self.note(9, 1);
        self.inner.prepare()
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        self.note(0, 1);
        self.note(1, body.len());
        let created = self.inner.create(name, body);
        self.line(|| format!("create {name} {} {}", body.len(), told(&created)));
        created
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.note(2, 1);
        let read = self.inner.read(name, offset, into);
        self.note(3, if read.is_ok() { into.len() } else { 0 });
        self.line(|| format!("read {name} {offset}+{} {}", into.len(), told(&read)));
        read
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        self.note(2, 1);
        let read = self.inner.read_all(name, bytes_max);
        self.note(3, read.as_ref().map_or(0, Vec::len));
        self.line(|| format!("read {name} {}", told(&read.as_ref().map(Vec::len))));
        read
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        self.note(4, 1);
        let facts = self.inner.facts(name);
        self.line(|| format!("facts {name} {}", told(&facts.as_ref().map(Option::is_some))));
        facts
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        self.note(5, 1);
        let page = self.inner.list(prefix, next, limit);
        let found = page.as_ref().map(|page| page.objects.len());
        self.note(6, *found.as_ref().unwrap_or(&0));
        self.line(|| format!("list {prefix} {}", told(&found)));
        page
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        self.note(7, 1);
        self.note(8, names.len());
        let answers = self.inner.delete(names);
        for (name, answer) in names.iter().zip(&answers) {
            self.line(|| format!("delete {name} {}", told(answer)));
        }
        answers
    }

    fn now(&self) -> Result<u64, Error> {
        self.note(9, 1);
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

fn told<T: core::fmt::Debug, E>(result: &Result<T, E>) -> String {
    result.as_ref().map_or_else(|_| String::from("failed"), |value| format!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_counting_store_keeps_every_rule() {
        conformance::run(&|| Box::new(CountingStore::tracing(Arc::new(MemoryStore::new()))));
    }

    #[test]
    fn calls_and_bytes_are_counted() {
        let store = CountingStore::tracing(Arc::new(MemoryStore::new()));
        store.create("a", b"123").expect("a fresh name");
        store.read("a", 1, &mut [0; 2]).expect("within the object");
        store.read_all("a", 10).expect("small");
        store.list("", None, 10).expect("a listing");
        store.delete(&[String::from("a"), String::from("b")]);
        let expected = Counts {
            creates: 1,
            created_bytes: 3,
            reads: 2,
            read_bytes: 5,
            lists: 1,
            listed_objects: 1,
            deletes: 1,
            deleted_names: 2,
            ..Counts::default()
        };
        assert_eq!(store.counts(), expected);
        assert_eq!(store.take_trace()[0], "create a 3 New");
        assert!(store.take_trace().is_empty());
    }
}

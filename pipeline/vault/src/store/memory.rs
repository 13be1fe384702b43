//! Objects in memory: for tests of everything above a store, with a clock that is set by hand and whole states
//! that can be copied, forked and rolled back.

use core::ops::Bound;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::store::{BlobStore, Created, LIST_PAGE_MAX, Listing, ObjectFacts, Tier, check_name};

/// Where a fresh store's clock stands: 2026-01-01 00:00 UTC, in milliseconds since 1970.
const FIRST_NOW_MS: u64 = 1_767_225_600_000;

/// A store whose objects live and die with it.
pub struct MemoryStore {
    state: Mutex<State>,
}

/// A copy of everything in a store at one moment; cheap, because bodies are shared.
#[derive(Clone)]
pub struct Snapshot(State);

#[derive(Clone)]
struct State {
    objects: BTreeMap<String, Object>,
    now_ms: u64,
    kept_ms: Option<u64>,
}

#[derive(Clone)]
struct Object {
    body: Arc<[u8]>,
    modified: u64,
    tier: Tier,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let state = State { objects: BTreeMap::new(), now_ms: FIRST_NOW_MS, kept_ms: None };
        Self { state: Mutex::new(state) }
    }

    /// Sets the store's clock; it stands still until it is set again.
    pub fn set_now(&self, now_ms: u64) {
        self.state().now_ms = now_ms;
    }

    /// Moves the store's clock forwards.
    pub fn advance(&self, by_ms: u64) {
        let mut state = self.state();
        state.now_ms = state.now_ms.saturating_add(by_ms);
    }

    /// Refuses to delete objects younger than `kept_ms` from now on, as an immutability policy does;
    /// `None` lifts it.
    pub fn keep_for(&self, kept_ms: Option<u64>) {
        self.state().kept_ms = kept_ms;
    }

    /// A copy of all that the store holds, clock included.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state().clone())
    }

    /// Puts the store back to an earlier state, as an attacker or a restored array would; the clock goes on.
    pub fn roll_back(&self, to: &Snapshot) {
        let mut state = self.state();
        state.objects.clone_from(&to.0.objects);
    }

    /// A second store that holds the same and goes its own way from here.
    pub fn fork(&self) -> Self {
        Self { state: Mutex::new(self.state().clone()) }
    }

    /// Replaces or adds an object whatever is there: damage, for tests.
    pub fn overwrite(&self, name: &str, body: &[u8]) {
        let mut state = self.state();
        let object = Object { body: body.into(), modified: state.now_ms, tier: Tier::Online };
        state.objects.insert(name.to_owned(), object);
    }

    /// Removes an object past every policy: a theft, for tests. True where it existed.
    pub fn lose(&self, name: &str) -> bool {
        self.state().objects.remove(name).is_some()
    }

    /// Moves an object to another tier; an archived one cannot be read. True where it exists.
    pub fn set_tier(&self, name: &str, tier: Tier) -> bool {
        self.state().objects.get_mut(name).map(|object| object.tier = tier).is_some()
    }

    /// Every name, ascending.
    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// Bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.state().objects.values().map(|object| object.body.len() as u64).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one insert, remove or assignment: a panic elsewhere leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn body(&self, name: &str) -> Result<Arc<[u8]>, Error> {
        check_name(name)?;
        let state = self.state();
        let object = state.objects.get(name).ok_or_else(|| Error::missing(named(name)))?;
        match object.tier {
            Tier::Archive => Err(Error::refused(named(name), "is archived and cannot be read now")
                .remedy("bring it back to an online tier first; that takes hours")),
            Tier::Online => Ok(Arc::clone(&object.body)),
        }
    }
}

impl BlobStore for MemoryStore {
    fn prepare(&self) -> Result<(), Error> {
        Ok(())
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        check_name(name)?;
        let mut state = self.state();
        match state.objects.get(name) {
            Some(object) if *object.body == *body => Ok(Created::Same),
            Some(_) => Ok(Created::Taken),
            None => {
                let object =
                    Object { body: body.into(), modified: state.now_ms, tier: Tier::Online };
                state.objects.insert(name.to_owned(), object);
                Ok(Created::New)
            }
        }
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let body = self.body(name)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = start.checked_add(into.len()).and_then(|end| body.get(start..end));
        let part = part.ok_or_else(|| {
            let what = format!("ends after {} bytes, before the end of what is wanted", body.len());
            Error::corrupt(named(name), what)
        })?;
        into.copy_from_slice(part);
        Ok(())
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let body = self.body(name)?;
        if body.len() as u64 > bytes_max {
            let what = format!("is {} bytes long, more than the {bytes_max} it may be", body.len());
            return Err(Error::corrupt(named(name), what));
        }
        Ok(body.to_vec())
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        check_name(name)?;
        Ok(self.state().objects.get(name).map(|object| facts_of(name, object)))
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        let limit = limit.clamp(1, LIST_PAGE_MAX);
        let state = self.state();
        let after = next.unwrap_or("");
        let first = if after > prefix { after } else { prefix };
        let mut objects: Vec<_> = state
            .objects
            .range::<str, _>((Bound::Included(first), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(name, _)| next.is_none_or(|next| name.as_str() > next))
            .take(limit + 1)
            .map(|(name, object)| facts_of(name, object))
            .collect();
        let more = objects.len() > limit;
        objects.truncate(limit);
        let next = if more { objects.last().map(|last| last.name.clone()) } else { None };
        Ok(Listing { objects, next })
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        let mut state = self.state();
        let delete_one = |name: &String| {
            check_name(name)?;
            let Some(object) = state.objects.get(name) else { return Ok(false) };
            let age_ms = state.now_ms.saturating_sub(object.modified);
            if state.kept_ms.is_some_and(|kept_ms| age_ms < kept_ms) {
                return Err(Error::refused(named(name), "may not be deleted yet: it is immutable")
                    .remedy("delete it after its term"));
            }
            Ok(state.objects.remove(name).is_some())
        };
        names.iter().map(delete_one).collect()
    }

    fn now(&self) -> Result<u64, Error> {
        Ok(self.state().now_ms)
    }

    fn place(&self) -> String {
        String::from("memory:")
    }
}

fn named(name: &str) -> String {
    format!("memory:/{name}")
}

fn facts_of(name: &str, object: &Object) -> ObjectFacts {
    let (bytes, modified) = (object.body.len() as u64, object.modified);
    ObjectFacts { name: name.to_owned(), bytes, modified, tier: object.tier }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[test]
    fn memory_store_keeps_every_rule_of_a_store() {
        conformance::run(&|| Box::new(MemoryStore::new()));
    }

    #[test]
    fn rolling_back_restores_objects_and_leaves_the_clock() {
        let store = MemoryStore::new();
        store.create("a", b"1").expect("a fresh name");
        let before = store.snapshot();
        let fork = store.fork();
        store.create("b", b"2").expect("a fresh name");
        store.advance(5);
        store.roll_back(&before);
        assert_eq!(store.names(), ["a"]);
        assert_eq!(store.now(), Ok(FIRST_NOW_MS + 5));
        fork.create("c", b"3").expect("a fresh name");
        assert_eq!(store.names(), ["a"]);
    }

    #[test]
    fn immutable_objects_go_only_after_their_term() {
        let store = MemoryStore::new();
        store.create("a", b"1").expect("a fresh name");
        store.keep_for(Some(1000));
        let names = [String::from("a")];
        assert!(store.delete(&names)[0].is_err());
        store.advance(1000);
        assert_eq!(store.delete(&names), [Ok(true)]);
    }

    #[test]
    fn archived_objects_are_refused_and_told() {
        let store = MemoryStore::new();
        store.create("a", b"1").expect("a fresh name");
        assert!(store.set_tier("a", Tier::Archive));
        let error = store.read_all("a", 10).expect_err("archived");
        assert!(error.what.contains("archived") && !error.is_missing());
    }
}

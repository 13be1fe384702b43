//! A wrapper over a store far away that asks at once for what a reader of a vault is going to ask for one after another.
//!
//! Whose chain is wanted is known only once the key ring is open, a round trip or two later; which chains there are, one
//! listing tells without a key. So the newest slots of a vault with few of them are under way, as bytes that mean nothing yet,
//! while its ring is. Each answer is given once, to whoever asks the same, and judged by him as any other: what was asked
//! early is what the store said since this reader began. With the first object that is created or deleted all of it ends,
//! so that a look behind a pin is a look of its own.
//!
//! Who remembers the vault asks for more at once: the key ring, slots and segments that it had when it was last seen. A wrong
//! guess is an object in vain: what is there now, and what counts, only the listings say, which are asked for as ever.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use pipeline::ids::ServerId;
use pipeline::limits::RECORD_BYTES_MAX;

use super::{BlobStore, Created, LIST_PAGE_MAX, Listing, ObjectFacts};
use crate::error::Error;
use crate::keys::ring;
use crate::names;
use crate::parallel;

/// Slots of all chains, and bytes in them: of a vault with more nothing is asked early but for the time.
const SLOTS_MAX: usize = 256;
const BYTES_MAX: u64 = 1024 * 1024;
/// Chains of whose servers segments are listed: a page in vain is a megabyte or two.
const SERVERS_MAX: usize = 2;
/// Slots of a chain that are guessed by the newest one that is remembered: of a longer chain they were in vain, as the others
/// had to be waited for.
const GUESSED_MAX: u64 = 32;
/// How large a slot may be for whoever reads it.
const SLOT_BYTES_MAX: u64 = RECORD_BYTES_MAX as u64 + 4096;

/// What a reader remembers of a vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The version of its key ring.
    pub ring_version: u64,
    /// The newest slot of each chain.
    pub heads: Vec<(ServerId, u64)>,
}

/// The wrapper.
pub struct HeadStart {
    inner: Arc<dyn BlobStore>,
    early: Arc<Early>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    Time,
    /// The first page of a listing, as long as it can be.
    List(String),
    /// A whole object.
    Object(String),
}

#[derive(Debug)]
enum Answer {
    Time(u64),
    Page(Listing),
    Bytes(Vec<u8>),
}

/// What is asked early.
#[derive(Default)]
struct Early {
    /// Answers that nobody took; nothing where one is on its way.
    answers: Mutex<HashMap<Question, Option<Answer>>>,
    came: Condvar,
    ended: AtomicBool,
    /// What was asked by what is remembered, and so not once more by what is listed.
    guessed: HashSet<Question>,
}

impl HeadStart {
    /// Asks from now on.
    #[must_use]
    pub fn new(inner: Arc<dyn BlobStore>) -> Self {
        Self::knowing(inner, &Remembered::default())
    }

    /// The same for somebody who was here before.
    #[must_use]
    pub fn knowing(inner: Arc<dyn BlobStore>, remembered: &Remembered) -> Self {
        let guessed = guesses(remembered);
        let early = Arc::new(Early { guessed: guessed.clone(), ..Early::default() });
        for question in guessed {
            early.ask_guess(&inner, question);
        }
        early.ask_guess(&inner, Question::Time);
        let (chains, after) = (Arc::clone(&inner), Arc::clone(&early));
        // Who cannot start a thread asks everything in its time.
        let spawned = thread::Builder::new().name("head-start".to_owned());
        drop(spawned.spawn(move || after.look_at_chains(&chains)));
        Self { inner, early }
    }
}

impl Early {
    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Option<Answer>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn end(&self) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            self.lock().clear();
            self.came.notify_all();
        }
    }

    /// Asks in a thread of its own.
    fn ask(
        self: &Arc<Self>,
        question: Question,
        ask: impl FnOnce() -> Result<Answer, Error> + Send + 'static,
    ) {
        self.lock().insert(question.clone(), None);
        let early = Arc::clone(self);
        let unasked = question.clone();
        let spawned = thread::Builder::new().name("head-start".to_owned());
        if spawned.spawn(move || early.answered(question, ask())).is_err() {
            self.forget(&unasked);
        }
    }

    fn forget(&self, question: &Question) {
        self.lock().remove(question);
        self.came.notify_all();
    }

    /// An answer came. One that failed is asked for again by whoever wants it, who then says why.
    fn answered(&self, question: Question, answer: Result<Answer, Error>) {
        let mut answers = self.lock();
        if self.has_ended() {
            return;
        }
        match answer {
            Ok(answer) => drop(answers.insert(question, Some(answer))),
            Err(_) => drop(answers.remove(&question)),
        }
        drop(answers);
        self.came.notify_all();
    }

    /// Takes an answer, waiting where it is on its way; nothing where it was not asked early.
    fn take(&self, question: &Question) -> Option<Answer> {
        if self.has_ended() {
            return None;
        }
        let on_its_way = |answers: &mut HashMap<Question, Option<Answer>>| {
            answers.get(question).is_some_and(Option::is_none)
        };
        let waited = self.came.wait_while(self.lock(), on_its_way);
        waited.unwrap_or_else(PoisonError::into_inner).remove(question).flatten()
    }

    /// Asks for one of the guesses.
    fn ask_guess(self: &Arc<Self>, store: &Arc<dyn BlobStore>, question: Question) {
        let (store, asked) = (Arc::clone(store), question.clone());
        self.ask(question, move || match asked {
            Question::Time => store.now().map(Answer::Time),
            Question::List(prefix) => store.list(&prefix, None, LIST_PAGE_MAX).map(Answer::Page),
            Question::Object(name) => store.read_all(&name, SLOT_BYTES_MAX).map(Answer::Bytes),
        });
    }

    /// Lists all chains, and asks for what is in them where that is little.
    fn look_at_chains(self: &Arc<Self>, store: &Arc<dyn BlobStore>) {
        let Ok(all) = store.list(names::CHAINS_PREFIX, None, SLOTS_MAX) else { return };
        let Some(chains) = by_chain(&all) else { return };
        let mut answers = self.lock();
        if self.has_ended() {
            return;
        }
        for (server, objects) in &chains {
            let page = Listing { objects: objects.clone(), next: None };
            let question = Question::List(names::chain_prefix(server));
            if !self.guessed.contains(&question) {
                answers.insert(question, Some(Answer::Page(page)));
            }
        }
        let slots = all.objects.iter().map(|facts| facts.name.clone());
        let slots: Vec<String> =
            slots.filter(|slot| !self.guessed.contains(&Question::Object(slot.clone()))).collect();
        answers.extend(slots.iter().map(|slot| (Question::Object(slot.clone()), None)));
        drop(answers);
        if chains.len() <= SERVERS_MAX {
            let segments =
                chains.keys().map(|server| Question::List(names::segment_prefix(server)));
            for question in segments.filter(|question| !self.guessed.contains(question)) {
                self.ask_guess(store, question);
            }
        }
        let read = |slot: &String| {
            if !self.has_ended() {
                let bytes = store.read_all(slot, SLOT_BYTES_MAX).map(Answer::Bytes);
                self.answered(Question::Object(slot.clone()), bytes);
            }
            Ok(())
        };
        drop(parallel::each(&slots, store.parallel(), read));
        // Whatever became of them, nobody waits for them any more.
        let mut answers = self.lock();
        for question in slots.into_iter().map(Question::Object) {
            if answers.get(&question).is_some_and(Option::is_none) {
                answers.remove(&question);
            }
        }
        drop(answers);
        self.came.notify_all();
    }
}

/// What somebody asks for who has what he remembers in mind.
fn guesses(remembered: &Remembered) -> HashSet<Question> {
    let mut guesses = HashSet::new();
    if remembered.ring_version > 0 {
        guesses.insert(Question::Object(ring::object_name(remembered.ring_version)));
    }
    if remembered.heads.len() <= SERVERS_MAX {
        for (server, newest) in &remembered.heads {
            guesses.insert(Question::List(names::chain_prefix(server)));
            guesses.insert(Question::List(names::segment_prefix(server)));
            let slots = 0..=*newest;
            let slots = slots.take_while(|_| *newest < GUESSED_MAX);
            guesses.extend(slots.map(|slot| Question::Object(names::chain_slot(server, slot))));
        }
    }
    guesses
}

/// The slots of each chain, where there are few; nothing where there are more, or where something else lies there.
fn by_chain(all: &Listing) -> Option<BTreeMap<ServerId, Vec<ObjectFacts>>> {
    let bytes = all.objects.iter().fold(0_u64, |sum, facts| sum.saturating_add(facts.bytes));
    if all.next.is_some() || bytes > BYTES_MAX {
        return None;
    }
    let mut chains: BTreeMap<ServerId, Vec<ObjectFacts>> = BTreeMap::new();
    for facts in &all.objects {
        let rest = facts.name.strip_prefix(names::CHAINS_PREFIX)?;
        let server: ServerId = rest.split_once('/')?.0.parse().ok()?;
        // Who asks for this chain is to find everything that lies below its name.
        facts.name.starts_with(&names::chain_prefix(&server)).then_some(())?;
        chains.entry(server).or_default().push(facts.clone());
    }
    Some(chains)
}

impl BlobStore for HeadStart {
    fn prepare(&self) -> Result<(), Error> {
        self.early.end();
        self.inner.prepare()
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        self.early.end();
        self.inner.create(name, body)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.inner.read(name, offset, into)
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        match self.early.take(&Question::Object(name.to_owned())) {
            Some(Answer::Bytes(bytes)) if bytes.len() as u64 <= bytes_max => Ok(bytes),
            _ => self.inner.read_all(name, bytes_max),
        }
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        self.inner.facts(name)
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        let is_first = next.is_none() && limit == LIST_PAGE_MAX;
        let early = is_first.then(|| self.early.take(&Question::List(prefix.to_owned())));
        match early.flatten() {
            Some(Answer::Page(page)) => Ok(page),
            _ => self.inner.list(prefix, next, limit),
        }
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        self.early.end();
        self.inner.delete(names)
    }

    fn now(&self) -> Result<u64, Error> {
        match self.early.take(&Question::Time) {
            Some(Answer::Time(now)) => Ok(now),
            _ => self.inner.now(),
        }
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

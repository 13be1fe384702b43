//! What is asked early is what would be answered later, once, and never behind a change.

use super::*;
use crate::store::conformance;
use crate::store::count::CountingStore;
use crate::store::memory::MemoryStore;

const SERVER: ServerId = ServerId([3; 16]);

/// A vault's chain of so many slots.
fn chain(slots: u64, server: ServerId) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    more(&store, server, 0..slots);
    store
}

fn more(store: &MemoryStore, server: ServerId, slots: core::ops::Range<u64>) {
    for slot in slots {
        let body = slot.to_le_bytes();
        store.create(&names::chain_slot(&server, slot), &body).expect("a fresh slot");
    }
}

/// The wrapper with everything asked, and everything there.
fn asked(inner: &Arc<CountingStore>) -> HeadStart {
    let early = Arc::new(Early::default());
    let store = Arc::clone(inner) as Arc<dyn BlobStore>;
    early.look_at_chains(&store);
    HeadStart { inner: store, early }
}

fn slots_of(store: &dyn BlobStore) -> usize {
    let page = store.list(&names::chain_prefix(&SERVER), None, LIST_PAGE_MAX);
    page.expect("a listing").objects.len()
}

#[test]
fn it_keeps_every_rule_of_a_store() {
    conformance::run(&|| Box::new(HeadStart::new(Arc::new(MemoryStore::new()))));
}

#[test]
fn an_answer_is_given_once_and_asks_nothing_again() {
    let memory = chain(3, SERVER);
    let counting = Arc::new(CountingStore::tracing(memory.clone()));
    let store = asked(&counting);
    let segments = store.list(&names::segment_prefix(&SERVER), None, LIST_PAGE_MAX);
    assert_eq!(segments.expect("a listing").objects, []);
    let calls = counting.take_trace();
    assert_eq!(calls.len(), 1 + 3 + 1, "{calls:?}");
    assert_eq!(slots_of(&store), 3);
    let newest = names::chain_slot(&SERVER, 2);
    assert_eq!(store.read_all(&newest, 100).expect("a slot"), 2_u64.to_le_bytes());
    assert_eq!(counting.take_trace(), Vec::<String>::new(), "all of it had come");
    // Whoever asks again wants to know what is there now.
    more(&memory, SERVER, 3..4);
    assert_eq!(slots_of(&store), 4);
    store.read_all(&newest, 100).expect("a slot");
    assert_eq!(counting.take_trace().len(), 2);
    let smaller = store.read_all(&names::chain_slot(&SERVER, 1), 7);
    assert!(smaller.is_err(), "more than was asked for: {smaller:?}");
    let part = store.list(&names::chain_prefix(&SERVER), None, 1).expect("a listing");
    assert_eq!(part.objects.len(), 1);
}

#[test]
fn what_is_remembered_is_asked_once_and_a_wrong_guess_is_only_in_vain() {
    let memory = chain(3, SERVER);
    memory.create(&ring::object_name(2), b"a ring").expect("a fresh name");
    let counting = Arc::new(CountingStore::tracing(memory.clone()));
    // The newest slot is gone, and so is the other server.
    let heads = vec![(SERVER, 3), (ServerId([4; 16]), 1)];
    let remembered = Remembered { ring_version: 2, heads };
    let inner = Arc::clone(&counting) as Arc<dyn BlobStore>;
    let store = HeadStart::knowing(Arc::clone(&inner), &remembered);
    store.early.look_at_chains(&inner);
    assert_eq!(slots_of(&store), 3);
    let segments = store.list(&names::segment_prefix(&SERVER), None, LIST_PAGE_MAX);
    assert_eq!(segments.expect("a listing").objects, []);
    assert_eq!(store.read_all(&ring::object_name(2), 100).expect("a ring"), b"a ring");
    for slot in 0..3 {
        let name = names::chain_slot(&SERVER, slot);
        assert_eq!(store.read_all(&name, 100).expect("a slot"), slot.to_le_bytes());
    }
    let calls = counting.take_trace();
    let slots = (0..3).map(|slot| names::chain_slot(&SERVER, slot));
    for name in slots.chain([ring::object_name(2), names::segment_prefix(&SERVER)]) {
        let asked = calls.iter().filter(|call| call.contains(&name)).count();
        assert_eq!(asked, 1, "{name} in {calls:?}");
    }
    let gone = store.read_all(&names::chain_slot(&SERVER, 3), 100);
    assert!(gone.expect_err("no such slot").is_missing());
    // Where it is long, what is remembered says too little to guess by.
    let long = Remembered { ring_version: 0, heads: vec![(SERVER, GUESSED_MAX)] };
    assert_eq!(guesses(&long).len(), 2, "two listings");
    let many = (0..3).map(|server| (ServerId([server; 16]), 1)).collect();
    assert_eq!(guesses(&Remembered { ring_version: 0, heads: many }).len(), 0);
}

#[test]
fn nothing_that_was_asked_early_is_told_behind_a_change() {
    for change in 0..3 {
        let memory = chain(3, SERVER);
        let store = asked(&Arc::new(CountingStore::tracing(memory.clone())));
        more(&memory, SERVER, 3..4);
        memory.advance(1000);
        match change {
            0 => drop(store.create("pin/x", b"mine").expect("a fresh name")),
            1 => drop(store.delete(&["pin/y".to_owned()])),
            _ => store.prepare().expect("a place"),
        }
        assert_eq!(slots_of(&store), 4, "{change}");
        // What is still on its way then is nobody's.
        store.early.answered(Question::Time, Ok(Answer::Time(7)));
        assert_ne!(store.now().expect("a clock"), 7);
    }
}

#[test]
fn of_a_large_vault_and_of_a_strange_one_no_slot_is_asked_for() {
    let strange = chain(2, SERVER);
    strange.create("chain/readme.txt", b"what is this").expect("a fresh name");
    let large = chain(SLOTS_MAX as u64 + 1, SERVER);
    let heavy = chain(1, SERVER);
    let body = vec![1; usize::try_from(BYTES_MAX).expect("a megabyte")];
    heavy.create(&names::chain_slot(&SERVER, 1), &body).expect("a fresh slot");
    for memory in [large, strange, heavy] {
        let counting = Arc::new(CountingStore::tracing(memory));
        drop(asked(&counting));
        assert_eq!(counting.take_trace().len(), 1, "the listing alone");
    }
    let many = chain(2, SERVER);
    (10..15).for_each(|other| more(&many, ServerId([other; 16]), 0..2));
    let counting = Arc::new(CountingStore::tracing(many));
    let store = asked(&counting);
    assert_eq!(counting.take_trace().len(), 1 + 12, "slots, and no segments");
    assert_eq!(slots_of(&store), 2, "of the one that is asked for alone");
}

#[test]
fn what_fails_early_is_asked_again_and_nobody_waits_for_it() {
    let memory = chain(2, SERVER);
    let counting = Arc::new(CountingStore::tracing(memory.clone()));
    let store = asked(&counting);
    let question = || Question::Object("elsewhere".to_owned());
    store.early.lock().insert(question(), None);
    let waiting = thread::scope(|scope| {
        let waiting = scope.spawn(|| store.read_all("elsewhere", 10));
        store.early.answered(question(), Err(Error::missing("elsewhere")));
        waiting.join().expect("an answer")
    });
    assert!(waiting.expect_err("no such object").is_missing());
    memory.create("elsewhere", b"there now").expect("a fresh name");
    store.early.ask(question(), || Err(Error::missing("elsewhere")));
    assert_eq!(store.read_all("elsewhere", 10).expect("an object"), b"there now");
    // The end lets go of whoever waits.
    store.early.lock().insert(question(), None);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| store.read_all("elsewhere", 10));
        store.early.end();
        assert_eq!(waiting.join().expect("an answer").expect("an object"), b"there now");
    });
}

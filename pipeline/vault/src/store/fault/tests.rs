//! The faults happen as named, and by the seed alone.

use super::*;
use crate::store::conformance;
use crate::store::memory::MemoryStore;

fn faulty(faults: Faults, seed: u64) -> (Arc<MemoryStore>, FaultStore) {
    let memory = Arc::new(MemoryStore::new());
    let store = FaultStore::new(Arc::clone(&memory) as Arc<dyn BlobStore>, faults, seed);
    (memory, store)
}

#[test]
fn a_healthy_fault_store_keeps_every_rule() {
    conformance::run(&|| {
        Box::new(FaultStore::new(Arc::new(MemoryStore::new()), Faults::default(), 1))
    });
}

#[test]
fn a_lost_reply_did_the_work() {
    let (memory, store) = faulty(Faults { reply_lost: 1000, ..Faults::default() }, 2);
    assert_eq!(store.create("a", b"1").map_err(|error| error.retry), Err(Retry::Later));
    assert_eq!(memory.names(), ["a"]);
}

#[test]
fn a_late_request_lands_after_its_caller_gave_up() {
    let faults = Faults { lands_later: 1000, lands_later_calls_max: 3, ..Faults::default() };
    let (memory, store) = faulty(faults, 3);
    assert!(store.create("a", b"1").is_err());
    assert!(memory.names().is_empty());
    store.set_faults(Faults::default());
    for _ in 0..4 {
        store.now().expect("healthy again");
    }
    assert_eq!(memory.names(), ["a"]);
}

#[test]
fn a_stopped_machine_does_nothing_more() {
    for does_last in [false, true] {
        let faults = Faults { stop_does_last: does_last, ..Faults::stop_after(1) };
        let (memory, store) = faulty(faults, 4);
        assert_eq!(store.create("a", b"1"), Ok(Created::New));
        assert_eq!(store.create("b", b"1").map_err(|error| error.retry), Err(Retry::Never));
        assert!(store.create("c", b"1").is_err() && store.is_stopped());
        assert_eq!(memory.names().contains(&String::from("b")), does_last);
        assert!(!memory.names().contains(&String::from("c")));
    }
}

#[test]
fn the_seed_alone_decides() {
    let faults = Faults { fails_before: 300, reply_lost: 300, ..Faults::default() };
    let outcomes = |seed| {
        let (memory, store) = faulty(faults.clone(), seed);
        let told: Vec<bool> =
            (0..64).map(|index| store.create(&format!("n{index}"), b"").is_ok()).collect();
        (told, memory.names())
    };
    assert_eq!(outcomes(7), outcomes(7));
    assert_ne!(outcomes(7), outcomes(8));
}

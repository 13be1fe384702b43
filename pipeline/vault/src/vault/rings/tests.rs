//! Writers that were killed between a key ring and its copy.

use std::sync::Arc;

use hal_sim::{SimClock, SimEntropy};

use crate::keys::recovery_key::RecoveryKey;
use crate::keys::ring::{copy_name, object_name};
use crate::store::BlobStore;
use crate::store::memory::MemoryStore;
use crate::vault::Vault;

fn open(store: Arc<dyn BlobStore>, key: &RecoveryKey) -> Vault {
    let (clock, entropy) = (Arc::new(SimClock::default()), Arc::new(SimEntropy::new(9)));
    Vault::open(store, clock, entropy, key).expect("its own key")
}

#[test]
fn a_writer_killed_between_a_key_ring_and_its_copy_leaves_the_copy_to_the_next_writer() {
    let memory = Arc::new(MemoryStore::new());
    let (clock, entropy) = (Arc::new(SimClock::default()), Arc::new(SimEntropy::new(1)));
    let (mut vault, key) = Vault::create(memory.clone(), clock, entropy).expect("an empty place");
    let first = vault.enrol("db1").expect("a fresh name");
    let (object, copy) = (object_name(2), copy_name(2));
    memory.lose(&copy);

    // Whoever only reads makes nothing, and says what is missing.
    let names = memory.names();
    let reader = open(memory.clone(), &key);
    let told = reader.audit().expect("a store");
    assert_eq!(told.iter().map(|error| error.object.as_str()).collect::<Vec<_>>(), [&copy]);
    assert_eq!(memory.names(), names);

    // The next point of a server that is known changes no ring, and makes the copy all the same.
    let mut writer = open(memory.clone(), &key);
    assert_eq!(writer.enrol("db1").map(|server| server.id), Ok(first.id));
    assert_eq!(memory.read_all(&copy, 10_000), memory.read_all(&object, 10_000));
    assert_eq!(writer.audit(), Ok(Vec::new()));

    // So does whoever keeps the catalogue.
    let mut writer = open(memory.clone(), &key);
    writer.catalogue_key().expect("a key");
    memory.lose(&copy_name(3));
    open(memory.clone(), &key).catalogue_key().expect("a key");
    assert_eq!(memory.read_all(&copy_name(3), 10_000), memory.read_all(&object_name(3), 10_000));
}

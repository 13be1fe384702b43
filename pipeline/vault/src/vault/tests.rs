//! Vaults that are made, opened with the wrong things, changed by several at once, and stopped at every call.

use std::collections::BTreeSet;

use hal_sim::clock::SimClock;
use hal_sim::entropy::SimEntropy;

use super::*;
use crate::keys::ring::{copy_name, object_name};
use crate::scratch::mutations;
use crate::sealed::{self, ObjectKey, ObjectKind};
use crate::store::directory::DirectoryStore;
use crate::store::fault::{FaultStore, Faults};
use crate::store::list_all;
use crate::store::memory::MemoryStore;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SimClock::default())
}

fn entropy(seed: u64) -> Arc<dyn Entropy> {
    Arc::new(SimEntropy::new(seed))
}

fn shared(memory: &Arc<MemoryStore>) -> Arc<dyn BlobStore> {
    Arc::clone(memory) as Arc<dyn BlobStore>
}

fn create(store: Arc<dyn BlobStore>, seed: u64) -> Result<(Vault, RecoveryKey), Error> {
    Vault::create(store, clock(), entropy(seed))
}

fn open(memory: &Arc<MemoryStore>, key: &RecoveryKey) -> Result<Vault, Error> {
    Vault::open(shared(memory), clock(), entropy(99), key)
}

fn made() -> (Arc<MemoryStore>, Vault, RecoveryKey) {
    let memory = Arc::new(MemoryStore::new());
    let (vault, key) = create(shared(&memory), 1).expect("an empty place");
    (memory, vault, key)
}

fn told(opened: Result<Vault, Error>) -> Error {
    match opened {
        Err(error) => error,
        Ok(_) => panic!("this must not open"),
    }
}

fn new_key(seed: u64) -> RecoveryKey {
    RecoveryKey::generate(&SimEntropy::new(seed)).expect("randomness")
}

#[test]
fn a_vault_opens_with_its_key_and_knows_its_servers() {
    let (memory, mut vault, key) = made();
    let server = vault.enrol("db1").expect("a fresh name");
    assert_eq!(vault.enrol("db1").map(|again| again.id), Ok(server.id));
    let opened = open(&memory, &key).expect("its own key");
    assert_eq!(opened.id(), vault.id());
    assert_eq!(opened.server("db1"), Ok(&server));
    assert!(opened.troubles().is_empty());
    assert!(opened.access().keys.newest_record_key(&server.id).is_some());
    let unknown = opened.server("db2").expect_err("never enrolled");
    assert!(unknown.remedy.contains("db1"), "{unknown}");
    assert!(vault.enrol(" bad ").is_err());
    let typed = RecoveryKey::parse(&key.to_text()).expect("what was printed");
    open(&memory, &typed).expect("the key from paper");
}

#[test]
fn a_directory_vault_is_made_and_opened() {
    let scratch = crate::scratch::Scratch::new();
    let store = || {
        Arc::new(DirectoryStore::new(scratch.path().join("vault"), clock())) as Arc<dyn BlobStore>
    };
    let (mut vault, key) = create(store(), 1).expect("a new folder");
    vault.enrol("db1").expect("a fresh name");
    let opened = Vault::open(store(), clock(), entropy(2), &key).expect("its own key");
    assert_eq!(opened.servers().len(), 1);
    assert!(create(store(), 3).is_err());
}

#[test]
fn an_existing_vault_is_not_made_again() {
    let (memory, _vault, key) = made();
    let before = memory.names();
    let error = create(shared(&memory), 2).map(|_| ()).expect_err("it exists");
    assert!(error.what.contains("already"), "{error}");
    assert_eq!(memory.names(), before);
    open(&memory, &key).expect("still its own key");
}

#[test]
fn a_place_with_other_things_is_refused() {
    let memory = Arc::new(MemoryStore::new());
    memory.overwrite("holiday.jpg", b"x");
    let error = create(shared(&memory), 1).map(|_| ()).expect_err("not empty");
    assert!(error.what.contains("other things"), "{error}");
    assert!(told(open(&memory, &new_key(1))).what.contains("there is no vault"));
    memory.overwrite("vault", b"not ours");
    assert!(create(shared(&memory), 1).is_err());
    assert!(told(open(&memory, &new_key(1))).what.contains("«vault» that is no vault"));
}

#[test]
fn what_is_wrong_is_told_apart() {
    let empty = Arc::new(MemoryStore::new());
    assert!(told(open(&empty, &new_key(1))).what.contains("is empty"));

    let (memory, vault, key) = made();
    let wrong = told(open(&memory, &new_key(7)));
    assert_eq!((wrong.blame, wrong.object.as_str()), (Blame::Misuse, "recovery key"));
    assert!(wrong.what.contains("does not open the vault"), "{wrong}");

    let other = told(open(&memory, &key.clone().of(VaultId([3; 16]))));
    assert!(other.what.contains("is of the vault 03030303"), "{other}");
    assert!(other.what.contains(&vault.id().to_string()), "{other}");

    let ring = object_name(1);
    let whole = memory.snapshot();
    memory.overwrite(&ring, b"damaged");
    memory.overwrite(&copy_name(1), b"damaged");
    let damaged = told(open(&memory, &key));
    assert_eq!(damaged.blame, Blame::Corrupt);
    assert!(damaged.object.contains(&ring), "{damaged}");

    memory.roll_back(&whole);
    memory.lose(&ring);
    memory.lose(&copy_name(1));
    let gone = told(open(&memory, &key));
    assert!(gone.what.contains("no key ring"), "{gone}");

    memory.roll_back(&whole);
    let mut marker = memory.read_all("vault", 1000).expect("it is there")[..68].to_vec();
    marker[8] = 9;
    marker.extend(pipeline::seal::digest(&[&marker]).0);
    memory.overwrite("vault", &marker);
    assert!(told(open(&memory, &key)).what.contains("format 9"));
}

#[test]
fn a_ring_of_another_vault_is_told() {
    let (memory, _vault, key) = made();
    let (other_memory, ..) = {
        let memory = Arc::new(MemoryStore::new());
        let made = create(shared(&memory), 50).expect("an empty place");
        (memory, made)
    };
    for name in [object_name(1), copy_name(1)] {
        memory.overwrite(&name, &other_memory.read_all(&name, 10_000).expect("it is there"));
    }
    let error = told(open(&memory, &key));
    assert!(error.what.contains("belongs to the vault"), "{error}");
}

#[test]
fn a_damaged_ring_opens_from_its_copy() {
    let (memory, mut vault, key) = made();
    let server = vault.enrol("db1").expect("a fresh name");
    let mut bytes = memory.read_all(&object_name(2), 10_000).expect("it is there");
    bytes[150] ^= 1;
    memory.overwrite(&object_name(2), &bytes);
    let mut opened = open(&memory, &key).expect("its copy is whole");
    assert_eq!(opened.server("db1").map(|found| found.id), Ok(server.id));
    assert!(opened.troubles()[0].object.contains(&object_name(2)));
    opened.enrol("db2").expect("the newest ring is known, so keys can be changed");
    memory.lose(&object_name(3));
    assert_eq!(open(&memory, &key).expect("its copy is whole").servers().len(), 2);
}

#[test]
fn an_older_ring_reads_where_the_newest_is_lost_and_writes_nothing() {
    let (memory, mut vault, key) = made();
    let server = vault.enrol("db1").expect("a fresh name");
    vault.rekey(&[], None).expect("a new key");
    for name in [object_name(3), copy_name(3)] {
        memory.overwrite(&name, b"damaged");
    }
    let mut opened = open(&memory, &key).expect("an older ring stands in");
    assert_eq!(opened.ring().version(), 2);
    assert!(!opened.troubles().is_empty());
    let keys = opened.access().keys;
    assert_eq!(keys.newest_record_key(&server.id), None, "a replaced key seals nothing new");
    assert!(keys.record_key(&server.id, 0, KeyEpoch(0)).is_some());
    assert_eq!(keys.fingerprint_key(&server.id), Some(server.fingerprint));
    let error = opened.enrol("db2").expect_err("keys cannot be changed now");
    assert!(error.object.contains("key ring"), "{error}");
    assert_eq!(opened.forget_old_rings(), Ok(OldRings::default()), "what stands in is kept");
}

#[test]
fn a_lost_marker_keeps_nobody_out() {
    let (memory, vault, key) = made();
    for damage in [None, Some(&b"LIFEBVLT damaged"[..]), Some(&b"other"[..])] {
        match damage {
            Some(bytes) => memory.overwrite("vault", bytes),
            None => assert!(memory.lose("vault")),
        }
        let opened = open(&memory, &key).expect("the ring names the vault");
        assert_eq!(opened.id(), vault.id());
        assert!(opened.troubles()[0].object.ends_with("/vault"));
    }
    assert!(create(shared(&memory), 5).is_err(), "what is in use is not made again");
}

#[test]
fn mutated_rings_and_markers_open_rightly_or_not_at_all() {
    let (memory, mut vault, key) = made();
    vault.enrol("db1").expect("a fresh name");
    let whole = memory.snapshot();
    for name in ["vault".to_owned(), object_name(2), copy_name(2)] {
        let bytes = memory.read_all(&name, 10_000).expect("it is there");
        mutations(&bytes, 500, |changed| {
            memory.overwrite(&name, changed);
            let opened = open(&memory, &key).expect("everything has a second chance");
            assert_eq!(opened.ring(), vault.ring());
        });
        memory.roll_back(&whole);
    }
}

#[test]
fn rivals_that_enrol_one_name_end_with_one_server() {
    for round in 0..20 {
        let (memory, _vault, key) = made();
        let ids: BTreeSet<_> = std::thread::scope(|scope| {
            let rivals: Vec<_> = (0..4)
                .map(|rival| {
                    let (memory, key) = (Arc::clone(&memory), key.clone());
                    scope.spawn(move || {
                        let seed = round * 10 + rival;
                        let mut vault = Vault::open(shared(&memory), clock(), entropy(seed), &key)
                            .expect("its own key");
                        vault.enrol(&format!("own-{rival}")).expect("a fresh name");
                        vault.enrol("shared").expect("whoever is first").id
                    })
                })
                .collect();
            rivals.into_iter().map(|rival| rival.join().expect("no panic")).collect()
        });
        assert_eq!(ids.len(), 1);
        let opened = open(&memory, &key).expect("its own key");
        assert_eq!(opened.servers().len(), 5);
        assert_eq!(opened.ring().version(), 6, "each change is one version");
    }
}

#[test]
fn a_lost_reply_changes_nothing_for_its_caller() {
    let (memory, _vault, key) = made();
    let faults = Faults { reply_lost: 1000, ..Faults::default() };
    let faulty = Arc::new(FaultStore::new(shared(&memory), faults, 1));
    let mut vault = Vault::open(faulty, clock(), entropy(3), &key).expect("reading works");
    let server = vault.enrol("db1").expect("the ring is found published");
    vault.rekey(&["db1"], None).expect("the ring is found published");
    let opened = open(&memory, &key).expect("its own key");
    assert_eq!(
        opened.server("db1").map(|found| (found.id, found.epochs.len())),
        Ok((server.id, 2))
    );
    assert_eq!(opened.ring().version(), 3, "nothing was done twice");
    assert_eq!(memory.read_all(&copy_name(3), 10_000), memory.read_all(&object_name(3), 10_000));
}

#[test]
fn making_a_vault_survives_lost_replies_and_stops() {
    let memory = Arc::new(MemoryStore::new());
    let plan = Vault::plan(&*memory, &*clock(), &SimEntropy::new(1)).expect("an empty place");
    let faults = Faults { reply_lost: 1000, ..Faults::default() };
    for _ in 0..3 {
        let faulty = Arc::new(FaultStore::new(shared(&memory), faults.clone(), 1));
        // The marker's reply is lost: nobody looks whether it is there, the plan is built again.
        assert!(plan.build(faulty, clock(), entropy(2)).is_err());
    }
    plan.build(shared(&memory), clock(), entropy(2)).expect("the same plan again");
    open(&memory, plan.key()).expect("the plan's key");
    plan.build(shared(&memory), clock(), entropy(2)).expect("built already, by this plan");
}

#[test]
fn rivals_that_make_a_vault_end_with_one() {
    for round in 0..20 {
        let memory = Arc::new(MemoryStore::new());
        let keys: Vec<RecoveryKey> = std::thread::scope(|scope| {
            let rivals: Vec<_> = (0..4)
                .map(|rival| {
                    let memory = Arc::clone(&memory);
                    scope.spawn(move || create(shared(&memory), round * 10 + rival))
                })
                .collect();
            let outcomes = rivals.into_iter().map(|rival| rival.join().expect("no panic"));
            outcomes.filter_map(Result::ok).map(|(_, key)| key).collect()
        });
        assert_eq!(keys.len(), 1, "one maker wins");
        open(&memory, &keys[0]).expect("the winner's key");
    }
}

/// Runs `work` on a vault whose machine stops after 0, 1, 2, … calls, until it is not stopped any more; each time
/// `check` sees what is left.
fn stopped_at_every_call(
    start: &Arc<MemoryStore>,
    work: &dyn Fn(Arc<dyn BlobStore>) -> Result<(), Error>,
    check: &dyn Fn(&Arc<MemoryStore>),
) {
    for does_last in [false, true] {
        for calls in 0..200 {
            let memory = Arc::new(start.fork());
            let faults = Faults { stop_does_last: does_last, ..Faults::stop_after(calls) };
            let faulty = Arc::new(FaultStore::new(shared(&memory), faults, 1));
            let done = work(Arc::clone(&faulty) as Arc<dyn BlobStore>);
            check(&memory);
            if !faulty.is_stopped() {
                done.expect("nothing stopped it");
                assert!(calls > 2, "the work does something");
                break;
            }
            assert!(calls < 199, "the work ends");
        }
    }
}

#[test]
fn a_maker_stopped_at_any_call_leaves_a_place_that_becomes_a_vault() {
    let plan_and_build = |store: Arc<dyn BlobStore>| create(store, 1).map(|_| ());
    stopped_at_every_call(&Arc::new(MemoryStore::new()), &plan_and_build, &|memory| {
        match create(shared(memory), 2) {
            Ok((_, key)) => drop(open(memory, &key).expect("the second maker's key")),
            // The first one finished; its key was made before anything was written.
            Err(_) => drop(open(memory, &new_key(1)).expect("the first maker's key")),
        }
    });
}

#[test]
fn a_change_stopped_at_any_call_is_done_or_not() {
    let (memory, mut vault, key) = made();
    let before = vault.enrol("db1").expect("a fresh name");
    let replacement = new_key(70);
    let rekey = |store: Arc<dyn BlobStore>| {
        let mut vault = Vault::open(store, clock(), entropy(5), &key)?;
        vault.rekey(&["db1"], Some(&replacement)).map(|_| ())
    };
    stopped_at_every_call(&memory, &rekey, &|memory| {
        let old = open(memory, &key);
        let new = open(memory, &replacement);
        assert_ne!(old.is_ok(), new.is_ok(), "exactly one key opens the vault");
        let mut opened = new.or(old).expect("one of them");
        opened.enrol("db1").expect("the next point finds it");
        assert_eq!(opened.audit(), Ok(Vec::new()), "the next point leaves nothing half done");
        let server = opened.server("db1").expect("it is never lost");
        assert_eq!((server.id, &server.fingerprint), (before.id, &before.fingerprint));
        assert_eq!(server.epoch(KeyEpoch(0)), before.epoch(KeyEpoch(0)), "old data stays readable");
    });
}

#[test]
fn a_shred_takes_the_old_rings_along() {
    let (memory, mut vault, key) = made();
    vault.enrol("db1").expect("a fresh name");
    assert_eq!(vault.shred("db1"), Ok(OldRings { deleted: 4, kept: vec![] }));
    assert_eq!(memory.names(), [object_name(3), copy_name(3), "vault".to_owned()]);
    assert!(vault.shred("db1").is_err(), "it is gone");
    let again = vault.enrol("db1").expect("the name is free again");
    assert_ne!(again.id, vault.ring().shredded()[0].id);
    assert_eq!(open(&memory, &key).expect("its own key").servers().len(), 1);
}

#[test]
fn a_shred_stopped_at_any_call_is_finished_by_the_next() {
    let (memory, mut vault, key) = made();
    let db1 = vault.enrol("db1").expect("a fresh name");
    vault.enrol("db2").expect("a fresh name");
    let shred = |store: Arc<dyn BlobStore>| {
        let mut vault = Vault::open(store, clock(), entropy(5), &key)?;
        vault.shred("db1").map(|_| ())
    };
    let secret = db1.newest().expect("it has one").key.clone();
    stopped_at_every_call(&memory, &shred, &|memory| {
        let mut vault = open(memory, &key).expect("its own key");
        if vault.server("db1").is_ok() {
            vault.shred("db1").expect("nothing stops this one");
        }
        vault.forget_old_rings().expect("nothing stops this one");
        assert_eq!(vault.ring().shredded()[0].id, db1.id);
        assert!(vault.server("db1").expect_err("shredded").what.contains("shredded"));
        assert!(vault.server("db2").is_ok());
        for name in list_all(&**memory, "keys/").expect("a listing") {
            let bytes = memory.read_all(&name.name, 100_000).expect("it is listed");
            let wanted = name.name.trim_end_matches(".copy");
            let kek = key.key_encryption_key(vault.id());
            let key_for = |_| Some(ObjectKey::Epoch(kek.clone()));
            let plain = sealed::open(ObjectKind::KeyRing, vault.id(), wanted, &bytes, &key_for)
                .expect("a whole ring");
            assert!(!plain.windows(32).any(|part| part == secret.as_bytes()), "{}", name.name);
        }
    });
}

#[test]
fn a_new_recovery_key_closes_the_vault_to_the_old_one() {
    let (memory, mut vault, key) = made();
    vault.enrol("db1").expect("a fresh name");
    let replacement = new_key(70).of(vault.id());
    let rekeyed = vault.rekey(&[], Some(&replacement)).expect("nothing in the way");
    assert_eq!((rekeyed.servers, rekeyed.ring_version), (1, 3));
    assert_eq!(rekeyed.old_rings, OldRings { deleted: 4, kept: vec![] });
    assert!(told(open(&memory, &key)).what.contains("does not open"));
    open(&memory, &replacement).expect("the new key");
    vault.enrol("db2").expect("the vault goes on with the new key");
    assert_eq!(open(&memory, &replacement).expect("the new key").servers().len(), 2);
}

#[test]
fn rings_that_may_not_be_deleted_are_told_and_the_old_key_is_called_old() {
    let (memory, mut vault, key) = made();
    vault.enrol("db1").expect("a fresh name");
    memory.keep_for(Some(1_000_000));
    let replacement = new_key(70);
    let rekeyed = vault.rekey(&[], Some(&replacement)).expect("deleting is not needed");
    assert_eq!((rekeyed.old_rings.deleted, rekeyed.old_rings.kept.len()), (0, 4));
    assert!(rekeyed.old_rings.kept[0].remedy.contains("identity"));
    let old = told(open(&memory, &key));
    assert!(old.what.contains("is an old one"), "{old}");
    let salvaged = Vault::salvage(shared(&memory), clock(), entropy(4), &key);
    let salvaged = salvaged.expect("its ring is still there");
    assert_eq!(salvaged.ring().version(), 2);
    let db1 = salvaged.server("db1").expect("it was there").id;
    assert_eq!(salvaged.access().keys.newest_record_key(&db1), None);
    memory.keep_for(None);
    assert_eq!(vault.forget_outdated_rings().map(|rings| rings.deleted), Ok(4));
    vault.enrol("db2").expect("a fresh name");
    let forgotten = vault.forget_outdated_rings();
    assert_eq!(forgotten, Ok(OldRings::default()), "what may have to stand in is kept");
    assert!(told(open(&memory, &key)).what.contains("does not open"));
}

#[test]
fn an_enrolment_with_a_replaced_key_is_refused() {
    let (memory, mut vault, key) = made();
    let mut slow = open(&memory, &key).expect("its own key");
    vault.rekey(&[], Some(&new_key(70))).expect("nothing in the way");
    let error = slow.enrol("db1").expect_err("its key was replaced");
    assert_eq!(error.object, "recovery key");
    assert!(vault.enrol("db1").is_ok());
}

#[test]
fn faults_of_every_kind_never_lose_a_server_or_make_two() {
    for seed in 0..300 {
        let (memory, _vault, key) = made();
        let faults = Faults {
            fails_before: 100,
            reply_lost: 150,
            lands_later: 150,
            lands_later_calls_max: 8,
            ..Faults::default()
        };
        let faulty = Arc::new(FaultStore::new(shared(&memory), faults, seed));
        let mut enrolled: Vec<ServerKeys> = Vec::new();
        for step in 0..12_u64 {
            let store = Arc::clone(&faulty) as Arc<dyn BlobStore>;
            let random = entropy(seed * 100 + step);
            let Ok(mut vault) = Vault::open(store, clock(), random, &key) else { continue };
            let name = format!("server-{}", step % 4);
            if step % 5 == 4 {
                // Failed or not: what it may have done shows below.
                drop(vault.rekey(&[], None));
            } else if let Ok(server) = vault.enrol(&name) {
                enrolled.push(server);
            }
        }
        faulty.land_all();
        let opened = open(&memory, &key).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for server in enrolled {
            let found = opened.server(&server.name);
            let found = found.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(found.id, server.id, "seed {seed}");
            assert_eq!(found.fingerprint, server.fingerprint, "seed {seed}");
            for epoch in &server.epochs {
                assert_eq!(found.epoch(epoch.epoch), Some(&epoch.key), "seed {seed}");
            }
        }
    }
}

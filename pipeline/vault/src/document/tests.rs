//! Documents that are made, replaced by several at once, damaged, rekeyed and stopped at every call.

use std::sync::{Arc, Mutex};

use hal_sim::clock::SimClock;
use hal_sim::entropy::SimEntropy;
use pipeline::ids::PointId;

use super::*;
use crate::keys::KeySource;
use crate::keys::recovery_key::RecoveryKey;
use crate::keys::ticket::Ticket;
use crate::store::BlobStore;
use crate::store::fault::{FaultStore, Faults};
use crate::store::guard::{Change, GuardedStore};
use crate::store::memory::MemoryStore;
use crate::verify;
use crate::writer::Silent;

const NAME: Name = Name::Catalogue;

fn made() -> (Arc<MemoryStore>, Vault, RecoveryKey) {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::clone(&memory) as Arc<dyn BlobStore>;
    let (clock, entropy) = (Arc::new(SimClock::default()), Arc::new(SimEntropy::new(1)));
    let (vault, key) = Vault::create(store, clock, entropy).expect("an empty place");
    (memory, vault, key)
}

fn opened(store: Arc<dyn BlobStore>, key: &RecoveryKey, seed: u64) -> Result<Vault, Error> {
    Vault::open(store, Arc::new(SimClock::default()), Arc::new(SimEntropy::new(seed)), key)
}

fn names_of(memory: &MemoryStore) -> Vec<String> {
    let listed = list_all(memory, names::CATALOGUE_PREFIX).expect("a listing");
    listed.into_iter().map(|facts| facts.name).collect()
}

/// A vault whose catalogue had so many versions; each says its number.
fn with_versions(count: u64) -> (Arc<MemoryStore>, Vault, RecoveryKey) {
    let (memory, mut vault, key) = made();
    for version in 0..count {
        let document = format!("version {}", version + 1);
        let replaced = replace(&mut vault, NAME, version, document.as_bytes());
        assert_eq!(replaced, Ok(Replaced::Done(version + 1)));
    }
    (memory, vault, key)
}

fn text(vault: &mut Vault) -> String {
    let found = read(vault, NAME).expect("a catalogue").expect("a catalogue");
    String::from_utf8(found.bytes.to_vec()).expect("what was put in")
}

#[test]
fn a_catalogue_is_what_was_put_in_last_and_two_versions_stay() {
    let (memory, mut vault, _) = made();
    assert!(read(&mut vault, NAME).expect("an answer").is_none());
    assert_eq!(replace(&mut vault, NAME, 3, b"x"), Ok(Replaced::Moved), "of no catalogue");
    let (_, mut other, _) = with_versions(0);
    assert!(read(&mut other, NAME).expect("an answer").is_none());
    for version in 0..5 {
        let done = replace(&mut vault, NAME, version, &[7; 3]).expect("a catalogue");
        assert_eq!(done, Replaced::Done(version + 1));
        assert_eq!(replace(&mut vault, NAME, version, b"late"), Ok(Replaced::Moved));
    }
    let found = read(&mut vault, NAME).expect("a catalogue").expect("a catalogue");
    assert_eq!((found.version, &found.bytes[..], found.trouble), (5, &[7; 3][..], None));
    assert_eq!(names_of(&memory), [NAME.object(5), NAME.object(4)]);
    let long = vec![0; DOCUMENT_BYTES_MAX + 1];
    let refused = replace(&mut vault, NAME, 5, &long).expect_err("too long");
    assert_eq!(refused.blame, Blame::Exhausted);
    assert_eq!(replace(&mut vault, NAME, 5, &long[1..]), Ok(Replaced::Done(6)));
    assert_eq!(read(&mut vault, NAME).expect("it").expect("it").bytes.len(), DOCUMENT_BYTES_MAX);
}

#[test]
fn a_machine_that_slept_does_not_bring_an_old_catalogue_back() {
    let (memory, _, key) = with_versions(3);
    // While it sleeps between its look and its create, others replace the catalogue until its place is free again.
    let awake = opened(memory.clone(), &key, 8).expect("its key");
    let others = Mutex::new(Some(awake));
    let guard = move |change: Change<'_>| {
        if let Change::Create(name, _) = change
            && name == NAME.object(4)
            && let Some(mut awake) = others.lock().expect("nobody panics").take()
        {
            for version in 3..8 {
                let document = format!("version {}", version + 1);
                replace(&mut awake, NAME, version, document.as_bytes()).expect("a catalogue");
            }
        }
        Ok(())
    };
    let asleep = Arc::new(GuardedStore::new(memory.clone(), guard));
    let mut vault = opened(asleep, &key, 9).expect("its key");
    assert_eq!(replace(&mut vault, NAME, 3, b"of long ago"), Ok(Replaced::Moved));
    assert!(names_of(&memory).contains(&NAME.object(4)), "it did fill the free place");
    assert_eq!(text(&mut vault), "version 8");
    assert_eq!(replace(&mut vault, NAME, 8, b"version 9"), Ok(Replaced::Done(9)));
    assert_eq!(names_of(&memory).len(), 2, "and it is tidied up");
}

#[test]
fn machines_that_replace_it_at_once_lose_nobody_s_entry() {
    let (memory, _, key) = made();
    std::thread::scope(|scope| {
        for machine in 0..4_u8 {
            let (memory, key) = (Arc::clone(&memory), &key);
            scope.spawn(move || {
                let mut vault = opened(memory, key, 10 + u64::from(machine)).expect("its key");
                for _ in 0..5 {
                    loop {
                        let found = read(&mut vault, NAME).expect("an answer");
                        let (version, mut bytes) = found
                            .map_or((0, vec![]), |found| (found.version, found.bytes.to_vec()));
                        bytes.push(machine);
                        match replace(&mut vault, NAME, version, &bytes).expect("an answer") {
                            Replaced::Done(_) => break,
                            Replaced::Moved => {}
                        }
                    }
                }
            });
        }
    });
    let mut vault = opened(memory, &key, 20).expect("its key");
    let mut entries = read(&mut vault, NAME).expect("it").expect("it").bytes.to_vec();
    entries.sort_unstable();
    assert_eq!(entries, [[0; 5], [1; 5], [2; 5], [3; 5]].concat());
}

#[test]
fn any_byte_flipped_is_noticed_and_the_version_before_stands_in() {
    let (memory, mut vault, _) = with_versions(3);
    let name = NAME.object(3);
    let good = memory.read_all(&name, 1 << 20).expect("an object");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        memory.delete(core::slice::from_ref(&name));
        memory.create(&name, &bad).expect("a name");
        let found = read(&mut vault, NAME).expect("a catalogue").expect("a catalogue");
        assert_eq!((found.version, &found.bytes[..]), (3, &b"version 2"[..]), "byte {at}");
        assert_eq!(found.trouble.expect("trouble").object, name, "byte {at}");
        let options = verify::Options::new(verify::Depth::Shallow);
        let report = verify::run(&vault.access(), &[], &options, &Silent).expect("a report");
        let problems: Vec<_> = report.all_problems().collect();
        assert!(problems.len() == 1 && problems[0].object == name, "byte {at}: {problems:?}");
    }
    // It can be replaced all the same.
    assert_eq!(replace(&mut vault, NAME, 3, b"version 4"), Ok(Replaced::Done(4)));
    assert_eq!(text(&mut vault), "version 4");
}

#[test]
fn versions_do_not_stand_for_each_other_and_a_whole_vault_is_whole() {
    let (memory, mut vault, _) = with_versions(3);
    let options = verify::Options::new(verify::Depth::Deep);
    let report = verify::run(&vault.access(), &[], &options, &Silent).expect("a report");
    assert!(report.ok && report.unknown_objects == 0, "{report:?}");
    let old = memory.read_all(&NAME.object(2), 1 << 20).expect("an object");
    memory.create(&NAME.object(4), &old).expect("a free name");
    let found = read(&mut vault, NAME).expect("a catalogue").expect("a catalogue");
    assert_eq!((found.version, &found.bytes[..]), (4, &b"version 3"[..]));
    assert!(found.trouble.is_some());
}

#[test]
fn a_rekey_keeps_the_catalogue_and_the_old_recovery_key_opens_no_new_one() {
    let (memory, mut vault, old_key) = with_versions(2);
    let mut before = opened(memory.clone(), &old_key, 5).expect("its key");
    let new_key = RecoveryKey::generate(&SimEntropy::new(77)).expect("randomness");
    let rings: Vec<_> = list_all(&*memory, "keys/").expect("rings");
    let rings =
        rings.iter().map(|facts| (facts.name.clone(), memory.read_all(&facts.name, 1 << 20)));
    let rings: Vec<_> = rings.collect();
    vault.rekey(&[], Some(&new_key)).expect("a rekey");
    assert_eq!(text(&mut vault), "version 2");
    // A machine with keys from before reads what was there, and takes new keys where it may.
    assert_eq!(text(&mut before), "version 2");
    assert_eq!(replace(&mut vault, NAME, 2, b"version 3"), Ok(Replaced::Done(3)));
    let mut after = opened(memory.clone(), &new_key, 6).expect("the new key");
    assert_eq!(text(&mut after), "version 3");
    assert!(read(&mut before, NAME).is_err(), "its recovery key was replaced");
    // Who kept the old rings and the old key has the old catalogue and not the new one.
    let thief = Arc::new(MemoryStore::new());
    for (name, body) in rings {
        thief.create(&name, &body.expect("a ring")).expect("a name");
    }
    let new = memory.read_all(&NAME.object(3), 1 << 20).expect("an object");
    thief.create(&NAME.object(3), &new).expect("a name");
    let mut stolen = opened(thief, &old_key, 7).expect("the old key");
    assert!(read(&mut stolen, NAME).is_err());
}

#[test]
fn keys_from_before_there_was_a_catalogue_are_read_anew() {
    let (memory, mut vault, key) = made();
    let mut other = opened(memory, &key, 3).expect("its key");
    assert_eq!(replace(&mut vault, NAME, 0, b"version 1"), Ok(Replaced::Done(1)));
    assert_eq!(text(&mut other), "version 1");
}

#[test]
fn no_ticket_opens_the_catalogue() {
    let (_, mut vault, _) = with_versions(1);
    let server = vault.enrol("db1").expect("a name");
    let ticket = Ticket {
        vault: vault.id(),
        place: String::new(),
        server: server.id,
        server_name: "db1".to_owned(),
        point: PointId([1; 16]),
        slot: 0,
        made: 0,
        expires: None,
        fingerprint: server.fingerprint,
        objects: vec![],
        segments: vec![],
    };
    assert!(ticket.catalogue_key(KeyEpoch(0)).is_none());
    let access = Access { keys: Arc::new(ticket), ..vault.access() };
    assert!(matches!(load(&access, NAME, 1), Ok(Err(Failure::NoKey(_)))));
    // Nor does a server's key, under any server's name.
    let keys = vault.access().keys;
    let of = |id: &ServerId| keys.newest_record_key(id).expect("a key").1;
    assert!(keys.catalogue_key(KeyEpoch(0)).is_some_and(|key| key != of(&server.id)));
}

#[test]
fn stopped_at_any_call_the_catalogue_is_the_old_one_or_the_new_one() {
    for does_last in [false, true] {
        for calls in 0.. {
            let (memory, _, key) = with_versions(3);
            let shared = Arc::clone(&memory) as Arc<dyn BlobStore>;
            let healthy = FaultStore::new(shared, Faults::default(), 1);
            let faulty = Arc::new(healthy);
            let mut vault = opened(faulty.clone(), &key, 9).expect("its key");
            let stop = faulty.calls() + calls;
            let faults = Faults { stop_does_last: does_last, ..Faults::stop_after(stop) };
            faulty.set_faults(faults);
            let result = replace(&mut vault, NAME, 3, b"version 4");
            let mut later = opened(memory.clone(), &key, 10).expect("its key");
            let found = read(&mut later, NAME).expect("a catalogue").expect("a catalogue");
            match found.version {
                3 => assert_eq!(&found.bytes[..], b"version 3"),
                4 => assert_eq!(&found.bytes[..], b"version 4"),
                other => panic!("version {other}"),
            }
            assert_eq!(found.trouble, None);
            let next = replace(&mut later, NAME, found.version, b"version 5");
            assert_eq!(next, Ok(Replaced::Done(found.version + 1)));
            if !faulty.is_stopped() {
                assert_eq!(result, Ok(Replaced::Done(4)));
                assert!(calls >= 4, "{calls} calls");
                break;
            }
        }
    }
}

fn others() -> [Name; 3] {
    let id = [0xA5; 16];
    [Name::Order(OrderId(id)), Name::Plan(PlanId(id)), Name::Profile(ServerId(id))]
}

#[test]
fn documents_have_versions_of_their_own_and_each_is_found_by_its_class() {
    let (memory, mut vault, _) = with_versions(2);
    let other = Name::Order(OrderId([0xA6; 16]));
    for name in others().into_iter().chain([other]) {
        assert!(read(&mut vault, name).unwrap().is_none());
        assert_eq!(replace(&mut vault, name, 2, b"x"), Ok(Replaced::Moved));
        for version in 0..4 {
            let text = format!("{name} {version}");
            let done = replace(&mut vault, name, version, text.as_bytes());
            assert_eq!(done, Ok(Replaced::Done(version + 1)));
        }
        let found = read(&mut vault, name).unwrap().unwrap();
        assert_eq!((found.version, &found.bytes[..]), (4, format!("{name} 3").as_bytes()));
    }
    assert_eq!(text(&mut vault), "version 2");
    let [order, plan, profile] = others();
    let access = vault.access();
    assert_eq!(list(&access, Class::Orders), Ok(vec![order, other]));
    assert_eq!(list(&access, Class::Plans), Ok(vec![plan]));
    assert_eq!(list(&access, Class::Profiles), Ok(vec![profile]));
    assert_eq!(list_all(&*memory, "order/").unwrap().len(), 4, "two versions of each");
    let options = verify::Options::new(verify::Depth::Deep);
    let report = verify::run(&access, &[], &options, &Silent).expect("a report");
    assert!(report.ok && report.unknown_objects == 0, "{report:?}");
    assert_eq!(remove(&access, order), Ok(()));
    assert_eq!(list(&access, Class::Orders), Ok(vec![other]));
    assert!(read(&mut vault, order).unwrap().is_none());
}

#[test]
fn a_document_under_another_s_name_does_not_open_and_verify_tells() {
    let (memory, mut vault, _) = made();
    let [order, plan, _] = others();
    replace(&mut vault, order, 0, b"an order").unwrap();
    let sealed = memory.read_all(&order.object(1), 1 << 20).unwrap();
    let another = Name::Order(OrderId([1; 16]));
    for name in [plan, another, NAME] {
        memory.create(&name.object(1), &sealed).unwrap();
        assert!(read(&mut vault, name).is_err(), "{name}");
        let options = verify::Options::new(verify::Depth::Shallow);
        let report = verify::run(&vault.access(), &[], &options, &Silent).expect("a report");
        let problems: Vec<_> = report.all_problems().collect();
        assert!(problems.len() == 1 && problems[0].object == name.object(1), "{problems:?}");
        memory.delete(&[name.object(1)]);
    }
}

#[test]
fn only_names_as_they_are_written_mean_a_version() {
    for name in others().into_iter().chain([NAME]) {
        let object = name.object(3);
        assert_eq!(version_of(&object), Some((name, 3)));
        assert!(version_of(&name.object(0)).is_none());
        for bad in [
            object.to_uppercase(),
            format!("x{object}"),
            object.replace('/', "//"),
            object.replacen('/', "/a/", 1),
            object[..object.len() - 1].to_owned(),
            format!("{object}0"),
        ] {
            assert!(version_of(&bad).is_none(), "{bad}");
        }
    }
}

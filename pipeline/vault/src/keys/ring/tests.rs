//! Rings as values: names, changes, and content that no Lifeboat wrote.

use pipeline::ids::SegmentId;

use super::*;
use crate::scratch::mutations;

const VAULT: VaultId = VaultId([7; 16]);

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

fn server(byte: u8, name: &str) -> ServerKeys {
    let epochs = vec![EpochKey { epoch: KeyEpoch(0), key: key(byte), made: 1 }];
    let fingerprint = key(byte + 100);
    ServerKeys { id: ServerId([byte; 16]), name: name.to_owned(), enrolled: 1, fingerprint, epochs }
}

fn two_servers() -> KeyRing {
    let ring = KeyRing::first(VAULT).with_server(server(1, "alpha")).expect("room");
    ring.with_server(server(2, "beta")).expect("room")
}

fn decoded(ring: &KeyRing) -> Result<KeyRing, Error> {
    KeyRing::decode(&ring.encode().expect("small"), ring.vault, ring.version, "ring")
}

#[test]
fn versions_survive_their_names_and_newer_ones_list_first() {
    for version in [1, 2, 255, 256, u64::MAX - 1] {
        assert_eq!(version_of(&object_name(version)), Some((version, false)));
        assert_eq!(version_of(&copy_name(version)), Some((version, true)));
        assert!(object_name(version + 1) < object_name(version));
        assert!(object_name(version) < copy_name(version));
        assert!(copy_name(version + 1) < object_name(version));
    }
    for name in
        ["keys/", "keys/+00000000000000a", "keys/FFFFFFFFFFFFFFFE", "keys/1", "key/1", "keys/copy"]
    {
        assert_eq!(version_of(name), None, "{name}");
    }
}

#[test]
fn rings_survive_their_content() {
    let ring = two_servers();
    assert_eq!(ring.version(), 3);
    assert_eq!(decoded(&ring).as_ref(), Ok(&ring));
}

#[test]
fn another_version_or_vault_is_refused() {
    let ring = two_servers();
    let plain = ring.encode().expect("small");
    assert!(KeyRing::decode(&plain, VAULT, 4, "ring").is_err());
    assert!(KeyRing::decode(&plain, VaultId([8; 16]), 3, "ring").is_err());
    assert!(KeyRing::decode(&plain[..plain.len() - 1], VAULT, 3, "ring").is_err());
}

#[test]
fn content_that_no_lifeboat_wrote_is_refused() {
    let whole = two_servers();
    let mut twice = whole.clone();
    twice.servers[1].id = twice.servers[0].id;
    let mut same_name = whole.clone();
    same_name.servers[1].name.clone_from(&whole.servers[0].name);
    let mut no_keys = whole.clone();
    no_keys.servers[0].epochs.clear();
    let mut disorder = whole.clone();
    disorder.servers[0].epochs = vec![whole.servers[0].epochs[0].clone(); 2];
    let mut nameless = whole.clone();
    nameless.servers[0].name.clear();
    for ring in [twice, same_name, no_keys, disorder, nameless] {
        assert!(decoded(&ring).is_err(), "{ring:?}");
    }
}

#[test]
fn a_new_key_leaves_the_old_ones_and_the_fingerprints() {
    let ring = two_servers();
    let alpha = ServerId([1; 16]);
    let next = ring.with_new_keys(&[alpha], 5, || Ok(key(50))).expect("room");
    assert_eq!(next.version(), ring.version() + 1);
    assert_eq!(next.newest_record_key(&alpha), Some((KeyEpoch(1), key(50))));
    assert_eq!(next.newest_record_key(&ServerId([2; 16])), Some((KeyEpoch(0), key(2))));
    assert_eq!(next.record_key(&alpha, 9, KeyEpoch(0)), Some(ObjectKey::Epoch(key(1))));
    assert_eq!(next.fingerprint_key(&alpha), ring.fingerprint_key(&alpha));
    let all = ring.with_new_keys(&[], 5, || Ok(key(60))).expect("room");
    assert!(all.servers().iter().all(|server| server.epochs.len() == 2));
}

#[test]
fn a_shredded_server_opens_nothing_and_is_remembered() {
    let alpha = ServerId([1; 16]);
    let next = two_servers().without_server(&alpha, 9);
    assert_eq!(next.newest_record_key(&alpha), None);
    assert_eq!(next.record_key(&alpha, 0, KeyEpoch(0)), None);
    assert_eq!(next.fingerprint_key(&alpha), None);
    assert_eq!(next.shredded()[0].id, alpha);
    let plain = next.encode().expect("small");
    assert!(!plain.windows(32).any(|part| part == [1; 32]), "the key is gone from the content");
    assert_eq!(decoded(&next), Ok(next));
}

#[test]
fn segment_keys_are_of_their_vault_server_and_epoch() {
    let ring = two_servers();
    let identity = SegmentIdentity {
        vault: VAULT,
        server: ServerId([1; 16]),
        segment: SegmentId([3; 16]),
        key_epoch: KeyEpoch(0),
        salt: [4; 32],
    };
    assert_eq!(ring.segment_key(&identity), Some(derive_segment_key(&key(1), &identity)));
    let other_vault = SegmentIdentity { vault: VaultId([8; 16]), ..identity };
    let other_epoch = SegmentIdentity { key_epoch: KeyEpoch(1), ..identity };
    let other_server = SegmentIdentity { server: ServerId([3; 16]), ..identity };
    for identity in [other_vault, other_epoch, other_server] {
        assert_eq!(ring.segment_key(&identity), None);
    }
}

#[test]
fn names_that_nobody_can_type_are_refused() {
    for name in ["", " a", "a ", "a\nb", "-a", "\u{7}", &"x".repeat(129)] {
        assert!(check_server_name(name).is_err(), "{name:?}");
    }
    for name in ["db1", "Mail server", "büro-2.example.com", "a/b"] {
        check_server_name(name).expect("a good name");
    }
}

#[test]
fn a_full_ring_takes_no_more_servers() {
    let mut ring = KeyRing::first(VAULT);
    let when = 1;
    ring.shredded = (0..SERVERS_MAX)
        .map(|index| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(index as u64).to_le_bytes());
            Shredded { id: ServerId(id), name: String::from("gone"), when }
        })
        .collect();
    assert!(ring.with_server(server(1, "one")).is_err());
    decoded(&ring).expect("a full ring is read");
}

#[test]
fn mutated_content_decodes_or_errs_and_never_panics() {
    let ring = two_servers();
    let plain = ring.encode().expect("small");
    let mut survived = 0_u32;
    mutations(&plain, 20_000, |changed| {
        if let Ok(ring) = KeyRing::decode(changed, VAULT, 3, "ring") {
            survived += 1;
            assert_eq!(ring.flaw(), None);
        }
    });
    assert!(survived < 20_000, "most damage shows even without the seal");
}

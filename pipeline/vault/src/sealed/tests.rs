//! Every byte of an envelope counts, and every refusal says the right thing.

use hal_sim::entropy::{NoEntropy, SimEntropy};

use super::*;
use crate::error::Blame;
use crate::scratch::mutations;

const VAULT: VaultId = VaultId([7; 16]);
const NAME: &str = "chain/0707/0001";
const KIND: ObjectKind = ObjectKind::Record;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

fn sealed(plain: &[u8]) -> Vec<u8> {
    seal(KIND, VAULT, KeyEpoch(3), &key(1), NAME, plain, &SimEntropy::new(1)).expect("small")
}

fn first(epoch: KeyEpoch) -> Option<ObjectKey> {
    (epoch == KeyEpoch(3)).then(|| ObjectKey::Epoch(key(1)))
}

fn failure(kind: ObjectKind, vault: VaultId, name: &str, bytes: &[u8]) -> Failure {
    let all_epochs = |_| Some(ObjectKey::Epoch(key(1)));
    try_open(kind, vault, name, bytes, &all_epochs).expect_err("this must not open")
}

#[test]
fn contents_of_all_sizes_come_back() {
    for length in [0, 1, 15, 16, 17, 70_000] {
        let plain = vec![0x5A; length];
        let bytes = sealed(&plain);
        assert_eq!(bytes.len(), length + OVERHEAD_BYTES);
        assert_eq!(open(KIND, VAULT, NAME, &bytes, &first).expect("whole").as_slice(), plain);
    }
}

#[test]
fn the_name_key_opens_this_name_alone() {
    let bytes = sealed(b"content");
    let only = name_key(&key(1), VAULT, KIND, NAME);
    let with = |key: &SecretKey, name: &str| {
        let key = key.clone();
        try_open(KIND, VAULT, name, &bytes, &move |_| Some(ObjectKey::Name(key.clone())))
    };
    assert_eq!(with(&only, NAME).expect("its own name").as_slice(), b"content");
    assert_eq!(with(&only, "chain/0707/0002").err(), Some(Failure::Damaged));
    let other = name_key(&key(1), VAULT, KIND, "chain/0707/0002");
    assert!(with(&other, NAME).is_err());
}

#[test]
fn every_bit_of_an_object_counts() {
    let bytes = sealed(b"0123456789");
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << bit;
            let failed = failure(KIND, VAULT, NAME, &changed);
            // The header's own claims are not believed where the seal still holds.
            if position < layout::SALT.start && !layout::KEY_EPOCH.contains(&position) {
                assert_eq!(failed, Failure::Damaged, "bit {bit} of byte {position}");
            }
            assert!(try_open(KIND, VAULT, NAME, &changed, &first).is_err());
        }
    }
}

#[test]
fn every_shorter_and_longer_object_is_refused() {
    let bytes = sealed(b"0123456789");
    for length in 0..bytes.len() {
        failure(KIND, VAULT, NAME, &bytes[..length]);
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(failure(KIND, VAULT, NAME, &longer), Failure::NotSealed);
    let huge = vec![0; SEALED_BYTES_MAX + 1];
    assert_eq!(failure(KIND, VAULT, NAME, &huge), Failure::NotSealed);
}

#[test]
fn refusals_tell_what_is_wrong() {
    let bytes = sealed(b"content");
    let other_vault = VaultId([8; 16]);
    assert_eq!(failure(KIND, other_vault, NAME, &bytes), Failure::OtherVault(VAULT));
    assert_eq!(failure(ObjectKind::Pin, VAULT, NAME, &bytes), Failure::OtherKind(2));
    assert_eq!(failure(KIND, VAULT, "chain/0707/0002", &bytes), Failure::Damaged);
    let wrong_key = |_| Some(ObjectKey::Epoch(key(2)));
    let wrong = try_open(KIND, VAULT, NAME, &bytes, &wrong_key);
    assert_eq!(wrong.err(), Some(Failure::OtherKey));
    let no_key = try_open(KIND, VAULT, NAME, &bytes, &|_| None);
    assert_eq!(no_key.err(), Some(Failure::NoKey(KeyEpoch(3))));
    let mut newer = bytes.clone();
    newer[layout::VERSION.start] = 2;
    // A real newer object would not open; a version that only looks newer is damage.
    assert_eq!(failure(KIND, VAULT, NAME, &newer), Failure::Damaged);
    newer[layout::PLAIN_BYTES.end] ^= 1;
    assert_eq!(failure(KIND, VAULT, NAME, &newer), Failure::Newer(2));
    assert_eq!(failure(KIND, VAULT, NAME, &[b'x'; 200]), Failure::NotSealed);
}

#[test]
fn errors_name_the_object_and_a_remedy() {
    let failures = [
        (Failure::NotSealed, Blame::Corrupt),
        (Failure::Newer(9), Blame::Misuse),
        (Failure::OtherVault(VAULT), Blame::Corrupt),
        (Failure::OtherKind(4), Blame::Corrupt),
        (Failure::NoKey(KeyEpoch(2)), Blame::Corrupt),
        (Failure::OtherKey, Blame::Corrupt),
        (Failure::Damaged, Blame::Corrupt),
    ];
    for (failure, blame) in failures {
        let error = failure.into_error(KIND, NAME);
        assert_eq!((error.blame, error.object.as_str()), (blame, NAME));
        assert!(!error.remedy.is_empty(), "{error}");
    }
}

#[test]
fn forked_machines_share_no_nonce_for_different_bytes() {
    let fork = |plain: &[u8], name: &str| {
        // Two copies of one machine draw the same randomness.
        let entropy = SimEntropy::new(42);
        let bytes = seal(KIND, VAULT, KeyEpoch(3), &key(1), name, plain, &entropy).expect("small");
        let (header, ..) = split(&bytes).expect("long enough");
        (header.take::<32>(layout::SALT), header.take::<12>(layout::NONCE), bytes)
    };
    let (one, two, again) = (fork(b"one", NAME), fork(b"two", NAME), fork(b"one", NAME));
    assert_eq!(one.0, two.0, "the test forks the salt");
    assert_ne!(one.1, two.1);
    assert_eq!(one.2, again.2, "the same content is the same object");
    assert_ne!(fork(b"one", "chain/0707/0002").1, one.1);
}

#[test]
fn mutated_objects_never_open_and_never_panic() {
    let bytes = sealed(&[9; 100]);
    mutations(&bytes, 20_000, |changed| {
        if changed != bytes {
            assert!(try_open(KIND, VAULT, NAME, changed, &first).is_err());
        }
        let _ = claimed_vault(changed);
    });
}

#[test]
fn content_too_large_is_refused_before_sealing() {
    let plain = vec![0; RECORD_BYTES_MAX + 1];
    let error = seal(KIND, VAULT, KeyEpoch(0), &key(1), NAME, &plain, &SimEntropy::new(1));
    assert_eq!(error.expect_err("too large").blame, Blame::Exhausted);
}

#[test]
fn missing_randomness_stops_sealing() {
    let error = seal(KIND, VAULT, KeyEpoch(0), &key(1), NAME, b"", &NoEntropy);
    assert!(error.is_err());
}

#[test]
fn format_md_has_the_same_tables_as_the_code() {
    let page = include_str!("../../../FORMAT.md");
    let sources = [
        include_str!("../sealed.rs"),
        include_str!("../keys/passphrase.rs"),
        include_str!("../keys/ring.rs"),
        include_str!("../vault/marker.rs"),
    ];
    for source in sources {
        let rows: Vec<_> = source.lines().filter_map(|line| line.strip_prefix("//! | ")).collect();
        assert!(rows.len() > 3, "the source has its table");
        for row in rows {
            assert!(page.contains(&format!("| {row}\n")), "FORMAT.md lacks the row {row}");
        }
    }
}

#[test]
fn the_table_of_the_header_is_the_code() {
    let fields = [
        (layout::MAGIC, "magic"),
        (layout::VERSION, "format version"),
        (layout::KIND, "kind"),
        (layout::FLAGS, "flags"),
        (layout::KEY_EPOCH, "key epoch"),
        (layout::VAULT, "vault"),
        (layout::SALT, "salt"),
        (layout::KEY_CHECK, "key check"),
        (layout::NONCE, "nonce"),
        (layout::PLAIN_BYTES, "length"),
    ];
    let source = include_str!("../sealed.rs");
    let mut end = 0;
    for (range, name) in fields {
        let row = format!("//! | {}..{} | {name}", range.start, range.end);
        assert!(source.contains(&row), "no row says {row}");
        assert_eq!(range.start, end, "no gap and no overlap before {name}");
        end = range.end;
    }
    assert_eq!(end, HEADER_BYTES);
}

#[test]
fn the_format_is_pinned() {
    let bytes = seal(KIND, VAULT, KeyEpoch(3), &key(1), NAME, b"golden", &SimEntropy::new(0));
    let bytes = bytes.expect("small");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN, "a changed envelope needs a new format version");
}

/// Opened once with Python's `cryptography` and `blake3` from the tables above, too.
const GOLDEN: &str = "\
    4c494645424f424a010002000300000007070707070707070707070707070707afcd1d7b39a820e2\
    f465b9a16a9e786e4f450980185dc406ec814c72a8b88bf8ac26931d57b563f004c8d09826b502b5\
    2d2df00f06000000302ba54df63fd6ad54ea79c18d674f6e45160348404f";

//! Keys that keep quiet, seals that open only unchanged.

use std::format;
use std::vec;

use super::*;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

#[test]
fn what_is_sealed_opens_unchanged_only() {
    let nonce = [3; NONCE_BYTES];
    for length in [0, 1, 15, 16, 17, 1000] {
        let plain = vec![0x5A; length];
        let mut sealed = plain.clone();
        let tag = seal_in_place(&key(1), &nonce, b"where", &mut sealed);
        let open = |key: &SecretKey,
                    nonce: &[u8; 12],
                    associated: &[u8],
                    tag: &[u8; 16],
                    flip: Option<usize>| {
            let mut bytes = sealed.clone();
            if let Some(at) = flip {
                bytes[at] = !bytes[at];
            }
            open_in_place(key, nonce, associated, &mut bytes, tag).map(|()| bytes)
        };
        assert_eq!(open(&key(1), &nonce, b"where", &tag, None), Ok(plain));
        assert_eq!(open(&key(2), &nonce, b"where", &tag, None), Err(NotAuthentic));
        assert_eq!(open(&key(1), &[4; 12], b"where", &tag, None), Err(NotAuthentic));
        assert_eq!(open(&key(1), &nonce, b"there", &tag, None), Err(NotAuthentic));
        let mut other = tag;
        other[15] ^= 1;
        assert_eq!(open(&key(1), &nonce, b"where", &other, None), Err(NotAuthentic));
        for at in 0..length {
            assert_eq!(open(&key(1), &nonce, b"where", &tag, Some(at)), Err(NotAuthentic));
        }
    }
}

#[test]
fn a_seal_that_does_not_open_leaves_the_bytes_sealed() {
    let mut bytes = *b"sixteen bytes ok";
    let tag = seal_in_place(&key(1), &[0; 12], b"", &mut bytes);
    let sealed = bytes;
    assert!(open_in_place(&key(2), &[0; 12], b"", &mut bytes, &tag).is_err());
    assert_eq!(bytes, sealed);
}

/// AES-256-GCM, test case 15 of McGrew and Viega's specification.
#[test]
fn the_cipher_is_the_one_everybody_else_has() {
    let unhex = |text: &str| -> vec::Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let mut key = [0; 32];
    key.copy_from_slice(&unhex("feffe9928665731c6d6a8f9467308308").repeat(2));
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&unhex("cafebabefacedbaddecaf888"));
    let mut bytes = unhex(concat!(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
    ));
    let tag = seal_in_place(&SecretKey::from_bytes(key), &nonce, &[], &mut bytes);
    let wanted = unhex(concat!(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
    ));
    assert_eq!(bytes, wanted);
    assert_eq!(tag.to_vec(), unhex("b094dac5d93471bdec1a502270e3cc6c"));
}

#[test]
fn derived_keys_depend_on_key_salt_and_info() {
    let base = derive(&key(1), b"salt", &[b"one", b"two"]);
    assert_eq!(base, derive(&key(1), b"salt", &[b"onetwo"]), "parts are concatenated");
    assert_ne!(base, derive(&key(2), b"salt", &[b"one", b"two"]));
    assert_ne!(base, derive(&key(1), b"pepper", &[b"one", b"two"]));
    assert_ne!(base, derive(&key(1), b"salt", &[b"one", b"three"]));
}

#[test]
fn a_key_shows_nothing_of_itself() {
    let shown = format!("{:?}", key(0xAB));
    assert_eq!(shown, "SecretKey(..)");
    assert_ne!(key(1), key(2));
    assert_eq!(key(1), key(1).clone());
}

#[test]
fn digests_are_of_the_concatenation() {
    assert_eq!(digest(&[b"ab", b"c"]), digest(&[b"abc"]));
    assert_eq!(keyed_digest(&key(1), &[b"ab", b"c"]), keyed_digest(&key(1), &[b"abc"]));
    assert_ne!(keyed_digest(&key(1), &[b"abc"]), keyed_digest(&key(2), &[b"abc"]));
}

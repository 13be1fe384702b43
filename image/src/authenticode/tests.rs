//! What is signed can be signed once, stays the program that it was, and its digest sees every other byte.

use super::*;
use crate::pe::tests::{NEW, program};
use crate::signing::Keys;

fn keys(name: &str) -> (std::path::PathBuf, Keys) {
    let folder = std::env::temp_dir().join(format!("lifeboat-{name}-{}", std::process::id()));
    let keys = Keys::development(&folder).unwrap();
    (folder, keys)
}

#[test]
fn a_signature_is_the_same_twice_and_has_the_length_that_was_foretold() {
    let (folder, keys) = keys("authenticode");
    let plain = pe::append("x", &program(1), &NEW).unwrap();
    let signed = sign("x", &plain, &keys.boot).unwrap();
    assert_eq!(signed, sign("x", &plain, &keys.boot).unwrap());
    assert_eq!(
        signed.len(),
        plain.len().next_multiple_of(8) + signature_bytes(&keys.boot).unwrap()
    );
    assert!(pe::is_signed(&signed) && !pe::is_signed(&plain));
    assert_eq!(pe::sections(&signed).unwrap().len(), 3);
    assert!(sign("x", &signed, &keys.boot).is_err(), "twice");
    assert_eq!(sign("x", &without(&signed).unwrap(), &keys.boot).unwrap(), signed);
    assert_eq!(without(&plain), None);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_digest_changes_with_every_byte_but_those_of_the_signature() {
    let (folder, keys) = keys("digest");
    let plain = pe::append("x", &program(1), &NEW).unwrap();
    let signed = sign("x", &plain, &keys.boot).unwrap();
    let place = pe::place(&signed).unwrap();
    let right = digest(&signed).unwrap();
    let ours = |at: usize| {
        (place.checksum..place.checksum + 4).contains(&at)
            || (place.directory..place.directory + 8).contains(&at)
    };
    for at in (0..plain.len()).filter(|at| !ours(*at)) {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        assert_ne!(digest(&changed), Some(right), "byte {at}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

//! What people do to forty letters, and what they are told.

use hal_sim::entropy::SimEntropy;

use super::*;
use crate::scratch::mutations;

fn key() -> RecoveryKey {
    RecoveryKey::generate(&SimEntropy::new(5)).expect("randomness")
}

fn told(text: &str) -> String {
    RecoveryKey::parse(text).expect_err("a wrong key").what
}

#[test]
fn check_is_the_crc_that_it_says() {
    // The catalogue's check value of CRC-8/AUTOSAR over «123456789».
    assert_eq!(check(usize::from(b'1'), b"23456789"), 0xDF);
}

#[test]
fn keys_survive_their_text() {
    for seed in 0..200 {
        let key = RecoveryKey::generate(&SimEntropy::new(seed)).expect("randomness");
        let text = key.to_text();
        assert_eq!(text.len(), 44);
        assert_eq!(RecoveryKey::parse(&text), Ok(key));
    }
    for bytes in [[0; KEY_BYTES], [0xFF; KEY_BYTES]] {
        let key = RecoveryKey { bytes, vault: None };
        assert_eq!(RecoveryKey::parse(&key.to_text()), Ok(key));
    }
}

#[test]
fn handwriting_is_read_kindly() {
    let text = key().to_text();
    let spread: String = text.chars().flat_map(|letter| [letter, ' ']).collect();
    let mistaken = text.replace('0', "o").replace('1', "l").replace('V', "u").to_lowercase();
    for kind in [spread, mistaken, text.replace('-', ""), format!("\n {}\r\n", &*text)] {
        assert_eq!(RecoveryKey::parse(&kind), Ok(key()), "{kind}");
    }
}

#[test]
fn every_single_wrong_letter_is_named_by_its_group() {
    let text = key().to_text();
    for position in (0..text.len()).filter(|position| position % 9 != 8) {
        for wrong in ALPHABET {
            let mut letters = text.as_bytes().to_vec();
            if letters[position] == *wrong {
                continue;
            }
            letters[position] = *wrong;
            let text = String::from_utf8(letters).expect("ASCII");
            let expected = format!("has a typing mistake in group {}", position / 9 + 1);
            assert_eq!(told(&text), expected);
        }
    }
}

#[test]
fn every_swap_of_neighbours_is_found() {
    for seed in 0..50 {
        let text = RecoveryKey::generate(&SimEntropy::new(seed)).expect("randomness").to_text();
        for position in (0..text.len() - 1).filter(|position| position % 9 < 7) {
            let mut letters = text.as_bytes().to_vec();
            letters.swap(position, position + 1);
            let swapped = String::from_utf8(letters).expect("ASCII");
            assert!(swapped == *text || RecoveryKey::parse(&swapped).is_err());
        }
    }
}

#[test]
fn groups_in_the_wrong_order_are_found() {
    let text = key().to_text();
    let groups: Vec<&str> = text.split('-').collect();
    for first in 0..GROUPS {
        for second in first + 1..GROUPS {
            let mut swapped = groups.clone();
            swapped.swap(first, second);
            let expected =
                format!("has typing mistakes in groups {} and {}", first + 1, second + 1);
            assert_eq!(told(&swapped.join("-")), expected);
        }
    }
}

#[test]
fn missing_and_foreign_letters_are_named() {
    let text = key().to_text();
    assert_eq!(told(""), "has 0 letters, not 40");
    assert_eq!(told(&text[..43]), "has 7 letters in group 5, not 8");
    assert_eq!(told(&text.replace('-', "")[1..]), "has 39 letters, not 40");
    assert_eq!(told(&format!("{}9", &*text)), "has 9 letters in group 5, not 8");
    assert!(told(&format!("{}!{}", &text[..10], &text[11..])).contains("«!» in group 2"));
    assert!(told(&"A".repeat(100_000)).contains("longer"));
}

#[test]
fn no_error_tells_letters_of_the_key() {
    let text = key().to_text();
    mutations(text.as_bytes(), 5000, |changed| {
        let changed = String::from_utf8_lossy(changed);
        if let Err(error) = RecoveryKey::parse(&changed) {
            let line = error.to_string();
            assert!(text.split('-').all(|group| !line.contains(group)), "{line}");
        }
    });
    assert!(!format!("{:?}", key()).contains(&text[..8]));
}

#[test]
fn vaults_have_different_key_encryption_keys() {
    let one = key().key_encryption_key(VaultId([1; 16]));
    assert_ne!(one, key().key_encryption_key(VaultId([2; 16])));
    assert_eq!(one, key().key_encryption_key(VaultId([1; 16])));
}

//! The 160 random bits that a person keeps: five groups of eight letters, each with its own check, so that a typo is
//! named by its group.
//!
//! A group is 32 bits of key and 8 of CRC-8 over the group's number and those bits, in Crockford's base32: no letter is
//! mistaken for a digit, and the check finds every single wrong letter and every two swapped neighbours.
//! It refuses to be printed by accident: there is no `Display`.

#[cfg(test)]
mod tests;

use core::fmt;

use hal::time::Entropy;
use pipeline::ids::VaultId;
use pipeline::seal::{SecretKey, derive};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::Error;

/// Bytes of a recovery key.
pub const KEY_BYTES: usize = 20;
/// Groups in its written form.
pub const GROUPS: usize = 5;
/// Letters in a group.
pub const GROUP_LETTERS: usize = 8;

const GROUP_BYTES: usize = 4;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Longest text that is looked at; a key with generous spacing is far shorter.
const TEXT_BYTES_MAX: usize = 400;

const _: () = assert!(GROUPS * GROUP_BYTES == KEY_BYTES, "the groups hold the key, no more");
const _: () =
    assert!((GROUP_BYTES + 1) * 8 == GROUP_LETTERS * 5, "a group and its check fill its letters");

/// What a person keeps on paper; with it and the vault alone, everything can be recovered.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryKey {
    bytes: [u8; KEY_BYTES],
    /// The vault that its file says it is of; nothing on paper says so.
    #[zeroize(skip)]
    vault: Option<VaultId>,
}

impl fmt::Debug for RecoveryKey {
    /// Only that it is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryKey(of {:?})", self.vault)
    }
}

impl RecoveryKey {
    /// A new key.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, Error> {
        let mut key = Self { bytes: [0; KEY_BYTES], vault: None };
        entropy
            .fill(&mut key.bytes)
            .map_err(|error| Error::device("this machine", error.to_string()))?;
        Ok(key)
    }

    /// The same key, known to be of this vault.
    #[must_use]
    pub fn of(mut self, vault: VaultId) -> Self {
        self.vault = Some(vault);
        self
    }

    /// The vault that the key's file named, where it came from one.
    #[must_use]
    pub fn vault(&self) -> Option<VaultId> {
        self.vault
    }

    /// The written form: five groups of eight letters, joined by dashes.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(GROUPS * (GROUP_LETTERS + 1)));
        for (index, part) in self.bytes.chunks_exact(GROUP_BYTES).enumerate() {
            if index > 0 {
                text.push('-');
            }
            let mut bits = part.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
            bits = (bits << 8) | u64::from(check(index, part));
            for letter in (0..GROUP_LETTERS).rev() {
                let value = (bits >> (letter * 5)) & 31;
                // The mask keeps the value below the alphabet's 32 letters.
                text.push(char::from(ALPHABET[usize::try_from(value).unwrap_or(0)]));
            }
        }
        text
    }

    /// Reads the written form: capitals or not, dashes and spaces anywhere, O for 0, I and L for 1, U for V.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let letters = read_letters(text)?;
        let mut key = Self { bytes: [0; KEY_BYTES], vault: None };
        let mut wrong = Vec::new();
        let groups = letters.chunks_exact(GROUP_LETTERS);
        for (index, (group, part)) in
            groups.zip(key.bytes.chunks_exact_mut(GROUP_BYTES)).enumerate()
        {
            let bits = group.iter().fold(0_u64, |bits, value| (bits << 5) | u64::from(*value));
            let [.., first, second, third, fourth, found] = bits.to_be_bytes();
            part.copy_from_slice(&[first, second, third, fourth]);
            if check(index, part) != found {
                wrong.push(index);
                if let Some(other) = (0..GROUPS).find(|other| check(*other, part) == found) {
                    log::debug!("group {} would be right as group {}", index + 1, other + 1);
                }
            }
        }
        if wrong.is_empty() { Ok(key) } else { Err(wrong_groups(&wrong)) }
    }

    /// The key that seals a vault's key ring: HKDF(key and 12 zero bytes, vault; "lifeboat key-encryption key 1").
    #[must_use]
    pub(crate) fn key_encryption_key(&self, vault: VaultId) -> SecretKey {
        let mut padded = Zeroizing::new([0; 32]);
        padded[..KEY_BYTES].copy_from_slice(&self.bytes);
        derive(&SecretKey::from_bytes(*padded), &vault.0, &[b"lifeboat key-encryption key 1"])
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self { bytes, vault: None })
    }
}

/// The values of all letters, or which group has too few, too many, or one that no key has.
fn read_letters(text: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(refused("is far longer than a recovery key is"));
    }
    let mut letters = Zeroizing::new(Vec::with_capacity(GROUPS * GROUP_LETTERS));
    for letter in text.chars().filter(|letter| !is_spacing(*letter)) {
        let Some(value) = value_of(letter) else {
            let group = letters.len() / GROUP_LETTERS + 1;
            return Err(refused(format!(
                "has «{letter}» in group {group}, which no recovery key has"
            )));
        };
        letters.push(value);
    }
    if letters.len() == GROUPS * GROUP_LETTERS {
        return Ok(letters);
    }
    // Where the text shows its groups, the one of the wrong length can be named.
    let groups: Vec<usize> = text
        .split(is_spacing)
        .map(|group| group.chars().count())
        .filter(|length| *length > 0)
        .collect();
    let odd = groups.iter().position(|length| *length != GROUP_LETTERS);
    let what = match odd.filter(|_| groups.len() == GROUPS) {
        Some(group) => format!("has {} letters in group {}, not 8", groups[group], group + 1),
        None => format!("has {} letters, not 40", letters.len()),
    };
    Err(refused(what))
}

fn wrong_groups(wrong: &[usize]) -> Error {
    let names: Vec<String> = wrong.iter().map(|index| (index + 1).to_string()).collect();
    match names.as_slice() {
        [one] => refused(format!("has a typing mistake in group {one}")),
        [several @ .., last] => {
            refused(format!("has typing mistakes in groups {} and {last}", several.join(", ")))
        }
        [] => refused("is not a recovery key"),
    }
}

fn refused(what: impl Into<String>) -> Error {
    Error::misuse("recovery key", what)
        .remedy("compare it with the paper: five groups of eight letters and digits")
}

fn is_spacing(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '-' | '\u{2010}'..='\u{2015}' | '_' | '.' | ':')
}

fn value_of(letter: char) -> Option<u8> {
    let plain = match letter.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        'U' => 'V',
        other => other,
    };
    let position = ALPHABET.iter().position(|known| char::from(*known) == plain)?;
    u8::try_from(position).ok()
}

/// CRC-8/AUTOSAR over the group's number and its four bytes. Its polynomial is (x + 1) times one of degree 7, which is
/// why no wrong letter and no swap of neighbours passes.
fn check(group: usize, part: &[u8]) -> u8 {
    let number = u8::try_from(group).unwrap_or(u8::MAX);
    let step = |crc: u8, byte: &u8| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x2F })
    };
    core::iter::once(&number).chain(part).fold(0xFF, step) ^ 0xFF
}

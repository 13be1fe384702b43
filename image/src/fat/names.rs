//! Entries of FAT folders: a short name each, and before it the long one in pieces where the short one does not say all.

use std::collections::BTreeSet;

use super::NO_DATE;

/// Length of an entry.
pub(super) const ENTRY_BYTES: usize = 32;
const FOLDER: u8 = 0x10;
const FILE: u8 = 0x20;
const LABEL: u8 = 0x08;
/// What marks a piece of a long name.
const LONG: u8 = 0x0f;
/// Letters of a long name in one entry, and where they stand.
const PIECE: usize = 13;
const PIECE_OFFSETS: [usize; PIECE] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// An entry with a short name.
#[derive(Debug)]
pub(super) struct Entry {
    short: [u8; 11],
    attribute: u8,
    cluster: u32,
    size: u32,
}

impl Entry {
    pub(super) fn label(label: &[u8; 11]) -> Self {
        Self { short: *label, attribute: LABEL, cluster: 0, size: 0 }
    }

    pub(super) fn folder(short: [u8; 11], cluster: u32) -> Self {
        Self { short, attribute: FOLDER, cluster, size: 0 }
    }

    pub(super) fn file(short: [u8; 11], cluster: u32, size: u32) -> Self {
        Self { short, attribute: FILE, cluster, size }
    }

    pub(super) fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let [low0, low1, high0, high1] = self.cluster.to_le_bytes();
        bytes[..11].copy_from_slice(&self.short);
        bytes[11] = self.attribute;
        // Made, last read, last changed.
        for at in [16, 18, 24] {
            bytes[at..at + 2].copy_from_slice(&NO_DATE.to_le_bytes());
        }
        bytes[20..22].copy_from_slice(&[high0, high1]);
        bytes[26..28].copy_from_slice(&[low0, low1]);
        bytes[28..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }
}

/// How many entries a name takes, at most: its own and the pieces.
pub(super) fn entries_for(name: &str) -> usize {
    1 + name.encode_utf16().count().div_ceil(PIECE)
}

/// Writes the pieces of a long name where they are needed; the short name for the entry that must follow.
pub(super) fn push(bytes: &mut Vec<u8>, name: &str, used: &mut BTreeSet<[u8; 11]>) -> [u8; 11] {
    if let Some(short) = plain(name) {
        used.insert(short);
        return short;
    }
    let short = shortened(name, used);
    let sum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let letters: Vec<u16> = name.encode_utf16().collect();
    let pieces = letters.len().div_ceil(PIECE);
    for place in (0..pieces).rev() {
        let mut entry = [0xff; ENTRY_BYTES];
        let last = if place + 1 == pieces { 0x40 } else { 0 };
        entry[0] = u8::try_from(place + 1).unwrap_or(u8::MAX) | last;
        entry[11..14].copy_from_slice(&[LONG, 0, sum]);
        entry[26..28].fill(0);
        for (inner, at) in PIECE_OFFSETS.into_iter().enumerate() {
            let letter = place * PIECE + inner;
            // One zero ends the name where the piece has room for it; behind that stand ones.
            let ended = if letter == letters.len() { 0 } else { u16::MAX };
            let value = letters.get(letter).copied().unwrap_or(ended);
            entry[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&entry);
    }
    short
}

/// A name that is short already: at most eight and three letters, none of them small.
fn plain(name: &str) -> Option<[u8; 11]> {
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    let fits = (1..=8).contains(&stem.len()) && end.len() <= 3;
    // A dot with nothing behind it would be lost.
    let lost = name.contains('.') && end.is_empty();
    (fits && !lost && stem.bytes().chain(end.bytes()).all(allowed)).then(|| joined(stem, end))
}

/// A short name that no other in the folder has: `LIFEBO~1EFI`.
fn shortened(name: &str, used: &mut BTreeSet<[u8; 11]>) -> [u8; 11] {
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    let letters = |text: &str| -> String {
        let capital = text.to_ascii_uppercase();
        capital.bytes().filter(|&byte| allowed(byte)).map(char::from).collect()
    };
    let (stem, mut end) = (letters(stem), letters(end));
    end.truncate(3);
    let mut number = 1_u32;
    loop {
        let tail = format!("~{number}");
        let kept: String = stem.chars().take(8_usize.saturating_sub(tail.len())).collect();
        let short = joined(&format!("{kept}{tail}"), &end);
        if used.insert(short) {
            return short;
        }
        number += 1;
    }
}

fn allowed(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_-$%!#&()@^`{}'".contains(&byte)
}

fn joined(stem: &str, end: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    for (place, byte) in short.iter_mut().zip(stem.bytes().take(8)) {
        *place = byte;
    }
    for (place, byte) in short[8..].iter_mut().zip(end.bytes()) {
        *place = byte;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay_and_long_ones_get_a_number() {
        let mut used = BTreeSet::new();
        let mut bytes = Vec::new();
        assert_eq!(push(&mut bytes, "BOOTX64.EFI", &mut used), *b"BOOTX64 EFI");
        assert_eq!(push(&mut bytes, "EFI", &mut used), *b"EFI        ");
        assert!(bytes.is_empty());
        assert_eq!(push(&mut bytes, "lifeboat-a.efi", &mut used), *b"LIFEBO~1EFI");
        assert_eq!(bytes.len(), 2 * ENTRY_BYTES);
        assert_eq!((bytes[0], bytes[32], bytes[13]), (0x42, 1, bytes[45]));
        assert_eq!(push(&mut bytes, "lifeboat-b.efi", &mut used), *b"LIFEBO~2EFI");
        assert_eq!(push(&mut bytes, "loader", &mut used), *b"LOADER~1   ");
        assert_eq!(push(&mut bytes, "A.", &mut used), *b"A~1        ");
    }
}

//! A registry hive of Windows: keys and numbers found, and where a number stands, so that it can be changed in its
//! place.
//!
//! It takes any bytes: every place is checked, and nothing is followed deeper or longer than Windows does. It never
//! moves, adds or removes anything, and refuses a hive that was not closed: what is in its log may say otherwise.

use std::io::{self, Error, ErrorKind};

/// Where cells begin: behind the base block.
const CELLS: usize = 4096;
/// Keys below a key that are looked at.
const KEYS_MAX: usize = 100_000;
/// Letters of a key's name and of a value's, as Windows has them at most, in two bytes each.
const KEY_NAME_BYTES_MAX: usize = 2 * 255;
const VALUE_NAME_BYTES_MAX: usize = 2 * 16_383;
/// Values of a key that are looked at.
const VALUES_MAX: usize = 10_000;
/// A number in its value's own cell says so by this bit of its length.
const IN_PLACE: u32 = 1 << 31;
const DWORD: u32 = 4;

/// A hive in memory.
pub struct Hive {
    bytes: Vec<u8>,
}

/// A key, by its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(usize);

/// A number of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// What it is.
    pub value: u32,
    /// Where its four bytes stand in the file.
    pub place: u64,
}

impl Hive {
    /// Takes the bytes of a hive's file.
    pub fn new(bytes: Vec<u8>) -> io::Result<Self> {
        let hive = Self { bytes };
        let sum = (0..127).try_fold(0, |sum, place| Some(sum ^ hive.word(place * 4)?));
        // Two values are never written as they are.
        let sum = sum.map(|sum| match sum {
            0 => 1,
            u32::MAX => u32::MAX - 1,
            other => other,
        });
        if !hive.bytes.starts_with(b"regf") || sum.is_none() || hive.word(508) != sum {
            return Err(Error::new(ErrorKind::InvalidData, "it is no hive of a registry"));
        }
        Ok(hive)
    }

    /// Whether everything that was changed in it was written to it, and not only to its log.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.word(4) == self.word(8)
    }

    /// The uppermost key.
    #[must_use]
    pub fn root(&self) -> Option<Key> {
        self.key_at(self.word(36)?)
    }

    /// A key below another one; names differ in more than capitals.
    #[must_use]
    pub fn key(&self, from: Key, path: &[&str]) -> Option<Key> {
        path.iter().try_fold(from, |key, name| {
            let mut below = self.keys(key).into_iter();
            below.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, key)| key)
        })
    }

    /// The keys below a key.
    #[must_use]
    pub fn keys(&self, key: Key) -> Vec<(String, Key)> {
        let mut cells = Vec::new();
        if self.word(key.0 + 20).is_some_and(|count| count > 0)
            && let Some(list) = self.word(key.0 + 28)
        {
            self.listed(list, 0, &mut cells);
        }
        let named = |cell: u32| {
            let key = self.key_at(cell)?;
            Some((self.name(key)?, key))
        };
        cells.into_iter().filter_map(named).collect()
    }

    /// The cells of a list of keys, which may be one of lists.
    fn listed(&self, list: u32, depth: u32, cells: &mut Vec<u32>) -> Option<()> {
        let at = self.cell(list)?;
        let count = usize::from(self.half(at + 2)?);
        let (step, is_of_lists) = match self.bytes.get(at..at + 2)? {
            b"lf" | b"lh" => (8, false),
            b"li" => (4, false),
            b"ri" if depth == 0 => (4, true),
            _ => return None,
        };
        for place in 0..count {
            // A list of lists may name the same one as often as it likes.
            if cells.len() >= KEYS_MAX {
                break;
            }
            let cell = self.word(at + 4 + place * step)?;
            if is_of_lists {
                self.listed(cell, depth + 1, cells);
            } else {
                cells.push(cell);
            }
        }
        Some(())
    }

    /// A number among a key's values.
    #[must_use]
    pub fn number(&self, key: Key, name: &str) -> Option<Number> {
        let count = usize::try_from(self.word(key.0 + 36)?).ok()?.min(VALUES_MAX);
        let list = self.cell(self.word(key.0 + 40)?)?;
        for place in 0..count {
            let value = self.cell(self.word(list + place * 4)?)?;
            if self.bytes.get(value..value + 2)? != b"vk" || !self.value_is(value, name)? {
                continue;
            }
            if self.word(value + 12)? != DWORD {
                return None;
            }
            let length = self.word(value + 4)?;
            let at = match length {
                length if length == IN_PLACE | 4 => value + 8,
                4 => self.cell(self.word(value + 8)?)?,
                _ => return None,
            };
            return Some(Number { value: self.word(at)?, place: u64::try_from(at).ok()? });
        }
        None
    }

    fn value_is(&self, value: usize, name: &str) -> Option<bool> {
        let length = usize::from(self.half(value + 2)?);
        if length > VALUE_NAME_BYTES_MAX {
            return Some(false);
        }
        let bytes = self.bytes.get(value + 20..(value + 20).checked_add(length)?)?;
        Some(text(bytes, self.half(value + 16)? & 1 != 0).eq_ignore_ascii_case(name))
    }

    fn key_at(&self, cell: u32) -> Option<Key> {
        let at = self.cell(cell)?;
        (self.bytes.get(at..at + 2)? == b"nk").then_some(Key(at))
    }

    fn name(&self, key: Key) -> Option<String> {
        let length = usize::from(self.half(key.0 + 72)?);
        if length > KEY_NAME_BYTES_MAX {
            return None;
        }
        let bytes = self.bytes.get(key.0 + 76..(key.0 + 76).checked_add(length)?)?;
        Some(text(bytes, self.half(key.0 + 2)? & 0x20 != 0))
    }

    /// Where the content of a cell in use begins.
    fn cell(&self, offset: u32) -> Option<usize> {
        let at = usize::try_from(offset).ok()?.checked_add(CELLS)?;
        let size = self.word(at)?.cast_signed();
        let end = at.checked_add(usize::try_from(size.checked_neg()?).ok()?)?;
        // What is in a cell is at least four bytes long, and cells end inside of the file.
        (end >= at + 8 && end <= self.bytes.len()).then_some(at + 4)
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    fn half(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
    }
}

/// A name in one byte for each letter, or in two.
fn text(bytes: &[u8], narrow: bool) -> String {
    if narrow {
        return bytes.iter().map(|byte| char::from(*byte)).collect();
    }
    let letters = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    char::decode_utf16(letters)
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;

//! What a blob holds already: by the block for all of it, by its pages for the part that is worked at.

use std::collections::BTreeMap;

/// What one bit stands for: a block, which a restore writes once. A TiB has 2 MiB of bits.
const CHUNK_BYTES: u64 = 65_536;
/// Windows that are kept; a restore writes one after the other.
const WINDOWS_MAX: usize = 4;

/// Blocks in which something may be.
#[derive(Debug)]
pub(super) struct Held(Vec<u64>);

impl Held {
    pub(super) fn new(bytes: u64, all: bool) -> Self {
        let words = usize::try_from(bytes.div_ceil(CHUNK_BYTES * 64)).unwrap_or(usize::MAX);
        Self(vec![if all { u64::MAX } else { 0 }; words])
    }

    pub(super) fn mark_all(&mut self) {
        self.0.fill(u64::MAX);
    }

    pub(super) fn mark(&mut self, offset: u64, bytes: u64) {
        for chunk in chunks(offset, bytes) {
            let (word, bit) = place(chunk);
            if let Some(word) = self.0.get_mut(word) {
                *word |= bit;
            }
        }
    }

    pub(super) fn any(&self, offset: u64, bytes: u64) -> bool {
        chunks(offset, bytes).any(|chunk| {
            let (word, bit) = place(chunk);
            self.0.get(word).is_some_and(|word| word & bit != 0)
        })
    }
}

fn chunks(offset: u64, bytes: u64) -> core::ops::Range<u64> {
    offset / CHUNK_BYTES..(offset + bytes).div_ceil(CHUNK_BYTES)
}

fn place(chunk: u64) -> (usize, u64) {
    (usize::try_from(chunk / 64).unwrap_or(usize::MAX), 1 << (chunk % 64))
}

/// The ranges that hold pages, of some windows.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<u64, Vec<(u64, u64)>>);

impl Known {
    /// The ranges of a window, looked up where they are not known.
    pub(super) fn window<E>(
        &mut self,
        number: u64,
        look: impl FnOnce() -> Result<Vec<(u64, u64)>, E>,
    ) -> Result<&[(u64, u64)], E> {
        if !self.0.contains_key(&number) {
            let ranges = look()?;
            if self.0.len() == WINDOWS_MAX {
                // Disks are written forwards: the first is done with.
                self.0.pop_first();
            }
            self.0.insert(number, ranges);
        }
        Ok(self.0.get(&number).map_or(&[], Vec::as_slice))
    }
}

/// Whether ranges in order cover all bytes from one to another; neighbours count as one.
pub(super) fn covers(ranges: &[(u64, u64)], from: u64, to: u64) -> bool {
    let mut at = from;
    let first = ranges.partition_point(|(_, end)| *end <= from);
    for (start, end) in &ranges[first..] {
        if at >= to || *start > at {
            break;
        }
        at = *end;
    }
    at >= to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_what_lies_in_them_and_in_their_neighbours() {
        let ranges = [(0, 10), (10, 20), (30, 40)];
        for (from, to) in [(0, 20), (5, 15), (10, 11), (30, 40), (7, 7)] {
            assert!(covers(&ranges, from, to), "{from} to {to}");
        }
        for (from, to) in [(0, 21), (19, 31), (20, 30), (25, 35), (39, 41), (50, 51)] {
            assert!(!covers(&ranges, from, to), "{from} to {to}");
        }
        assert!(!covers(&[], 0, 1));
    }

    #[test]
    fn marks_are_kept_by_the_block() {
        let mut held = Held::new(200 << 16, false);
        held.mark((70 << 16) + 5, 1 << 16);
        for (block, there) in [(69, false), (70, true), (71, true), (72, false)] {
            assert_eq!(held.any(block << 16, 1), there, "{block}");
        }
        assert!(Held::new(1, true).any(0, 1));
    }

    #[test]
    fn few_windows_are_remembered() {
        let mut known = Known::default();
        let mut looked = 0;
        for number in [0, 0, 1, 2, 3, 4, 4, 0] {
            let look = || {
                looked += 1;
                Ok::<_, ()>(vec![(number, number + 1)])
            };
            assert_eq!(known.window(number, look), Ok(&[(number, number + 1)][..]));
        }
        assert_eq!(looked, 6);
    }
}

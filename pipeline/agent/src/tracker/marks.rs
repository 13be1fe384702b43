//! The marks in memory: a byte for each block, and coarser ones, set by the programs and cleared here.
//!
//! Whatever is taken is noted as held before it is cleared: a kill between the two leaves it in both, never in neither.

use core::sync::atomic::{AtomicU64, Ordering};

use super::layout::{LEVEL_SHIFT, LEVELS, Place};
use crate::blocks::BlockSet;

/// Takes all marks of a disk. `hold` is told each run, first and end, before its marks are gone.
pub(super) fn take(
    words: &[AtomicU64],
    place: &Place,
    hold: &mut dyn FnMut(u64, u64),
    into: &mut BlockSet,
) -> Result<(), String> {
    for (level, start) in (0..LEVELS).zip(place.levels) {
        let shift = LEVEL_SHIFT * level;
        let words = words_of(words, start, place.units(level))?;
        for (at, word) in (0_u64..).zip(words) {
            let mut seen = word.load(Ordering::Relaxed);
            while seen != 0 {
                for (byte, mark) in (0_u64..).zip(seen.to_ne_bytes()) {
                    if mark != 0 {
                        let unit = at * 8 + byte;
                        let (first, end) = (unit << shift, (unit + 1) << shift);
                        hold(first, end.min(place.blocks));
                        into.insert_range(first, end);
                    }
                }
                // Only what was noted is cleared: what came meanwhile is looked at again.
                match word.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::SeqCst) {
                    Ok(_) => break,
                    Err(now) => seen = now,
                }
            }
        }
    }
    Ok(())
}

/// Adds what is marked to a set, and leaves it marked.
pub(super) fn look(words: &[AtomicU64], place: &Place, into: &mut BlockSet) -> Result<(), String> {
    for (level, start) in (0..LEVELS).zip(place.levels) {
        let shift = LEVEL_SHIFT * level;
        for (at, word) in (0_u64..).zip(words_of(words, start, place.units(level))?) {
            let marks = word.load(Ordering::SeqCst).to_ne_bytes();
            for (byte, _) in (0_u64..).zip(marks).filter(|(_, mark)| *mark != 0) {
                let unit = at * 8 + byte;
                into.insert_range(unit << shift, (unit + 1) << shift);
            }
        }
    }
    Ok(())
}

/// Marks blocks, as a program would.
pub(super) fn put(
    words: &[AtomicU64],
    place: &Place,
    blocks: impl Iterator<Item = u64>,
) -> Result<(), String> {
    let words = words_of(words, place.levels[0], place.blocks)?;
    for block in blocks.take_while(|block| *block < place.blocks) {
        let mut mark = [0; 8];
        let (word, byte) = (usize::try_from(block / 8), usize::try_from(block % 8));
        if let (Ok(word), Ok(byte)) = (word, byte) {
            mark[byte] = 1;
            words[word].fetch_or(u64::from_ne_bytes(mark), Ordering::SeqCst);
        }
    }
    Ok(())
}

/// The words that hold so many bytes from `start` on.
pub(super) fn words_of(
    words: &[AtomicU64],
    start: u64,
    bytes: u64,
) -> Result<&[AtomicU64], String> {
    let range = || {
        let first = usize::try_from(start / 8).ok()?;
        let count = usize::try_from(bytes.div_ceil(8)).ok()?;
        words.get(first..first.checked_add(count)?)
    };
    range().ok_or_else(|| {
        "the map of marks is smaller than its disks; stop the agent, run it anew".into()
    })
}

#[cfg(test)]
mod tests {
    use super::super::layout::places;
    use super::*;

    fn memory(bytes: u64) -> Vec<AtomicU64> {
        (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn marks_of_every_level_are_taken_once_and_noted_first() {
        let (places, bytes) = places(&[10, 10_000]);
        let words = memory(bytes);
        let place = &places[1];
        let set = |level: usize, unit: u64| {
            let at = place.levels[level] + unit;
            let mut mark = [0; 8];
            mark[(at % 8) as usize] = 1;
            words[(at / 8) as usize].fetch_or(u64::from_ne_bytes(mark), Ordering::SeqCst);
        };
        set(0, 9_999);
        set(1, 3);
        set(2, 39);
        let mut seen = BlockSet::new(10_000);
        look(&words, place, &mut seen).unwrap();
        let mut held = Vec::new();
        let mut taken = BlockSet::new(10_000);
        take(&words, place, &mut |first, end| held.push((first, end)), &mut taken).unwrap();
        assert_eq!(held, [(9_999, 10_000), (48, 64), (9_984, 10_000)]);
        assert_eq!(taken.count(), 32);
        assert_eq!(seen, taken, "who only looks sees the same, and leaves it");
        let mut again = BlockSet::new(10_000);
        take(&words, place, &mut |_, _| panic!("all were taken"), &mut again).unwrap();
        assert!(again.is_empty());
        put(&words, place, [0, 77, 9_999, 10_000].into_iter()).unwrap();
        take(&words, place, &mut |_, _| (), &mut again).unwrap();
        assert_eq!(again.iter().collect::<Vec<_>>(), [0, 77, 9_999]);
        let mut other = BlockSet::new(10);
        take(&words, &places[0], &mut |_, _| (), &mut other).unwrap();
        assert!(other.is_empty(), "the neighbour's marks are its own");
    }

    #[test]
    fn a_mark_that_comes_while_others_are_taken_stays_or_is_taken() {
        let (places, bytes) = places(&[64]);
        let words = memory(bytes);
        put(&words, &places[0], [1].into_iter()).unwrap();
        let mut taken = BlockSet::new(64);
        let mut once = true;
        let mut late = |_: u64, _: u64| {
            // As a program does between the look and the exchange.
            if core::mem::take(&mut once) {
                words[0].fetch_or(1 << 40, Ordering::SeqCst);
            }
        };
        take(&words, &places[0], &mut late, &mut taken).unwrap();
        assert_eq!(taken.iter().collect::<Vec<_>>(), [1, 5]);
        assert!(take(&words[..1], &places[0], &mut |_, _| (), &mut taken).is_err());
    }
}

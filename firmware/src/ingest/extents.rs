//! Runs of blocks of one disk, each with what is known of it: a later word replaces an earlier one where they overlap.

use core::ops::Range;
use std::collections::BTreeMap;

/// What is said of a run. A part of it begins so many blocks later.
pub trait Part: Copy {
    /// What is said of the run from `blocks` after its first on.
    #[must_use]
    fn later(self, blocks: u64) -> Self;
}

impl Part for u64 {
    fn later(self, _: u64) -> Self {
        self
    }
}

/// Disjoint runs of blocks, ascending. Memory goes with how many were named, never with how long they are.
#[derive(Clone, Debug)]
pub struct Extents<T> {
    runs: BTreeMap<u64, (u64, T)>,
}

impl<T> Default for Extents<T> {
    fn default() -> Self {
        Self { runs: BTreeMap::new() }
    }
}

impl<T: Part> Extents<T> {
    /// Says something of blocks; what was said of them before is forgotten.
    pub fn say(&mut self, blocks: Range<u64>, what: T) {
        if blocks.is_empty() {
            return;
        }
        if let Some((&first, &(end, old))) = self.runs.range(..blocks.start).next_back()
            && end > blocks.start
        {
            self.runs.insert(first, (blocks.start, old));
            if end > blocks.end {
                self.runs.insert(blocks.end, (end, old.later(blocks.end - first)));
            }
        }
        while let Some((&first, &(end, old))) = self.runs.range(blocks.clone()).next() {
            self.runs.remove(&first);
            if end > blocks.end {
                self.runs.insert(blocks.end, (end, old.later(blocks.end - first)));
            }
        }
        self.runs.insert(blocks.start, (blocks.end, what));
    }

    /// What is said of a block, and where the run ends that says it.
    #[must_use]
    pub fn at(&self, block: u64) -> Option<(u64, T)> {
        let (&first, &(end, what)) = self.runs.range(..=block).next_back()?;
        (end > block).then(|| (end, what.later(block - first)))
    }

    /// Whether anything is said of any of these blocks.
    #[must_use]
    pub fn touches(&self, blocks: Range<u64>) -> bool {
        let before = self.runs.range(..=blocks.start).next_back();
        before.is_some_and(|(_, (end, _))| *end > blocks.start)
            || self.runs.range(blocks).next().is_some()
    }

    /// The runs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Range<u64>, T)> + '_ {
        self.runs.iter().map(|(first, (end, what))| (*first..*end, *what))
    }

    /// Forgets what is said of blocks from `end` on.
    pub fn clip(&mut self, end: u64) {
        drop(self.runs.split_off(&end));
        if let Some(mut last) = self.runs.last_entry() {
            let (old, _) = last.get_mut();
            *old = (*old).min(end);
        }
    }

    /// Keeps the runs of which this holds.
    pub fn retain(&mut self, keep: impl Fn(T) -> bool) {
        self.runs.retain(|_, (_, what)| keep(*what));
    }

    /// How many runs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether nothing is said of any block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Place(u64, u64);

    impl Part for Place {
        fn later(self, blocks: u64) -> Self {
            Self(self.0, self.1 + blocks)
        }
    }

    #[test]
    fn the_last_word_on_each_block_counts_whatever_the_order() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let (mut extents, mut model) = (Extents::default(), vec![None; 64]);
            for number in 0..40 {
                let first = random.below(64);
                let end = first + random.below(64 - first + 1);
                extents.say(first..end, Place(number, 0));
                for block in first..end {
                    model[usize::try_from(block).unwrap()] = Some(Place(number, block - first));
                }
                for (block, said) in (0_u64..).zip(&model) {
                    let at = extents.at(block).map(|(_, what)| what);
                    assert_eq!(at, *said, "seed {seed}, block {block}");
                    assert_eq!(extents.touches(block..block + 1), said.is_some());
                }
            }
            let blocks: u64 = extents.iter().map(|(run, _)| run.end - run.start).sum();
            assert_eq!(blocks, model.iter().flatten().count() as u64, "seed {seed}");
        }
    }
}

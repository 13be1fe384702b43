//! A set of blocks of one disk, a bit each: 2 MiB for each TiB.

/// Blocks of one disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockSet {
    words: Vec<u64>,
    blocks: u64,
}

impl BlockSet {
    /// The empty set for a disk of so many blocks.
    #[must_use]
    pub fn new(blocks: u64) -> Self {
        let words = usize::try_from(blocks.div_ceil(64)).unwrap_or(usize::MAX);
        Self { words: vec![0; words], blocks }
    }

    /// How many blocks the disk has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blocks
    }

    /// Adds a block; one beyond the disk is left out.
    pub fn insert(&mut self, block: u64) {
        if let Some((word, bit)) = self.place(block) {
            self.words[word] |= bit;
        }
    }

    /// Takes a block out.
    pub fn remove(&mut self, block: u64) {
        if let Some((word, bit)) = self.place(block) {
            self.words[word] &= !bit;
        }
    }

    /// Adds `first` up to, not including, `end`.
    pub fn insert_range(&mut self, first: u64, end: u64) {
        let end = end.min(self.blocks);
        let mut block = first;
        while block < end {
            if block.is_multiple_of(64) && end - block >= 64 {
                if let Some((word, _)) = self.place(block) {
                    self.words[word] = u64::MAX;
                }
                block += 64;
            } else {
                self.insert(block);
                block += 1;
            }
        }
    }

    /// Whether a block is in.
    #[must_use]
    pub fn contains(&self, block: u64) -> bool {
        self.place(block).is_some_and(|(word, bit)| self.words[word] & bit != 0)
    }

    /// The first run of blocks at or after `from`, of at most `most`: where it begins and how long it is. Asks for no memory.
    #[must_use]
    pub fn next_run(&self, from: u64, most: u32) -> Option<(u64, u32)> {
        let mut at = usize::try_from(from / 64).ok()?;
        let mut word = self.words.get(at)? & (u64::MAX << (from % 64));
        while word == 0 {
            at += 1;
            word = *self.words.get(at)?;
        }
        let first = u64::try_from(at).ok()? * 64 + u64::from(word.trailing_zeros());
        let mut length = 0;
        while length < most && self.contains(first + u64::from(length)) {
            length += 1;
        }
        (length > 0).then_some((first, length))
    }

    /// Leaves only what is in another set of the same disk too.
    pub fn intersect(&mut self, other: &Self) {
        for (word, both) in self.words.iter_mut().zip(&other.words) {
            *word &= both;
        }
    }

    /// How many blocks are in this set and another of the same disk. Asks for no memory.
    #[must_use]
    pub fn count_of_both(&self, other: &Self) -> u64 {
        let words = self.words.iter().zip(&other.words);
        words.map(|(word, other)| u64::from((word & other).count_ones())).sum()
    }

    /// Becomes what another set of the same disk is, without asking for memory.
    pub fn copy_from(&mut self, other: &Self) {
        for (word, new) in self.words.iter_mut().zip(&other.words) {
            *word = *new;
        }
    }

    /// Takes everything of another set of the same disk out.
    pub fn subtract(&mut self, other: &Self) {
        for (word, less) in self.words.iter_mut().zip(&other.words) {
            *word &= !less;
        }
    }

    /// Adds everything of another set of the same disk.
    pub fn union(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// How many blocks are in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether nothing is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The blocks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.iter_from(0)
    }

    /// The blocks from `first` on, ascending.
    pub fn iter_from(&self, first: u64) -> impl Iterator<Item = u64> + '_ {
        let word = usize::try_from(first / 64).unwrap_or(usize::MAX);
        let words = self.words.get(word..).unwrap_or_default();
        (first / 64..)
            .zip(words)
            .filter(|(_, word)| **word != 0)
            .flat_map(|(at, word)| {
                (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
            })
            .filter(move |block| *block >= first)
    }

    fn place(&self, block: u64) -> Option<(usize, u64)> {
        let word = usize::try_from(block / 64).ok().filter(|_| block < self.blocks)?;
        Some((word, 1 << (block % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_in_and_nothing_beyond_the_disk() {
        let mut set = BlockSet::new(200);
        set.insert_range(60, 130);
        set.insert(199);
        set.insert(200);
        set.insert_range(198, 5000);
        assert_eq!(set.count(), 72);
        assert!(set.contains(60) && set.contains(129) && !set.contains(130) && !set.contains(200));
        set.remove(60);
        let mut other = BlockSet::new(200);
        other.insert(3);
        set.union(&other);
        let mut expected: Vec<u64> = vec![3];
        expected.extend(61..130);
        expected.extend([198, 199]);
        assert_eq!(set.iter().collect::<Vec<_>>(), expected);
        for first in 0..210 {
            assert!(set.iter_from(first).eq(expected.iter().copied().filter(|at| *at >= first)));
        }
        let mut without = set.clone();
        without.subtract(&other);
        assert!(!without.contains(3) && without.contains(61));
        set.clear();
        assert!(set.is_empty());
    }

    #[test]
    fn runs_are_found_one_after_another() {
        let mut set = BlockSet::new(300);
        set.insert_range(5, 7);
        set.insert_range(60, 140);
        set.insert(299);
        let (mut from, mut runs) = (0, Vec::new());
        while let Some((first, length)) = set.next_run(from, 50) {
            runs.push((first, length));
            from = first + u64::from(length);
        }
        assert_eq!(runs, [(5, 2), (60, 50), (110, 30), (299, 1)]);
        assert_eq!(set.next_run(300, 1), None);
        assert_eq!(set.next_run(6, 0), None);
        assert_eq!(set.next_run(u64::MAX, 9), None);
    }
}

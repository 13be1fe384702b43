//! A set of blocks of one disk, a bit each, in pieces that are there only where something is in: nothing for an empty set,
//! and at most 2 MiB for each TiB.

use core::fmt;

/// Words of a piece: 4 KiB, for 2 GiB of disk.
const PIECE_WORDS: usize = 512;
const PIECE_BLOCKS: u64 = 64 * PIECE_WORDS as u64;

/// Blocks of one disk.
#[derive(Default)]
pub struct BlockSet {
    /// One for each 2 GiB of the disk; none has nothing in it.
    pieces: Vec<Option<Box<Piece>>>,
    /// Pieces of zeros, for when no memory may be asked for, and how many of them are kept.
    spare: Vec<Box<Piece>>,
    kept: usize,
    blocks: u64,
}

/// The blocks of a part of the disk, and how many they are.
#[derive(Clone, PartialEq, Eq)]
struct Piece {
    words: [u64; PIECE_WORDS],
    count: u64,
}

impl Piece {
    fn empty() -> Box<Self> {
        Box::new(Self { words: [0; PIECE_WORDS], count: 0 })
    }

    /// Changes each word with that of another piece.
    fn change(&mut self, other: &Self, how: impl Fn(u64, u64) -> u64) {
        let mut count = 0;
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word = how(*word, *other);
            count += u64::from(word.count_ones());
        }
        self.count = count;
    }
}

impl BlockSet {
    /// The empty set for a disk of so many blocks.
    #[must_use]
    pub fn new(blocks: u64) -> Self {
        let pieces = usize::try_from(blocks.div_ceil(PIECE_BLOCKS)).unwrap_or(usize::MAX);
        let mut set = Self { blocks, ..Self::default() };
        set.pieces.resize_with(pieces, || None);
        set
    }

    /// How many blocks the disk has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blocks
    }

    /// From now on so many pieces of 2 GiB in which nothing is yet can get something without asking for memory.
    pub fn keep_ready(&mut self, pieces: usize) {
        self.kept = pieces.min(self.pieces.len());
        self.spare.reserve_exact(self.kept.saturating_sub(self.spare.len()));
        while self.spare.len() < self.kept {
            self.spare.push(Piece::empty());
        }
    }

    /// Nothing is kept ready any more.
    pub fn let_go(&mut self) {
        (self.kept, self.spare) = (0, Vec::new());
    }

    /// Adds a block; one beyond the disk is left out.
    pub fn insert(&mut self, block: u64) {
        self.insert_range(block, block.saturating_add(1));
    }

    /// Takes a block out.
    pub fn remove(&mut self, block: u64) {
        let Some((at, word, bit)) = self.place(block) else { return };
        let Some(piece) = &mut self.pieces[at] else { return };
        piece.count -= piece.words[word] >> bit & 1;
        piece.words[word] &= !(1 << bit);
        self.drop_empty(at);
    }

    /// Adds `first` up to, not including, `end`.
    pub fn insert_range(&mut self, first: u64, end: u64) {
        let end = end.min(self.blocks);
        let mut block = first;
        while block < end {
            // The blocks of one word.
            let next = end.min((block | 63) + 1);
            let Some((at, word, bit)) = self.place(block) else { return };
            let mask = (u64::MAX >> (64 - (next - block))) << bit;
            let piece = self.piece(at);
            piece.count += u64::from((mask & !piece.words[word]).count_ones());
            piece.words[word] |= mask;
            block = next;
        }
    }

    /// Whether a block is in.
    #[must_use]
    pub fn contains(&self, block: u64) -> bool {
        let Some((at, word, bit)) = self.place(block) else { return false };
        self.pieces[at].as_ref().is_some_and(|piece| piece.words[word] >> bit & 1 == 1)
    }

    /// The first run of blocks at or after `from`, of at most `most`: where it begins and how long it is. Asks for no memory.
    #[must_use]
    pub fn next_run(&self, from: u64, most: u32) -> Option<(u64, u32)> {
        let first = self.iter_from(from).next()?;
        let mut length = 0;
        while length < most && self.contains(first + u64::from(length)) {
            length += 1;
        }
        (length > 0).then_some((first, length))
    }

    /// Leaves only what is in another set of the same disk too.
    pub fn intersect(&mut self, other: &Self) {
        for (at, other) in other.pieces.iter().enumerate().take(self.pieces.len()) {
            match (&mut self.pieces[at], other) {
                (Some(piece), Some(other)) => piece.change(other, |word, both| word & both),
                (Some(_), None) => self.empty(at),
                (None, _) => {}
            }
            self.drop_empty(at);
        }
    }

    /// How many blocks are in this set and another of the same disk. Asks for no memory.
    #[must_use]
    pub fn count_of_both(&self, other: &Self) -> u64 {
        let pieces = self.pieces.iter().zip(&other.pieces);
        let both = pieces.filter_map(|(piece, other)| piece.as_ref().zip(other.as_ref()));
        let words = both.flat_map(|(piece, other)| piece.words.iter().zip(&other.words));
        words.map(|(word, other)| u64::from((word & other).count_ones())).sum()
    }

    /// Becomes what another set of the same disk is, with the memory that is kept ready.
    pub fn copy_from(&mut self, other: &Self) {
        // What is let go comes first, so that it can be used.
        for at in 0..self.pieces.len() {
            if other.pieces.get(at).is_none_or(Option::is_none) {
                self.empty(at);
            }
        }
        for (at, other) in other.pieces.iter().enumerate().take(self.pieces.len()) {
            if let Some(other) = other {
                self.piece(at).clone_from(other);
            }
        }
    }

    /// Takes everything of another set of the same disk out.
    pub fn subtract(&mut self, other: &Self) {
        for (at, other) in other.pieces.iter().enumerate().take(self.pieces.len()) {
            if let (Some(piece), Some(other)) = (&mut self.pieces[at], other) {
                piece.change(other, |word, less| word & !less);
                self.drop_empty(at);
            }
        }
    }

    /// Adds everything of another set of the same disk.
    pub fn union(&mut self, other: &Self) {
        for (at, other) in other.pieces.iter().enumerate().take(self.pieces.len()) {
            if let Some(other) = other {
                self.piece(at).change(other, |word, more| word | more);
            }
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        (0..self.pieces.len()).for_each(|at| self.empty(at));
    }

    /// How many blocks are in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.pieces.iter().flatten().map(|piece| piece.count).sum()
    }

    /// Whether nothing is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.iter().all(Option::is_none)
    }

    /// The blocks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.iter_from(0)
    }

    /// The blocks from `first` on, ascending.
    pub fn iter_from(&self, first: u64) -> impl Iterator<Item = u64> + '_ {
        let start = usize::try_from(first / PIECE_BLOCKS).unwrap_or(usize::MAX);
        let pieces = self.pieces.get(start..).unwrap_or_default();
        let words = (first / PIECE_BLOCKS..).zip(pieces).flat_map(move |(at, piece)| {
            // Words before the first block are not looked at.
            let skipped = (first / 64).saturating_sub(at * PIECE_BLOCKS / 64);
            let words = piece.iter().flat_map(|piece| piece.words);
            (at * PIECE_BLOCKS / 64..).zip(words).skip(usize::try_from(skipped).unwrap_or(0))
        });
        words
            .filter(|(_, word)| *word != 0)
            .flat_map(|(at, word)| {
                (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
            })
            .filter(move |block| *block >= first)
    }

    /// A piece to put something into.
    fn piece(&mut self, at: usize) -> &mut Piece {
        let spare = &mut self.spare;
        self.pieces[at].get_or_insert_with(|| spare.pop().unwrap_or_else(Piece::empty))
    }

    /// Takes everything out of a piece.
    fn empty(&mut self, at: usize) {
        if let Some(mut piece) = self.pieces[at].take()
            && self.spare.len() < self.kept
        {
            (piece.words, piece.count) = ([0; PIECE_WORDS], 0);
            self.spare.push(piece);
        }
    }

    fn drop_empty(&mut self, at: usize) {
        if self.pieces[at].as_ref().is_some_and(|piece| piece.count == 0) {
            self.empty(at);
        }
    }

    /// The piece of a block, its word there, and the bit in that.
    fn place(&self, block: u64) -> Option<(usize, usize, u64)> {
        let at = usize::try_from(block / PIECE_BLOCKS).ok().filter(|_| block < self.blocks)?;
        let word = usize::try_from(block % PIECE_BLOCKS / 64).ok()?;
        Some((at, word, block % 64))
    }
}

impl Clone for BlockSet {
    /// What is kept ready is not copied.
    fn clone(&self) -> Self {
        Self { pieces: self.pieces.clone(), spare: Vec::new(), kept: 0, blocks: self.blocks }
    }
}

impl PartialEq for BlockSet {
    fn eq(&self, other: &Self) -> bool {
        self.blocks == other.blocks && self.pieces == other.pieces
    }
}

impl Eq for BlockSet {}

impl fmt::Debug for BlockSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockSet({} of {})", self.count(), self.blocks)
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

    #[test]
    fn sets_of_many_pieces_do_what_a_plain_set_does() {
        use std::collections::BTreeSet;
        let blocks = 3 * PIECE_BLOCKS + 77;
        for seed in 0..20 {
            println!("seed {seed}");
            let mut random = hal_sim::random::Random::new(seed);
            let mut sets = [BlockSet::new(blocks), BlockSet::new(blocks)];
            let mut plain = [BTreeSet::new(), BTreeSet::new()];
            for _ in 0..300 {
                let at = usize::try_from(random.below(2)).unwrap();
                let other = 1 - at;
                let block = random.below(blocks + 40);
                match random.below(12) {
                    0..4 => {
                        let end = block + random.below(200);
                        sets[at].insert_range(block, end);
                        plain[at].extend(block..end.min(blocks));
                    }
                    4..7 => {
                        let some: Vec<u64> = plain[at].iter().copied().take(150).collect();
                        some.iter().for_each(|block| sets[at].remove(*block));
                        plain[at].retain(|block| !some.contains(block));
                        sets[at].remove(block);
                        plain[at].remove(&block);
                    }
                    7 => {
                        let from = sets[other].clone();
                        sets[at].union(&from);
                        let more = plain[other].clone();
                        plain[at].extend(more);
                    }
                    8 => {
                        let from = sets[other].clone();
                        sets[at].subtract(&from);
                        let less = plain[other].clone();
                        plain[at].retain(|block| !less.contains(block));
                    }
                    9 => {
                        let from = sets[other].clone();
                        assert_eq!(
                            sets[at].count_of_both(&from),
                            plain[at].intersection(&plain[other]).count() as u64
                        );
                        sets[at].intersect(&from);
                        let both = plain[other].clone();
                        plain[at].retain(|block| both.contains(block));
                    }
                    10 => {
                        let from = sets[other].clone();
                        sets[at].copy_from(&from);
                        assert_eq!(sets[at], from);
                        plain[at] = plain[other].clone();
                    }
                    _ if random.below(2) == 0 => sets[at].keep_ready(2),
                    _ => {
                        sets[at].clear();
                        plain[at].clear();
                    }
                }
                assert!(sets[at].iter().eq(plain[at].iter().copied()));
                assert!(sets[at].iter_from(block).eq(plain[at].range(block..).copied()));
                assert_eq!(sets[at].count(), plain[at].len() as u64);
                assert_eq!(sets[at].is_empty(), plain[at].is_empty());
                assert_eq!(sets[at].contains(block), plain[at].contains(&block));
                let run = sets[at].next_run(block, 70);
                assert_eq!(run.map(|(first, _)| first), plain[at].range(block..).next().copied());
            }
        }
    }

    #[test]
    fn an_empty_set_of_a_large_disk_is_small_and_what_is_kept_ready_is_used_first() {
        let pieces = 512;
        let mut set = BlockSet::new(pieces * PIECE_BLOCKS);
        set.insert_range(0, pieces * PIECE_BLOCKS);
        (0..pieces * PIECE_BLOCKS).for_each(|block| set.remove(block));
        assert!(set.pieces.iter().all(Option::is_none) && set.spare.is_empty());
        set.keep_ready(3);
        let mut other = set.clone();
        assert!(other.spare.is_empty(), "what is kept ready is one set's");
        for (piece, left) in [2, 1, 0, 0, 0].into_iter().enumerate() {
            set.insert(piece as u64 * PIECE_BLOCKS);
            assert_eq!(set.spare.len(), left);
        }
        other.insert(9 * PIECE_BLOCKS);
        set.copy_from(&other);
        assert_eq!(
            (set.spare.len(), set.count()),
            (2, 1),
            "five came back, three stay, one is used"
        );
        set.clear();
        assert_eq!(set.spare.len(), 3);
        assert!(set.spare.iter().all(|piece| piece.words == [0; PIECE_WORDS] && piece.count == 0));
        set.let_go();
        assert!(set.spare.is_empty() && set.is_empty());
        assert!(format!("{other:?}").contains("1 of"));
    }
}

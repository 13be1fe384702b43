//! What was taken from the marks and is not in the vault yet, in a map of its own that outlives the agent.
//!
//! Two generations of a bit for each two blocks. The open one gets what is taken; a cut closes it if the other is
//! empty, and else goes on in it. Each knows the cut that must be in the vault before it may be emptied, and a
//! generation that was not closed in time waits for a later cut than it need: too much is kept, never too little.
//!
//! A kill may come between any two stores here.

use core::sync::atomic::{AtomicU64, Ordering};

use super::layout::VERSION;
use crate::blocks::BlockSet;

/// Says whose map it is.
const MAGIC: u64 = u64::from_le_bytes(*b"lifeboat");
/// Words before those of the disks.
const HEAD_WORDS: usize = 16;
/// Words about each disk.
const DISK_WORDS: usize = 16;
/// Blocks that share a bit: what is sent again may be one more than need be, and the map is half as large.
const SHARED: u64 = 2;

/// Among them, behind the record: whether everything of the disk was sent once, but for what is marked or held. It is
/// here since it is true of these marks alone.
const SENT_WHOLE: usize = 9;
/// Whether `FACE` is of before the first write since the disk appeared, all of which are marked.
const FACE_KNOWN: usize = 10;
/// A digest of what a stranger who writes to the disk changes, in four words.
const FACE: usize = 11;
const _: () = assert!(FACE + 32 / 8 == GOES_ON_FROM && GOES_ON_FROM < DISK_WORDS);
/// Where the marks go on from those of an earlier start of the machine, and the appliance has not agreed yet: 1 more than
/// the newest cut that was made of them.
const GOES_ON_FROM: usize = 15;

const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 1;
const DISKS_AT: usize = 2;
/// Whether everything of an earlier map was put in here.
const WHOLE_AT: usize = 3;
const OPEN_AT: usize = 4;
const LAST_CUT_AT: usize = 5;
/// For each generation the cut that empties it; 0 where it is empty or was never closed.
const UNTIL_AT: usize = 6;
/// Whether the agent ended in order, and nothing that it knew is missing here.
const ENDED_AT: usize = 8;

/// What is known of a disk beside its marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DiskRecord {
    /// The kernel's number of it, as programs see it.
    pub(super) key: u32,
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// A number made of its identity.
    pub(super) identity: u64,
    /// The kernel's count of disks that appeared when it did; 0 where it counts none.
    pub(super) sequence: u64,
    /// What programs counted more than the kernel until the last audit.
    pub(super) surplus: Option<u64>,
    /// Writes beyond its end, writes that could not be marked, and commands past the block layer until then.
    pub(super) troubles: [u64; 3],
}

/// The map as words.
pub(super) struct Held<W> {
    words: W,
    blocks: Vec<u64>,
}

/// Words that a map for disks of so many blocks needs.
pub(super) fn words_for(blocks: &[u64]) -> u64 {
    let head = HEAD_WORDS + DISK_WORDS * blocks.len();
    let bits: u64 = blocks.iter().map(|blocks| words_of_generation(*blocks)).sum();
    u64::try_from(head).unwrap_or(u64::MAX).saturating_add(bits.saturating_mul(2))
}

fn words_of_generation(blocks: u64) -> u64 {
    blocks.div_ceil(SHARED).div_ceil(64)
}

impl<W: core::ops::Deref<Target = [AtomicU64]>> Held<W> {
    /// A map that is all zeros, for these disks.
    pub(super) fn begin(words: W, disks: &[DiskRecord], blocks: Vec<u64>) -> Result<Self, String> {
        let held = Self { words, blocks };
        held.check_size()?;
        for (disk, record) in disks.iter().enumerate() {
            held.set_record(disk, record);
        }
        held.put(DISKS_AT, u64::try_from(disks.len()).unwrap_or(u64::MAX));
        held.put(VERSION_AT, VERSION);
        held.put(MAGIC_AT, MAGIC);
        Ok(held)
    }

    /// One that an earlier life of the agent made.
    pub(super) fn adopt(words: W) -> Result<Self, String> {
        let mut held = Self { words, blocks: Vec::new() };
        if (held.word(MAGIC_AT), held.word(VERSION_AT)) != (MAGIC, VERSION) {
            return Err("was made by another version of the agent".into());
        }
        let disks = usize::try_from(held.word(DISKS_AT)).unwrap_or(usize::MAX);
        if disks > held.words.len() / DISK_WORDS {
            return Err("names more disks than it has room for".into());
        }
        held.blocks =
            (0..disks).map(|disk| super::layout::blocks_of(held.record(disk).bytes)).collect();
        held.check_size()?;
        Ok(held)
    }

    /// Says that nothing of an earlier map is missing in this one.
    pub(super) fn set_whole(&self) {
        self.put(WHOLE_AT, 1);
    }

    /// Whether nothing of an earlier map is missing in this one.
    pub(super) fn is_whole(&self) -> bool {
        self.word(WHOLE_AT) == 1
    }

    pub(super) fn disks(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn record(&self, disk: usize) -> DiskRecord {
        let at = HEAD_WORDS + DISK_WORDS * disk;
        DiskRecord {
            key: u32::try_from(self.word(at)).unwrap_or(u32::MAX),
            bytes: self.word(at + 1),
            identity: self.word(at + 2),
            sequence: self.word(at + 3),
            surplus: (self.word(at + 4) == 1).then(|| self.word(at + 5)),
            troubles: [self.word(at + 6), self.word(at + 7), self.word(at + 8)],
        }
    }

    pub(super) fn set_record(&self, disk: usize, record: &DiskRecord) {
        let at = HEAD_WORDS + DISK_WORDS * disk;
        let surplus = (u64::from(record.surplus.is_some()), record.surplus.unwrap_or(0));
        // Nothing to hold against, while the numbers change.
        self.put(at + 4, 0);
        let words = [u64::from(record.key), record.bytes, record.identity, record.sequence];
        for (word, value) in words.into_iter().enumerate() {
            self.put(at + word, value);
        }
        self.put(at + 5, surplus.1);
        self.put(at + 6, record.troubles[0]);
        self.put(at + 7, record.troubles[1]);
        self.put(at + 8, record.troubles[2]);
        self.put(at + 4, surplus.0);
    }

    /// Notes whether everything of a disk was sent once, but for what is marked or held.
    pub(super) fn set_sent_whole(&self, disk: usize, whole: bool) {
        if disk < self.disks() {
            self.put(HEAD_WORDS + DISK_WORDS * disk + SENT_WHOLE, u64::from(whole));
        }
    }

    /// Whether that is so; never in a new map.
    pub(super) fn is_sent_whole(&self, disk: usize) -> bool {
        disk < self.disks() && self.word(HEAD_WORDS + DISK_WORDS * disk + SENT_WHOLE) == 1
    }

    /// Notes whether the agent ended in order.
    pub(super) fn set_ended(&self, ended: bool) {
        self.put(ENDED_AT, u64::from(ended));
    }

    /// Whether it did.
    pub(super) fn has_ended(&self) -> bool {
        self.word(ENDED_AT) == 1
    }

    /// Notes what a disk looked like before the first write since it appeared; or that this says nothing any more.
    pub(super) fn set_face(&self, disk: usize, face: Option<&[u8; 32]>) {
        if disk >= self.disks() {
            return;
        }
        let at = HEAD_WORDS + DISK_WORDS * disk;
        self.put(at + FACE_KNOWN, 0);
        let Some(face) = face else { return };
        for (word, bytes) in face.as_chunks().0.iter().enumerate() {
            self.put(at + FACE + word, u64::from_le_bytes(*bytes));
        }
        self.put(at + FACE_KNOWN, 1);
    }

    /// What it looked like then, where every write since is marked.
    pub(super) fn face(&self, disk: usize) -> Option<[u8; 32]> {
        let at = HEAD_WORDS + DISK_WORDS * disk;
        if disk >= self.disks() || self.word(at + FACE_KNOWN) != 1 {
            return None;
        }
        let mut face = [0; 32];
        for (word, bytes) in face.as_chunks_mut().0.iter_mut().enumerate() {
            *bytes = self.word(at + FACE + word).to_le_bytes();
        }
        Some(face)
    }

    /// Notes that the marks go on from those of an earlier start of the machine, of which this was the newest cut; or that
    /// the appliance agreed, or did not.
    pub(super) fn set_goes_on_from(&self, disk: usize, epoch: Option<u64>) {
        if disk < self.disks() {
            let word = epoch.map_or(0, |epoch| epoch.saturating_add(1));
            self.put(HEAD_WORDS + DISK_WORDS * disk + GOES_ON_FROM, word);
        }
    }

    /// What was noted.
    pub(super) fn goes_on_from(&self, disk: usize) -> Option<u64> {
        let known = disk < self.disks();
        known.then(|| self.word(HEAD_WORDS + DISK_WORDS * disk + GOES_ON_FROM))?.checked_sub(1)
    }

    /// The newest cut that was made.
    pub(super) fn last_cut(&self) -> u64 {
        self.word(LAST_CUT_AT)
    }

    /// Notes blocks from `first` up to, not including, `end` as taken.
    pub(super) fn note(&self, disk: usize, first: u64, end: u64) {
        let end = end.min(self.blocks.get(disk).copied().unwrap_or(0));
        if first >= end {
            return;
        }
        let Some(words) = self.bits(disk, self.open()) else { return };
        let (mut bit, last) = (first / SHARED, (end - 1) / SHARED);
        while bit <= last {
            let Some(word) = usize::try_from(bit / 64).ok().and_then(|at| words.get(at)) else {
                return;
            };
            let in_word = last.min(bit | 63) - bit + 1;
            let mask = if in_word == 64 { u64::MAX } else { ((1 << in_word) - 1) << (bit % 64) };
            word.fetch_or(mask, Ordering::SeqCst);
            bit += in_word;
        }
    }

    /// Adds everything that is held of a disk.
    pub(super) fn all(&self, disk: usize, into: &mut BlockSet) {
        for generation in 0..2 {
            let words = self.bits(disk, generation).unwrap_or_default();
            for (at, word) in (0_u64..).zip(words) {
                let word = word.load(Ordering::SeqCst);
                for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
                    let first = (at * 64 + bit) * SHARED;
                    into.insert_range(first, first + SHARED);
                }
            }
        }
    }

    /// A cut was made of everything that was taken so far.
    pub(super) fn cut(&self, epoch: u64) {
        self.put(LAST_CUT_AT, epoch);
        let open = self.open();
        if self.word(UNTIL_AT + (1 - open)) == 0 {
            self.close(open, epoch);
        }
    }

    /// A cut, and so all before it, is in the vault.
    pub(super) fn vaulted(&self, epoch: u64) {
        let open = self.open();
        let closed = 1 - open;
        let until = self.word(UNTIL_AT + closed);
        if until == 0 || epoch < until {
            return;
        }
        for disk in 0..self.disks() {
            for word in self.bits(disk, closed).unwrap_or_default() {
                word.store(0, Ordering::SeqCst);
            }
        }
        self.put(UNTIL_AT + closed, 0);
        let last = self.word(LAST_CUT_AT);
        if last > until {
            // Cuts were made that could not close it. What was taken since is part of the next.
            self.close(open, last.saturating_add(1));
        }
    }

    /// Everything that is held will be sent again, as part of the cut of this epoch or an earlier one.
    pub(super) fn resend(&self, epoch: u64) {
        self.put(LAST_CUT_AT, epoch.saturating_sub(1));
        let closed = 1 - self.open();
        if self.word(UNTIL_AT + closed) != 0 {
            self.put(UNTIL_AT + closed, epoch);
        }
    }

    /// Takes over what another map holds of a disk, and as long as that would hold it.
    pub(super) fn continue_from<V>(&self, disk: usize, other: &Held<V>, others: usize)
    where
        V: core::ops::Deref<Target = [AtomicU64]>,
    {
        for generation in 0..2 {
            let from = other.bits(others, generation).unwrap_or_default();
            let to = self.bits(disk, generation).unwrap_or_default();
            for (to, from) in to.iter().zip(from) {
                to.fetch_or(from.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            self.put(UNTIL_AT + generation, other.word(UNTIL_AT + generation));
        }
        self.put(LAST_CUT_AT, other.word(LAST_CUT_AT));
        self.put(OPEN_AT, other.word(OPEN_AT));
        self.set_face(disk, other.face(others).as_ref());
        self.set_goes_on_from(disk, other.goes_on_from(others));
        self.set_sent_whole(disk, other.is_sent_whole(others));
    }

    fn close(&self, generation: usize, until: u64) {
        // Epochs count from 1; one that did not would make the generation seem empty.
        self.put(UNTIL_AT + generation, until.max(1));
        self.put(OPEN_AT, u64::try_from(1 - generation).unwrap_or(0));
    }

    fn open(&self) -> usize {
        usize::from(self.word(OPEN_AT) == 1)
    }

    fn bits(&self, disk: usize, generation: usize) -> Option<&[AtomicU64]> {
        let blocks = *self.blocks.get(disk)?;
        let before: u64 =
            self.blocks.iter().take(disk).map(|blocks| 2 * words_of_generation(*blocks)).sum();
        let own = words_of_generation(blocks);
        let head = HEAD_WORDS + DISK_WORDS * self.blocks.len();
        let start = usize::try_from(before + own * u64::from(generation == 1)).ok()? + head;
        self.words.get(start..start.checked_add(usize::try_from(own).ok()?)?)
    }

    fn check_size(&self) -> Result<(), String> {
        let wanted = usize::try_from(words_for(&self.blocks)).unwrap_or(usize::MAX);
        if self.words.len() >= wanted { Ok(()) } else { Err("is smaller than its disks".into()) }
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    fn put(&self, at: usize, value: u64) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests;

//! Finds blocks that the server has already: a bounded table from fingerprint to where the block is.
//!
//! The table is a cache of fixed size (set-associative, the oldest of a set gives way): missing an entry
//! costs a block stored twice, never a wrong one. Entries name only blocks that the base map reaches, that were
//! salvaged, or that were made by this run; pruned points are never a source. Upkeep counts on it: a frame that the
//! newest record does not reach may be left behind when its segment is moved. So whoever takes a block out of a map
//! takes it out of the table too.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

use pipeline::ids::{Fingerprint, FrameAddress, SegmentId};

use crate::map::BlockRef;

/// Entries in one set; a set is searched whole.
const WAYS: usize = 8;
/// Sets under one lock.
const SHARDS: usize = 64;
/// Segments that a table which outlives a run remembers by number; beyond, it begins anew.
const SEGMENTS_MAX: usize = 1 << 18;
/// Bytes of one entry.
const SLOT_BYTES: usize = size_of::<Slot>();

/// One known block; a zero `segment` means the slot is empty, otherwise it is one more than the segment's place.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
struct Slot {
    fingerprint: [u8; 16],
    segment: u32,
    ordinal: u32,
    index: u8,
}

/// The sets of one shard and, per set, which way gives way next.
struct Shard {
    slots: Vec<Slot>,
    turns: Vec<u8>,
}

/// Fingerprint to place of a block, for all workers.
pub struct KnownBlocks {
    shards: Vec<Mutex<Shard>>,
    sets: usize,
    segments: Mutex<Segments>,
    hits: AtomicU64,
}

/// Segments by number, so that a slot holds four bytes instead of sixteen.
#[derive(Default)]
struct Segments {
    ids: Vec<SegmentId>,
    newest: std::collections::HashMap<SegmentId, u32>,
}

impl KnownBlocks {
    /// A table of at most so many bytes (a power of two of sets); pages of it that are never used cost nothing.
    pub fn new(bytes_max: usize) -> Self {
        let wanted = (bytes_max / SLOT_BYTES / WAYS / SHARDS).max(1);
        let sets = 1_usize << wanted.ilog2();
        let shard = || {
            Mutex::new(Shard { slots: vec![Slot::default(); sets * WAYS], turns: vec![0; sets] })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            sets,
            segments: Mutex::default(),
            hits: AtomicU64::new(0),
        }
    }

    /// How many blocks the table can hold.
    pub fn capacity(&self) -> u64 {
        (self.sets * WAYS * SHARDS) as u64
    }

    /// Where a block of this fingerprint is.
    pub fn find(&self, fingerprint: &Fingerprint) -> Option<BlockRef> {
        let (shard, set) = self.place(fingerprint);
        let slot = {
            let shard = lock(&self.shards[shard]);
            let ways = &shard.slots[set * WAYS..(set + 1) * WAYS];
            *ways.iter().find(|slot| slot.segment != 0 && slot.fingerprint == fingerprint.0)?
        };
        let segment = *lock(&self.segments).ids.get(slot.segment as usize - 1)?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(BlockRef {
            address: FrameAddress { segment, ordinal: slot.ordinal },
            index: slot.index,
            fingerprint: *fingerprint,
        })
    }

    /// Remembers where a block is.
    pub fn learn(&self, block: &BlockRef) {
        let Some(segment) = lock(&self.segments).number(block.address.segment) else { return };
        let (shard, set) = self.place(&block.fingerprint);
        let mut shard = lock(&self.shards[shard]);
        let turn = shard.turns[set];
        let ways = &mut shard.slots[set * WAYS..(set + 1) * WAYS];
        let same = ways
            .iter()
            .position(|slot| slot.segment != 0 && slot.fingerprint == block.fingerprint.0)
            .or_else(|| ways.iter().position(|slot| slot.segment == 0));
        let way = same.unwrap_or_else(|| usize::from(turn) % WAYS);
        ways[way] = Slot {
            fingerprint: block.fingerprint.0,
            segment,
            ordinal: block.address.ordinal,
            index: block.index,
        };
        if same.is_none() {
            shard.turns[set] = turn.wrapping_add(1);
        }
    }

    /// Forgets that a block is in this place; where else it is known to be stays.
    pub fn forget(&self, block: &BlockRef) {
        let number = lock(&self.segments).newest.get(&block.address.segment).copied();
        let Some(segment) = number else { return };
        let gone = Slot {
            fingerprint: block.fingerprint.0,
            segment,
            ordinal: block.address.ordinal,
            index: block.index,
        };
        let (shard, set) = self.place(&block.fingerprint);
        let mut shard = lock(&self.shards[shard]);
        let ways = &mut shard.slots[set * WAYS..(set + 1) * WAYS];
        ways.iter_mut().filter(|slot| **slot == gone).for_each(|slot| *slot = Slot::default());
    }

    /// Whether it has met so many segments that it had better begin anew.
    pub fn is_worn(&self) -> bool {
        lock(&self.segments).ids.len() > SEGMENTS_MAX
    }

    /// Every block in it.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<BlockRef> {
        let shards = self.shards.iter().map(lock);
        let slots: Vec<Slot> = shards.flat_map(|shard| shard.slots.clone()).collect();
        let known = slots.iter().filter(|slot| slot.segment != 0);
        known.filter_map(|slot| self.find(&Fingerprint(slot.fingerprint))).collect()
    }

    fn place(&self, fingerprint: &Fingerprint) -> (usize, usize) {
        let word = u64::from_le_bytes(fingerprint.0[..8].try_into().expect("8 of 16 bytes"));
        let word = usize::try_from(word & 0x7FFF_FFFF).expect("31 bits fit");
        (word % SHARDS, (word / SHARDS) % self.sets)
    }
}

impl Segments {
    /// The number of a segment, from 1; `None` once four billion were named.
    fn number(&mut self, segment: SegmentId) -> Option<u32> {
        if let Some(number) = self.newest.get(&segment) {
            return Some(*number);
        }
        let number = u32::try_from(self.ids.len()).ok()?.checked_add(1)?;
        self.ids.push(segment);
        self.newest.insert(segment, number);
        Some(number)
    }
}

/// A poisoned lock means that a worker panicked; the table is still only a cache.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(mark: u32) -> BlockRef {
        let mut fingerprint = [0; 16];
        fingerprint[..4].copy_from_slice(&mark.wrapping_mul(0x9E37_79B1).to_le_bytes());
        fingerprint[12..].copy_from_slice(&mark.to_le_bytes());
        let segment = SegmentId([u8::try_from(mark % 7).expect("below 7"); 16]);
        BlockRef {
            address: FrameAddress { segment, ordinal: mark },
            index: 3,
            fingerprint: Fingerprint(fingerprint),
        }
    }

    #[test]
    fn a_learnt_block_is_found_and_an_unknown_one_is_not() {
        let table = KnownBlocks::new(1 << 20);
        (0..1000).for_each(|mark| table.learn(&block(mark)));
        (0..1000)
            .for_each(|mark| assert_eq!(table.find(&block(mark).fingerprint), Some(block(mark))));
        assert_eq!(table.find(&block(5000).fingerprint), None);
    }

    #[test]
    fn a_forgotten_place_is_forgotten_and_another_place_of_the_same_block_is_not() {
        let table = KnownBlocks::new(1 << 20);
        let (one, two) = (block(1), BlockRef { index: 4, ..block(1) });
        table.learn(&one);
        table.learn(&two);
        table.forget(&one);
        assert_eq!(table.find(&one.fingerprint), Some(two));
        table.forget(&two);
        assert_eq!(table.find(&one.fingerprint), None);
        assert!(table.all().is_empty());
    }

    #[test]
    fn a_full_table_forgets_but_never_lies_and_never_grows() {
        let table = KnownBlocks::new(SLOT_BYTES * WAYS * SHARDS);
        (0..100_000).for_each(|mark| table.learn(&block(mark)));
        let found = (0..100_000).filter_map(|mark| {
            table.find(&block(mark).fingerprint).map(|found| assert_eq!(found, block(mark)))
        });
        let found = found.count() as u64;
        assert!(found > 0 && found <= table.capacity(), "{found}");
    }
}

//! What is at which byte of the state partition.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 2 × 4 KiB | the key or the ways to it, twice, each in a slot of its own: see `keys` |
//! | 64 KiB | 64 KiB | last words |
//! | 128 KiB | 4 × 896 KiB | the state, four slots |
//!
//! Everything begins at a multiple of 64 KiB, so that no write to one thing touches a sector, or an erase block of a
//! better stick, of another.

/// Where the key's copies are.
pub const KEY_OFFSET: u64 = 0;
/// Bytes of each copy.
pub const KEY_BYTES: u32 = 4096;
/// How many copies there are.
pub const KEY_COPIES: u64 = 2;
/// Where the last words are.
pub const WORDS_OFFSET: u64 = 64 * 1024;
/// Their slot.
pub const WORDS_BYTES: u32 = 64 * 1024;
/// Longest last words.
pub const WORDS_TEXT_MAX: usize = 32 * 1024;
/// Where the state's slots begin.
pub const SLOTS_OFFSET: u64 = 128 * 1024;
/// Slots of the state.
pub const SLOTS: usize = 4;
/// Bytes of each.
pub const SLOT_BYTES: u32 = 896 * 1024;
/// The least that a partition must have.
pub const PARTITION_BYTES_MIN: u64 = SLOTS_OFFSET + SLOTS as u64 * SLOT_BYTES as u64;

const _: () = {
    assert!(KEY_COPIES * KEY_BYTES as u64 <= WORDS_OFFSET, "the key ends before the words");
    assert!(WORDS_OFFSET + WORDS_BYTES as u64 <= SLOTS_OFFSET, "the words end before the state");
    assert!(PARTITION_BYTES_MIN <= image_layout::disk::STATE_BYTES, "all of it fits the partition");
    assert!(SLOT_BYTES.is_multiple_of(4096), "a slot is whole sectors on every disk");
};

/// Where a slot of the state begins.
#[must_use]
pub fn slot_offset(place: usize) -> u64 {
    let place = u64::try_from(place).unwrap_or(0);
    SLOTS_OFFSET + place * u64::from(SLOT_BYTES)
}

/// Where a copy of the key begins.
#[must_use]
pub fn key_offset(copy: u64) -> u64 {
    KEY_OFFSET + copy * u64::from(KEY_BYTES)
}

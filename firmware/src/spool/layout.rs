//! What is at which byte of a spool's disk; SPOOL.md says it in words.

/// Everything begins at a multiple of this.
pub const PAGE_BYTES: u64 = 4096;
/// Where the superblock is; its copy is in the last whole page of the disk.
pub const SUPERBLOCK_OFFSET: u64 = 0;
/// Where the first checkpoint is.
pub const CHECKPOINT_OFFSET: u64 = 64 * 1024;
/// From one to the next: no write to one touches an erase block of another on a better disk.
pub const CHECKPOINT_STEP: u64 = 64 * 1024;
/// How many there are.
pub const CHECKPOINTS: u64 = 4;
/// Where the log begins.
pub const LOG_OFFSET: u64 = 1024 * 1024;
/// What lies behind the log at least: room for what others keep at the end of a disk, cleared when the spool is made.
pub const END_BYTES: u64 = 1024 * 1024;
/// The smallest disk.
pub const DISK_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// The longest record, with its header.
pub const RECORD_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// What is appended at most without a sync: it bounds what has to be searched after a power cut.
pub const UNSYNCED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The longest discard at once.
pub const DISCARD_BYTES: u64 = 1024 * 1024 * 1024;

const _: () = {
    assert!(CHECKPOINT_OFFSET + CHECKPOINTS * CHECKPOINT_STEP <= LOG_OFFSET, "before the log");
    assert!(
        LOG_OFFSET + END_BYTES + 8 * RECORD_BYTES_MAX <= DISK_BYTES_MIN,
        "a log has room for records"
    );
    assert!(RECORD_BYTES_MAX.is_multiple_of(PAGE_BYTES), "whole pages");
};

/// Where the checkpoint of this sequence number is.
#[must_use]
pub fn checkpoint_offset(sequence: u64) -> u64 {
    CHECKPOINT_OFFSET + sequence % CHECKPOINTS * CHECKPOINT_STEP
}

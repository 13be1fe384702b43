//! Blocks of a disk into messages: zeros as such, what cannot be read named, everything else as it is.

use std::sync::Arc;

use hal::disk::DiskError;
use pipeline::limits::BLOCK_BYTES;
use pipeline::zero::is_zero;
use pipeline_wire::message::{BLOCKS_MAX, Content as Kind};
use pipeline_wire::runs::runs_of;

use super::disk::Disk;
use crate::outbox::NotTaken;
use crate::session::exchange::Exchange;
use crate::swap;

/// Blocks that are read before any of them is said: memory for as many is in use.
pub const BATCH_BLOCKS: usize = 32;

/// Blocks that were read, by what they are.
#[derive(Debug, Default)]
pub struct Batch {
    data: Vec<(u64, Box<[u8]>)>,
    zeros: Vec<u64>,
    unread: Vec<u64>,
    /// What the disk says of the first of them.
    why: Option<String>,
}

impl Batch {
    /// Takes a block as a disk gave it.
    pub fn take(&mut self, block: u64, content: Result<&[u8], &DiskError>) {
        match content {
            Ok(content) if is_zero(content) => self.zeros.push(block),
            Ok(content) => self.data.push((block, content.into())),
            Err(error) => {
                self.unread.push(block);
                self.why.get_or_insert_with(|| error.to_string());
            }
        }
    }

    /// Takes a block that is nobody's.
    pub fn blank(&mut self, block: u64) {
        self.zeros.push(block);
    }

    /// Takes a block that is known to be unreadable.
    pub fn miss(&mut self, block: u64) {
        self.unread.push(block);
    }

    /// Blocks that could not be read.
    #[must_use]
    pub fn unread(&self) -> &[u64] {
        &self.unread
    }

    /// Says everything; there must be room.
    ///
    /// Errors: a message that the protocol does not have: a mistake of ours.
    pub fn say(mut self, disk: u16, exchange: &Exchange) -> Result<(), String> {
        self.data.sort_unstable_by_key(|(block, _)| *block);
        for part in self.data.chunks(BLOCKS_MAX) {
            let mut payload = Vec::with_capacity(part.len() * BLOCK_BYTES);
            for (_, content) in part {
                payload.extend_from_slice(content);
            }
            let runs = runs_of(part.iter().map(|(block, _)| *block));
            said(exchange.blocks(disk, Kind::Data, runs, payload))?;
        }
        for (mut blocks, kind) in [(self.zeros, Kind::Zeros), (self.unread, Kind::Unread)] {
            blocks.sort_unstable();
            if !blocks.is_empty() {
                said(exchange.blocks(disk, kind, runs_of(blocks), Vec::new()))?;
            }
        }
        Ok(())
    }
}

/// Bytes of payload that a batch may need room for, with what its messages cost beside.
#[must_use]
pub fn batch_bytes() -> usize {
    (BATCH_BLOCKS + 1) * BLOCK_BYTES
}

fn said(result: Result<u64, NotTaken>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(NotTaken::Full(_)) => Err("a batch did not fit where there was room".to_owned()),
        Err(NotTaken::Frame(error)) => Err(error.to_string()),
    }
}

/// Which of a disk's sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Part of the next cut.
    Changed,
    /// Wanted by a run through the disk.
    Wanted,
}

/// Reads and says the next blocks of a set; which. There must be room for a batch.
///
/// Errors: the disk is gone, in words; the blocks stay in the set.
pub fn send_batch(
    disk: &mut Disk,
    place: u16,
    set: Set,
    exchange: &Arc<Exchange>,
) -> Result<Vec<u64>, String> {
    let cursor = disk.cursor;
    let from = disk.set(set);
    let mut blocks: Vec<u64> = from.iter_from(cursor).take(BATCH_BLOCKS).collect();
    if blocks.is_empty() {
        blocks.extend(from.iter().take(BATCH_BLOCKS));
    }
    let Some(last) = blocks.last() else { return Ok(blocks) };
    disk.cursor = last + 1;
    let mut batch = Batch::default();
    let (blank, read): (Vec<u64>, Vec<u64>) =
        blocks.iter().partition(|block| disk.blank.contains(**block));
    blank.into_iter().for_each(|block| batch.blank(block));
    let armed = &disk.armed;
    let read = disk.content.read(&read, &mut |block, content| {
        let content = content.map(|content| swap::disarmed(armed, block, content));
        batch.take(block, content.as_deref().map_err(|error| *error));
    });
    read.map_err(|error| error.to_string())?;
    let (unread, why) = (batch.unread().to_vec(), batch.why.take().unwrap_or_default());
    batch.say(place, exchange)?;
    // Once when it is found, not each time it is tried again.
    let found = unread.iter().filter(|block| !disk.unread.contains(**block)).count();
    if found > 0 {
        log::warn!("{}: {found} more blocks of 64 KiB cannot be read: {why}", disk.label);
    }
    for block in &blocks {
        // It was read after it was taken or wanted, whichever was last.
        disk.changed.remove(*block);
        disk.wanted.remove(*block);
        disk.unread.remove(*block);
    }
    unread.into_iter().for_each(|block| disk.unread.insert(block));
    Ok(blocks)
}

//! A run through a whole disk: what the vault has already is not sent again.
//!
//! A disk is read leaf by leaf (256 blocks). The appliance is asked which of a leaf's fingerprints it wants; several
//! questions are on their way, so that a far appliance does not stop the reading. What is wanted joins the blocks that
//! changed, and is read again when they are sent. Tracking goes on beside it: what is written after it was read is marked.
//! A run may be through some blocks alone: those that an earlier run of the agent may not have brought into the vault.
//! It refuses to read or to send; pure.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::fingerprint::Fingerprinter;
use pipeline::limits::BLOCK_BYTES;
use pipeline::zero::is_zero;
use pipeline_wire::message::FINGERPRINTS_MAX;

use crate::blocks::BlockSet;

/// Questions on their way at once: 256 MiB of disk.
pub const QUESTIONS_MAX: usize = 16;
/// Blocks of a leaf.
const LEAF_BLOCKS: u64 = FINGERPRINTS_MAX as u64;

/// Why a disk is run through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The vault has nothing of it.
    First,
    /// What changed since it was sent the last time is not known.
    Lost,
    /// The vault has another state of it than was said.
    Moved,
    /// A write may have been missed.
    Doubt,
    /// It is time to see that nothing was missed.
    Verify,
    /// Changes of this disk are not tracked.
    Untracked,
    /// What was sent before the agent began again may not be in the vault.
    Held,
}

impl Reason {
    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::First => "is copied for the first time",
            Self::Lost => "is compared, since what changed before the agent began is not known",
            Self::Moved => "is compared, since the vault has another state of it than was said",
            Self::Doubt => "is compared, since a write may have been missed",
            Self::Verify => "is compared, as it is from time to time",
            Self::Untracked => "is compared, since its changes cannot be tracked",
            Self::Held => "is compared where it was sent before the agent began again",
        }
    }

    /// Whether the content that the vault has of the disk may not be that of any one instant until this is done.
    #[must_use]
    pub fn is_doubtful(self) -> bool {
        !matches!(self, Self::Verify | Self::Held)
    }
}

/// One run through one disk.
#[derive(Debug)]
pub struct Compare {
    /// Why.
    pub reason: Reason,
    blocks: u64,
    /// Which blocks it is about; all where there is no such set.
    only: Option<BlockSet>,
    next: u64,
    again: BTreeSet<u64>,
    asked: BTreeMap<u32, u64>,
    reading: Option<u64>,
    wanted: u64,
}

impl Compare {
    /// Of a disk of so many blocks, from its beginning.
    #[must_use]
    pub fn new(reason: Reason, blocks: u64) -> Self {
        Self {
            reason,
            blocks,
            only: None,
            next: 0,
            again: BTreeSet::new(),
            asked: BTreeMap::new(),
            reading: None,
            wanted: 0,
        }
    }

    /// Of these blocks of a disk alone.
    #[must_use]
    pub fn of_some(reason: Reason, only: BlockSet) -> Self {
        let blocks = only.size();
        Self { only: Some(only), ..Self::new(reason, blocks) }
    }

    /// Whether it is about a block.
    #[must_use]
    pub fn is_about(&self, block: u64) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(block))
    }

    /// The next leaf that was never read; nothing where all were.
    fn never_read(&self) -> Option<u64> {
        let next = match &self.only {
            Some(only) => only.next_run(self.next, 1)?.0 / LEAF_BLOCKS * LEAF_BLOCKS,
            None => self.next,
        };
        (next < self.blocks).then_some(next)
    }

    /// The leaf to read next, as its first block and how many it has; nothing while enough is asked, or all is.
    pub fn leaf(&mut self) -> Option<(u64, u64)> {
        if self.asked.len() >= QUESTIONS_MAX || self.reading.is_some() {
            return None;
        }
        let first = match self.again.pop_first() {
            Some(first) => first,
            None => {
                let first = self.never_read()?;
                self.next = first + LEAF_BLOCKS;
                first
            }
        };
        self.reading = Some(first);
        Some((first, LEAF_BLOCKS.min(self.blocks - first)))
    }

    /// The leaf that was read is asked about by this question.
    pub fn asked(&mut self, question: u32) {
        if let Some(first) = self.reading.take() {
            self.asked.insert(question, first);
        }
    }

    /// The leaf that was read needs no answer.
    pub fn settled(&mut self) {
        self.reading = None;
    }

    /// The leaf could not be read or asked about: it comes again.
    pub fn put_back(&mut self) {
        self.again.extend(self.reading.take());
    }

    /// Which blocks the answer to a question wants; nothing where it is no question of this disk.
    pub fn answered(&mut self, question: u32, bits: &[u8]) -> Option<Vec<u64>> {
        let first = self.asked.remove(&question)?;
        let is_set = |at: &u64| {
            let byte = usize::try_from(at / 8).ok().and_then(|byte| bits.get(byte));
            // A bit that is not there is wanted: more is sent than needed, and nothing is missed.
            byte.is_none_or(|byte| byte >> (at % 8) & 1 == 1)
        };
        let blocks = LEAF_BLOCKS.min(self.blocks.saturating_sub(first));
        let wanted: Vec<u64> = (0..blocks).filter(is_set).map(|at| first + at).collect();
        let wanted: Vec<u64> = wanted.into_iter().filter(|block| self.is_about(*block)).collect();
        self.wanted += u64::try_from(wanted.len()).unwrap_or(0);
        Some(wanted)
    }

    /// The session was lost: questions without an answer are asked again.
    pub fn session_lost(&mut self) {
        self.again.extend(core::mem::take(&mut self.asked).into_values());
        self.put_back();
    }

    /// Whether every block was read and every question answered.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let left = self.never_read().is_some() || !self.again.is_empty() || !self.asked.is_empty();
        !left && self.reading.is_none()
    }

    /// Blocks done, and in all.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let open = self.again.len() + self.asked.len() + usize::from(self.reading.is_some());
        let open = u64::try_from(open).unwrap_or(u64::MAX).saturating_mul(LEAF_BLOCKS);
        (self.next.min(self.blocks).saturating_sub(open), self.blocks)
    }

    /// Blocks that were not what the vault has.
    #[must_use]
    pub fn wanted(&self) -> u64 {
        self.wanted
    }
}

/// The fingerprints of a leaf as they are filled, block by block in any order.
#[derive(Debug)]
pub struct Leaf {
    first: u64,
    payload: Vec<u8>,
}

impl Leaf {
    /// Of so many blocks from `first` on; each is one of zeros until it is filled.
    #[must_use]
    pub fn new(first: u64, blocks: u64) -> Self {
        let blocks = usize::try_from(blocks).unwrap_or(0).min(FINGERPRINTS_MAX);
        Self { first, payload: vec![0; blocks * 16] }
    }

    /// What a block holds, whole.
    pub fn fill(&mut self, block: u64, content: &[u8], maker: &Fingerprinter) {
        debug_assert_eq!(content.len(), BLOCK_BYTES, "fingerprints are of whole blocks");
        if is_zero(content) {
            return;
        }
        let at = block.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let place = at.and_then(|at| self.payload.as_chunks_mut::<16>().0.get_mut(at));
        if let Some(place) = place {
            *place = maker.of(content).0;
        }
    }

    /// The payload of the question.
    #[must_use]
    pub fn payload(self) -> Vec<u8> {
        self.payload
    }
}

#[cfg(test)]
mod tests;

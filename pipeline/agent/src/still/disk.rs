//! A disk that nobody writes to, and what of it is still to be sent.

use std::sync::Arc;

use pipeline::fingerprint::Fingerprinter;
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::DiskHello;

use super::{NoPoint, Work};
use crate::blocks::BlockSet;
use crate::compare::{Compare, Leaf, Reason};
use crate::content::Content;
use crate::replicate::send::{BATCH_BLOCKS, Batch};
use crate::session::exchange::Exchange;

/// Blocks that a first copy puts up for sending before it looks further.
const AHEAD_BLOCKS: u64 = 512;

/// One disk.
pub struct StillDisk {
    hello: DiskHello,
    content: Box<dyn Content>,
    blocks: u64,
    compare: Option<Compare>,
    wanted: BlockSet,
    /// How many of these there are.
    left: u64,
    unread: BlockSet,
    read_bytes: u64,
    sent_bytes: u64,
    new_blocks: u64,
}

impl StillDisk {
    /// As it is told to the appliance, and how it is read.
    #[must_use]
    pub fn new(hello: DiskHello, content: Box<dyn Content>) -> Self {
        let blocks = hello.bytes.div_ceil(BLOCK_BYTES as u64);
        Self {
            hello,
            content,
            blocks,
            compare: None,
            wanted: BlockSet::new(blocks),
            left: 0,
            unread: BlockSet::new(blocks),
            read_bytes: 0,
            sent_bytes: 0,
            new_blocks: 0,
        }
    }

    /// As the appliance knows it.
    #[must_use]
    pub fn hello(&self) -> &DiskHello {
        &self.hello
    }

    /// How many blocks cannot be read.
    #[must_use]
    pub fn unread_blocks(&self) -> u64 {
        self.unread.count()
    }

    /// Which these are.
    pub fn unread(&self) -> impl Iterator<Item = u64> + '_ {
        self.unread.iter()
    }

    /// All of it is looked at, from its beginning; `known` says whether the vault has anything of it.
    pub(super) fn begin(&mut self, known: bool) {
        let reason = if known { Reason::Lost } else { Reason::First };
        self.compare = Some(Compare::new(reason, self.blocks));
        self.wanted.clear();
        (self.left, self.new_blocks) = (0, 0);
    }

    pub(super) fn session_lost(&mut self) {
        self.compare.iter_mut().for_each(Compare::session_lost);
    }

    /// Whether all of it was looked at, and what differs is said.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.compare.as_ref().is_some_and(Compare::is_done)
    }

    pub(super) fn has_wanted(&self) -> bool {
        self.left > 0
    }

    /// The leaf to look at next, where there is one now.
    pub(super) fn leaf(&mut self) -> Option<(u64, u64)> {
        let compare = self.compare.as_mut()?;
        if compare.reason == Reason::First && self.left >= AHEAD_BLOCKS {
            return None;
        }
        compare.leaf()
    }

    /// The leaf cannot be asked about yet.
    pub(super) fn put_back(&mut self) {
        self.compare.iter_mut().for_each(Compare::put_back);
    }

    /// What to ask about a leaf; nothing where all of it is sent without a question.
    pub(super) fn fingerprints(
        &mut self,
        first: u64,
        blocks: u64,
        question: u32,
        maker: &Fingerprinter,
    ) -> Result<Option<Vec<u8>>, NoPoint> {
        let Some(compare) = &mut self.compare else { return Ok(None) };
        if compare.reason == Reason::First {
            compare.settled();
            (first..first + blocks).for_each(|block| self.want(block));
            return Ok(None);
        }
        let leaf: Vec<u64> = (first..first + blocks).collect();
        let mut fingerprints = Leaf::new(first, blocks);
        let mut unread = Vec::new();
        let read = self.content.read(&leaf, &mut |block, content| match content {
            Ok(content) => fingerprints.fill(block, content, maker),
            Err(_) => unread.push(block),
        });
        read.map_err(|error| NoPoint::Disk(self.hello.name.clone(), error))?;
        self.read_bytes += blocks * BLOCK_BYTES as u64;
        // What cannot be read is said to be so, whatever the vault has.
        unread.into_iter().for_each(|block| self.want(block));
        self.compare.iter_mut().for_each(|compare| compare.asked(question));
        Ok(Some(fingerprints.payload()))
    }

    /// Takes the answer to a question; whether it was one of this disk.
    pub(super) fn answered(&mut self, question: u32, bits: &[u8]) -> bool {
        let compare = self.compare.as_mut();
        let Some(wanted) = compare.and_then(|compare| compare.answered(question, bits)) else {
            return false;
        };
        wanted.into_iter().for_each(|block| self.want(block));
        true
    }

    fn want(&mut self, block: u64) {
        if !self.wanted.contains(block) {
            self.wanted.insert(block);
            (self.left, self.new_blocks) = (self.left + 1, self.new_blocks + 1);
        }
    }

    /// Reads and says the next blocks that are wanted; whether there were any. There must be room for a batch.
    pub(super) fn send(&mut self, number: u16, exchange: &Arc<Exchange>) -> Result<bool, NoPoint> {
        let blocks: Vec<u64> = self.wanted.iter().take(BATCH_BLOCKS).collect();
        let mut batch = Batch::default();
        let mut data = 0;
        let read = self.content.read(&blocks, &mut |block, content| {
            data += u64::from(content.is_ok_and(|content| !pipeline::zero::is_zero(content)));
            batch.take(block, content);
        });
        read.map_err(|error| NoPoint::Disk(self.hello.name.clone(), error))?;
        let unread = batch.unread().to_vec();
        batch.say(number, exchange).map_err(NoPoint::Mistake)?;
        self.read_bytes += (blocks.len() * BLOCK_BYTES) as u64;
        self.sent_bytes += data * BLOCK_BYTES as u64;
        for block in &blocks {
            self.wanted.remove(*block);
            self.unread.remove(*block);
        }
        self.left -= blocks.len() as u64;
        unread.into_iter().for_each(|block| self.unread.insert(block));
        Ok(!blocks.is_empty())
    }

    pub(super) fn add_to(&self, work: &mut Work) {
        let looked = self.compare.as_ref().map_or(0, |compare| compare.progress().0);
        let done = looked.saturating_sub(self.left);
        work.total_bytes += self.hello.bytes;
        work.done_bytes += (done * BLOCK_BYTES as u64).min(self.hello.bytes);
        work.read_bytes += self.read_bytes;
        work.sent_bytes += self.sent_bytes;
        work.new_blocks += self.new_blocks;
        work.known_blocks += looked.saturating_sub(self.new_blocks);
    }
}

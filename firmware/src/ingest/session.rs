//! What one run of an agent said, and what it is owed: pure, joined by as many connections as the agent likes.
//!
//! What arrives out of its order is held until what is before it is there, so that the journal has everything of a run in
//! its order. What is held is bounded by the credit that the agent was given.

use core::fmt;
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pipeline::ids::PointId;
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::{BLOCKS_MAX, Blocks, Content, Cut, FromAppliance};
use pipeline_wire::policy::Policy;
use pipeline_wire::runs::checked_blocks;

use super::extents::Extents;
use super::journal::{Entry, KeptCut, Standing, Verdict};
use super::ledger::{answers, is_whole};

/// Blocks in a leaf of a map, by which it is remembered what the vault does not have yet.
const LEAF_BLOCKS: u64 = 256;
/// Runs of leaves that are remembered; where there are more, everything counts as not in the vault.
const TOUCHED_MAX: usize = 65_536;
/// What may be held beside the credit: messages without a payload.
const HELD_BESIDE_MAX: u64 = 8 * 1024 * 1024;
/// Looks at a session that waits for what does not come, until it is taken for lost.
const STALLED_MAX: u32 = 5;
/// No run comes so far; what is beyond it leaves room to count on from there.
const SEQUENCE_MAX: u64 = u64::MAX / 2;
/// Messages that wait to be said; where there are more, the oldest is not said.
const OWED_MAX: usize = 256;
/// What a held message costs beside its payload and its runs.
const HELD_COST: u64 = 128;

/// What makes no sense, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nonsense {
    /// A disk that the agent did not name.
    Disk(u16),
    /// Runs that overlap, are empty or lie beyond the disk, or too many blocks.
    Runs(u16),
    /// A payload of another length than the message says.
    Payload(usize),
    /// More than the credit allows.
    Credit,
    /// A number that no run comes to.
    Sequence(u64),
    /// A cut of an epoch that was before: this one, the newest.
    Epoch(u64, u64),
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(disk) => write!(f, "it speaks of disk {disk}, which it did not name"),
            Self::Runs(disk) => write!(f, "it names blocks that disk {disk} cannot have"),
            Self::Payload(bytes) => {
                write!(f, "it sent {bytes} bytes for other blocks than it named")
            }
            Self::Credit => f.write_str("it sent more than it was allowed to"),
            Self::Sequence(sequence) => {
                write!(f, "its message {sequence} is beyond what a run counts to")
            }
            Self::Epoch(epoch, newest) => {
                write!(f, "it cuts epoch {epoch}, and epoch {newest} was cut before")
            }
        }
    }
}

enum Said {
    Blocks(Blocks, Vec<u8>),
    /// With when it came, milliseconds since 1970.
    Cut(Cut, u64),
}

impl Said {
    /// What it takes while it is held.
    fn cost(&self) -> u64 {
        let beside = match self {
            Self::Blocks(blocks, data) => data.len() as u64 + 16 * blocks.runs.len() as u64,
            // An empty remark takes memory too.
            Self::Cut(cut, _) => cut.remarks.iter().map(|remark| 32 + remark.len() as u64).sum(),
        };
        HELD_COST + beside
    }
}

/// What is next in the order of a run.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Nothing, or it has not arrived.
    Nothing,
    /// This is to be kept.
    Keep(Entry, Vec<u8>),
    /// A cut of a group: it waits for the others. Token, and whether it was still frozen.
    Group(u64, bool),
}

/// One run of an agent.
pub struct Session {
    standing: Standing,
    spooled: u64,
    held: BTreeMap<u64, Said>,
    held_cost: u64,
    /// What was taken and is not spooled: its last sequence, and what it costs.
    unspooled: VecDeque<(u64, u64)>,
    unspooled_cost: u64,
    credit: u64,
    touched: Vec<Extents<u64>>,
    touched_all: Option<u64>,
    /// The newest sequence of blocks that came, in its turn or not.
    newest: u64,
    /// Nothing was taken since this session began here.
    fresh: bool,
    /// Looks in a row at which something waited for what never came.
    stalled: u32,
    /// Groups that became nothing; their cuts are kept as void.
    void: BTreeSet<u64>,
    owed: VecDeque<FromAppliance>,
}

impl Session {
    /// Goes on where a run stands, all of which is spooled.
    #[must_use]
    pub fn new(standing: Standing) -> Self {
        let touched = standing.disks.iter().map(|_| Extents::default()).collect();
        Self {
            spooled: standing.sequence,
            touched,
            // Until the vault has what is in the spool, nobody knows what that is.
            touched_all: Some(standing.sequence),
            newest: standing.sequence,
            standing,
            held: BTreeMap::new(),
            held_cost: 0,
            unspooled: VecDeque::new(),
            unspooled_cost: 0,
            credit: 0,
            fresh: true,
            stalled: 0,
            void: BTreeSet::new(),
            owed: VecDeque::new(),
        }
    }

    /// Where it stands, with all that was taken.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Everything up to here is spooled.
    #[must_use]
    pub fn spooled(&self) -> u64 {
        self.spooled
    }

    /// The credit that was given.
    #[must_use]
    pub fn credit(&self) -> u64 {
        self.credit
    }

    /// Whether so much is waiting to be spooled that nothing more should be read from this agent.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.held_cost + self.unspooled_cost >= self.credit + HELD_BESIDE_MAX
    }

    /// Gives credit.
    pub fn grant(&mut self, bytes: u64) {
        self.credit = bytes;
    }

    /// All connections ended: what is held will come again.
    pub fn forget_held(&mut self) {
        self.held.clear();
        self.held_cost = 0;
    }

    /// Takes blocks.
    ///
    /// Errors: what makes no sense; nothing was taken then.
    pub fn blocks(&mut self, blocks: Blocks, payload: Vec<u8>) -> Result<(), Nonsense> {
        checked_sequence(blocks.sequence)?;
        let disk = self.standing.disks.get(usize::from(blocks.disk));
        let disk = disk.ok_or(Nonsense::Disk(blocks.disk))?;
        let named = checked_blocks(&blocks.runs, disk.blocks()).filter(|named| *named > 0);
        let named = named.ok_or(Nonsense::Runs(blocks.disk))?;
        let most = if blocks.content == Content::Data { BLOCKS_MAX as u64 } else { u64::MAX };
        if named > most {
            return Err(Nonsense::Runs(blocks.disk));
        }
        let due = if blocks.content == Content::Data { named * BLOCK_BYTES as u64 } else { 0 };
        if payload.len() as u64 != due {
            return Err(Nonsense::Payload(payload.len()));
        }
        // From here on the vault may lack it, although it may not be its turn yet.
        if blocks.sequence > self.standing.sequence {
            self.touch(&blocks);
        }
        self.hold(blocks.sequence, Said::Blocks(blocks, payload))
    }

    /// Takes a cut that came at this time, milliseconds since 1970.
    pub fn cut(&mut self, cut: Cut, came_millis: u64) -> Result<(), Nonsense> {
        checked_sequence(cut.sequence)?;
        self.hold(cut.sequence, Said::Cut(cut, came_millis))
    }

    fn hold(&mut self, sequence: u64, said: Said) -> Result<(), Nonsense> {
        let cost = said.cost();
        // What was taken before a cut of the network comes again.
        if sequence <= self.standing.sequence || self.held.contains_key(&sequence) {
            return Ok(());
        }
        if self.held_cost + cost > self.credit + HELD_BESIDE_MAX {
            return Err(Nonsense::Credit);
        }
        self.held_cost += cost;
        self.held.insert(sequence, said);
        Ok(())
    }

    /// What is next in the order.
    ///
    /// Errors: a cut that goes back.
    pub fn following(&mut self) -> Result<Next, Nonsense> {
        let sequence = self.standing.sequence.saturating_add(1);
        if let Some(Said::Cut(cut, _)) = self.held.get(&sequence)
            && let Some((token, frozen)) = cut.group
            && !self.void.contains(&token)
            && self.standing.lost.is_none()
        {
            return Ok(Next::Group(token, frozen));
        }
        let Some(said) = self.take(sequence) else { return Ok(Next::Nothing) };
        (self.fresh, self.stalled) = (false, 0);
        let life = self.standing.life;
        match said {
            Said::Blocks(blocks, payload) => {
                self.standing.sequence = sequence;
                Ok(Next::Keep(Entry::Blocks(life, blocks), payload))
            }
            Said::Cut(cut, came) => {
                let void = cut.group.is_some_and(|(token, _)| self.void.remove(&token));
                let kept = self.close(cut, came, !void)?;
                Ok(Next::Keep(Entry::Cuts(vec![kept]), Vec::new()))
            }
        }
    }

    /// The cut of a group that holds.
    pub fn group_cut(&mut self) -> Option<KeptCut> {
        match self.take(self.standing.sequence.saturating_add(1))? {
            Said::Cut(cut, came) => self.close(cut, came, true).ok(),
            Said::Blocks(..) => None,
        }
    }

    /// A group became nothing.
    pub fn void(&mut self, token: u64) {
        self.void.insert(token);
        // Nobody keeps so many apart; a cut of one that was forgotten waits for the others, and in the end is void.
        while self.void.len() > 16 {
            self.void.pop_first();
        }
    }

    fn close(&mut self, cut: Cut, came_millis: u64, holds: bool) -> Result<KeptCut, Nonsense> {
        if cut.epoch <= self.standing.epoch {
            return Err(Nonsense::Epoch(cut.epoch, self.standing.epoch));
        }
        self.standing.lost = self.standing.lost.filter(|token| !answers(cut.group, *token));
        let verdict =
            if holds && self.standing.lost.is_none() { Verdict::Point } else { Verdict::Void };
        (self.standing.sequence, self.standing.epoch) = (cut.sequence, cut.epoch);
        Ok(KeptCut { life: self.standing.life, cut, verdict, came_millis })
    }

    fn take(&mut self, sequence: u64) -> Option<Said> {
        let said = self.held.remove(&sequence)?;
        let cost = said.cost();
        self.held_cost = self.held_cost.saturating_sub(cost);
        self.unspooled.push_back((sequence, cost));
        self.unspooled_cost += cost;
        Some(said)
    }

    fn touch(&mut self, blocks: &Blocks) {
        let Some(touched) = self.touched.get_mut(usize::from(blocks.disk)) else { return };
        // Over two connections the later one may come first: what was said of a leaf never becomes older.
        self.newest = self.newest.max(blocks.sequence);
        for run in &blocks.runs {
            let end = run.end().unwrap_or(u64::MAX).div_ceil(LEAF_BLOCKS);
            touched.say(run.first / LEAF_BLOCKS..end, self.newest);
        }
        if touched.len() > TOUCHED_MAX {
            *touched = Extents::default();
            self.touched_all = Some(self.newest);
        }
    }

    /// Whether the vault may lack something of these blocks of a disk.
    #[must_use]
    pub fn is_pending(&self, disk: u16, blocks: Range<u64>) -> bool {
        let leaves = blocks.start / LEAF_BLOCKS..blocks.end.div_ceil(LEAF_BLOCKS);
        let touched = self.touched.get(usize::from(disk));
        self.touched_all.is_some() || touched.is_none_or(|touched| touched.touches(leaves))
    }

    /// Whether it is known of every block whether the vault may lack it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.touched_all.is_none()
    }

    /// Everything up to a sequence survives a power cut.
    pub fn durable(&mut self, sequence: u64) {
        while let Some((_, cost)) = self.unspooled.front().filter(|(last, _)| *last <= sequence) {
            self.unspooled_cost -= cost;
            self.unspooled.pop_front();
        }
        if sequence > self.spooled {
            self.spooled = sequence;
            self.owe(FromAppliance::Spooled { sequence });
        }
    }

    /// Everything up to a sequence is in the vault, and perhaps a point.
    pub fn vaulted(&mut self, sequence: u64, point: Option<(u64, PointId)>) {
        for touched in &mut self.touched {
            touched.retain(|touched| touched > sequence);
        }
        self.touched_all = self.touched_all.filter(|touched| *touched > sequence);
        if let Some((epoch, point)) = point {
            self.point(epoch, point);
        }
    }

    /// What the agent is to go on from is another point than it was told of.
    pub fn rebase(&mut self, point: PointId) {
        let epoch = self.standing.vaulted.map_or(0, |(epoch, _)| epoch);
        self.standing.vaulted = Some((epoch, point));
    }

    /// The vault has the point of an epoch, which may be of an earlier run.
    pub fn point(&mut self, epoch: u64, point: PointId) {
        self.standing.vaulted = Some((epoch, point));
        self.owe(FromAppliance::Vaulted { epoch, point });
    }

    /// Looked at once a second: an agent that goes on with a run of which nothing is known here waits for what never
    /// comes. Then it goes on from what there is, and everything else is lost: the answer is the token of that.
    pub fn is_stuck(&mut self, token: &dyn Fn() -> u64) -> Option<u64> {
        let next = self.standing.sequence.saturating_add(1);
        let waits = self.fresh && !self.held.is_empty() && !self.held.contains_key(&next);
        self.stalled = if waits { self.stalled + 1 } else { 0 };
        let first = self.held.keys().next().copied();
        let first = first.filter(|_| self.stalled >= STALLED_MAX)?;
        self.standing.sequence = first.saturating_sub(1);
        self.stalled = 0;
        // What was sent before and may still come is sent again behind this word, and only then a cut holds.
        let token = token();
        self.lost(token, "the appliance does not have what was sent before");
        Some(token)
    }

    /// Something was lost: everything that the vault does not have is to be sent again. A cut that answers to the token was
    /// surely made behind that.
    pub fn lost(&mut self, token: u64, words: &str) {
        self.standing.lost = Some(token);
        if is_whole(token) {
            self.owe(FromAppliance::Compare { token, words: words.to_owned() });
        }
        self.owe(FromAppliance::Resend { words: words.to_owned() });
        self.owe(FromAppliance::Prepare { token, patience_millis: LOST_PATIENCE_MILLIS });
    }

    /// A connection joined: what it must hear again because it may not have been heard.
    pub fn joined(&mut self) {
        if self.spooled > 0 {
            self.owe(FromAppliance::Spooled { sequence: self.spooled });
        }
        if let Some((epoch, point)) = self.standing.vaulted.filter(|(epoch, _)| *epoch > 0) {
            self.owe(FromAppliance::Vaulted { epoch, point });
        }
        if let Some(token) = self.standing.lost {
            self.lost(token, "something of this server was lost in the spool");
        }
    }

    /// Owes a message; of some only the newest counts.
    pub fn owe(&mut self, message: FromAppliance) {
        let kind = core::mem::discriminant(&message);
        if matches!(
            message,
            FromAppliance::Spooled { .. }
                | FromAppliance::Vaulted { .. }
                | FromAppliance::Policy(_)
                | FromAppliance::Resend { .. }
                | FromAppliance::CutNow { .. }
                | FromAppliance::Compare { .. }
                | FromAppliance::Demoted(_)
                | FromAppliance::Drain { .. }
        ) {
            self.owed.retain(|owed| core::mem::discriminant(owed) != kind);
        }
        if self.owed.contains(&message) {
            return;
        }
        if self.owed.len() >= OWED_MAX {
            self.owed.pop_front();
        }
        self.owed.push_back(message);
    }

    /// Owes a policy.
    pub fn owe_policy(&mut self, policy: Policy) {
        self.owe(FromAppliance::Policy(policy));
    }

    /// What is owed, once.
    pub fn owed(&mut self) -> Vec<FromAppliance> {
        self.owed.drain(..).collect()
    }
}

fn checked_sequence(sequence: u64) -> Result<(), Nonsense> {
    if sequence > SEQUENCE_MAX { Err(Nonsense::Sequence(sequence)) } else { Ok(()) }
}

/// How long an agent may take for the cut that proves that it sent everything again.
const LOST_PATIENCE_MILLIS: u32 = 5000;

#[cfg(test)]
mod tests;

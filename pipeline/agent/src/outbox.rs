//! What was said to the appliance and is not yet spooled there, in order, bounded; pure.
//!
//! Every message that must be kept has a sequence. It stays here until the appliance acknowledges it, and goes out again
//! where the connection that had it was lost. It refuses to know sockets, disks or time.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use pipeline_wire::frame::{self, FrameError};
use pipeline_wire::message::{Blocks, Content, Cut, FromAgent};
use pipeline_wire::runs::Run;

/// Bytes that are kept for sending again: what is on its way over a link of 1 Gbit/s and 65 ms.
pub const WINDOW_BYTES_MAX: usize = 8 << 20;
/// What a kept message costs beside its bytes, so that many small ones are bounded too.
const MESSAGE_COST: usize = 256;

/// A message as it goes over a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Head and body.
    pub head: Vec<u8>,
    /// What follows them.
    pub payload: Vec<u8>,
}

impl Parcel {
    /// A message and its payload.
    ///
    /// Errors: either is beyond the limits of the protocol.
    pub fn new(message: &FromAgent, payload: Vec<u8>) -> Result<Self, FrameError> {
        Ok(Self { head: frame::emit(message, payload.len())?, payload })
    }

    fn cost(&self) -> usize {
        self.head.len() + self.payload.len() + MESSAGE_COST
    }

    fn payload_bytes(&self) -> u64 {
        u64::try_from(self.payload.len()).unwrap_or(u64::MAX)
    }
}

/// Why something was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotTaken {
    /// The window is full: nothing goes in until the appliance acknowledges.
    Full(Vec<u8>),
    /// No message of the protocol.
    Frame(FrameError),
}

/// An appliance that acknowledges what it was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeverSent {
    /// What it acknowledged.
    pub acknowledged: u64,
    /// The newest that there is.
    pub newest: u64,
}

#[derive(Debug)]
struct Kept {
    parcel: Arc<Parcel>,
    given_to: Option<u16>,
    /// Of which disk it has content, and where.
    about: Option<(u16, Vec<Run>)>,
}

impl Kept {
    fn cost(&self) -> usize {
        let runs = self.about.as_ref().map_or(0, |(_, runs)| size_of_val(runs.as_slice()));
        self.parcel.cost() + runs
    }

    fn touches(&self, disk: u16, first: u64, end: u64) -> bool {
        let within = |run: &Run| run.first < end && run.end().is_none_or(|after| after > first);
        self.about.as_ref().is_some_and(|(of, runs)| *of == disk && runs.iter().any(within))
    }
}

/// Messages of one run, from the first that is not acknowledged.
#[derive(Debug)]
pub struct Outbox {
    spooled: u64,
    kept: VecDeque<Kept>,
    waiting: BTreeSet<u64>,
    bytes: usize,
    bytes_max: usize,
    credit: u64,
    on_the_way: u64,
}

impl Outbox {
    /// Nothing said yet, and no credit; at most so many bytes are kept.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            spooled: 0,
            kept: VecDeque::new(),
            waiting: BTreeSet::new(),
            bytes: 0,
            bytes_max,
            credit: 0,
            on_the_way: 0,
        }
    }

    /// Takes the content of blocks; their sequence.
    ///
    /// Errors: no room now, with the payload back; or too much for one message.
    pub fn blocks(
        &mut self,
        disk: u16,
        content: Content,
        runs: Vec<Run>,
        payload: Vec<u8>,
    ) -> Result<u64, NotTaken> {
        if !self.has_room(payload.len()) {
            return Err(NotTaken::Full(payload));
        }
        let sequence = self.newest() + 1;
        let about = Some((disk, runs.clone()));
        let said = FromAgent::Blocks(Blocks { sequence, disk, content, runs });
        self.keep(Parcel::new(&said, payload).map_err(NotTaken::Frame)?, about);
        Ok(sequence)
    }

    /// Takes a cut, which always finds room: it is what the blocks before it are for. Its sequence is set here.
    ///
    /// Errors: remarks that no message holds.
    pub fn cut(&mut self, cut: Cut) -> Result<u64, FrameError> {
        let sequence = self.newest() + 1;
        let said = FromAgent::Cut(Cut { sequence, ..cut });
        self.keep(Parcel::new(&said, Vec::new())?, None);
        Ok(sequence)
    }

    /// A session begins: what is spooled, and how many bytes of payload may be on their way.
    ///
    /// Errors: more is spooled than was ever sent: this is not the run that the appliance means.
    pub fn welcome(&mut self, spooled: u64, credit: u64) -> Result<(), NeverSent> {
        self.acknowledge(spooled)?;
        let first = self.spooled + 1;
        for (sequence, kept) in (first..).zip(&mut self.kept) {
            kept.given_to = None;
            self.waiting.insert(sequence);
        }
        self.on_the_way = 0;
        self.credit = credit;
        Ok(())
    }

    /// So many bytes of payload more may be on their way.
    pub fn credit(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes);
    }

    /// Everything up to a sequence is spooled and let go.
    ///
    /// Errors: more than was ever sent.
    pub fn acknowledge(&mut self, spooled: u64) -> Result<(), NeverSent> {
        if spooled > self.newest() {
            return Err(NeverSent { acknowledged: spooled, newest: self.newest() });
        }
        while self.spooled < spooled {
            self.spooled += 1;
            let Some(gone) = self.kept.pop_front() else { break };
            self.bytes -= gone.cost();
            if gone.given_to.is_some() {
                self.on_the_way -= gone.parcel.payload_bytes();
            }
            self.waiting.remove(&self.spooled);
        }
        Ok(())
    }

    /// What a connection sends next: the oldest that none has, if credit allows.
    pub fn next(&mut self, connection: u16) -> Option<Arc<Parcel>> {
        let sequence = *self.waiting.first()?;
        let place = usize::try_from(sequence - self.spooled - 1).ok()?;
        let kept = self.kept.get_mut(place)?;
        let after = self.on_the_way + kept.parcel.payload_bytes();
        if !kept.parcel.payload.is_empty() && after > self.credit {
            return None;
        }
        self.on_the_way = after;
        kept.given_to = Some(connection);
        self.waiting.remove(&sequence);
        Some(Arc::clone(&kept.parcel))
    }

    /// A connection was lost: what it had and was not acknowledged goes out again, on another.
    pub fn lost(&mut self, connection: u16) {
        let first = self.spooled + 1;
        for (sequence, kept) in (first..).zip(&mut self.kept) {
            if kept.given_to == Some(connection) {
                kept.given_to = None;
                self.on_the_way -= kept.parcel.payload_bytes();
                self.waiting.insert(sequence);
            }
        }
    }

    /// Whether so many bytes of payload find room. One message always does where nothing else is kept.
    #[must_use]
    pub fn has_room(&self, payload: usize) -> bool {
        let cost = payload + MESSAGE_COST;
        self.kept.is_empty() || self.bytes + cost <= self.bytes_max
    }

    /// Whether content of blocks of a disk, from `first` up to, not including, `end`, was said and is not spooled.
    #[must_use]
    pub fn is_on_the_way(&self, disk: u16, first: u64, end: u64) -> bool {
        self.kept.iter().any(|kept| kept.touches(disk, first, end))
    }

    /// The sequence of the newest message.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.spooled + u64::try_from(self.kept.len()).unwrap_or(0)
    }

    /// Everything up to here is spooled.
    #[must_use]
    pub fn spooled(&self) -> u64 {
        self.spooled
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything that was said is spooled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    fn keep(&mut self, parcel: Parcel, about: Option<(u16, Vec<Run>)>) {
        let kept = Kept { parcel: Arc::new(parcel), given_to: None, about };
        self.bytes += kept.cost();
        self.kept.push_back(kept);
        self.waiting.insert(self.newest());
    }
}

#[cfg(test)]
mod tests;

//! One point of disks that nobody writes to: of a server that was started from another medium, or of image files.
//!
//! Every disk is compared with what the vault has of it, what differs is sent, and one cut closes it; then it is waited for
//! until the vault has the point. Nothing is tracked and nothing frozen. Whatever is lost on the way is compared again: no
//! point is made of what was not sent whole. One step does a bounded piece of work, so that a test can drive it. It refuses
//! to know sockets.

use core::time::Duration;
use std::sync::Arc;

use hal::disk::DiskError;
use hal::time::{Clock, Entropy, Moment};
use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::PointId;
use pipeline_wire::message::{Binding, Cut, FromAgent, FromAppliance, Instant, Status, Welcome};
use pipeline_wire::policy::Policy;

use crate::replicate::send::batch_bytes;
use crate::session::exchange::{Event, Exchange, Introduction};
use crate::session::is_lasting;

/// A disk, and what of it is still to be sent.
mod disk;

pub use disk::StillDisk;

/// How often the appliance is told how it goes; silence beyond that means something.
const STATUS_MILLIS: u64 = 10_000;
/// How long nothing is done unless something is heard.
const REST: Duration = Duration::from_secs(1);
/// The least time to be told that a cut may answer to a loss.
const PATIENCE_MILLIS: u32 = 5000;
/// Remarks of the cut.
const REMARKS_MAX: usize = 64;

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain figures, read by whoever shows them")]
pub struct Work {
    /// Bytes of all disks.
    pub total_bytes: u64,
    /// Of these, bytes that are as they are to be in the vault, or were sent.
    pub done_bytes: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes of blocks that were sent.
    pub sent_bytes: u64,
    /// Blocks that the vault did not have.
    pub new_blocks: u64,
    /// Blocks that it had.
    pub known_blocks: u64,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there is something to do, or there is not, or it is done"
)]
pub enum Step {
    /// There is more to do at once.
    Busy,
    /// There is nothing to do for so long, unless something is heard.
    Rest(Duration),
    /// The vault has the point.
    Made(PointId),
}

/// Why there will be no point.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPoint {
    /// The appliance refuses this server until a person does something: its words, and what to do.
    Refused(String, String),
    /// A disk does not answer: which, and how it failed.
    Disk(String, DiskError),
    /// The policy leaves all of these disks out.
    LeftOut,
    /// This machine gives no randomness, or a message of ours is too large; in words.
    Mistake(String),
}

/// A loss that the cut has to answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// There is none.
    None,
    /// It was told; its token follows.
    Told,
    /// The appliance waits for a cut with this token.
    Asked(u64, u32),
    /// It was told that nothing writes here, and answers, or this is the moment to go on without.
    Answered(u64, Moment),
}

/// One point of still disks on its way.
pub struct StillPoint {
    exchange: Arc<Exchange>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    binding: Binding,
    disks: Vec<StillDisk>,
    instant: Instant,
    remarks: Vec<String>,
    fingerprinter: Option<Fingerprinter>,
    /// The newest epoch that there is.
    epoch: u64,
    /// The first epoch that was cut in this run, and the sequence of the newest cut; nothing before.
    cut: Option<(u64, u64)>,
    /// The newest cut is said, and nothing was lost since.
    closed: bool,
    loss: Loss,
    question: u32,
    told_at: Moment,
    /// Why no session stood when one was last tried.
    absence: String,
    point: Option<PointId>,
}

impl StillPoint {
    /// Of these disks. `instant` is `Fuzzy` where somebody may write to one of them after all, with the remark that says so.
    ///
    /// Errors: no randomness.
    pub fn new(
        exchange: Arc<Exchange>,
        means: (Arc<dyn Clock>, Arc<dyn Entropy>),
        binding: Binding,
        disks: Vec<StillDisk>,
        instant: Instant,
        remarks: Vec<String>,
    ) -> Result<Self, NoPoint> {
        let (clock, entropy) = means;
        let mut point = Self {
            exchange,
            clock,
            entropy,
            binding,
            disks,
            instant,
            remarks,
            fingerprinter: None,
            epoch: 0,
            cut: None,
            closed: false,
            loss: Loss::None,
            question: 0,
            told_at: Moment(0),
            absence: "it was not tried yet".to_owned(),
            point: None,
        };
        point.begin()?;
        Ok(point)
    }

    /// Does a piece of work.
    ///
    /// Errors: there will be no point.
    pub fn step(&mut self) -> Result<Step, NoPoint> {
        while let Some(event) = self.exchange.event(Duration::ZERO) {
            self.hear(event)?;
        }
        if let Some(point) = self.point {
            return Ok(Step::Made(point));
        }
        self.tell();
        if !self.exchange.is_welcomed() || self.fingerprinter.is_none() {
            return Ok(Step::Rest(REST));
        }
        if self.send()? || self.compare()? {
            return Ok(Step::Busy);
        }
        if !self.closed && self.disks.iter().all(StillDisk::is_done) {
            return self.close();
        }
        Ok(Step::Rest(REST))
    }

    /// What was done so far.
    #[must_use]
    pub fn work(&self) -> Work {
        let mut work = Work::default();
        self.disks.iter().for_each(|disk| disk.add_to(&mut work));
        work
    }

    /// Whether everything is sent and closed, and only the vault does not have it yet.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Why no session stood when one was last tried.
    #[must_use]
    pub fn absence(&self) -> &str {
        &self.absence
    }

    /// Disks, and what of them cannot be read.
    #[must_use]
    pub fn disks(&self) -> &[StillDisk] {
        &self.disks
    }

    /// A run begins: whatever was said in an earlier one is the base that this one writes over.
    fn begin(&mut self) -> Result<(), NoPoint> {
        let mut run = [0; 16];
        let filled = self.entropy.fill(&mut run);
        filled.map_err(|error| NoPoint::Mistake(error.to_string()))?;
        (self.fingerprinter, self.cut, self.closed) = (None, None, false);
        self.loss = Loss::None;
        self.exchange.begin(Introduction {
            run,
            binding: self.binding.clone(),
            disks: self.disks.iter().map(|disk| disk.hello().clone()).collect(),
        });
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<(), NoPoint> {
        match event {
            Event::Welcomed(welcome) => return self.welcomed(&welcome),
            Event::Refused(refused) if is_lasting(refused.why) => {
                return Err(NoPoint::Refused(refused.words, refused.remedy));
            }
            Event::Away(words) => {
                self.absence = words;
                self.session_lost();
            }
            Event::Refused(refused) => {
                self.absence = format!("{}; {}", refused.words, refused.remedy);
                self.session_lost();
            }
            Event::Said(FromAppliance::Policy(policy)) => {
                self.exchange.pace(policy.send_bytes_per_second);
                return self.leave_out(&policy).map(drop);
            }
            Event::Said(said) => self.said(said),
        }
        Ok(())
    }

    fn welcomed(&mut self, welcome: &Welcome) -> Result<(), NoPoint> {
        if self.leave_out(&welcome.policy)? {
            return Ok(());
        }
        self.epoch = self.epoch.max(welcome.spooled_epoch).max(welcome.vaulted_epoch);
        self.session_lost();
        if self.fingerprinter.is_none() {
            self.fingerprinter = Some(Fingerprinter::new(&welcome.fingerprint_key));
            let known = welcome.known_disks.iter().copied().chain(core::iter::repeat(false));
            self.disks.iter_mut().zip(known).for_each(|(disk, known)| disk.begin(known));
        } else if let Some((_, sequence)) = self.cut
            && self.exchange.is_spooled(sequence)
            && welcome.spooled < sequence
        {
            log::warn!("the appliance does not have any more what it had: everything is compared");
            return self.begin();
        }
        Ok(())
    }

    /// Leaves out what the policy does; whether that was news. A run has the disks that its points have, so another begins.
    fn leave_out(&mut self, policy: &Policy) -> Result<bool, NoPoint> {
        let left_out = |disk: &StillDisk| policy.left_out.contains(&disk.hello().name);
        if !self.disks.iter().any(left_out) {
            return Ok(false);
        }
        for disk in self.disks.iter().filter(|disk| left_out(disk)) {
            let name = &disk.hello().name;
            log::warn!("{name} is left out, as the policy of this server says");
            self.remarks.push(format!("{name} is left out, as the policy says"));
        }
        self.disks.retain(|disk| !left_out(disk));
        if self.disks.is_empty() {
            return Err(NoPoint::LeftOut);
        }
        self.begin().map(|()| true)
    }

    fn session_lost(&mut self) {
        self.disks.iter_mut().for_each(StillDisk::session_lost);
        // Whoever still waits for a cut says so again.
        self.loss = Loss::None;
    }

    fn said(&mut self, said: FromAppliance) {
        match said {
            FromAppliance::Wanted { question, bits } => {
                let mut disks = self.disks.iter_mut();
                // A question of another session is nobody's any more.
                let _ = disks.any(|disk| disk.answered(question, &bits));
            }
            // One of an earlier run is not this one's point.
            FromAppliance::Vaulted { epoch, point }
                if self.cut.is_some_and(|(first, _)| epoch >= first) =>
            {
                self.point = Some(point);
            }
            FromAppliance::Resend { words } => {
                log::warn!("what was sent is compared again: {words}");
                self.closed = false;
                self.loss = Loss::Told;
                self.disks.iter_mut().for_each(|disk| disk.begin(true));
            }
            // Of a group's cut nobody here is a part: it would have to wait until everything is sent.
            FromAppliance::Prepare { token, patience_millis } if self.loss == Loss::Told => {
                self.loss = Loss::Asked(token, patience_millis);
            }
            FromAppliance::AllFrozen { token } => {
                if let Loss::Answered(asked, _) = self.loss
                    && asked == token
                {
                    self.loss = Loss::Answered(token, Moment(0));
                }
            }
            _ => {}
        }
    }

    /// Sends some blocks of a disk; whether there were any, and room for them.
    fn send(&mut self) -> Result<bool, NoPoint> {
        for (number, disk) in (0_u16..).zip(&mut self.disks) {
            if disk.has_wanted() {
                return Ok(self.exchange.room(batch_bytes(), Duration::ZERO)
                    && disk.send(number, &self.exchange)?);
            }
        }
        Ok(false)
    }

    /// Looks at some blocks of a disk; whether there was something to look at.
    fn compare(&mut self) -> Result<bool, NoPoint> {
        let Some(maker) = &self.fingerprinter else { return Ok(false) };
        for (number, disk) in (0_u16..).zip(&mut self.disks) {
            let Some((first, blocks)) = disk.leaf() else { continue };
            if self.exchange.is_on_the_way(number, first, first + blocks) {
                // Over another connection the question could come before it.
                disk.put_back();
                continue;
            }
            self.question = self.question.wrapping_add(1);
            let question = self.question;
            if let Some(payload) = disk.fingerprints(first, blocks, question, maker)? {
                let asked = FromAgent::Fingerprints { question, disk: number, first };
                self.exchange.say(&asked, payload);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Closes the point. One that answers to a loss is announced first, as every server's is.
    fn close(&mut self) -> Result<Step, NoPoint> {
        let now = self.clock.moment();
        let group = match self.loss {
            Loss::None => None,
            Loss::Told => return Ok(Step::Rest(REST)),
            Loss::Asked(token, patience) => {
                self.exchange.say(&FromAgent::Frozen { token }, Vec::new());
                let until = now.after(u64::from(patience.max(PATIENCE_MILLIS)));
                self.loss = Loss::Answered(token, until);
                return Ok(Step::Rest(REST));
            }
            Loss::Answered(_, until) if until > now => return Ok(Step::Rest(REST)),
            // Nothing writes here, so it is as frozen as it was, whether or not the word came.
            Loss::Answered(token, _) => Some((token, true)),
        };
        self.epoch += 1;
        let mut remarks = self.remarks.clone();
        let unread: u64 = self.disks.iter().map(StillDisk::unread_blocks).sum();
        if unread > 0 {
            remarks.push(format!("{unread} blocks that cannot be read are missing"));
        }
        remarks.truncate(REMARKS_MAX);
        let cut = Cut {
            sequence: 0,
            epoch: self.epoch,
            instant: self.instant,
            at_millis: self.clock.now().0,
            frozen_micros: 0,
            remarks,
            group,
        };
        let sequence = self.exchange.cut(cut).map_err(NoPoint::Mistake)?;
        let first = self.cut.map_or(self.epoch, |(first, _)| first);
        (self.cut, self.closed, self.loss) = (Some((first, sequence)), true, Loss::None);
        Ok(Step::Busy)
    }

    /// Tells the appliance how it goes, from time to time.
    fn tell(&mut self) {
        let now = self.clock.moment();
        if now.since(self.told_at) < STATUS_MILLIS || !self.exchange.is_welcomed() {
            return;
        }
        self.told_at = now;
        let work = self.work();
        let block = pipeline::limits::BLOCK_BYTES as u64;
        let doing = if self.closed { "the vault takes the point" } else { "disks are captured" };
        let status = Status {
            doing: doing.to_owned(),
            compare_done: work.done_bytes / block,
            compare_blocks: work.total_bytes / block,
            ..Status::default()
        };
        self.exchange.say(&FromAgent::Status(status), Vec::new());
    }
}

#[cfg(test)]
mod tests;

//! The loop of a protected server: what is to be sent, when points are made, and what is done when something is in doubt.
//!
//! One step does a bounded piece of work and says how long there is nothing more to do, so that the loop can be driven by a
//! test as well as by the clock. It refuses to know sockets, and the kernel behind its traits.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use hal::time::{Clock, Moment, UnixMillis};
use pipeline::fingerprint::Fingerprinter;
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::{FromAgent, Status};
use pipeline_wire::policy::Policy;

use crate::blocks::BlockSet;
use crate::compare::{Compare, Leaf as Fingerprints, Reason};
use crate::pace::Pace;
use crate::report::{Board, DiskReport, PointReport, Report};
use crate::session::exchange::Exchange;
use crate::standstill::Standstill;
use crate::swap;
use crate::tracker::Tracker;

/// A protected disk as the loop sees it.
pub mod disk;
/// Failovers: demoted, compared, drained.
mod failover;
/// What the appliance said.
mod hear;
/// Makes instants, whatever the disks are.
pub mod maker;
/// Points: rounds, freeze, cut.
mod point;
/// When points begin.
mod schedule;
/// Blocks into messages.
pub mod send;
/// Everything of a disk, from time to time.
mod verify;

use disk::Disk;
use failover::Failover;
use maker::Maker;
use point::Pursuit;
use schedule::Schedule;
use send::{Set, batch_bytes, send_batch};

/// How often the appliance is told how the agent fares; silence beyond that means something.
const STATUS_MILLIS: u64 = 10_000;
/// How often blocks that could not be read are tried again, and how many of a disk at a time.
const UNREAD_MILLIS: u64 = 600_000;
const UNREAD_BLOCKS: usize = 64;
/// Blocks that a first copy puts up for sending before it looks further.
const AHEAD_BLOCKS: u64 = 512;
/// Points that are remembered for people.
const POINTS_KEPT: usize = 32;
/// How often it is looked whether a disk that did not answer does again.
const GONE_MILLIS: u64 = 600_000;
/// How long a session's absence is waited out before the next look.
const REST: Duration = Duration::from_secs(1);

/// Remembers beyond the machine's next start when everything of a disk was last held against the vault.
pub trait Memory: Send {
    /// When it was; nothing where that is not known.
    fn compared_at(&self, label: &str) -> Option<UnixMillis>;

    /// It was then.
    ///
    /// Errors: that cannot be written down; it is known until the agent ends.
    fn set_compared(&mut self, label: &str, at: UnixMillis) -> Result<(), String>;
}

/// What a loop works with.
pub struct Means {
    /// Where it meets the sessions.
    pub exchange: Arc<Exchange>,
    /// Marks of changed blocks; nothing where this kernel gives none.
    pub tracker: Option<Box<dyn Tracker>>,
    /// Makes instants.
    pub maker: Box<dyn Maker>,
    /// How long a point waits for room in the outbox before it is given up, to be tried again.
    pub patience: Duration,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What outlives the agent.
    pub memory: Box<dyn Memory>,
    /// What a drain does to the server.
    pub standstill: Box<dyn Standstill>,
    /// Where the report is put up.
    pub board: Board,
}

impl Means {
    /// Blocks that were written to since tracking began, as far as that is counted.
    fn written(&self) -> u64 {
        self.tracker.as_ref().map_or(0, |tracker| tracker.written_blocks())
    }

    /// Notes whether everything of a disk was sent once: with its marks, since it is true of them alone.
    fn set_whole(&mut self, place: usize, whole: bool) {
        if let Some(tracker) = &mut self.tracker {
            tracker.set_whole(place, whole);
        }
    }
}

/// The loop.
pub struct Replicator {
    means: Means,
    disks: Vec<Disk>,
    name: String,
    server: String,
    policy: Policy,
    fingerprinter: Option<Fingerprinter>,
    /// The newest epoch that there is, and the newest in the vault.
    epoch: u64,
    vaulted: u64,
    /// The run was welcomed: what is to be sent is decided.
    begun: bool,
    question: u32,
    schedule: Schedule,
    cuts: u64,
    /// Points that failed one after another, and how long no other is tried.
    failures: u32,
    not_before: Moment,
    pursuit: Option<Pursuit>,
    asked: point::Asked,
    failover: Failover,
    compare_pace: Pace,
    told_at: Moment,
    retried_at: Moment,
    points: VecDeque<PointReport>,
    appliance: String,
    refused: bool,
    troubles: Vec<String>,
}

impl Replicator {
    /// A loop over these disks, in the order of Hello.
    #[must_use]
    pub fn new(means: Means, disks: Vec<Disk>, name: String, server: String) -> Self {
        let now = means.clock.moment();
        Self {
            means,
            disks,
            name,
            server,
            policy: Policy::default(),
            fingerprinter: None,
            epoch: 0,
            vaulted: 0,
            begun: false,
            question: 0,
            schedule: Schedule::new(now),
            cuts: 0,
            failures: 0,
            not_before: now,
            pursuit: None,
            asked: point::Asked::default(),
            failover: Failover::default(),
            compare_pace: Pace::default(),
            told_at: Moment(0),
            retried_at: now,
            points: VecDeque::new(),
            appliance: "no appliance was reached yet".to_owned(),
            refused: false,
            troubles: Vec::new(),
        }
    }

    /// No cut has a number up to this one: it had another, which may not have arrived.
    pub fn made_until(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
    }

    /// What a person should know beside what the loop finds itself.
    pub fn trouble(&mut self, words: String) {
        if !self.troubles.contains(&words) {
            self.troubles.push(words);
        }
    }

    /// Does a piece of work. How long there is nothing to do unless something is heard.
    pub fn step(&mut self) -> Duration {
        while let Some(event) = self.means.exchange.event(Duration::ZERO) {
            self.hear(event);
        }
        self.tell();
        if !self.means.exchange.is_welcomed() || !self.begun {
            return REST;
        }
        self.drain_on();
        if let Some(wait) = self.pursue() {
            // A point comes before what compares want; while it waits for room, nothing else would find any.
            return wait;
        }
        let waits = [self.send_wanted(), self.compare_some()];
        if waits.contains(&Duration::ZERO) {
            return Duration::ZERO;
        }
        self.retry_unread();
        self.verify();
        // Where a point is overdue and is none now, something else has to happen first.
        let now = self.means.clock.moment();
        let next = self.due().max(self.not_before);
        let until = if next > now { Duration::from_millis(next.since(now)) } else { REST };
        waits.into_iter().fold(REST.min(until), Duration::min).max(Duration::from_millis(1))
    }

    /// Whether a point is on its way, or everything of it is not said yet.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.pursuit.is_some()
    }

    /// The newest point that was made.
    #[must_use]
    pub fn newest_point(&self) -> Option<&PointReport> {
        self.points.back()
    }

    /// The newest epoch in the vault, as far as the appliance said so.
    #[must_use]
    pub fn vaulted_epoch(&self) -> u64 {
        self.vaulted
    }

    /// Whether a disk is larger than its marks.
    pub fn has_outgrown(&mut self) -> bool {
        self.means.tracker.as_mut().is_some_and(|tracker| !tracker.outgrown().is_empty())
    }

    /// Whether other disks are to take part than do, as the policy is now. `omitted` are those that are there and do not,
    /// by their labels. Where the policy leaves all out they stay, since nobody is introduced without a disk; then no
    /// points are made.
    #[must_use]
    pub fn wants_other_disks(&self, omitted: &[String]) -> bool {
        let left_out = self.disks.iter().filter(|disk| disk.left_out).count();
        let too_many = left_out > 0 && left_out < self.disks.len();
        let too_few = omitted.iter().any(|label| !self.policy.left_out.contains(label));
        self.begun && (too_many || too_few)
    }

    /// The disks that the policy leaves out, by their labels; nothing where no policy was heard.
    #[must_use]
    pub fn left_out(&self) -> Option<&[String]> {
        self.begun.then_some(self.policy.left_out.as_slice())
    }

    /// Whether a disk that did not answer does so again, as large as it was. Each is asked seldom: one that only says so
    /// is begun with anew each time.
    pub fn has_answered(&mut self) -> bool {
        let now = self.means.clock.moment();
        let mut answered = false;
        for disk in self.disks.iter_mut().filter(|disk| disk.gone.is_some()) {
            if now.since(disk.asked_at) >= GONE_MILLIS {
                disk.asked_at = now;
                answered |= disk.content.bytes().is_ok_and(|bytes| bytes == disk.leaf.bytes);
            }
        }
        answered
    }

    /// The disks.
    #[must_use]
    pub fn disks(&self) -> &[Disk] {
        &self.disks
    }

    /// Gives back what the loop worked with, to go on with other disks.
    #[must_use]
    pub fn into_parts(self) -> (Means, Vec<Disk>) {
        (self.means, self.disks)
    }

    /// Sends some of what compares want, and ends those that are through. How long there is nothing to do.
    fn send_wanted(&mut self) -> Duration {
        for place in 0..self.disks.len() {
            let Some(disk) = self.disks.get_mut(place).filter(|disk| disk.is_in()) else {
                continue;
            };
            if !disk.wanted.is_empty() {
                if !self.means.exchange.room(batch_bytes(), Duration::ZERO) {
                    return REST;
                }
                self.send(place, Set::Wanted);
                return Duration::ZERO;
            }
            disk.held.take_if(|held| held.is_done());
            if disk.end_compare() {
                log::info!("{}: everything is sent", disk.label);
                if disk.leaf.untracked.is_none() && self.means.tracker.is_some() {
                    self.means.set_whole(place, true);
                    self.was_compared(place);
                }
            }
        }
        REST
    }

    /// Looks what is nobody's now. What no longer is goes again: it may have been said to be zeros while it was somebody's.
    ///
    /// Behind the taking of marks and before zeros are said: whoever writes there after this look is marked once more.
    fn look_at_blank(&mut self) {
        let Some(blank) = self.means.maker.changed_blank() else { return };
        for (place, (disk, (blank, armed))) in self.disks.iter_mut().zip(blank).enumerate() {
            let mut left = core::mem::replace(&mut disk.blank, blank);
            disk.armed = armed;
            left.subtract(&disk.blank);
            disk.changed.union(&left);
            if let Some(tracker) = &mut self.means.tracker {
                hold_all(&mut **tracker, place, &left);
            }
        }
    }

    /// Sends the next blocks of a disk; how many.
    fn send(&mut self, place: usize, set: Set) -> usize {
        self.look_at_blank();
        let Some(disk) = self.disks.get_mut(place) else { return 0 };
        let number = u16::try_from(place).unwrap_or(u16::MAX);
        match send_batch(disk, number, set, &self.means.exchange) {
            Ok(blocks) => {
                // Held from when it is sent, not from when it was wanted: a cut in between would let go of it too early.
                if let Some(tracker) = self.means.tracker.as_mut().filter(|_| set == Set::Wanted) {
                    blocks.iter().for_each(|block| tracker.hold(place, *block, block + 1));
                }
                blocks.len()
            }
            Err(why) => {
                self.lose(place, why);
                0
            }
        }
    }

    /// Nothing more comes from a disk: when it comes back, it is compared.
    fn lose(&mut self, place: usize, why: String) {
        let Some(disk) = self.disks.get_mut(place) else { return };
        log::error!("{}: {why}", disk.label);
        self.means.set_whole(place, false);
        disk.whole = false;
        disk.gone = Some(why);
        disk.asked_at = self.means.clock.moment();
    }

    /// Asks about a leaf of what an earlier run may not have brought into the vault; whether there was one.
    fn ask_held(&mut self, maker: &Fingerprinter) -> bool {
        for place in 0..self.disks.len() {
            if let Some((first, blocks)) = self.leaf(place, Set::Changed) {
                self.ask(place, Set::Changed, (first, blocks), maker);
                return true;
            }
        }
        false
    }

    /// The next leaf of a run through a disk, where it may be read now.
    fn leaf(&mut self, place: usize, set: Set) -> Option<(u64, u64)> {
        let disk = self.disks.get_mut(place).filter(|disk| disk.is_in())?;
        let run = disk.run_into(set)?;
        let (first, blocks) = run.leaf()?;
        let number = u16::try_from(place).unwrap_or(u16::MAX);
        // A question might overtake what it is about (PROTOCOL.md).
        if self.means.exchange.is_on_the_way(number, first, first + blocks) {
            run.put_back();
            return None;
        }
        Some((first, blocks))
    }

    /// Reads a leaf of a disk that is compared. How long there is nothing to do.
    fn compare_some(&mut self) -> Duration {
        let Some(maker) = self.fingerprinter.clone() else { return REST };
        // Not at the pace of a compare: no point is made before.
        if self.ask_held(&maker) {
            return Duration::ZERO;
        }
        let now = self.means.clock.moment();
        let wait = self.compare_pace.wait_millis(now);
        if wait > 0 {
            return Duration::from_millis(wait);
        }
        for place in 0..self.disks.len() {
            let Some(disk) = self.disks.get_mut(place).filter(|disk| disk.is_in()) else {
                continue;
            };
            let Some(compare) = &mut disk.compare else { continue };
            let first_copy = compare.reason == Reason::First;
            let leaf = match first_copy {
                true if disk.wanted.count() >= AHEAD_BLOCKS => continue,
                true => compare.leaf(),
                false => self.leaf(place, Set::Wanted),
            };
            let Some((first, blocks)) = leaf else { continue };
            self.compare_pace.take(now, blocks.saturating_mul(BLOCK_BYTES as u64));
            if !first_copy {
                self.ask(place, Set::Wanted, (first, blocks), &maker);
            } else if let Some(disk) = self.disks.get_mut(place) {
                disk.wanted.insert_range(first, first + blocks);
                disk.compare.iter_mut().for_each(Compare::settled);
            }
            return Duration::ZERO;
        }
        REST
    }

    /// Asks which blocks of a leaf are wanted.
    fn ask(&mut self, place: usize, set: Set, (first, blocks): (u64, u64), maker: &Fingerprinter) {
        self.look_at_blank();
        let Some(disk) = self.disks.get_mut(place) else { return };
        let about = |disk: &mut Disk, block: &u64| {
            disk.run_into(set).is_some_and(|run| run.is_about(*block))
        };
        let mut leaf: Vec<u64> =
            (first..first + blocks).filter(|block| !disk.blank.contains(*block)).collect();
        leaf.retain(|block| about(disk, block));
        let mut fingerprints = Fingerprints::new(first, blocks);
        let mut unread = Vec::new();
        let read = disk.content.read(&leaf, &mut |block, content| match content {
            Ok(content) => {
                fingerprints.fill(block, &swap::disarmed(&disk.armed, block, content), maker);
            }
            Err(_) => unread.push(block),
        });
        if let Err(error) = read {
            disk.runs().for_each(Compare::put_back);
            self.lose(place, error.to_string());
            return;
        }
        // What cannot be read is said to be so, whatever the vault has.
        unread.into_iter().for_each(|block| disk.set(set).insert(block));
        self.question = self.question.wrapping_add(1);
        let question = self.question;
        disk.run_into(set).into_iter().for_each(|run| run.asked(question));
        let disk = u16::try_from(place).unwrap_or(u16::MAX);
        let message = FromAgent::Fingerprints { question, disk, first };
        self.means.exchange.say(&message, fingerprints.payload());
    }

    fn retry_unread(&mut self) {
        let now = self.means.clock.moment();
        if now.since(self.retried_at) < UNREAD_MILLIS {
            return;
        }
        self.retried_at = now;
        for disk in &mut self.disks {
            // Not with what changed: a disk that tries for seconds would do so while file systems are frozen.
            let mut some: Vec<u64> =
                disk.unread.iter_from(disk.retried).take(UNREAD_BLOCKS).collect();
            if some.is_empty() {
                some.extend(disk.unread.iter().take(UNREAD_BLOCKS));
            }
            disk.retried = some.last().map_or(0, |last| last + 1);
            some.into_iter().for_each(|block| disk.wanted.insert(block));
        }
    }

    /// Tells how it fares, to people always and to the appliance from time to time.
    fn tell(&mut self) {
        let now = self.means.clock.moment();
        if now.since(self.told_at) < if self.begun { STATUS_MILLIS } else { 1000 } {
            return;
        }
        self.told_at = now;
        let report = self.report();
        let tracked = self.means.tracker.is_some();
        let sum = |what: fn(&DiskReport) -> u64| report.disks.iter().map(what).sum();
        let compares = |disk: &DiskReport| if disk.compare.is_some() { disk.blocks } else { 0 };
        let status = Status {
            doing: report.doing.clone(),
            changed_blocks: sum(|disk| disk.changed_blocks),
            compare_done: sum(|disk| disk.compare_done),
            compare_blocks: sum(compares),
            written_bytes: report.written_bytes,
            memory_bytes: report.memory_bytes,
            tracked,
            troubles: report.troubles.clone(),
        };
        self.means.exchange.say(&FromAgent::Status(status), Vec::new());
        self.means.board.put(report);
    }

    /// How it fares.
    pub fn report(&mut self) -> Report {
        let mut troubles = self.troubles.clone();
        troubles.extend(self.failover.trouble());
        for disk in &self.disks {
            troubles.extend(disk.doubt());
            if !disk.unread.is_empty() {
                let blocks = disk.unread.count();
                troubles.push(format!(
                    "{}: {blocks} blocks of 64 KiB cannot be read; look at the disk, and replace it",
                    disk.label
                ));
            }
        }
        Report {
            name: self.name.clone(),
            server: self.server.clone(),
            appliance: self.appliance.clone(),
            doing: self.doing(),
            disks: self
                .disks
                .iter()
                .map(|disk| disk_report(disk, self.means.tracker.is_some()))
                .collect(),
            points: self.points.iter().cloned().collect(),
            vaulted_epoch: self.vaulted,
            unacknowledged_bytes: u64::try_from(self.means.exchange.kept_bytes()).unwrap_or(0),
            written_bytes: self.means.tracker.as_mut().map_or(0, |tracker| tracker.written_bytes()),
            memory_bytes: hal_linux::process::residency()
                .map_or(0, |residency| residency.now_bytes),
            troubles,
        }
    }

    fn doing(&self) -> String {
        if self.refused {
            return "nothing is sent: the appliance refuses this server".to_owned();
        }
        if !self.means.exchange.is_welcomed() {
            return "changes are noted until an appliance is reached".to_owned();
        }
        if let Some(words) = self.failover.doing() {
            return words;
        }
        if self.pursuit.is_some() {
            return "a point is made".to_owned();
        }
        let compared = self.disks.iter().find_map(|disk| {
            let compare = disk.compare.as_ref().or(disk.held.as_ref())?;
            let (done, blocks) = compare.progress();
            let percent = (done * 100).checked_div(blocks).unwrap_or(100);
            Some(format!("{} {}: {percent} %", disk.label, compare.reason.words()))
        });
        compared.unwrap_or_else(|| {
            if self.policy.paused { "the policy has paused points" } else { "changes are tracked" }
                .to_owned()
        })
    }
}

/// Holds every block of a set.
pub(crate) fn hold_all(tracker: &mut dyn Tracker, place: usize, set: &BlockSet) {
    let mut from = 0;
    while let Some((first, blocks)) = set.next_run(from, u32::MAX) {
        from = first + u64::from(blocks);
        tracker.hold(place, first, from);
    }
}

fn disk_report(disk: &Disk, tracking: bool) -> DiskReport {
    let compare = disk.compare.as_ref();
    DiskReport {
        name: disk.label.clone(),
        kernel_name: disk.leaf.name.clone(),
        bytes: disk.leaf.bytes,
        tracked: tracking && disk.leaf.untracked.is_none(),
        changed_blocks: disk.changed.count(),
        compare: compare.map(|compare| compare.reason.words().to_owned()),
        compare_done: compare.map_or(0, |compare| compare.progress().0),
        blocks: disk.blocks,
        unread_blocks: disk.unread.count(),
    }
}

#[cfg(test)]
pub(crate) mod tests;

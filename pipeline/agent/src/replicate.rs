//! The loop of a protected server: what is to be sent, when points are made, and what is done when something is in doubt.
//!
//! One step does a bounded piece of work and says how long there is nothing more to do, so that the loop can be driven by a
//! test as well as by the clock. It refuses to know sockets, and the kernel behind its traits.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use hal::time::{Clock, Moment};
use pipeline::fingerprint::Fingerprinter;
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::{FromAgent, Status};
use pipeline_wire::policy::Policy;

use crate::blocks::BlockSet;
use crate::compare::{Compare, Leaf as Fingerprints, Reason};
use crate::pace::Pace;
use crate::report::{Board, DiskReport, PointReport, Report};
use crate::session::exchange::Exchange;
use crate::swap;
use crate::tracker::Tracker;

/// A protected disk as the loop sees it.
pub mod disk;
/// What the appliance said.
mod hear;
/// Makes instants, whatever the disks are.
pub mod maker;
/// Points: rounds, freeze, cut.
mod point;
/// Blocks into messages.
pub mod send;

use disk::Disk;
use maker::Maker;
use point::Pursuit;
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
/// How long a session's absence is waited out before the next look.
const REST: Duration = Duration::from_secs(1);

/// Remembers which disks were sent whole, beyond the agent's life.
pub trait Memory: Send {
    /// A disk is whole from now on, or is not.
    fn set_whole(&mut self, label: &str, whole: bool);
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
    /// Where the report is put up.
    pub board: Board,
}

impl Means {
    /// Notes whether everything of a disk was sent once: with its marks, since it is true of them alone, and beside.
    fn set_whole(&mut self, place: usize, label: &str, whole: bool) {
        if let Some(tracker) = &mut self.tracker {
            tracker.set_whole(place, whole);
        }
        self.memory.set_whole(label, whole);
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
    /// When the next point is due.
    due: Moment,
    cuts: u64,
    /// Points that failed one after another, and how long no other is tried.
    failures: u32,
    not_before: Moment,
    pursuit: Option<Pursuit>,
    asked: point::Asked,
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
            due: now,
            cuts: 0,
            failures: 0,
            not_before: now,
            pursuit: None,
            asked: point::Asked::default(),
            compare_pace: Pace::default(),
            told_at: Moment(0),
            retried_at: now,
            points: VecDeque::new(),
            appliance: "no appliance was reached yet".to_owned(),
            refused: false,
            troubles: Vec::new(),
        }
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
        if let Some(wait) = self.pursue() {
            // A point comes before what compares want; while it waits for room, nothing else would find any.
            return wait;
        }
        let waits = [self.send_wanted(), self.compare_some()];
        if waits.contains(&Duration::ZERO) {
            return Duration::ZERO;
        }
        self.retry_unread();
        // Where a point is overdue and is none now, something else has to happen first.
        let now = self.means.clock.moment();
        let next = self.due.max(self.not_before);
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

    /// Whether a disk is larger than its marks.
    pub fn has_outgrown(&mut self) -> bool {
        self.means.tracker.as_mut().is_some_and(|tracker| !tracker.outgrown().is_empty())
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
            if disk.end_compare() {
                log::info!("{}: everything is sent", disk.label);
                if disk.leaf.untracked.is_none() && self.means.tracker.is_some() {
                    self.means.set_whole(place, &disk.label, true);
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
        self.means.set_whole(place, &disk.label, false);
        disk.whole = false;
        disk.gone = Some(why);
    }

    /// Reads a leaf of a disk that is compared. How long there is nothing to do.
    fn compare_some(&mut self) -> Duration {
        let now = self.means.clock.moment();
        let wait = self.compare_pace.wait_millis(now);
        if wait > 0 {
            return Duration::from_millis(wait);
        }
        let Some(maker) = self.fingerprinter.clone() else { return REST };
        for place in 0..self.disks.len() {
            let Some(disk) = self.disks.get_mut(place).filter(|disk| disk.is_in()) else {
                continue;
            };
            let Some(compare) = &mut disk.compare else { continue };
            if compare.reason == Reason::First && disk.wanted.count() >= AHEAD_BLOCKS {
                continue;
            }
            let Some((first, blocks)) = compare.leaf() else { continue };
            self.compare_pace.take(now, blocks.saturating_mul(BLOCK_BYTES as u64));
            if compare.reason == Reason::First {
                disk.wanted.insert_range(first, first + blocks);
                compare.settled();
            } else {
                self.ask(place, first, blocks, &maker);
            }
            return Duration::ZERO;
        }
        REST
    }

    /// Asks which blocks of a leaf are wanted.
    fn ask(&mut self, place: usize, first: u64, blocks: u64, maker: &Fingerprinter) {
        self.look_at_blank();
        let Some(disk) = self.disks.get_mut(place) else { return };
        let leaf: Vec<u64> =
            (first..first + blocks).filter(|block| !disk.blank.contains(*block)).collect();
        let mut fingerprints = Fingerprints::new(first, blocks);
        let mut unread = Vec::new();
        let read = disk.content.read(&leaf, &mut |block, content| match content {
            Ok(content) => {
                fingerprints.fill(block, &swap::disarmed(&disk.armed, block, content), maker);
            }
            Err(_) => unread.push(block),
        });
        if let Err(error) = read {
            disk.compare.iter_mut().for_each(Compare::put_back);
            self.lose(place, error.to_string());
            return;
        }
        // What cannot be read is said to be so, whatever the vault has.
        unread.into_iter().for_each(|block| disk.wanted.insert(block));
        self.question = self.question.wrapping_add(1);
        let question = self.question;
        disk.compare.iter_mut().for_each(|compare| compare.asked(question));
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
        if self.pursuit.is_some() {
            return "a point is made".to_owned();
        }
        let compared = self.disks.iter().find_map(|disk| {
            let compare = disk.compare.as_ref()?;
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
mod tests;

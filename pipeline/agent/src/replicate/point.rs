//! Points: rounds while the server writes, then an instant of all disks, then its cut.

use core::time::Duration;
use std::collections::VecDeque;

use hal::time::{Moment, UnixMillis};
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::{Cut, Instant};

use super::disk::Disk;
use super::maker::{Order, Piece};
use super::schedule::Begun;
use super::send::{Batch, Set, batch_bytes};
use super::{POINTS_KEPT, REST, Replicator, hold_all};
use crate::blocks::BlockSet;
use crate::compare::Reason;
use crate::cut::{Failed, Limits, Outcome};
use crate::outbox::WINDOW_BYTES_MAX;
use crate::report::{PointReport, instant_words};

/// Rounds of the loop's own before an instant is tried; those behind them are the instant's.
const ROUNDS_MAX: u32 = 3;
/// Blocks that are left to the instant's own rounds: half of what is kept for sending again.
const SMALL_BLOCKS: usize = WINDOW_BYTES_MAX / 2 / BLOCK_BYTES;
/// Instants that fail one after another before nothing is left to their own rounds.
const FAILURES_MAX: u32 = 3;
/// Points that fail for one disk, one after another, before they are made without it.
const DISK_FAILURES_MAX: u32 = 5;
/// A round that leaves more than this of what the round before left, in percent, is not getting anywhere.
const SHRINKING_PERCENT: u64 = 80;
/// Remarks of one cut: a message holds no more than so many, and no person reads them.
const REMARKS_MAX: usize = 64;

/// What asks for a point beside the interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The appliance wants one now.
    pub(super) now: bool,
    /// With hooks.
    pub(super) application: bool,
    /// As parts of groups: each one's token, and how long the others may take.
    pub(super) groups: VecDeque<(u64, u32)>,
}

/// A point on its way.
#[derive(Debug, Default)]
pub(super) struct Pursuit {
    begun: Begun,
    /// When everything stood still.
    instant: Moment,
    round: u32,
    /// Blocks that the last round took.
    taken: u64,
    blocks: u64,
    application: bool,
    /// The group's cut that this is part of.
    group: Option<(u64, u32)>,
    /// The instant is in memory: its cut, and how much of it was said.
    cut: Option<(Cut, usize)>,
}

impl Replicator {
    /// Works on a point, where one is due: how long there is nothing to do for it, or nothing where none is due.
    pub(super) fn pursue(&mut self) -> Option<Duration> {
        if self.pursuit.is_none() {
            if !self.is_due() {
                return None;
            }
            self.asked.now = false;
            let application = core::mem::take(&mut self.asked.application);
            let group = self.asked.groups.pop_front();
            let begun = Begun { at: self.means.clock.moment(), written: self.means.written() };
            self.pursuit = Some(Pursuit { begun, application, group, ..Pursuit::default() });
            self.round();
        }
        if self.pursuit.as_ref().is_some_and(|pursuit| pursuit.cut.is_some()) {
            return Some(self.ship());
        }
        let left = self.left();
        let rounds = self.pursuit.as_ref().map_or(0, |pursuit| pursuit.round);
        // Where instants failed, all is read before the next: there a block that cannot be read ends nothing, and is named.
        let small = if self.failures < FAILURES_MAX { SMALL_BLOCKS } else { 0 };
        if left <= small as u64 || rounds > ROUNDS_MAX {
            // Its own rounds find room, as far as that can be said.
            let own = small * BLOCK_BYTES + batch_bytes();
            if !self.means.exchange.room(own, Duration::ZERO) {
                return Some(REST);
            }
            return Some(self.make());
        }
        for place in 0..self.disks.len() {
            if self.disks.get(place).is_some_and(|disk| disk.is_in() && !disk.changed.is_empty()) {
                if !self.means.exchange.room(batch_bytes(), Duration::ZERO) {
                    return Some(REST);
                }
                let sent = self.send(place, Set::Changed);
                if sent > 0 {
                    self.count(sent);
                    return Some(Duration::ZERO);
                }
            }
        }
        self.round();
        Some(Duration::ZERO)
    }

    /// Blocks that are part of the next cut and not sent.
    fn left(&self) -> u64 {
        let here = self.disks.iter().filter(|disk| disk.is_in());
        here.map(|disk| disk.changed.count()).sum()
    }

    fn count(&mut self, blocks: usize) {
        if let Some(pursuit) = &mut self.pursuit {
            pursuit.blocks += u64::try_from(blocks).unwrap_or(0);
        }
    }

    /// When the next point begins by itself.
    pub(super) fn due(&self) -> Moment {
        self.schedule.due(self.means.written())
    }

    /// Whether a point may be made and is wanted.
    fn is_due(&mut self) -> bool {
        let now = self.means.clock.moment();
        if now < self.not_before {
            return false;
        }
        let asked = self.asked.now || !self.asked.groups.is_empty();
        let wanted = match (self.failover.is_drained(), self.failover.is_draining()) {
            (true, _) => false,
            (false, true) => asked,
            (false, false) => asked || now >= self.due(),
        };
        let paused = self.policy.paused && !self.asked.now && self.asked.groups.is_empty();
        if !wanted || paused {
            return false;
        }
        // A point has no disk that the policy leaves out: it is the next run's, whose Hello lacks it. And what an earlier run
        // may not have brought into the vault is known first.
        let unsettled = |disk: &Disk| disk.left_out || (disk.is_in() && disk.held.is_some());
        if self.disks.iter().any(unsettled) {
            return false;
        }
        let tracked = self.means.tracker.is_some();
        // What was called vaulted is not there: a disk that is not compared yet would be one of another time.
        let partly = |disk: &Disk| disk.is_in() && disk.leaf.untracked.is_none() && !disk.whole;
        if tracked && self.failover.is_comparing() && self.disks.iter().any(partly) {
            return false;
        }
        let mut possible = false;
        for disk in self.disks.iter_mut().filter(|disk| disk.is_in()) {
            if tracked && disk.leaf.untracked.is_none() {
                possible |= disk.whole;
            } else if disk.compare.is_none() && disk.passed {
                possible = true;
            } else {
                // Everything of it is read first, and then again for each point.
                if disk.compare.is_none() {
                    disk.compare(Reason::Untracked);
                }
                return false;
            }
        }
        possible
    }

    /// Takes what was marked since the last round.
    fn round(&mut self) {
        for (place, disk) in self.disks.iter_mut().enumerate() {
            let Some(tracker) = &mut self.means.tracker else { break };
            if disk.leaf.untracked.is_some() || !disk.is_in() {
                continue;
            }
            if let Err(why) = tracker.take(place, &mut disk.changed) {
                log::error!("{}: {why}; it is compared", disk.label);
                tracker.set_whole(place, false);
                disk.compare(Reason::Lost);
            }
        }
        let taken = self.left();
        if let Some(pursuit) = &mut self.pursuit {
            let grows = taken * 100 > pursuit.taken * SHRINKING_PERCENT;
            // What comes as fast as it goes is not waited out: the instant is tried, and says how it is.
            let stuck = pursuit.round > 0 && grows;
            pursuit.round = if stuck { ROUNDS_MAX + 1 } else { pursuit.round + 1 };
            pursuit.taken = taken;
        }
    }

    /// Makes the instant: what is left is sent, then everything is frozen for a moment.
    fn make(&mut self) -> Duration {
        let Some(pursuit) = &self.pursuit else { return REST };
        let (application, group) = (pursuit.application, pursuit.group);
        let millis = |millis: u32| Duration::from_millis(u64::from(millis));
        let limits = Limits {
            budget: millis(self.policy.freeze_budget_millis),
            limit: millis(self.policy.freeze_limit_millis),
        };
        let order = Order {
            limits,
            application: application || self.is_application_due(),
            group: group.map(|(token, patience)| (token, millis(patience))),
            chosen: self
                .disks
                .iter()
                .map(|disk| disk.is_in() && disk.leaf.untracked.is_none())
                .collect(),
            patience: self.means.patience,
        };
        let before = self.means.clock.moment();
        match self.instant(&order) {
            Ok(outcome) => {
                self.note_instant(before, outcome.at);
                self.made(outcome, group.map(|(token, _)| token));
                Duration::ZERO
            }
            Err(failed) => {
                log::warn!("no point now: {failed}");
                self.give_up();
                self.look_for_lost();
                self.blame(failed);
                self.put_off();
                REST
            }
        }
    }

    /// Notes when the instant was by the clock that only runs forwards: the other may have been set meanwhile.
    fn note_instant(&mut self, before: Moment, at: UnixMillis) {
        let (now, clock) = (self.means.clock.moment(), self.means.clock.now());
        let since = clock.0.saturating_sub(at.0).min(now.since(before));
        if let Some(pursuit) = &mut self.pursuit {
            pursuit.instant = Moment(now.0.saturating_sub(since));
        }
    }

    /// Gives the point up that is on its way, unless its instant is in memory. What was asked for stays asked for, for as
    /// long as the session.
    pub(super) fn give_up(&mut self) {
        let Some(pursuit) = self.pursuit.take_if(|pursuit| pursuit.cut.is_none()) else { return };
        self.asked.application |= pursuit.application;
        pursuit.group.into_iter().for_each(|group| self.asked.groups.push_front(group));
    }

    /// A disk that says its size and cannot be read is not to keep points of the others away for ever.
    fn blame(&mut self, failed: Failed) {
        let Some(place) = failed.disk else { return };
        let Some(disk) = self.disks.get_mut(place).filter(|disk| disk.is_in()) else { return };
        disk.failures += 1;
        if disk.failures >= DISK_FAILURES_MAX {
            self.lose(place, failed.words);
        }
    }

    /// After a failure the next try waits, longer each time, up to the interval: each try freezes file systems and runs hooks.
    fn put_off(&mut self) {
        self.failures = self.failures.saturating_add(1);
        let interval = u64::from(self.policy.interval_seconds).saturating_mul(1000);
        let wait = (1000_u64 << self.failures.min(8)).min(interval.max(1000));
        self.not_before = self.means.clock.moment().after(wait);
    }

    fn instant(&mut self, order: &Order) -> Result<Outcome, Failed> {
        let means = &mut self.means;
        let tracker = means.tracker.as_mut().filter(|_| order.chosen.contains(&true));
        let Some(tracker) = tracker else {
            // What was read by comparing alone is of no one instant, and stilling anything would help nobody.
            return Ok(Outcome {
                instant: Instant::Fuzzy,
                at: means.clock.now(),
                frozen: Duration::ZERO,
                remarks: Vec::new(),
                group: order.group.map(|_| false),
                incomplete: Vec::new(),
            });
        };
        let mut changed: Vec<BlockSet> = Vec::new();
        for disk in &mut self.disks {
            // What a disk that takes no part has left stays with it.
            let left = if disk.is_in() {
                core::mem::take(&mut disk.changed)
            } else {
                BlockSet::new(disk.blocks)
            };
            changed.push(left);
        }
        let made = means.maker.make(order, &mut **tracker, &mut changed, &means.exchange);
        for (place, (disk, changed)) in self.disks.iter_mut().zip(changed).enumerate() {
            if disk.is_in() {
                disk.changed = changed;
            }
            let known = disk.unread.count();
            means.maker.unread(place, &mut disk.unread);
            let found = disk.unread.count() - known;
            if found > 0 {
                log::warn!("{}: {found} more blocks of 64 KiB cannot be read", disk.label);
            }
        }
        made
    }

    /// Disks that do not answer any more are left out of the next try.
    fn look_for_lost(&mut self) {
        for place in 0..self.disks.len() {
            let disk = self.disks.get_mut(place).filter(|disk| disk.is_in());
            if let Some(Err(error)) = disk.map(|disk| disk.content.bytes()) {
                self.lose(place, error.to_string());
            }
        }
    }

    fn is_application_due(&self) -> bool {
        let every = u64::from(self.policy.application_every);
        (self.cuts + 1).checked_rem(every).is_some_and(|rest| rest == 0)
    }

    /// The instant is there: its cut is what is to be said behind it.
    fn made(&mut self, outcome: Outcome, token: Option<u64>) {
        let Outcome { mut instant, at, frozen, mut remarks, group, incomplete } = outcome;
        for place in incomplete {
            let Some(disk) = self.disks.get_mut(place) else { continue };
            disk.doubt_again();
            self.means.set_whole(place, false);
            // Only now: whatever happens from here on, the disk is compared.
            if let Some(tracker) = &mut self.means.tracker {
                tracker.doubted(place);
            }
        }
        // What a disk has grown by has no marks until the tracker follows.
        let outgrown = self.means.tracker.as_mut().map(|tracker| tracker.outgrown());
        for place in outgrown.unwrap_or_default() {
            let Some(disk) = self.disks.get(place).filter(|disk| disk.is_in()) else { continue };
            instant = Instant::Fuzzy;
            remarks
                .push(format!("{} has grown: what is new of it is in the next point", disk.label));
        }
        let doubts: Vec<String> = self.disks.iter().filter_map(Disk::doubt).collect();
        if !doubts.is_empty() {
            instant = Instant::Fuzzy;
        }
        remarks.extend(doubts);
        if self.disks.iter().any(|disk| !disk.unread.is_empty()) {
            remarks
                .push("blocks that cannot be read are missing: see the disk's troubles".to_owned());
        }
        remarks.truncate(REMARKS_MAX);
        self.epoch += 1;
        self.close();
        let cut = Cut {
            sequence: 0,
            epoch: self.epoch,
            instant,
            at_millis: at.0,
            frozen_micros: u64::try_from(frozen.as_micros()).unwrap_or(u64::MAX),
            remarks,
            group: token.map(|token| (token, group.unwrap_or(false))),
        };
        if let Some(pursuit) = &mut self.pursuit {
            pursuit.cut = Some((cut, 0));
        }
    }

    /// Closes what is held with the newest epoch. What the cut does not have is held on: the vault has it only with a later
    /// one, whatever becomes of the agent until then.
    fn close(&mut self) {
        let Some(tracker) = &mut self.means.tracker else { return };
        tracker.cut(self.epoch);
        for (place, disk) in self.disks.iter().enumerate() {
            hold_all(&mut **tracker, place, &disk.changed);
            hold_all(&mut **tracker, place, &disk.unread);
        }
    }

    /// Says what the instant holds, as there is room for it, and then its cut.
    fn ship(&mut self) -> Duration {
        let Some(pursuit) = &mut self.pursuit else { return REST };
        let Some((_, at)) = &mut pursuit.cut else { return REST };
        while let Some(piece) = self.means.maker.piece(*at) {
            if !self.means.exchange.room(batch_bytes(), Duration::ZERO) {
                return REST;
            }
            let mut batch = Batch::default();
            let place = match piece {
                Piece::Blocks(place, first, bytes) => {
                    for (block, content) in (first..).zip(bytes.chunks(BLOCK_BYTES)) {
                        batch.take(block, Ok(content));
                        pursuit.blocks += 1;
                    }
                    place
                }
                Piece::Unread(place, block) => {
                    batch.miss(block);
                    place
                }
            };
            *at += 1;
            let number = u16::try_from(place).unwrap_or(u16::MAX);
            if let Err(why) = batch.say(number, &self.means.exchange) {
                log::error!("{why}");
            }
        }
        self.means.maker.forget();
        let Some(Pursuit { cut: Some((cut, _)), blocks, begun, instant, group, .. }) =
            self.pursuit.take()
        else {
            return REST;
        };
        let now = self.means.clock.moment();
        self.schedule.made(cut.epoch, begun, (instant, group.is_some()), now);
        self.say_cut(cut, blocks);
        Duration::ZERO
    }

    fn say_cut(&mut self, cut: Cut, blocks: u64) {
        let point = PointReport {
            epoch: cut.epoch,
            at_millis: cut.at_millis,
            instant: instant_words(cut.instant).to_owned(),
            frozen_micros: cut.frozen_micros,
            blocks,
            remarks: cut.remarks.clone(),
        };
        if let Err(why) = self.means.exchange.cut(cut) {
            log::error!("{why}");
        }
        log::info!(
            "point {}: {}, {} MiB sent, frozen for {} ms",
            point.epoch,
            point.instant,
            (blocks * BLOCK_BYTES as u64) >> 20,
            point.frozen_micros / 1000
        );
        point.remarks.iter().for_each(|remark| log::info!("point {}: {remark}", point.epoch));
        self.points.push_back(point);
        if self.points.len() > POINTS_KEPT {
            self.points.pop_front();
        }
        self.cuts += 1;
        self.failures = 0;
        for disk in &mut self.disks {
            disk.passed = false;
            disk.failures = 0;
        }
    }
}

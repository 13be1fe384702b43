//! Points: rounds while the server writes, then an instant of all disks, then its cut.

use core::time::Duration;
use std::collections::BTreeMap;

use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::{Cut, FromAgent, Instant};

use super::send::{BATCH_BLOCKS, Batch, Set, batch_bytes};
use super::{POINTS_KEPT, REST, Replicator};
use crate::compare::Reason;
use crate::report::{PointReport, instant_words};

/// Rounds at most before file systems are frozen: a server that writes faster than the link takes never gets fewer.
const ROUNDS_MAX: u32 = 8;
/// Blocks that are read while file systems are frozen, at most: memory for as many is made beforehand.
const RESIDUE_BLOCKS_MAX: usize = 128;
/// How often blocks are taken under one freeze: discards go on through it.
const TAKES_MAX: u32 = 5;

/// What asks for a point beside the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The appliance wants one now.
    pub(super) now: bool,
    /// With hooks.
    pub(super) application: bool,
    /// As part of a group: its token, and how long the others may take.
    pub(super) group: Option<(u64, u32)>,
}

/// A point on its way.
#[derive(Debug, Default)]
pub(super) struct Pursuit {
    round: u32,
    /// Blocks that the last round marked.
    marked: u64,
    blocks: u64,
    asked: Asked,
    shot: Option<Shot>,
}

/// An instant of all disks, in memory.
#[derive(Debug, Default)]
struct Shot {
    blocks: BTreeMap<(usize, u64), Option<Box<[u8]>>>,
    cut: Option<Cut>,
    /// Disks that failed, to be told when nothing is frozen any more.
    lost: Vec<(usize, String)>,
}

impl Replicator {
    /// Works on a point, where one is due: how long there is nothing to do for it, or nothing where none is due.
    pub(super) fn pursue(&mut self) -> Option<Duration> {
        if self.pursuit.is_none() {
            if !self.is_due() {
                return None;
            }
            let asked = core::mem::take(&mut self.asked);
            self.pursuit = Some(Pursuit { asked, ..Pursuit::default() });
            self.round();
        }
        if self.pursuit.as_ref().is_some_and(|pursuit| pursuit.shot.is_some()) {
            return Some(self.ship());
        }
        for place in 0..self.disks.len() {
            if self.disks.get(place).is_some_and(|disk| disk.is_in() && !disk.changed.is_empty()) {
                if self.is_small() {
                    break;
                }
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
        if self.is_small() {
            self.capture();
        } else {
            self.round();
        }
        Some(Duration::ZERO)
    }

    fn count(&mut self, blocks: usize) {
        if let Some(pursuit) = &mut self.pursuit {
            pursuit.blocks += u64::try_from(blocks).unwrap_or(0);
        }
    }

    /// Whether a point may be made and is wanted.
    fn is_due(&mut self) -> bool {
        let now = self.means.clock.moment();
        let wanted = self.asked.now || self.asked.group.is_some() || now >= self.due;
        let paused = self.policy.paused && !self.asked.now && self.asked.group.is_none();
        if !wanted || paused {
            return false;
        }
        let tracked = self.means.tracker.is_some();
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

    /// Whether what is left is little enough to be read while everything is frozen.
    fn is_small(&self) -> bool {
        let left: u64 = self.disks.iter().map(|disk| disk.changed.count()).sum();
        let rounds = self.pursuit.as_ref().map_or(0, |pursuit| pursuit.round);
        rounds >= 1 && left <= u64::try_from(RESIDUE_BLOCKS_MAX / 4).unwrap_or(0)
            || rounds >= ROUNDS_MAX && left == 0
    }

    /// Takes what was marked since the last round.
    fn round(&mut self) {
        let mut marked = 0;
        for (place, disk) in self.disks.iter_mut().enumerate() {
            let Some(tracker) = &mut self.means.tracker else { break };
            if disk.leaf.untracked.is_some() || disk.left_out {
                continue;
            }
            let before = disk.changed.count();
            if let Err(why) = tracker.take(place, &mut disk.changed) {
                log::error!("{}: {why}; it is compared", disk.label);
                disk.compare(Reason::Lost);
            }
            marked += disk.changed.count() - before;
        }
        if let Some(pursuit) = &mut self.pursuit {
            pursuit.round += 1;
            pursuit.marked = marked;
        }
    }

    /// Freezes, reads what is left, thaws.
    fn capture(&mut self) {
        let limit = Duration::from_millis(u64::from(self.policy.freeze_limit_millis));
        let mut shot = Shot::default();
        let mut remarks = Vec::new();
        let mut instant = Instant::Crash;
        let frozen = self.means.freezer.freeze(limit);
        if let Err(why) = &frozen {
            remarks.push(format!("nothing was frozen: {why}"));
            instant = Instant::Fuzzy;
        }
        let at_millis = self.means.clock.now().0;
        let group = self.group_still();
        for _ in 0..TAKES_MAX {
            self.round();
            if self.disks.iter().all(|disk| disk.changed.is_empty()) {
                break;
            }
            self.read_residue(&mut shot);
        }
        let audit =
            self.means.tracker.as_mut().filter(|_| frozen.is_ok()).map(|tracker| tracker.audit());
        let thawed = self.means.freezer.thaw();
        if frozen.is_ok() && thawed.too_late {
            instant = Instant::Fuzzy;
            remarks.push("file systems were thawed before everything was read".to_owned());
        }
        remarks.extend(thawed.remarks);
        core::mem::take(&mut shot.lost).into_iter().for_each(|(place, why)| self.lose(place, why));
        let audit = audit.unwrap_or_default();
        for place in audit.incomplete {
            let Some(disk) = self.disks.get_mut(place) else { continue };
            disk.compare(Reason::Doubt);
            self.means.memory.set_whole(&disk.label, false);
        }
        audit.words.iter().for_each(|words| log::warn!("{words}"));
        let doubts: Vec<String> = self.disks.iter().filter_map(super::disk::Disk::doubt).collect();
        if !doubts.is_empty() {
            instant = Instant::Fuzzy;
        }
        remarks.extend(doubts);
        let frozen_micros = if frozen.is_ok() { thawed.micros } else { 0 };
        self.epoch += 1;
        shot.cut = Some(Cut {
            sequence: 0,
            epoch: self.epoch,
            instant,
            at_millis,
            frozen_micros,
            remarks,
            group,
        });
        if let Some(tracker) = &mut self.means.tracker {
            tracker.cut(self.epoch);
        }
        if let Some(pursuit) = &mut self.pursuit {
            pursuit.shot = Some(shot);
        }
    }

    /// Tells the group that everything is still, and waits for the others.
    fn group_still(&mut self) -> Option<(u64, bool)> {
        let (token, patience) = self.pursuit.as_ref()?.asked.group?;
        self.means.exchange.say(&FromAgent::Frozen { token }, Vec::new());
        let patience = Duration::from_millis(u64::from(patience));
        let all = self.means.exchange.all_frozen(token, patience);
        Some((token, all && self.means.freezer.is_frozen()))
    }

    fn read_residue(&mut self, shot: &mut Shot) {
        for (place, disk) in self.disks.iter_mut().enumerate().filter(|(_, disk)| disk.is_in()) {
            let blocks: Vec<u64> = disk.changed.iter().collect();
            let read = disk.content.read(&blocks, &mut |block, content| {
                shot.blocks.insert((place, block), content.ok().map(Box::from));
            });
            match read {
                Ok(()) => disk.changed.clear(),
                Err(error) => shot.lost.push((place, error.to_string())),
            }
        }
    }

    /// Says what the instant holds, as there is room for it, and then its cut.
    fn ship(&mut self) -> Duration {
        let Some(pursuit) = &mut self.pursuit else { return REST };
        let Some(shot) = &mut pursuit.shot else { return REST };
        while let Some((&(place, _), _)) = shot.blocks.first_key_value() {
            if !self.means.exchange.room(batch_bytes(), Duration::ZERO) {
                return REST;
            }
            let mut batch = Batch::default();
            for _ in 0..BATCH_BLOCKS {
                let first = shot.blocks.first_entry().filter(|entry| entry.key().0 == place);
                let Some(((_, block), content)) = first.map(|entry| entry.remove_entry()) else {
                    break;
                };
                batch.keep(block, content);
                pursuit.blocks += 1;
            }
            let number = u16::try_from(place).unwrap_or(u16::MAX);
            if let Err(why) = batch.say(number, &self.means.exchange) {
                log::error!("{why}");
            }
        }
        let Some(cut) = shot.cut.take() else { return REST };
        let blocks = pursuit.blocks;
        self.pursuit = None;
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
        for disk in &mut self.disks {
            disk.passed = false;
        }
        let interval = u64::from(self.policy.interval_seconds).saturating_mul(1000);
        let now = self.means.clock.moment();
        // From the last due time, so that intervals do not grow by what a point takes; but never one after another.
        self.due = self.due.after(interval).max(now.after(interval / 2));
    }
}

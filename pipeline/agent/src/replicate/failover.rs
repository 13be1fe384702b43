//! A failover as the loop of a protected server sees it: told that it was demoted, told to compare everything, drained for one
//! that is planned.
//!
//! A drain goes one way: applications stop, a point, everything read-only, another point, and the proof that nothing was written
//! behind it. Whatever fails on the way undoes it all.

use hal::time::Moment;
use pipeline::ids::PointId;
use pipeline_wire::message::{Demotion, Drained, FromAgent};

use super::Replicator;
use crate::compare::Reason;

/// A drain that is not through by then is undone: applications are not to stand for ever because an appliance is gone.
const LIMIT_MILLIS: u64 = 3_600_000;
/// Remarks of an answer, and how long each is at most.
const REMARKS_MAX: usize = 16;
const REMARK_BYTES_MAX: usize = 200;

/// What is known of failovers.
#[derive(Default)]
pub(super) struct Failover {
    /// It was failed over, as the appliance of this session says.
    demotion: Option<Demotion>,
    /// The last time that everything was to be compared.
    compared: Option<u64>,
    /// The newest point that is called vaulted, with its epoch.
    pub(super) vaulted: Option<(u64, PointId)>,
    drain: Option<Drain>,
}

/// A drain that was begun.
struct Drain {
    order: String,
    power_off: bool,
    stage: Stage,
    began: Moment,
    remarks: Vec<String>,
}

enum Stage {
    /// The point with the applications stopped is to come: a cut behind this epoch.
    Stopped(u64),
    /// And that with everything read-only; how much was written when its cut was made.
    Still(u64, Option<u64>),
    /// It is there, and this is the answer.
    Done(Box<Drained>),
}

impl Failover {
    /// Whether points are made only when they are asked for, or not at all any more.
    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether no point is made any more.
    pub(super) fn is_drained(&self) -> bool {
        matches!(&self.drain, Some(Drain { stage: Stage::Done(_), .. }))
    }

    /// Whether everything is to be compared before the next point.
    pub(super) fn is_comparing(&self) -> bool {
        self.compared.is_some()
    }

    /// What it does, where that is out of the ordinary.
    pub(super) fn doing(&self) -> Option<String> {
        let Drain { order, stage, .. } = self.drain.as_ref()?;
        Some(match stage {
            Stage::Stopped(_) => format!("drained for order {order}: applications are stopped"),
            Stage::Still(..) => format!("drained for order {order}: everything is read-only"),
            Stage::Done(_) => format!("drained for order {order}: nothing is written any more"),
        })
    }

    /// What a person should know.
    pub(super) fn trouble(&self) -> Option<String> {
        let Demotion { order, branch, .. } = self.demotion.as_ref()?;
        Some(format!(
            "this server was failed over by order {order} and runs elsewhere: what is written here is kept as {branch}, beside it"
        ))
    }
}

impl Replicator {
    /// The appliance says that this is not the server any more.
    pub(super) fn demoted(&mut self, demotion: Demotion) {
        if self.failover.demotion.as_ref() != Some(&demotion) {
            self.failover.demotion = Some(demotion);
            self.failover.trouble().iter().for_each(|words| log::warn!("{words}"));
        }
    }

    /// A session begins: whether this is the server is said behind its welcome.
    pub(super) fn promoted(&mut self) {
        self.failover.demotion = None;
    }

    /// What the vault was called to have it does not: everything is compared before the next point. The same word is said until
    /// a cut answers it.
    pub(super) fn compare_all(&mut self, token: u64, words: &str) {
        if self.failover.compared == Some(token) {
            return;
        }
        self.failover.compared = Some(token);
        log::warn!("everything is compared: {words}");
        self.give_up();
        for place in 0..self.disks.len() {
            self.means.set_whole(place, false);
            let Some(disk) = self.disks.get_mut(place) else { continue };
            let untracked = disk.leaf.untracked.is_some() || self.means.tracker.is_none();
            disk.compare(if untracked { Reason::Untracked } else { Reason::Moved });
        }
    }

    /// A drain is ordered, perhaps once more.
    pub(super) fn drain(&mut self, order: String, power_off: bool) {
        if let Some(drain) = self.failover.drain.as_ref().filter(|drain| drain.order == order) {
            if let Stage::Done(drained) = &drain.stage {
                let said = FromAgent::Drained((**drained).clone());
                self.means.exchange.say(&said, Vec::new());
            }
            return;
        }
        if let Some(why) = self.cannot_be_proven() {
            self.not_drained(order, why);
            return;
        }
        log::warn!("drained for order {order}: applications are stopped");
        let troubles = self.means.standstill.stop();
        let began = self.means.clock.moment();
        // What an earlier drain stopped is stopped: its order was replaced.
        let stage = Stage::Stopped(self.epoch);
        let mut drain = Drain { order, power_off, stage, began, remarks: Vec::new() };
        drain.remark(troubles);
        self.failover.drain = Some(drain);
        // A point that is on its way was begun before.
        self.give_up();
        self.asked.now = true;
    }

    /// Why nobody could say that nothing was written after the last point.
    fn cannot_be_proven(&self) -> Option<String> {
        if self.means.tracker.is_none() {
            return Some("changes cannot be tracked on this kernel: capture it offline".to_owned());
        }
        let untracked = |disk: &&super::Disk| disk.leaf.untracked.is_some() || disk.gone.is_some();
        let disk = self.disks.iter().filter(|disk| !disk.left_out).find(untracked)?;
        let why = disk.leaf.untracked.clone().or_else(|| disk.gone.clone()).unwrap_or_default();
        Some(format!("changes of {} are not known: {why}", disk.label))
    }

    /// A drain is called off.
    pub(super) fn abort(&mut self, order: &str) {
        let Some(drain) = self.failover.drain.take_if(|drain| drain.order == order) else { return };
        log::warn!("the drain for order {} is called off: everything goes on", drain.order);
        for words in self.means.standstill.go_on() {
            log::error!("{words}");
            self.trouble(words);
        }
        self.schedule.due_at_once(self.means.clock.moment());
    }

    /// The answer is kept: a machine that was to be switched off is.
    pub(super) fn drain_noted(&mut self, order: &str) {
        let noted = self.failover.drain.as_ref().filter(|drain| drain.order == order);
        let Some(Drain { power_off: true, stage: Stage::Done(_), .. }) = noted else { return };
        log::warn!("drained for order {order}: the machine is switched off");
        if let Err(why) = self.means.standstill.power_off() {
            log::error!("{why}");
            self.trouble(why);
        }
    }

    fn not_drained(&mut self, order: String, words: String) {
        log::error!("not drained for order {order}: {words}");
        self.means.exchange.say(&FromAgent::NotDrained { order, words }, Vec::new());
    }

    fn fail_drain(&mut self, words: String) {
        let Some(order) = self.failover.drain.as_ref().map(|drain| drain.order.clone()) else {
            return;
        };
        self.abort(&order);
        self.not_drained(order, words);
    }

    /// Goes on with a drain as far as it can now.
    pub(super) fn drain_on(&mut self) {
        let now = self.means.clock.moment();
        let Some(drain) = &mut self.failover.drain else { return };
        if now.since(drain.began) > LIMIT_MILLIS && !matches!(drain.stage, Stage::Done(_)) {
            let words = "its points did not come into the vault within an hour";
            self.fail_drain(words.to_owned());
            return;
        }
        match drain.stage {
            Stage::Stopped(before) if self.vaulted > before && self.pursuit.is_none() => {
                log::warn!("drained for order {}: file systems become read-only", drain.order);
                if let Err(why) = self.means.standstill.read_only() {
                    self.fail_drain(why);
                    return;
                }
                drain.stage = Stage::Still(self.epoch, None);
                self.asked.now = true;
            }
            Stage::Still(before, None) if self.epoch > before => {
                // Before anything could be written that is not in that cut, or it is counted and proves nothing.
                let written =
                    self.means.tracker.as_mut().map_or(0, |tracker| tracker.written_bytes());
                drain.stage = Stage::Still(before, Some(written));
            }
            Stage::Still(_, Some(written))
                if self.vaulted == self.epoch && self.pursuit.is_none() =>
            {
                self.prove(written);
            }
            _ => {}
        }
    }

    /// Everything is in the vault: was anything written behind it?
    fn prove(&mut self, written_at_cut: u64) {
        let Some((epoch, point)) = self.failover.vaulted.filter(|(epoch, _)| *epoch == self.epoch)
        else {
            return;
        };
        let read_only = self.means.standstill.is_read_only();
        let mut changed_blocks = 0;
        let mut doubts = Vec::new();
        let Some(tracker) = &mut self.means.tracker else { return };
        // Nothing writes, so the kernel's own counters must be what was marked.
        let audit = tracker.audit();
        if !audit.incomplete.is_empty() {
            doubts = audit.words;
            doubts.push("a write may have been missed".to_owned());
        }
        for (place, disk) in self.disks.iter_mut().enumerate().filter(|(_, disk)| disk.is_in()) {
            if let Err(why) = tracker.take(place, &mut disk.changed) {
                doubts.push(why);
            }
            changed_blocks += disk.changed.count();
        }
        let written_after = tracker.written_bytes();
        let Some(drain) = &mut self.failover.drain else { return };
        let drained = Drained {
            order: drain.order.clone(),
            epoch,
            point,
            written_at_cut,
            written_after,
            changed_blocks,
            read_only,
            remarks: drain.remarks.clone(),
        };
        if !doubts.is_empty() || !drained.is_proof() {
            let words = format!(
                "something is written although everything is read-only: {changed_blocks} blocks, {} bytes; {}",
                written_after.saturating_sub(written_at_cut),
                doubts.join("; ")
            );
            self.fail_drain(words);
            return;
        }
        log::warn!(
            "drained for order {}: point {epoch} is these disks to the last byte",
            drain.order
        );
        drain.stage = Stage::Done(Box::new(drained.clone()));
        self.means.exchange.say(&FromAgent::Drained(drained), Vec::new());
    }
}

impl Drain {
    fn remark(&mut self, troubles: Vec<String>) {
        for mut words in troubles.into_iter().take(REMARKS_MAX) {
            words.truncate(words.floor_char_boundary(REMARK_BYTES_MAX));
            self.remarks.push(words);
        }
    }
}

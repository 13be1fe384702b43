//! What the appliance said, and what follows from it.

use pipeline_wire::message::{FromAgent, FromAppliance, Refused, VERSION_CARDS, Welcome};
use pipeline_wire::policy::Policy;

use super::Replicator;
use super::send::Set;
use crate::blocks::BlockSet;
use crate::compare::{Compare, Reason};
use crate::session::exchange::Event;
use crate::session::is_lasting;
use crate::tracker::Tracker;

/// Cuts of groups that wait to be made.
const GROUPS_MAX: usize = 16;

impl Replicator {
    /// Takes an event.
    pub(super) fn hear(&mut self, event: Event) {
        match event {
            Event::Welcomed(welcome) => self.welcomed(&welcome),
            Event::Away(words) => {
                self.appliance = words;
                self.session_lost();
            }
            Event::Refused(refused) => self.was_refused(&refused),
            Event::Said(said) => self.said(said),
        }
    }

    fn welcomed(&mut self, welcome: &Welcome) {
        self.appliance = format!("connected (version {})", welcome.appliance);
        self.refused = false;
        self.fingerprinter =
            Some(pipeline::fingerprint::Fingerprinter::new(&welcome.fingerprint_key));
        let known = welcome.spooled_epoch.max(welcome.vaulted_epoch);
        self.epoch = self.epoch.max(known);
        self.session_lost();
        self.promoted();
        self.vaulted(welcome.vaulted_epoch);
        self.set_policy(welcome.policy.clone());
        if welcome.version >= VERSION_CARDS {
            let cards = self.means.standstill.cards();
            self.means.exchange.say(&FromAgent::Cards { cards }, Vec::new());
        }
        if !self.begun {
            self.begin(&welcome.known_disks, known);
            self.begun = true;
        }
    }

    /// Decides what of each disk is to be sent. `newest` is the newest epoch that the appliance knows.
    fn begin(&mut self, known: &[bool], newest: u64) {
        let next = self.epoch + 1;
        for (place, disk) in self.disks.iter_mut().enumerate() {
            let known = known.get(place).is_some_and(|known| *known);
            let mut tracker = self.means.tracker.as_mut();
            if let Some(tracker) = &mut tracker {
                // Marks of an earlier start of the machine are of no use where the vault has newer points than they
                // know: this is a copy of the disk as it was, put back.
                let from = tracker.goes_on_from(place);
                disk.continued &= from.is_none_or(|from| newest <= from);
                tracker.settled(place);
            }
            match tracker.filter(|_| disk.leaf.untracked.is_none()) {
                // What was sent of it and is not in the vault is held, whatever became of the earlier run.
                Some(tracker) if disk.carried && disk.continued && disk.compare.is_some() => {
                    disk.ask_about(held_of(&mut **tracker, place, disk.blocks));
                }
                Some(tracker) if known && disk.continued && disk.whole => {
                    let held = held_of(&mut **tracker, place, disk.blocks);
                    log::info!(
                        "{}: tracking goes on; {} blocks may not be in the vault",
                        disk.label,
                        held.count()
                    );
                    disk.ask_about(held);
                }
                Some(_) => {
                    let reason = if known { Reason::Lost } else { Reason::First };
                    disk.compare(reason);
                    self.means.set_whole(place, false);
                    log::info!("{} {}", disk.label, reason.words());
                }
                None => disk.compare(if known { Reason::Untracked } else { Reason::First }),
            }
        }
        if let Some(tracker) = &mut self.means.tracker {
            tracker.resend(next);
        }
    }

    fn was_refused(&mut self, refused: &Refused) {
        self.appliance = format!("refused: {}; {}", refused.words, refused.remedy);
        self.refused = is_lasting(refused.why);
        self.session_lost();
    }

    fn session_lost(&mut self) {
        self.asked.groups.clear();
        self.schedule.session_lost();
        for disk in &mut self.disks {
            disk.runs().for_each(Compare::session_lost);
        }
    }

    fn said(&mut self, said: FromAppliance) {
        match said {
            FromAppliance::Policy(policy) => self.set_policy(policy),
            FromAppliance::Vaulted { epoch, point } => {
                self.failover.vaulted = Some((epoch, point));
                self.vaulted(epoch);
            }
            FromAppliance::Wanted { question, bits } => self.wanted(question, &bits),
            FromAppliance::Resend { words } => self.resend(&words),
            FromAppliance::Prepare { token, patience_millis } => {
                let group = (token, patience_millis);
                if !self.asked.groups.contains(&group) && self.asked.groups.len() < GROUPS_MAX {
                    self.asked.groups.push_back(group);
                }
            }
            FromAppliance::Demoted(demotion) => self.demoted(demotion),
            FromAppliance::Compare { token, words } => self.compare_all(token, &words),
            FromAppliance::Drain { order, power_off } => self.drain(order, power_off),
            FromAppliance::DrainNoted { order } => self.drain_noted(&order),
            FromAppliance::Abort { order } => self.abort(&order),
            FromAppliance::CutNow { application } => {
                self.asked.now = true;
                self.asked.application |= application;
            }
            FromAppliance::GroupResult { token, valid } if !valid => {
                log::warn!(
                    "the point of group cut {token} is void: not every member was still frozen"
                );
            }
            _ => {}
        }
    }

    fn set_policy(&mut self, policy: Policy) {
        let policy = policy.bounded();
        let millis = u64::from(policy.interval_seconds).saturating_mul(1000);
        self.schedule.set_interval(millis);
        self.means.exchange.pace(policy.send_bytes_per_second);
        self.compare_pace.change(policy.compare_bytes_per_second);
        for (place, disk) in self.disks.iter_mut().enumerate() {
            let left_out = policy.left_out.contains(&disk.label);
            if left_out != disk.left_out {
                disk.left_out = left_out;
                disk.whole = false;
                // Nothing of it is kept while it is left out.
                self.means.set_whole(place, false);
                if self.begun {
                    disk.compare(Reason::Lost);
                }
            }
        }
        self.policy = policy;
        if self.disks.iter().any(|disk| disk.left_out) {
            self.give_up();
        }
    }

    /// A cut is in the vault.
    fn vaulted(&mut self, epoch: u64) {
        if epoch > self.vaulted {
            self.vaulted = epoch;
            self.schedule.vaulted(epoch, self.means.clock.moment());
            if let Some(tracker) = &mut self.means.tracker {
                tracker.vaulted(epoch);
            }
        }
    }

    fn wanted(&mut self, question: u32, bits: &[u8]) {
        for disk in &mut self.disks {
            for set in [Set::Changed, Set::Wanted] {
                let run = disk.run_into(set);
                if let Some(wanted) = run.and_then(|run| run.answered(question, bits)) {
                    wanted.into_iter().for_each(|block| disk.set(set).insert(block));
                    return;
                }
            }
        }
    }

    /// What was spooled is lost: everything that is not in the vault goes again, before the next cut.
    fn resend(&mut self, words: &str) {
        log::warn!("the appliance asks for everything again that is not in the vault: {words}");
        let next = self.epoch + 1;
        for (place, disk) in self.disks.iter_mut().enumerate() {
            let tracker = self.means.tracker.as_mut();
            match tracker.filter(|_| disk.leaf.untracked.is_none()) {
                Some(tracker) => tracker.held(place, &mut disk.changed),
                None => disk.compare(Reason::Untracked),
            }
        }
        if let Some(tracker) = &mut self.means.tracker {
            tracker.resend(next);
        }
    }
}

/// What an earlier run sent of a disk and may not have brought into the vault.
fn held_of(tracker: &mut dyn Tracker, place: usize, blocks: u64) -> BlockSet {
    let mut held = BlockSet::new(blocks);
    tracker.held(place, &mut held);
    held
}

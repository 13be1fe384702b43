//! From time to time everything of a disk is held against the vault, whatever the tracker says: what no audit can see,
//! such as writes of other machines to a shared disk, does not stay unseen for longer.
//!
//! It goes on beside tracking, one disk at a time, at the policy's pace for compares, and points stay what they are.

use pipeline::seal::digest;

use super::Replicator;
use crate::compare::Reason;

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// At the latest so long after everything of the disk was read the last time.
const EVERY_MILLIS: u64 = 30 * DAY_MILLIS;
/// And up to so much earlier, each disk of each server by itself, so that what began together does not go on together.
const SPREAD_MILLIS: u64 = 6 * DAY_MILLIS;

impl Replicator {
    /// Begins with the first disk whose time has come, unless another is run through.
    pub(super) fn verify(&mut self) {
        let is_run_through = self.disks.iter().any(|disk| disk.compare.is_some());
        if is_run_through || self.policy.paused || self.means.tracker.is_none() {
            return;
        }
        let now = self.means.clock.now();
        for place in 0..self.disks.len() {
            let Some(disk) = self.disks.get_mut(place) else { continue };
            if !disk.is_in() || !disk.whole || disk.leaf.untracked.is_some() {
                continue;
            }
            match self.means.memory.compared_at(&disk.label) {
                Some(at) if at <= now => {
                    if now.0 - at.0 >= wait_millis(&self.server, &disk.label) {
                        log::info!("{} {}", disk.label, Reason::Verify.words());
                        disk.compare(Reason::Verify);
                        return;
                    }
                }
                // An agent that did not remember it yet, or a clock that was ahead.
                _ => self.was_compared(place),
            }
        }
    }

    /// Everything of a disk was held against the vault.
    pub(super) fn was_compared(&mut self, place: usize) {
        let Some(disk) = self.disks.get(place) else { return };
        if let Err(why) = self.means.memory.set_compared(&disk.label, self.means.clock.now()) {
            log::error!("{why}");
            self.trouble(why);
        }
    }
}

/// How long after one run through a disk of a server the next begins.
fn wait_millis(server: &str, label: &str) -> u64 {
    let [first, second, ..] = digest(&[server.as_bytes(), &[0], label.as_bytes()]).0;
    let part = u64::from(u16::from_le_bytes([first, second]));
    EVERY_MILLIS - SPREAD_MILLIS * part / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_and_servers_do_not_begin_together_and_none_later_than_after_thirty_days() {
        let days: Vec<u64> = (0..200)
            .flat_map(|server| ["sda", "sdb"].map(|disk| wait_millis(&server.to_string(), disk)))
            .inspect(|wait| assert!((24 * DAY_MILLIS + 1..=30 * DAY_MILLIS).contains(wait)))
            .map(|wait| wait / DAY_MILLIS)
            .collect();
        for day in 24..30 {
            let of_day = days.iter().filter(|other| **other == day).count();
            assert!((33..100).contains(&of_day), "{of_day} of 400 after {day} days");
        }
    }
}

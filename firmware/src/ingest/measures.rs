//! What is measured of a server: how old its newest recoverable state is, how much it writes, how long it was frozen.

use core::net::IpAddr;
use std::collections::VecDeque;

use hal::time::Moment;
use serde::{Deserialize, Serialize};

const HOUR_MILLIS: u64 = 3_600_000;
const SLOT_MILLIS: u64 = 300_000;
/// Freezes that are remembered.
const FREEZES_MAX: usize = 256;
/// Cuts that are on their way to the vault and whose age is known one by one.
const CUTS_MAX: usize = 1024;

/// What was measured of a server, told at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Whether its agent is connected.
    pub connected: bool,
    /// What its agent says that it does.
    pub doing: String,
    /// Age of the newest cut in the spool.
    pub spooled_age_seconds: Option<u64>,
    /// Age of the newest cut in the vault.
    pub vaulted_age_seconds: Option<u64>,
    /// Bytes in the spool that the vault does not have.
    pub backlog_bytes: u64,
    /// Bytes that came within the last hour.
    pub hour_bytes: u64,
    /// Of each disk: its name, and the bytes that came within the last hour.
    pub disks: Vec<(String, u64)>,
    /// Bytes that the vault stored for each hundred that were sent to it.
    pub stored_percent: Option<u64>,
    /// The longest freeze that is remembered, microseconds.
    pub frozen_micros_max: Option<u64>,
    /// The middle one of those.
    pub frozen_micros_median: Option<u64>,
    /// Of a run of its agent through everything: bytes done.
    #[serde(default)]
    pub compare_done_bytes: u64,
    /// And in all; 0 where there is no such run.
    #[serde(default)]
    pub compare_bytes: u64,
    /// Where its agent connects from.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// What a person should know.
    pub troubles: Vec<String>,
}

/// What is counted while an agent speaks.
#[derive(Debug, Default)]
pub struct Measures {
    /// Bytes by disk, in slots of five minutes, the newest last.
    slots: VecDeque<(u64, Vec<u64>)>,
    freezes: VecDeque<u64>,
    /// Cuts that the vault does not have: epoch, and when it came.
    cuts: VecDeque<(u64, Moment)>,
    spooled: Option<Moment>,
    vaulted: Option<Moment>,
    read_bytes: u64,
    stored_bytes: u64,
    address: Option<IpAddr>,
}

impl Measures {
    /// Its agent connects from there.
    pub fn came_from(&mut self, address: IpAddr) {
        self.address = Some(address);
    }

    /// So many bytes of a disk came.
    pub fn came(&mut self, disk: u16, bytes: u64, now: Moment) {
        let slot = now.0 / SLOT_MILLIS;
        if self.slots.back().is_none_or(|(newest, _)| *newest != slot) {
            self.slots.push_back((slot, Vec::new()));
        }
        while self.slots.front().is_some_and(|(old, _)| slot - old >= HOUR_MILLIS / SLOT_MILLIS) {
            self.slots.pop_front();
        }
        let Some((_, disks)) = self.slots.back_mut() else { return };
        let disk = usize::from(disk);
        if disks.len() <= disk {
            disks.resize(disk + 1, 0);
        }
        disks[disk] = disks[disk].saturating_add(bytes);
    }

    /// A cut came.
    pub fn cut(&mut self, epoch: u64, frozen_micros: u64, now: Moment) {
        if frozen_micros > 0 {
            self.freezes.push_back(frozen_micros);
        }
        if self.freezes.len() > FREEZES_MAX {
            self.freezes.pop_front();
        }
        self.cuts.push_back((epoch, now));
        if self.cuts.len() > CUTS_MAX {
            self.cuts.pop_front();
        }
        self.spooled = Some(now);
    }

    /// The vault has the point of an epoch.
    pub fn vaulted(&mut self, epoch: u64) {
        while let Some((_, at)) = self.cuts.front().filter(|(cut, _)| *cut <= epoch) {
            self.vaulted = Some(*at);
            self.cuts.pop_front();
        }
    }

    /// What making points cost.
    pub fn stored(&mut self, read_bytes: u64, stored_bytes: u64) {
        self.read_bytes = self.read_bytes.saturating_add(read_bytes);
        self.stored_bytes = self.stored_bytes.saturating_add(stored_bytes);
    }

    /// As told now; what others know is left out.
    #[must_use]
    pub fn told(&self, names: &[String], now: Moment) -> Told {
        let newest = now.0 / SLOT_MILLIS;
        let is_recent = |slot: u64| slot + HOUR_MILLIS / SLOT_MILLIS > newest;
        let recent = || self.slots.iter().filter(|(slot, _)| is_recent(*slot));
        let of = |disk: usize| recent().filter_map(|(_, disks)| disks.get(disk)).sum::<u64>();
        let disks: Vec<(String, u64)> =
            names.iter().enumerate().map(|(disk, name)| (name.clone(), of(disk))).collect();
        let mut freezes: Vec<u64> = self.freezes.iter().copied().collect();
        freezes.sort_unstable();
        let age = |at: Option<Moment>| at.map(|at| now.since(at) / 1000);
        Told {
            spooled_age_seconds: age(self.spooled),
            vaulted_age_seconds: age(self.vaulted),
            hour_bytes: disks.iter().map(|(_, bytes)| bytes).sum(),
            disks,
            address: self.address,
            stored_percent: self.stored_bytes.saturating_mul(100).checked_div(self.read_bytes),
            frozen_micros_max: freezes.last().copied(),
            frozen_micros_median: freezes.get(freezes.len() / 2).copied(),
            ..Told::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_forgotten_and_ages_are_those_of_the_newest_cuts() {
        let mut measures = Measures::default();
        let minute = |minute: u64| Moment(minute * 60_000);
        measures.came(1, 100, minute(1));
        measures.came(0, 7, minute(30));
        measures.cut(1, 900, minute(30));
        measures.cut(2, 100, minute(31));
        measures.vaulted(1);
        measures.stored(1000, 250);
        let names = ["sda".to_owned(), "sdb".to_owned()];
        let told = measures.told(&names, minute(40));
        assert_eq!(told.disks, [("sda".to_owned(), 7), ("sdb".to_owned(), 100)]);
        assert_eq!((told.hour_bytes, told.stored_percent), (107, Some(25)));
        assert_eq!((told.spooled_age_seconds, told.vaulted_age_seconds), (Some(540), Some(600)));
        assert_eq!((told.frozen_micros_median, told.frozen_micros_max), (Some(900), Some(900)));
        measures.came(0, 1, minute(70));
        assert_eq!(measures.told(&names, minute(70)).hour_bytes, 8);
    }
}

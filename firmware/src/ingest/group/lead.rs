//! When the next cut of a group is asked for: so early that all its servers' points are in the vault before the newest there
//! are as old as the shortest interval of theirs. Pure.
//!
//! From the word that asks for a cut to the vault's having it of all members goes everybody's pre-copy, the freeze, and the
//! slowest one's way through spool and vault. How long that will be is known from the last cuts, as a single server's agent
//! knows it of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hal::time::Moment;
use pipeline::ids::ServerId;

/// Cuts whose length is remembered: the longest of them counts.
const CUTS_KEPT: usize = 8;
/// What is not foreseen: half of what was, and a moment.
const MARGIN_PERCENT: u64 = 50;
const MARGIN_MILLIS: u64 = 250;
/// The share of the interval that a cut begins earlier at most, and that lies between two at least.
const LEAD_PERCENT_MAX: u64 = 50;

/// The leads of all groups.
#[derive(Debug, Default)]
pub struct Leads {
    groups: BTreeMap<String, Lead>,
}

/// What is known of one group.
#[derive(Debug, Default)]
struct Lead {
    /// The last cut that was asked for.
    asked: Option<(u64, Moment)>,
    /// The instant of the newest cut that holds.
    newest: Option<Moment>,
    /// When all were frozen for the last cut.
    frozen: Option<(u64, Moment)>,
    /// Servers whose part of the newest cut the vault does not have, with its epoch; and when that cut was asked for.
    waits: BTreeMap<ServerId, u64>,
    waits_since: Moment,
    took: VecDeque<u64>,
}

impl Leads {
    /// Forgets all groups but these.
    pub fn retain(&mut self, names: &BTreeSet<String>) {
        self.groups.retain(|name, _| names.contains(name));
    }

    /// When a group's next cut is due.
    #[must_use]
    pub fn due(&self, name: &str, interval_millis: u64) -> Moment {
        self.groups.get(name).map_or_else(Moment::default, |lead| lead.due(interval_millis))
    }

    /// A cut was asked for.
    pub fn asked(&mut self, name: &str, token: u64, now: Moment) {
        self.groups.entry(name.to_owned()).or_default().asked = Some((token, now));
    }

    /// All members are frozen for a cut: that is its instant.
    pub fn frozen(&mut self, token: u64, now: Moment) {
        if let Some(lead) = self.of(token) {
            lead.frozen = Some((token, now));
        }
    }

    /// A cut holds, of these servers in these epochs.
    pub fn held(&mut self, token: u64, parts: impl Iterator<Item = (ServerId, u64)>) {
        let Some(lead) = self.of(token) else { return };
        lead.newest = lead.frozen.filter(|(of, _)| *of == token).map(|(_, at)| at);
        // What the vault does not have of an earlier cut by now took longer than anybody should wait for.
        lead.waits = parts.collect();
        lead.waits_since = lead.asked.map_or_else(Moment::default, |(_, at)| at);
    }

    /// The vault has a server's point of this epoch.
    pub fn vaulted(&mut self, server: ServerId, epoch: u64, now: Moment) {
        for lead in self.groups.values_mut() {
            if lead.waits.get(&server).is_none_or(|wanted| *wanted > epoch) {
                continue;
            }
            lead.waits.remove(&server);
            if lead.waits.is_empty() {
                lead.took.truncate(CUTS_KEPT - 1);
                lead.took.push_front(now.since(lead.waits_since));
            }
        }
    }

    fn of(&mut self, token: u64) -> Option<&mut Lead> {
        self.groups.values_mut().find(|lead| lead.asked.is_some_and(|(of, _)| of == token))
    }
}

impl Lead {
    fn due(&self, interval_millis: u64) -> Moment {
        let Some((_, asked)) = self.asked else { return Moment::default() };
        let most = interval_millis * LEAD_PERCENT_MAX / 100;
        let rest = asked.after(most);
        // One that came to nothing is asked for again as soon as may be.
        let Some(newest) = self.newest else { return rest };
        let longest = self.took.iter().max().copied().unwrap_or(0);
        let lead = longest + longest * MARGIN_PERCENT / 100 + MARGIN_MILLIS;
        newest.after(interval_millis - lead.min(most)).max(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ServerId = ServerId([1; 16]);
    const TWO: ServerId = ServerId([2; 16]);
    const INTERVAL: u64 = 60_000;

    /// A cut that is asked for now, frozen a second later, and in the vault of both after so long.
    fn cut(leads: &mut Leads, token: u64, now: Moment, takes: u64) {
        leads.asked("shop", token, now);
        leads.frozen(token, now.after(1000));
        leads.held(token, [(ONE, token), (TWO, token)].into_iter());
        leads.vaulted(ONE, token, now.after(takes / 2));
        leads.vaulted(TWO, token, now.after(takes));
    }

    #[test]
    fn a_group_begins_so_early_that_the_slowest_of_it_is_in_the_vault_in_time() {
        let mut leads = Leads::default();
        assert_eq!(leads.due("shop", INTERVAL), Moment(0), "the first is due now");
        let mut now = Moment(1000);
        cut(&mut leads, 1, now, 12_000);
        for token in 2..12 {
            let instant = now.after(1000);
            now = leads.due("shop", INTERVAL);
            cut(&mut leads, token, now, 12_000);
            let there = now.after(12_000).since(instant);
            assert!((45_000..=INTERVAL).contains(&there), "the newest was {there} ms old");
        }
        // One quiet cut does not make the next late, and one that takes very long does not make them crowd.
        cut(&mut leads, 20, now, 500);
        assert!(leads.due("shop", INTERVAL) <= now.after(1000 + INTERVAL - 18_000));
        cut(&mut leads, 21, now, 10 * INTERVAL);
        assert_eq!(leads.due("shop", INTERVAL), now.after(1000 + INTERVAL / 2));
    }

    #[test]
    fn a_cut_that_came_to_nothing_is_asked_for_again_and_not_at_once() {
        let mut leads = Leads::default();
        cut(&mut leads, 1, Moment(1000), 4000);
        leads.asked("shop", 2, Moment(40_000));
        leads.frozen(2, Moment(41_000));
        assert_eq!(leads.due("shop", INTERVAL), Moment(70_000), "half an interval behind it");
        // What is said of cuts that nobody asked for, or of points before, changes nothing.
        leads.held(9, [(ONE, 1)].into_iter());
        leads.vaulted(ONE, 0, Moment(50_000));
        assert_eq!(leads.due("shop", INTERVAL), Moment(70_000));
        leads.retain(&BTreeSet::new());
        assert_eq!(leads.due("shop", INTERVAL), Moment(0));
    }
}

//! Cuts of several servers at one instant: who was asked, who is frozen, and whether it became a point. Pure; no clock takes
//! part but for giving up.

use std::collections::{BTreeMap, BTreeSet};

use hal::time::Moment;
use pipeline::ids::ServerId;
use pipeline_wire::message::FromAppliance;

/// When the next cut is asked for.
pub mod lead;

/// What is to be done because of what was heard.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Say this to a server.
    Tell(ServerId, FromAppliance),
    /// All cuts under this token hold, of these servers: keep them together.
    Hold(u64, Vec<ServerId>),
    /// No cut under this token is a point.
    Void(u64, Vec<ServerId>),
}

struct Group {
    name: String,
    members: BTreeSet<ServerId>,
    frozen: BTreeSet<ServerId>,
    cuts: BTreeSet<ServerId>,
    gives_up: Moment,
}

/// The cuts that are being made together.
#[derive(Default)]
pub struct Groups {
    running: BTreeMap<u64, Group>,
}

impl Groups {
    /// Asks all members for a cut, unless one of this group is being made.
    pub fn begin(
        &mut self,
        name: &str,
        token: u64,
        members: &[ServerId],
        patience_millis: u32,
        now: Moment,
    ) -> Vec<Effect> {
        if self.is_running(name) || members.is_empty() {
            return Vec::new();
        }
        // Everybody thaws by his own patience; the cuts may be a little longer on their way.
        let gives_up = now.after(u64::from(patience_millis).saturating_mul(3).max(30_000));
        let group = Group {
            name: name.to_owned(),
            members: members.iter().copied().collect(),
            frozen: BTreeSet::new(),
            cuts: BTreeSet::new(),
            gives_up,
        };
        self.running.insert(token, group);
        let ask = |member: &ServerId| {
            Effect::Tell(*member, FromAppliance::Prepare { token, patience_millis })
        };
        members.iter().map(ask).collect()
    }

    /// Whether a cut of this group is being made.
    #[must_use]
    pub fn is_running(&self, name: &str) -> bool {
        self.running.values().any(|group| group.name == name)
    }

    /// A member is frozen; once all are, each is told.
    pub fn frozen(&mut self, server: ServerId, token: u64) -> Vec<Effect> {
        let Some(group) = self.running.get_mut(&token) else { return Vec::new() };
        if !group.members.contains(&server) || !group.frozen.insert(server) {
            return Vec::new();
        }
        if group.frozen != group.members {
            return Vec::new();
        }
        let told = |member: &ServerId| Effect::Tell(*member, FromAppliance::AllFrozen { token });
        group.members.iter().map(told).collect()
    }

    /// A member's cut arrived, and it says whether it was still frozen when it was told that all were.
    pub fn cut(&mut self, server: ServerId, token: u64, frozen: bool) -> Vec<Effect> {
        // Who is no member says nothing of a group, whatever token it found.
        let running = self.running.get_mut(&token);
        let Some(group) = running.filter(|group| group.members.contains(&server)) else {
            return vec![
                Effect::Void(token, vec![server]),
                Effect::Tell(server, FromAppliance::GroupResult { token, valid: false }),
            ];
        };
        if !frozen || group.frozen != group.members {
            return self.void(token);
        }
        group.cuts.insert(server);
        if group.cuts != group.members {
            return Vec::new();
        }
        let members: Vec<ServerId> = group.members.iter().copied().collect();
        self.running.remove(&token);
        let told = |member: &ServerId| {
            Effect::Tell(*member, FromAppliance::GroupResult { token, valid: true })
        };
        let mut effects: Vec<Effect> = members.iter().map(told).collect();
        effects.insert(0, Effect::Hold(token, members));
        effects
    }

    /// A server is gone: what it is part of becomes nothing.
    pub fn gone(&mut self, server: ServerId) -> Vec<Effect> {
        let part =
            |(token, group): (&u64, &Group)| group.members.contains(&server).then_some(*token);
        let tokens: Vec<u64> = self.running.iter().filter_map(part).collect();
        tokens.into_iter().flat_map(|token| self.void(token)).collect()
    }

    /// Gives up what takes too long.
    pub fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let late = |(token, group): (&u64, &Group)| (group.gives_up <= now).then_some(*token);
        let tokens: Vec<u64> = self.running.iter().filter_map(late).collect();
        tokens.into_iter().flat_map(|token| self.void(token)).collect()
    }

    fn void(&mut self, token: u64) -> Vec<Effect> {
        let Some(group) = self.running.remove(&token) else { return Vec::new() };
        let members: Vec<ServerId> = group.members.into_iter().collect();
        let told = |member: &ServerId| {
            Effect::Tell(*member, FromAppliance::GroupResult { token, valid: false })
        };
        let mut effects: Vec<Effect> = members.iter().map(told).collect();
        effects.insert(0, Effect::Void(token, members));
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServerId = ServerId([1; 16]);
    const B: ServerId = ServerId([2; 16]);

    fn begun() -> Groups {
        let mut groups = Groups::default();
        assert_eq!(groups.begin("shop", 7, &[A, B], 1000, Moment(0)).len(), 2);
        assert_eq!(groups.begin("shop", 8, &[A, B], 1000, Moment(0)), []);
        groups
    }

    fn holds(effects: &[Effect]) -> Option<bool> {
        effects.iter().find_map(|effect| match effect {
            Effect::Hold(..) => Some(true),
            Effect::Void(..) => Some(false),
            Effect::Tell(..) => None,
        })
    }

    #[test]
    fn all_frozen_is_told_once_all_are_and_the_cuts_hold_once_all_are_there() {
        let mut groups = begun();
        assert_eq!(groups.frozen(A, 7), []);
        assert_eq!(groups.frozen(A, 7), []);
        assert_eq!(groups.frozen(B, 7).len(), 2);
        assert_eq!(groups.cut(B, 7, true), []);
        let effects = groups.cut(A, 7, true);
        assert_eq!(effects[0], Effect::Hold(7, vec![A, B]));
        assert!(!groups.is_running("shop"));
    }

    #[test]
    fn one_that_thawed_is_gone_late_or_was_not_asked_makes_it_void_for_all() {
        let mut groups = begun();
        assert_eq!(groups.frozen(ServerId([9; 16]), 7), []);
        assert_eq!(holds(&groups.cut(A, 7, true)), Some(false), "B was never frozen");
        let mut groups = begun();
        groups.frozen(A, 7);
        groups.frozen(B, 7);
        assert_eq!(holds(&groups.cut(A, 7, true)), None);
        assert_eq!(holds(&groups.cut(B, 7, false)), Some(false));
        assert_eq!(holds(&groups.cut(A, 7, true)), Some(false), "nobody knows it any more");
        let mut groups = begun();
        groups.frozen(A, 7);
        assert_eq!(holds(&groups.gone(B)), Some(false));
        let mut groups = begun();
        assert_eq!(holds(&groups.tick(Moment(29_999))), None);
        assert_eq!(holds(&groups.tick(Moment(30_000))), Some(false));
    }

    #[test]
    fn who_is_no_member_makes_its_own_cut_void_and_nobody_elses() {
        let stranger = ServerId([9; 16]);
        let mut groups = begun();
        groups.frozen(A, 7);
        groups.frozen(B, 7);
        for frozen in [true, false] {
            let effects = groups.cut(stranger, 7, frozen);
            assert_eq!(effects[0], Effect::Void(7, vec![stranger]));
            assert!(!effects.iter().any(|effect| matches!(effect, Effect::Tell(A | B, _))));
        }
        assert_eq!(holds(&groups.cut(A, 7, true)), None);
        assert_eq!(holds(&groups.cut(B, 7, true)), Some(true));
    }
}

//! Whose turn it is to be judged whether it could be recovered: who has its first point, whose target profile changed, and
//! everybody once a day. It judges nobody itself.

use std::collections::BTreeMap;

use firmware_recovery::profile::Profile;
use hal::time::Moment;
use pipeline::ids::ServerId;

const DAY_MILLIS: u64 = 86_400_000;
/// How long until it is tried again where something could not be asked.
const AGAIN_MILLIS: u64 = 600_000;

/// How judging a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All that was wanted was asked.
    Whole,
    /// Azure could not be reached.
    WithoutAzure,
    /// Nothing is known.
    Failed,
}

/// Who was judged when, by what.
#[derive(Debug, Default)]
pub(super) struct Judging {
    known: BTreeMap<ServerId, Known>,
    /// Since when Azure is known to be out of reach.
    away: Option<Moment>,
}

#[derive(Debug)]
struct Known {
    profile: Option<Profile>,
    at: Moment,
    again_millis: u64,
}

impl Judging {
    /// Whether it is the turn of a server that has points.
    pub(super) fn is_due(&self, server: ServerId, profile: Option<&Profile>, now: Moment) -> bool {
        self.known.get(&server).is_none_or(|known| {
            known.profile.as_ref() != profile || now.since(known.at) >= known.again_millis
        })
    }

    /// Whether Azure is asked: where it was out of reach for one server, others do not wait for it too.
    pub(super) fn asks_azure(&self, now: Moment) -> bool {
        self.away.is_none_or(|at| now.since(at) >= AGAIN_MILLIS)
    }

    /// A server was judged.
    pub(super) fn note(
        &mut self,
        server: ServerId,
        profile: Option<&Profile>,
        outcome: Outcome,
        now: Moment,
    ) {
        let was_asked = profile.is_some() && self.asks_azure(now);
        match outcome {
            Outcome::WithoutAzure => self.away = Some(now),
            Outcome::Whole if was_asked => self.away = None,
            _ => {}
        }
        let is_whole = outcome == Outcome::Whole && (profile.is_none() || was_asked);
        let again_millis = if is_whole { DAY_MILLIS } else { AGAIN_MILLIS };
        self.known.insert(server, Known { profile: profile.cloned(), at: now, again_millis });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hal::time::Clock as _;
    use hal_sim::clock::SimClock;

    const ONE: ServerId = ServerId([1; 16]);
    const OTHER: ServerId = ServerId([2; 16]);

    #[test]
    fn a_server_is_judged_at_its_first_point_at_another_profile_and_every_day() {
        let (clock, mut judging) = (SimClock::default(), Judging::default());
        assert!(judging.is_due(ONE, None, clock.moment()), "it has its first point");
        judging.note(ONE, None, Outcome::Whole, clock.moment());
        assert!(!judging.is_due(ONE, None, clock.moment()));
        assert!(judging.is_due(OTHER, None, clock.moment()), "each has its own turn");
        let mut profile = Profile::nowhere();
        assert!(judging.is_due(ONE, Some(&profile), clock.moment()), "it has a profile now");
        judging.note(ONE, Some(&profile), Outcome::Whole, clock.moment());
        assert!(!judging.is_due(ONE, Some(&profile), clock.moment()));
        profile.sizes.push("Standard_D2s_v5".to_owned());
        assert!(judging.is_due(ONE, Some(&profile), clock.moment()), "it changed");
        judging.note(ONE, Some(&profile), Outcome::Whole, clock.moment());
        clock.advance(DAY_MILLIS - 1);
        assert!(!judging.is_due(ONE, Some(&profile), clock.moment()));
        clock.advance(1);
        assert!(judging.is_due(ONE, Some(&profile), clock.moment()), "a day went by");
    }

    #[test]
    fn an_azure_out_of_reach_is_waited_for_once_and_asked_again_soon() {
        let (clock, mut judging) = (SimClock::default(), Judging::default());
        let profile = Profile::nowhere();
        assert!(judging.asks_azure(clock.moment()));
        judging.note(ONE, Some(&profile), Outcome::WithoutAzure, clock.moment());
        assert!(!judging.asks_azure(clock.moment()), "the next server does not wait for it");
        judging.note(OTHER, Some(&profile), Outcome::Whole, clock.moment());
        assert!(!judging.asks_azure(clock.moment()), "nobody asked it since");
        clock.advance(AGAIN_MILLIS);
        for server in [ONE, OTHER] {
            assert!(judging.is_due(server, Some(&profile), clock.moment()));
        }
        assert!(judging.asks_azure(clock.moment()));
        judging.note(ONE, Some(&profile), Outcome::Whole, clock.moment());
        assert!(!judging.is_due(ONE, Some(&profile), clock.moment()));
        judging.note(OTHER, Some(&profile), Outcome::Failed, clock.moment());
        clock.advance(AGAIN_MILLIS);
        assert!(judging.is_due(OTHER, Some(&profile), clock.moment()), "it failed");
        assert!(!judging.is_due(ONE, Some(&profile), clock.moment()), "it was judged whole");
    }
}

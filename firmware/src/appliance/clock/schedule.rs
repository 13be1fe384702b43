//! When time servers are asked: at once when the network changes and none has answered yet, then less and less often; each
//! hour after a good answer.

use hal::time::Moment;

use crate::net::state::State;

/// After a good answer the clock is asked for again in this time.
const AGAIN_MILLIS: u64 = 3_600_000;
/// While no server has answered: at first, and at most.
const RETRY_MILLIS_MIN: u64 = 2000;
const RETRY_MILLIS_MAX: u64 = 30_000;

/// What of the network decides whether a time server can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outlook {
    servers: Vec<String>,
    dns: Vec<String>,
    /// Addresses and ways of each link.
    links: Vec<[Vec<String>; 2]>,
}

impl Outlook {
    pub(super) fn of(state: &State) -> Self {
        let links = state.links.iter();
        Self {
            servers: state.ntp.clone(),
            dns: state.dns.clone(),
            links: links.map(|link| [link.addresses.clone(), link.gateways.clone()]).collect(),
        }
    }
}

/// When servers are asked.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Moment,
    millis: u64,
    answered: bool,
    asked: Option<Outlook>,
}

impl Schedule {
    pub(super) fn new(now: Moment) -> Self {
        Self { due: now, millis: RETRY_MILLIS_MIN, answered: false, asked: None }
    }

    /// Whether servers are to be asked now, with the network as it is.
    pub(super) fn is_due(&self, now: Moment, outlook: &Outlook) -> bool {
        now >= self.due || !self.answered && self.asked.as_ref() != Some(outlook)
    }

    /// Takes note that they were asked with the network as it was then, and whether one answered.
    pub(super) fn note(&mut self, now: Moment, outlook: Outlook, answered: bool) {
        if self.asked.as_ref() != Some(&outlook) || answered {
            self.millis = RETRY_MILLIS_MIN;
        }
        let wait = if answered { AGAIN_MILLIS } else { self.millis };
        self.due = now.after(wait);
        self.millis = (self.millis * 2).min(RETRY_MILLIS_MAX);
        self.answered = answered;
        self.asked = Some(outlook);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::state::LinkState;

    fn outlook(addresses: &[&str], gateways: &[&str], dns: &[&str], ntp: &[&str]) -> Outlook {
        let all = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let link = LinkState {
            addresses: all(addresses),
            gateways: all(gateways),
            ..LinkState::default()
        };
        Outlook::of(&State { links: vec![link], dns: all(dns), ntp: all(ntp), ..State::default() })
    }

    #[test]
    fn an_address_a_way_a_name_server_or_a_time_server_that_comes_is_used_at_once() {
        let steps = [
            outlook(&[], &[], &[], &[]),
            outlook(&["10.0.0.5/24"], &[], &[], &[]),
            outlook(&["10.0.0.5/24"], &["10.0.0.1"], &[], &[]),
            outlook(&["10.0.0.5/24"], &["10.0.0.1"], &["10.0.0.1"], &[]),
            outlook(&["10.0.0.5/24"], &["10.0.0.1"], &["10.0.0.1"], &["10.0.0.1"]),
        ];
        let mut schedule = Schedule::new(Moment(0));
        // Long without any network, so that the next question is half a minute away.
        let mut now = Moment(0);
        for _ in 0..6 {
            now = now.after(RETRY_MILLIS_MAX);
            schedule.note(now, steps[0].clone(), false);
        }
        for pair in steps.windows(2) {
            assert!(!schedule.is_due(now.after(1), &pair[0]));
            assert!(schedule.is_due(now.after(1), &pair[1]), "{:?}", pair[1]);
            now = now.after(1);
            schedule.note(now, pair[1].clone(), false);
        }
        assert!(!schedule.is_due(now.after(1999), &steps[4]));
        assert!(schedule.is_due(now.after(2000), &steps[4]), "soon after a change, too");
    }

    #[test]
    fn silence_is_asked_into_less_and_less_often() {
        let network = outlook(&["10.0.0.5/24"], &[], &[], &["10.0.0.1"]);
        let mut schedule = Schedule::new(Moment(0));
        let mut now = Moment(0);
        let mut waits = Vec::new();
        for _ in 0..6 {
            assert!(schedule.is_due(now, &network));
            schedule.note(now, network.clone(), false);
            waits.push(schedule.due.since(now));
            now = schedule.due;
        }
        assert_eq!(waits, [2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn after_an_answer_an_hour_passes_whatever_changes() {
        let network = outlook(&["10.0.0.5/24"], &[], &[], &["10.0.0.1"]);
        let other = outlook(&["10.0.0.6/24"], &[], &[], &["10.0.0.1"]);
        let mut schedule = Schedule::new(Moment(0));
        schedule.note(Moment(5), network, true);
        assert!(!schedule.is_due(Moment(5 + AGAIN_MILLIS - 1), &other));
        assert!(schedule.is_due(Moment(5 + AGAIN_MILLIS), &other));
        schedule.note(Moment(5 + AGAIN_MILLIS), other.clone(), false);
        assert!(schedule.is_due(Moment(5 + AGAIN_MILLIS + 2000), &other));
    }
}

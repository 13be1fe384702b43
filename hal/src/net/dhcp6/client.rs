//! From the first question to the end of a lease: the state machine of RFC 8415, section 18, for one address of one link,
//! or for what servers know besides.
//!
//! Frames go in by `hear`, frames come out of `poll`; `lease` and `information` are what may be used now. Whether somebody
//! else has an address is the system's to find out, which tells it by `decline`. It never looks at a clock.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::lease::{Information, Lease, NoLease};
use super::message::{CLIENT_PORT, Kind, Message, Status, client_name, option};
use crate::net::address::Mac;
use crate::net::chance::Chance;
use crate::net::facts::Managed;
use crate::net::frame::{ETHER_IPV6, Ethernet};
use crate::net::frame6::Datagram6;
use crate::net::lease_time::{Refusals, moment_of};
use crate::time::Moment;

/// How often a question is put again.
mod repeat;
/// What the client says, by state.
mod speak;

use repeat::{Pace, Repeat};

/// RFC 8415, 18.2.1 and others: machines that start together do not ask together.
const FIRST_MILLIS_MAX: u64 = 1000;
/// A server that wants to be the one, whoever else answers.
const PREFERENCE_MAX: u8 = 255;
/// RFC 8415, 21.23: information that nobody dates is asked for again after a day, and never sooner than that.
const REFRESH_SECONDS: u32 = 86_400;
const REFRESH_SECONDS_MIN: u32 = 600;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The hardware address of the link.
    pub mac: Mac,
    /// Which of several links with that address: the tag of a VLAN.
    pub link: u32,
    /// The machine's name, for the server's list; empty for none.
    pub host_name: String,
}

/// Where the client is, in the RFC's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Phase {
    /// Nobody is to be asked.
    Off,
    /// Waits before it asks (again).
    Init,
    /// Asked whether there is a server.
    Soliciting,
    /// Asked for what was offered.
    Requesting,
    /// Asks whether its address fits the cable.
    Confirming,
    /// Has an address.
    Bound,
    /// Asks its server to keep the address.
    Renewing,
    /// Asks any server to keep the address.
    Rebinding,
    /// Says that somebody else has its address.
    Declining,
    /// Asks what servers know.
    Asking,
    /// Knows what servers know.
    Informed,
}

/// What went wrong last; gone with the next lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Trouble {
    /// No server answered since this moment.
    Silence {
        /// When it was asked first.
        since: Moment,
    },
    /// The server has no address for this machine.
    NoAddresses,
    /// A server said no, or took the address back.
    Refused,
    /// Somebody else has the address that the server gave.
    Duplicate {
        /// The address.
        address: Ipv6Addr,
    },
    /// The lease ran out and nobody renewed it.
    Expired,
}

/// A lease with its times.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    renew: Moment,
    rebind: Moment,
    end: Moment,
}

#[derive(Clone, Debug)]
enum State {
    Off,
    Init { from: Moment },
    Soliciting { repeat: Repeat, best: Option<(u8, Lease)> },
    Requesting { offer: Lease, repeat: Repeat, held: Option<Held> },
    Confirming { held: Held, repeat: Repeat },
    Bound { held: Held },
    Renewing { held: Held, repeat: Repeat },
    Rebinding { held: Held, repeat: Repeat },
    Declining { lease: Lease, repeat: Repeat },
    Asking { repeat: Repeat },
    Informed { until: Moment },
}

/// The client of one link.
#[derive(Clone, Debug)]
pub struct Client {
    identity: Identity,
    name: [u8; 10],
    chance: Chance,
    state: State,
    wanted: Managed,
    exchange: u32,
    /// When the exchange began: a lease counts from there.
    began: Moment,
    refusals: Refusals,
    trouble: Option<Trouble>,
    information: Option<Information>,
    solicit: Pace,
    asking: Pace,
}

impl Client {
    /// A client that asks nobody yet. The seed names exchanges and spreads waiting times.
    pub fn new(identity: Identity, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let exchange = chance.word() >> 8;
        Self {
            name: client_name(identity.mac),
            identity,
            chance,
            state: State::Off,
            wanted: Managed::Nothing,
            exchange,
            began: Moment(0),
            refusals: Refusals::default(),
            trouble: None,
            information: None,
            solicit: repeat::SOLICIT,
            asking: repeat::INFORMATION,
        }
    }

    /// What routers leave to servers. A lease that is held is kept to its end whatever they say later: of two routers the
    /// last would win, again and again.
    pub fn want(&mut self, now: Moment, wanted: Managed) {
        if wanted == self.wanted || wanted < self.wanted && self.held().is_some() {
            return;
        }
        self.wanted = wanted;
        self.trouble = None;
        match wanted {
            Managed::Nothing => {
                self.information = None;
                self.state = State::Off;
            }
            _ => self.restart(now),
        }
    }

    /// The link has its carrier again, perhaps in another network: whether what is held fits is asked, and it is used
    /// meanwhile.
    pub fn resume(&mut self, now: Moment) {
        if self.wanted == Managed::Nothing {
            return;
        }
        match self.held().filter(|held| now < held.end).cloned() {
            Some(held) => {
                let repeat = self.begin(now, repeat::CONFIRM);
                self.state = State::Confirming { held, repeat };
            }
            None => self.restart(now),
        }
    }

    /// Somebody else has the address: it is used no more, and its server is told.
    pub fn decline(&mut self, now: Moment) {
        let Some(held) = self.held().cloned() else { return };
        self.trouble = Some(Trouble::Duplicate { address: held.lease.address });
        let repeat = self.begin(now, repeat::DECLINE);
        self.state = State::Declining { lease: held.lease, repeat };
    }

    /// Gives the address back: the frame that says so, where there is an address. It is said once: who says it goes.
    pub fn release(&mut self, now: Moment, from: Ipv6Addr) -> Option<Vec<u8>> {
        let lease = self.held()?.lease.clone();
        self.exchange = self.chance.word() >> 8;
        let asked = (Kind::Release, self.exchange, 0);
        let frame = speak::frame(&self.identity, from, asked, Some(&lease));
        self.restart(now);
        frame
    }

    /// The lease that may be used at this moment.
    pub fn lease(&self, now: Moment) -> Option<&Lease> {
        self.held().filter(|held| now < held.end).map(|held| &held.lease)
    }

    /// What servers know, with a lease or without.
    pub fn information(&self, now: Moment) -> Option<&Information> {
        match self.lease(now) {
            Some(lease) => Some(&lease.information),
            None => self.information.as_ref(),
        }
    }

    /// Where the client is.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Off => Phase::Off,
            State::Init { .. } => Phase::Init,
            State::Soliciting { .. } => Phase::Soliciting,
            State::Requesting { .. } => Phase::Requesting,
            State::Confirming { .. } => Phase::Confirming,
            State::Bound { .. } => Phase::Bound,
            State::Renewing { .. } => Phase::Renewing,
            State::Rebinding { .. } => Phase::Rebinding,
            State::Declining { .. } => Phase::Declining,
            State::Asking { .. } => Phase::Asking,
            State::Informed { .. } => Phase::Informed,
        }
    }

    /// When the lease ends; `None` where there is none, or it never does.
    pub fn end(&self) -> Option<Moment> {
        self.held().map(|held| held.end).filter(|end| end.0 != u64::MAX)
    }

    /// What went wrong last.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// When `poll` has something to do at the latest; `None` where nothing is to be done.
    pub fn deadline(&self) -> Option<Moment> {
        let next = match &self.state {
            State::Off => return None,
            State::Init { from } => *from,
            State::Soliciting { repeat, .. }
            | State::Declining { repeat, .. }
            | State::Asking { repeat } => repeat.next(),
            State::Requesting { repeat, held, .. } => {
                let end = held.as_ref().map_or(Moment(u64::MAX), |held| held.end);
                repeat.next().min(end)
            }
            State::Confirming { held, repeat } => repeat.next().min(held.end),
            State::Bound { held } => held.renew,
            State::Renewing { held, repeat } => repeat.next().min(held.rebind),
            State::Rebinding { held, repeat } => repeat.next().min(held.end),
            State::Informed { until } => *until,
        };
        Some(next)
    }

    fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Requesting { held, .. } => held.as_ref(),
            State::Confirming { held, .. }
            | State::Bound { held }
            | State::Renewing { held, .. }
            | State::Rebinding { held, .. } => Some(held),
            _ => None,
        }
    }

    fn restart(&mut self, from: Moment) {
        let wait = self.chance.number() % (FIRST_MILLIS_MAX + 1);
        self.state = State::Init { from: from.after(wait) };
    }

    /// A new exchange, whose first question is put now.
    fn begin(&mut self, now: Moment, pace: Pace) -> Repeat {
        self.exchange = self.chance.word() >> 8;
        self.began = now;
        Repeat::new(pace, now)
    }

    /// Hears a frame of this link, whatever it is.
    pub fn hear(&mut self, now: Moment, frame: &[u8]) {
        let message = Ethernet::parse(frame)
            .filter(|frame| frame.kind == ETHER_IPV6)
            .and_then(|frame| Datagram6::parse(frame.content))
            .filter(|datagram| datagram.to_port == CLIENT_PORT)
            .and_then(|datagram| Message::parse(datagram.payload));
        // RFC 8415, 16: for this client, of this exchange, and signed by a server.
        let Some(message) = message.filter(|message| {
            message.exchange == self.exchange
                && message.options.bytes(option::CLIENT) == Some(self.name.as_slice())
        }) else {
            return;
        };
        let Some(server) = message.options.bytes(option::SERVER).map(<[u8]>::to_vec) else {
            return;
        };
        match message.kind {
            Kind::Advertise => self.hear_offer(now, &message),
            Kind::Reply => self.hear_reply(now, &server, &message),
            _ => {}
        }
    }

    fn hear_offer(&mut self, now: Moment, message: &Message) {
        let State::Soliciting { repeat, best } = &mut self.state else { return };
        if let Some(most) = message.options.number(option::SOLICIT_MAX) {
            self.solicit.limit(most);
        }
        let lease = match Lease::read(message, self.identity.link, None) {
            Ok(lease) => lease,
            Err(NoLease::Status(Status::NoAddresses)) => {
                self.trouble = Some(Trouble::NoAddresses);
                return;
            }
            Err(_) => return,
        };
        let told = message.options.bytes(option::PREFERENCE).and_then(|bytes| bytes.first());
        let preference = told.copied().unwrap_or(0);
        if best.as_ref().is_none_or(|(known, _)| preference > *known) {
            *best = Some((preference, lease));
        }
        // Others may answer until the question would be put again, and no longer.
        if preference == PREFERENCE_MAX || repeat.sent() > 1 {
            self.take_offer(now);
        }
    }

    fn take_offer(&mut self, now: Moment) {
        let State::Soliciting { best: Some((_, offer)), .. } = &self.state else { return };
        let offer = offer.clone();
        self.request(now, offer, None);
    }

    fn request(&mut self, now: Moment, offer: Lease, held: Option<Held>) {
        let repeat = self.begin(now, repeat::REQUEST);
        self.state = State::Requesting { offer, repeat, held };
    }

    fn hear_reply(&mut self, now: Moment, server: &[u8], message: &Message) {
        let expected = match &self.state {
            State::Requesting { offer: lease, .. }
            | State::Renewing { held: Held { lease, .. }, .. }
            | State::Declining { lease, .. } => Some(lease.server.as_slice()),
            _ => None,
        };
        if expected.is_some_and(|expected| expected != server) {
            return;
        }
        let status = message.options.status();
        match &self.state {
            State::Asking { .. } => self.learn(now, message),
            State::Confirming { held, .. } => match status {
                Status::Success => self.state = State::Bound { held: held.clone() },
                Status::NotOnLink => self.restart(now),
                _ => {}
            },
            State::Declining { .. } => self.pause(now),
            State::Requesting { offer, .. } => {
                let wanted = Some(offer.address);
                match Lease::read(message, self.identity.link, wanted) {
                    Ok(lease) => self.hold(lease),
                    // RFC 8415, 18.2.10: a server that failed for a moment is asked again.
                    Err(NoLease::Status(Status::Failed)) => {}
                    Err(NoLease::Status(Status::NoAddresses)) => {
                        self.refused(now, Trouble::NoAddresses);
                    }
                    Err(_) => self.refused(now, Trouble::Refused),
                }
            }
            State::Renewing { held, .. } | State::Rebinding { held, .. } => {
                let held = held.clone();
                match Lease::read(message, self.identity.link, Some(held.lease.address)) {
                    Ok(lease) => self.hold(lease),
                    // The server has forgotten: it may give the same again, and until then it is still ours.
                    Err(NoLease::Status(Status::NoBinding)) => {
                        let offer = Lease { server: server.to_vec(), ..held.lease.clone() };
                        self.request(now, offer, Some(held));
                    }
                    Err(NoLease::Withdrawn | NoLease::Status(Status::NotOnLink)) => {
                        self.refused(now, Trouble::Refused);
                    }
                    Err(_) => {}
                }
            }
            _ => {}
        }
    }

    /// What a server knows besides addresses, until it is to be asked again.
    fn learn(&mut self, now: Moment, message: &Message) {
        if let Some(most) = message.options.number(option::INFORMATION_MAX) {
            self.asking.limit(most);
        }
        self.information = Some(Information::read(&message.options));
        self.trouble = None;
        let told = message.options.number(option::REFRESH).unwrap_or(REFRESH_SECONDS);
        let seconds = u64::from(told.max(REFRESH_SECONDS_MIN));
        self.state = State::Informed { until: now.after(seconds * 1000) };
    }

    fn refused(&mut self, now: Moment, trouble: Trouble) {
        self.trouble = Some(trouble);
        self.pause(now);
    }

    /// Nothing is asked for a while after an address was declined, or a server took a lease back.
    fn pause(&mut self, now: Moment) {
        let pause = self.refusals.pause(&mut self.chance);
        self.restart(now.after(pause));
    }

    /// The lease with its times, which count from the first question that it may answer.
    fn hold(&mut self, lease: Lease) {
        let at = |seconds| moment_of(self.began, seconds);
        let (renew, rebind) = (at(lease.renew_seconds), at(lease.rebind_seconds));
        let end = at(lease.seconds);
        self.trouble = None;
        self.refusals = Refusals::default();
        self.information = None;
        self.state = State::Bound { held: Held { lease, renew, rebind, end } };
    }

    /// Does what time wants done; the next frame to send from this address of the link, where there is one. To be called
    /// until there is none.
    pub fn poll(&mut self, now: Moment, from: Ipv6Addr) -> Option<Vec<u8>> {
        // Each round leads one state on, and no state leads back to itself in one moment.
        for _ in 0..4 {
            if !self.step(now) {
                break;
            }
        }
        self.say(now, from)
    }

    /// Leads to the next state where it is time; whether it did.
    fn step(&mut self, now: Moment) -> bool {
        if self.held().is_some_and(|held| now >= held.end) {
            self.trouble = Some(Trouble::Expired);
            self.restart(now);
            return true;
        }
        match &self.state {
            State::Init { from } if now >= *from => {
                self.state = match self.wanted {
                    Managed::Nothing => State::Off,
                    Managed::Information => State::Asking { repeat: self.begin(now, self.asking) },
                    Managed::Addresses => {
                        let repeat = self.begin(now, self.solicit);
                        State::Soliciting { repeat, best: None }
                    }
                };
                true
            }
            State::Soliciting { repeat, best } if best.is_some() && repeat.is_due(now) => {
                self.take_offer(now);
                true
            }
            State::Requesting { repeat, held, .. } if repeat.is_over(now) => {
                match held.clone() {
                    Some(held) => self.rebind(now, held),
                    None => self.restart(now),
                }
                true
            }
            // RFC 8415, 18.2.3: where nobody says otherwise, what is held is used to its end.
            State::Confirming { held, repeat } if repeat.is_over(now) => {
                self.state = State::Bound { held: held.clone() };
                true
            }
            State::Declining { repeat, .. } if repeat.is_over(now) => {
                self.pause(now);
                true
            }
            State::Bound { held } if now >= held.renew => {
                let held = held.clone();
                let repeat = self.begin(now, repeat::RENEW);
                self.state = State::Renewing { held, repeat };
                true
            }
            State::Renewing { held, .. } if now >= held.rebind => {
                let held = held.clone();
                self.rebind(now, held);
                true
            }
            State::Informed { until } if now >= *until => {
                let repeat = self.begin(now, self.asking);
                self.state = State::Asking { repeat };
                true
            }
            _ => false,
        }
    }

    fn rebind(&mut self, now: Moment, held: Held) {
        let repeat = self.begin(now, repeat::REBIND);
        self.state = State::Rebinding { held, repeat };
    }

    /// The question of this state, where it is due.
    fn say(&mut self, now: Moment, from: Ipv6Addr) -> Option<Vec<u8>> {
        let (kind, repeat, lease) = match &mut self.state {
            State::Soliciting { repeat, .. } => (Kind::Solicit, repeat, None),
            State::Asking { repeat } => (Kind::Information, repeat, None),
            State::Requesting { offer, repeat, .. } => (Kind::Request, repeat, Some(&*offer)),
            State::Confirming { held, repeat } => (Kind::Confirm, repeat, Some(&held.lease)),
            State::Renewing { held, repeat } => (Kind::Renew, repeat, Some(&held.lease)),
            State::Rebinding { held, repeat } => (Kind::Rebind, repeat, Some(&held.lease)),
            State::Declining { lease, repeat } => (Kind::Decline, repeat, Some(&*lease)),
            State::Off | State::Init { .. } | State::Bound { .. } | State::Informed { .. } => {
                return None;
            }
        };
        if !repeat.is_due(now) {
            return None;
        }
        let searches = matches!(kind, Kind::Solicit | Kind::Information);
        if searches && repeat.sent() == 2 && self.trouble.is_none() {
            self.trouble = Some(Trouble::Silence { since: self.began });
        }
        repeat.say(now, &mut self.chance);
        let hundredths = u16::try_from(now.since(self.began) / 10).unwrap_or(u16::MAX);
        speak::frame(&self.identity, from, (kind, self.exchange, hundredths), lease)
    }
}

#[cfg(test)]
mod tests;

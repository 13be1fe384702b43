//! From the first question to the end of a lease: the state machine of RFC 2131, figure 5, with the search for
//! duplicates of RFC 5227 before an address is used.
//!
//! Frames go in by `hear`, frames come out of `poll`; `lease` is what may be used now. It never looks at a clock.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::lease::Lease;
use super::message::{CLIENT_PORT, Kind, Message, SERVER_PORT, option};
use crate::net::address::Mac;
use crate::net::arp::{Arp, Found, Search};
use crate::net::chance::Chance;
use crate::net::frame::{Datagram, ETHER_ARP, ETHER_IPV4, Ethernet};
use crate::net::lease_time::{Refusals, moment_of};
use crate::time::Moment;

/// What the client says, by state.
mod speak;

/// The first repetition. The RFC has 4 s, for networks of its time; a switch port that has just come up loses the first.
const REPEAT_MILLIS_MIN: u64 = 2000;
/// The longest wait between repetitions. The RFC has 64 s; a person waits at the console, and one machine is no storm.
const REPEAT_MILLIS_MAX: u64 = 16_000;
/// How often an offer is asked for before another is looked for.
const REQUESTS_MAX: u32 = 4;
/// How often a remembered address is asked for before the question is put from the start.
const REBOOTS_MAX: u32 = 3;
/// RFC 2131, 3.1, 5: so long nothing is asked after an address was declined.
const DECLINED_MILLIS: u64 = 10_000;
/// Shortest wait between two questions to keep a lease.
const KEEP_MILLIS_MIN: u64 = 60_000;
/// RFC 5227, 2.4: who meets the same rival twice within this gives the address up.
const DEFEND_MILLIS: u64 = 10_000;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The hardware address of the link.
    pub mac: Mac,
    /// The machine's name, for the server's list; empty for none.
    pub host_name: alloc::string::String,
}

/// Where the client is, in the RFC's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Phase {
    /// Waits before it asks (again).
    Init,
    /// Asked whether there is a server.
    Selecting,
    /// Asked for what was offered.
    Requesting,
    /// Asks whether a remembered address still holds.
    Rebooting,
    /// Has an address and looks whether somebody else has it too.
    Checking,
    /// Has an address.
    Bound,
    /// Asks its server to keep the address.
    Renewing,
    /// Asks any server to keep the address.
    Rebinding,
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
    /// A server said no.
    Refused {
        /// Which, where it said so.
        server: Option<Ipv4Addr>,
    },
    /// Somebody else has the address that the server gave.
    Duplicate {
        /// The address.
        address: Ipv4Addr,
        /// Who has it.
        machine: Mac,
    },
    /// The lease ran out and nobody renewed it.
    Expired,
}

/// A lease with its times, and whose frames brought it.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    renew: Moment,
    rebind: Moment,
    end: Moment,
    /// The server's hardware address, or that of the relay or router before it.
    next_hop: Mac,
}

/// Questions that are put again, less and less often.
#[derive(Clone, Debug)]
struct Repeat {
    next: Moment,
    millis: u64,
    sent: u32,
}

impl Repeat {
    fn from(now: Moment) -> Self {
        Self { next: now, millis: REPEAT_MILLIS_MIN, sent: 0 }
    }

    fn is_due(&self, now: Moment) -> bool {
        now >= self.next
    }

    fn sent(&mut self, now: Moment, chance: &mut Chance) {
        self.next = now.after(chance.around(self.millis));
        self.millis = (self.millis * 2).min(REPEAT_MILLIS_MAX);
        self.sent += 1;
    }
}

#[derive(Clone, Debug)]
enum State {
    Init { from: Moment },
    Selecting { repeat: Repeat },
    Requesting { offer: Lease, repeat: Repeat },
    Rebooting { held: Held, repeat: Repeat },
    Checking { held: Held, search: Search },
    Bound { held: Held },
    Renewing { held: Held, next: Moment },
    Rebinding { held: Held, next: Moment },
}

/// The client of one link.
#[derive(Clone, Debug)]
pub struct Client {
    identity: Identity,
    chance: Chance,
    state: State,
    exchange: u32,
    /// When the exchange began, and when what an answer may be to was asked first: a lease counts from there.
    began: Moment,
    asked: Moment,
    refusals: Refusals,
    trouble: Option<Trouble>,
    defended: Option<Moment>,
    /// Frames that wait to be sent: an announcement, a refusal of ours.
    out: Vec<Vec<u8>>,
}

impl Client {
    /// A client that asks from now on. The seed names exchanges and spreads waiting times.
    pub fn new(identity: Identity, seed: u64, now: Moment) -> Self {
        let mut chance = Chance::new(seed);
        let exchange = chance.word();
        Self {
            identity,
            chance,
            state: State::Init { from: now },
            exchange,
            began: now,
            asked: now,
            refusals: Refusals::default(),
            trouble: None,
            defended: None,
            out: Vec::new(),
        }
    }

    /// The link has its carrier again, perhaps in another network: what is held is asked for anew, and used meanwhile.
    pub fn resume(&mut self, now: Moment) {
        self.exchange = self.chance.word();
        (self.began, self.asked) = (now, now);
        self.state = match self.take_held() {
            Some(held) if now < held.end => State::Rebooting { held, repeat: Repeat::from(now) },
            _ => State::Init { from: now },
        };
    }

    /// Gives the address back: the frame that says so, where there is an address.
    pub fn release(&mut self, now: Moment) -> Option<Vec<u8>> {
        let held = self.held()?;
        let frame = speak::release(&self.identity, self.exchange, held);
        self.restart(now);
        frame
    }

    /// The lease that may be used now.
    pub fn lease(&self) -> Option<&Lease> {
        // While the search for duplicates runs, the address is not ours yet.
        let checking = matches!(self.state, State::Checking { .. });
        self.held().filter(|_| !checking).map(|held| &held.lease)
    }

    /// Where the client is.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Init { .. } => Phase::Init,
            State::Selecting { .. } => Phase::Selecting,
            State::Requesting { .. } => Phase::Requesting,
            State::Rebooting { .. } => Phase::Rebooting,
            State::Checking { .. } => Phase::Checking,
            State::Bound { .. } => Phase::Bound,
            State::Renewing { .. } => Phase::Renewing,
            State::Rebinding { .. } => Phase::Rebinding,
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

    /// When `poll` has something to do at the latest.
    pub fn deadline(&self) -> Moment {
        if !self.out.is_empty() {
            return Moment(0);
        }
        match &self.state {
            State::Init { from } => *from,
            State::Selecting { repeat } | State::Requesting { repeat, .. } => repeat.next,
            State::Rebooting { held, repeat } => repeat.next.min(held.end),
            State::Checking { held, search } => search.deadline().min(held.end),
            State::Bound { held } => held.renew,
            State::Renewing { held, next } => (*next).min(held.rebind),
            State::Rebinding { held, next } => (*next).min(held.end),
        }
    }

    fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Init { .. } | State::Selecting { .. } | State::Requesting { .. } => None,
            State::Rebooting { held, .. }
            | State::Checking { held, .. }
            | State::Bound { held }
            | State::Renewing { held, .. }
            | State::Rebinding { held, .. } => Some(held),
        }
    }

    fn take_held(&mut self) -> Option<Held> {
        let unchecked = matches!(self.state, State::Checking { .. });
        self.held().filter(|_| !unchecked).cloned()
    }

    fn restart(&mut self, from: Moment) {
        self.exchange = self.chance.word();
        self.began = from;
        self.state = State::Init { from };
    }

    /// Hears a frame of this link, whatever it is.
    pub fn hear(&mut self, now: Moment, frame: &[u8]) {
        let Some(frame) = Ethernet::parse(frame) else { return };
        match frame.kind {
            ETHER_ARP => {
                if let Some(message) = Arp::parse(frame.content) {
                    self.hear_arp(now, &message);
                }
            }
            ETHER_IPV4 => {
                let datagram = Datagram::parse(frame.content).filter(|datagram| {
                    datagram.to_port == CLIENT_PORT && datagram.from_port == SERVER_PORT
                });
                let message = datagram.and_then(|datagram| Message::parse(datagram.payload));
                let for_us = |message: &Message| {
                    message.reply
                        && message.exchange == self.exchange
                        && message.mac == self.identity.mac
                };
                if let Some(message) = message.filter(for_us) {
                    self.hear_server(now, frame.from, &message);
                }
            }
            _ => {}
        }
    }

    fn hear_server(&mut self, now: Moment, from: Mac, message: &Message) {
        let lease = Lease::read(message);
        match (&self.state, message.kind) {
            (State::Selecting { .. }, Kind::Offer) => {
                // The first offer is as good as any: servers of one network share what they know.
                if let Some(offer) = lease {
                    self.asked = now;
                    self.state = State::Requesting { offer, repeat: Repeat::from(now) };
                }
            }
            (State::Requesting { offer, .. }, Kind::Ack) => {
                let wanted = (offer.own(), offer.server);
                if let Some(lease) = lease.filter(|lease| (lease.own(), lease.server) == wanted) {
                    let search = Search::new(self.identity.mac, lease.own(), now);
                    let held = self.hold(lease, from);
                    self.state = State::Checking { held, search };
                }
            }
            (
                State::Rebooting { held, .. }
                | State::Renewing { held, .. }
                | State::Rebinding { held, .. },
                Kind::Ack,
            ) => {
                // An address that is in use already is not searched for: its rivals were noticed before.
                let own = held.lease.own();
                if let Some(lease) = lease.filter(|lease| lease.own() == own) {
                    let held = self.hold(lease, from);
                    self.bind(held);
                }
            }
            (
                State::Requesting { .. }
                | State::Rebooting { .. }
                | State::Renewing { .. }
                | State::Rebinding { .. },
                Kind::Nak,
            ) => self.refused(now, message.options.address(option::SERVER)),
            _ => {}
        }
    }

    fn refused(&mut self, now: Moment, server: Option<Ipv4Addr>) {
        let expected = match &self.state {
            State::Requesting { offer, .. } => Some(offer.server),
            State::Renewing { held, .. } => Some(held.lease.server),
            _ => None,
        };
        // Only the server that was asked may refuse, where one was asked.
        if expected.is_some() && server.is_some() && expected != server {
            return;
        }
        self.trouble = Some(Trouble::Refused { server });
        let pause = self.refusals.pause(&mut self.chance);
        self.restart(now.after(pause));
    }

    /// The lease with its times, which count from the question that it answers.
    fn hold(&mut self, lease: Lease, next_hop: Mac) -> Held {
        let at = |seconds| moment_of(self.asked, seconds);
        // RFC 2131, 4.4.5: a little chance, so that machines that were started together drift apart.
        let early = self.chance.number() % (u64::from(lease.renew_seconds) * 1000 / 32 + 1);
        let end = at(lease.seconds);
        let forever = end.0 == u64::MAX;
        let renew = if forever { end } else { at(lease.renew_seconds) };
        let rebind = if forever { end } else { at(lease.rebind_seconds) };
        let renew = if forever { renew } else { Moment(renew.0.saturating_sub(early)) };
        Held { lease, renew, rebind, end, next_hop }
    }

    fn bind(&mut self, held: Held) {
        self.trouble = None;
        self.refusals = Refusals::default();
        self.state = State::Bound { held };
    }

    fn hear_arp(&mut self, now: Moment, message: &Arp) {
        if let State::Checking { search, .. } = &mut self.state {
            search.hear(message);
            return;
        }
        let Some(own) = self.lease().map(Lease::own) else { return };
        // Who only asks whether it is free learns from the system that it is not.
        let rival = message.claimed_by(self.identity.mac, own).filter(|_| message.sender == own);
        let Some(machine) = rival else { return };
        self.trouble = Some(Trouble::Duplicate { address: own, machine });
        let again = self.defended.is_some_and(|before| now.since(before) < DEFEND_MILLIS);
        if again {
            self.decline(now);
        } else {
            self.defended = Some(now);
            self.out.push(Arp::announcement(self.identity.mac, own).frame());
        }
    }

    fn decline(&mut self, now: Moment) {
        if let Some(held) = self.held() {
            let frame = speak::decline(&self.identity, self.exchange, held);
            self.out.extend(frame);
        }
        self.defended = None;
        self.restart(now.after(DECLINED_MILLIS));
    }

    /// Does what time wants done; the next frame to send, where there is one. To be called until there is none.
    pub fn poll(&mut self, now: Moment) -> Option<Vec<u8>> {
        if self.out.is_empty() {
            self.step(now);
        }
        (!self.out.is_empty()).then(|| self.out.remove(0))
    }

    fn step(&mut self, now: Moment) {
        match &mut self.state {
            State::Init { from } if now >= *from => {
                self.began = now;
                self.state = State::Selecting { repeat: Repeat::from(now) };
                self.step(now);
            }
            State::Init { .. } => {}
            State::Selecting { repeat } if repeat.is_due(now) => {
                if repeat.sent == 1 && self.trouble.is_none() {
                    self.trouble = Some(Trouble::Silence { since: self.began });
                }
                // A few servers and relays deliver only what goes to everybody: every other question asks for that.
                let broadcast = repeat.sent % 2 == 1;
                repeat.sent(now, &mut self.chance);
                self.say(now, speak::Ask::Discover { broadcast });
            }
            State::Requesting { repeat, .. } if repeat.is_due(now) => {
                if repeat.sent == REQUESTS_MAX {
                    self.restart(now);
                    return self.step(now);
                }
                let broadcast = repeat.sent % 2 == 1;
                repeat.sent(now, &mut self.chance);
                self.say(now, speak::Ask::Offer { broadcast });
            }
            State::Rebooting { held, .. }
            | State::Rebinding { held, .. }
            | State::Checking { held, .. }
                if now >= held.end =>
            {
                self.trouble = Some(Trouble::Expired);
                self.restart(now);
                self.step(now);
            }
            State::Rebooting { repeat, .. } if repeat.is_due(now) => {
                if repeat.sent == REBOOTS_MAX {
                    return self.give_up_reboot(now);
                }
                let broadcast = repeat.sent % 2 == 1;
                repeat.sent(now, &mut self.chance);
                self.say(now, speak::Ask::Reboot { broadcast });
            }
            State::Checking { search, .. } => {
                let found = search.outcome(now);
                self.check(now, found);
            }
            State::Bound { held } if now >= held.renew => {
                let held = held.clone();
                self.exchange = self.chance.word();
                self.began = now;
                self.state = State::Renewing { held, next: now };
                self.step(now);
            }
            State::Renewing { .. } | State::Rebinding { .. } => self.keep(now),
            _ => {}
        }
    }

    /// Nobody says whether the remembered address holds: RFC 2131, 3.2, 4 lets it be used to its end, and asking goes on.
    fn give_up_reboot(&mut self, now: Moment) {
        if let Some(held) = self.take_held() {
            self.trouble = Some(Trouble::Silence { since: self.began });
            self.state = State::Rebinding { held, next: now };
            self.step(now);
        }
    }

    fn check(&mut self, now: Moment, found: Found) {
        let State::Checking { held, search } = &mut self.state else { return };
        match found {
            Found::Searching => self.out.extend(search.poll(now)),
            Found::Nobody => {
                let held = held.clone();
                self.out.push(Arp::announcement(self.identity.mac, held.lease.own()).frame());
                self.bind(held);
            }
            Found::Machine(machine) => {
                let address = search.address();
                self.trouble = Some(Trouble::Duplicate { address, machine });
                self.decline(now);
            }
        }
    }

    /// Asks to keep the lease: its server first, then any.
    fn keep(&mut self, now: Moment) {
        let (held, next, until) = match &mut self.state {
            State::Renewing { held, next } => {
                let until = held.rebind;
                (held, next, until)
            }
            State::Rebinding { held, next } => {
                let until = held.end;
                (held, next, until)
            }
            _ => return,
        };
        if now >= until {
            // The end of a lease was dealt with before this: it is the server's time that is over.
            let held = held.clone();
            self.state = State::Rebinding { held, next: now };
            return self.step(now);
        }
        if now < *next {
            return;
        }
        // RFC 2131, 4.4.5: after half of what is left, but not more often than each minute.
        let wait = (until.since(now) / 2).max(KEEP_MILLIS_MIN);
        *next = Moment(now.after(wait).0.min(until.0));
        // Each is an exchange of its own, so that its answer cannot be to an earlier one and end sooner than thought.
        self.exchange = self.chance.word();
        self.asked = now;
        let ask = match self.state {
            State::Renewing { .. } => speak::Ask::Renew,
            _ => speak::Ask::Rebind,
        };
        self.say(now, ask);
    }

    fn say(&mut self, now: Moment, ask: speak::Ask) {
        let waited = now.since(self.began) / 1000;
        let seconds = u16::try_from(waited).unwrap_or(u16::MAX);
        let frame = match &self.state {
            State::Requesting { offer, .. } => {
                speak::ask(&self.identity, self.exchange, seconds, ask, Some(offer), None)
            }
            _ => {
                let held = self.held();
                let lease = held.map(|held| &held.lease);
                let next_hop = held.map(|held| held.next_hop);
                speak::ask(&self.identity, self.exchange, seconds, ask, lease, next_hop)
            }
        };
        self.out.extend(frame);
    }
}

#[cfg(test)]
mod tests;

//! Is this address already somebody's? Probes and answers of ARP, after RFC 5227.
//!
//! The probes come closer together than the RFC has them: an appliance that boots at a desk cannot wait seven seconds,
//! and a machine that is there answers within milliseconds. Whoever uses the address later is still noticed.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::address::Mac;
use super::frame::{ETHER_ARP, Ethernet, ipv4, mac};
use crate::time::Moment;

/// How often is asked.
const PROBES: u8 = 3;
/// How long after each probe an answer is waited for.
const PROBE_MILLIS: u64 = 150;

/// Ethernet and IPv4, with addresses of six and four bytes.
const PREAMBLE: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// A message of ARP for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Whether it asks or answers.
    pub asks: bool,
    /// Hardware address of whoever sent it.
    pub sender_mac: Mac,
    /// Address of whoever sent it; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// Hardware address of whom it is about.
    pub target_mac: Mac,
    /// Address that it is about.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads the content of a frame.
    pub fn parse(content: &[u8]) -> Option<Self> {
        if !content.starts_with(&PREAMBLE) {
            return None;
        }
        let asks = match content.get(6..8)? {
            [0, 1] => true,
            [0, 2] => false,
            _ => return None,
        };
        Some(Self {
            asks,
            sender_mac: mac(content, 8)?,
            sender: ipv4(content, 14)?,
            target_mac: mac(content, 18)?,
            target: ipv4(content, 24)?,
        })
    }

    /// Writes it as a frame to everybody.
    pub fn frame(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(28);
        content.extend_from_slice(&PREAMBLE);
        content.extend_from_slice(if self.asks { &[0, 1] } else { &[0, 2] });
        content.extend_from_slice(&self.sender_mac.0);
        content.extend_from_slice(&self.sender.octets());
        content.extend_from_slice(&self.target_mac.0);
        content.extend_from_slice(&self.target.octets());
        let from = self.sender_mac;
        Ethernet { to: Mac::BROADCAST, from, kind: ETHER_ARP, content: &content }.emit()
    }

    /// «Has anybody this address?», said by who has none yet.
    pub fn probe(own: Mac, address: Ipv4Addr) -> Self {
        let target_mac = Mac([0; 6]);
        let sender = Ipv4Addr::UNSPECIFIED;
        Self { asks: true, sender_mac: own, sender, target_mac, target: address }
    }

    /// «This address is mine», so that neighbours and switches forget who had it.
    pub fn announcement(own: Mac, address: Ipv4Addr) -> Self {
        Self { sender: address, ..Self::probe(own, address) }
    }

    /// Who else has this address, or is about to take it, going by this message.
    pub fn claimed_by(&self, own: Mac, address: Ipv4Addr) -> Option<Mac> {
        let has = self.sender == address;
        let wants = self.asks && self.sender.is_unspecified() && self.target == address;
        (self.sender_mac != own && (has || wants)).then_some(self.sender_mac)
    }
}

/// A search for whoever has an address.
#[derive(Clone, Debug)]
pub struct Search {
    own: Mac,
    address: Ipv4Addr,
    sent: u8,
    next: Moment,
    found: Option<Mac>,
}

/// How a search stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Not known yet.
    Searching,
    /// Nobody answered.
    Nobody,
    /// This machine has it.
    Machine(Mac),
}

impl Search {
    /// A search that begins now.
    pub fn new(own: Mac, address: Ipv4Addr, now: Moment) -> Self {
        Self { own, address, sent: 0, next: now, found: None }
    }

    /// The address that is searched for.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Hears a message.
    pub fn hear(&mut self, message: &Arp) {
        if let Some(machine) = message.claimed_by(self.own, self.address) {
            self.found = Some(machine);
        }
    }

    /// The frame to send now, where one is due.
    pub fn poll(&mut self, now: Moment) -> Option<Vec<u8>> {
        if self.found.is_some() || self.sent == PROBES || now < self.next {
            return None;
        }
        self.sent += 1;
        self.next = now.after(PROBE_MILLIS);
        Some(Arp::probe(self.own, self.address).frame())
    }

    /// How it stands now.
    pub fn outcome(&self, now: Moment) -> Found {
        match self.found {
            Some(machine) => Found::Machine(machine),
            None if self.sent == PROBES && now >= self.next => Found::Nobody,
            None => Found::Searching,
        }
    }

    /// When `poll` or `outcome` has something new at the latest.
    pub fn deadline(&self) -> Moment {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    fn heard(frame: &[u8]) -> Arp {
        let frame = Ethernet::parse(frame).unwrap();
        assert_eq!(frame.kind, ETHER_ARP);
        Arp::parse(frame.content).unwrap()
    }

    #[test]
    fn messages_survive_the_wire_and_cut_ones_are_none() {
        let probe = Arp::probe(OWN, ADDRESS);
        assert_eq!(heard(&probe.frame()), probe);
        let frame = probe.frame();
        for length in 14..frame.len() {
            assert_eq!(Arp::parse(&frame[14..length]), None);
        }
        let mut bad = frame.clone();
        bad[14 + 7] = 3;
        assert_eq!(Arp::parse(&bad[14..]), None, "neither question nor answer");
    }

    #[test]
    fn silence_means_nobody_after_three_probes() {
        let mut search = Search::new(OWN, ADDRESS, Moment(1000));
        let mut sent = 0;
        for now in 1000..1450 {
            sent += usize::from(search.poll(Moment(now)).is_some());
            assert_eq!(search.outcome(Moment(now)), Found::Searching, "at {now}");
        }
        assert_eq!(sent, 3);
        assert_eq!(search.outcome(Moment(1450)), Found::Nobody);
    }

    #[test]
    fn owners_and_rivals_are_found_and_our_own_echo_is_not() {
        let answer = Arp { asks: false, sender: ADDRESS, ..Arp::probe(OTHER, ADDRESS) };
        let rival = Arp::probe(OTHER, ADDRESS);
        for message in [answer, rival, Arp::announcement(OTHER, ADDRESS)] {
            let mut search = Search::new(OWN, ADDRESS, Moment(0));
            search.hear(&Arp::probe(OWN, ADDRESS));
            search.hear(&Arp::announcement(OTHER, Ipv4Addr::new(10, 0, 0, 6)));
            assert_eq!(search.outcome(Moment(0)), Found::Searching);
            search.hear(&message);
            assert_eq!(search.outcome(Moment(0)), Found::Machine(OTHER));
            assert_eq!(search.poll(Moment(0)), None);
        }
        let question = Arp { sender: Ipv4Addr::new(10, 0, 0, 9), ..Arp::probe(OTHER, ADDRESS) };
        assert_eq!(question.claimed_by(OWN, ADDRESS), None, "who looks for it does not have it");
    }
}

//! A server of DHCP for many seeded histories: it remembers, forgets, falls silent and comes back.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use hal::net::address::Mac;
use hal::net::dhcp4::message::{Kind, Message, option};
use hal::net::frame::{Datagram, ETHER_IPV4, Ethernet};
use hal::time::Moment;

/// For how long an address is kept free that somebody declined.
const DECLINED_MILLIS: u64 = 600_000;

/// What the server knows, and how it behaves.
#[derive(Clone, Debug)]
pub struct SimServer {
    /// Its hardware address.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// The addresses that it gives, as the last byte of 10.0.0.x.
    pub pool: core::ops::Range<u8>,
    /// For how long.
    pub lease_seconds: u32,
    /// Whether it answers.
    pub answers: bool,
    leases: BTreeMap<Ipv4Addr, (Mac, Moment)>,
    declined: BTreeMap<Ipv4Addr, Moment>,
}

impl SimServer {
    /// A server at 10.0.0.`last` that gives these addresses.
    pub fn new(last: u8, pool: core::ops::Range<u8>, lease_seconds: u32) -> Self {
        Self {
            mac: Mac([2, 0x53, 0, 0, 0, last]),
            address: Ipv4Addr::new(10, 0, 0, last),
            pool,
            lease_seconds,
            answers: true,
            leases: BTreeMap::new(),
            declined: BTreeMap::new(),
        }
    }

    /// It starts again without what it knew.
    pub fn forget(&mut self) {
        self.leases.clear();
        self.declined.clear();
    }

    /// Until when an address is this machine's, as far as the server promised.
    pub fn promised(&self, address: Ipv4Addr, mac: Mac) -> Option<Moment> {
        let (owner, until) = self.leases.get(&address)?;
        (*owner == mac).then_some(*until)
    }

    /// Hears a frame; the answer, where there is one.
    pub fn hear(&mut self, now: Moment, frame: &[u8]) -> Option<Vec<u8>> {
        if !self.answers {
            return None;
        }
        let frame = Ethernet::parse(frame).filter(|frame| frame.kind == ETHER_IPV4)?;
        let datagram = Datagram::parse(frame.content).filter(|datagram| datagram.to_port == 67)?;
        let asked = Message::parse(datagram.payload).filter(|message| !message.reply)?;
        let (kind, given) = match asked.kind {
            Kind::Discover => (Kind::Offer, self.choose(now, asked.mac)?),
            Kind::Request => self.decide(now, &asked)?,
            Kind::Decline => {
                if let Some(address) = asked.options.address(option::WANTED) {
                    self.leases.remove(&address);
                    self.declined.insert(address, now.after(DECLINED_MILLIS));
                }
                return None;
            }
            Kind::Release => {
                self.leases.remove(&asked.own);
                return None;
            }
            _ => return None,
        };
        if kind == Kind::Ack {
            let until = now.after(u64::from(self.lease_seconds) * 1000);
            self.leases.insert(given, (asked.mac, until));
        }
        Some(self.answer(&asked, kind, given))
    }

    fn is_free(&self, now: Moment, address: Ipv4Addr, mac: Mac) -> bool {
        let taken =
            self.leases.get(&address).is_some_and(|(owner, until)| *owner != mac && now < *until);
        let declined = self.declined.get(&address).is_some_and(|until| now < *until);
        !taken && !declined
    }

    fn choose(&self, now: Moment, mac: Mac) -> Option<Ipv4Addr> {
        let known = self.leases.iter().find(|(_, (owner, _))| *owner == mac);
        let known =
            known.map(|(address, _)| *address).filter(|address| self.is_free(now, *address, mac));
        let mut all = self.pool.clone().map(|last| Ipv4Addr::new(10, 0, 0, last));
        known.or_else(|| all.find(|address| self.is_free(now, *address, mac)))
    }

    /// Yes or no to a request; `None` where it is for another server.
    fn decide(&self, now: Moment, asked: &Message) -> Option<(Kind, Ipv4Addr)> {
        let to = asked.options.address(option::SERVER);
        if to.is_some_and(|server| server != self.address) {
            return None;
        }
        let wanted = asked.options.address(option::WANTED).unwrap_or(asked.own);
        let ours = self.pool.contains(&wanted.octets()[3]);
        let free = ours && self.is_free(now, wanted, asked.mac);
        match (free, to.is_some() || self.leases.contains_key(&wanted)) {
            (true, _) => Some((Kind::Ack, wanted)),
            (false, true) => Some((Kind::Nak, Ipv4Addr::UNSPECIFIED)),
            // What it knows nothing of it leaves to others, but a free choice of its own network it knows.
            (false, false) => ours.then_some((Kind::Nak, Ipv4Addr::UNSPECIFIED)),
        }
    }

    fn answer(&self, asked: &Message, kind: Kind, given: Ipv4Addr) -> Vec<u8> {
        let mut message = Message::of_client(kind, asked.exchange, asked.mac);
        message.reply = true;
        message.given = given;
        message.options.set(option::SERVER, &self.address.octets());
        if kind != Kind::Nak {
            message.options.set(option::MASK, &[255, 255, 255, 0]);
            message.options.set(option::ROUTERS, &self.address.octets());
            message.options.set(option::DNS, &self.address.octets());
            message.options.set(option::LEASE, &self.lease_seconds.to_be_bytes());
        }
        let to_all = asked.broadcast || kind == Kind::Nak;
        let (to_mac, to) = match to_all {
            true => (Mac::BROADCAST, Ipv4Addr::BROADCAST),
            false => (asked.mac, given),
        };
        let payload = message.emit();
        let datagram =
            Datagram { from: self.address, from_port: 67, to, to_port: 68, payload: &payload };
        let content = datagram.emit().unwrap_or_default();
        Ethernet { to: to_mac, from: self.mac, kind: ETHER_IPV4, content: &content }.emit()
    }
}

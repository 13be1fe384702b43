//! The addresses of IPv4 on one link: asked of a server, or fixed ones after a look whether somebody has them.

use core::net::{IpAddr, Ipv4Addr};

use hal::net::address::{Cidr, Mac};
use hal::net::arp::{Arp, Found, Search};
use hal::net::dhcp4::client::{Client, Identity};
use hal::net::frame::{ETHER_ARP, Ethernet};
use hal::time::Moment;

use crate::net::listener::{Asked, Begin, Four, Stand as Told};

/// How long an address that somebody else has is left alone before it is tried again.
const TAKEN_MILLIS: u64 = 30_000;

/// IPv4 on one link.
#[derive(Debug)]
pub(super) struct Port {
    mac: Mac,
    carrier: bool,
    dhcp: Option<Client>,
    fixed: Vec<Fixed>,
}

/// A fixed address, and whether it may be used.
#[derive(Debug)]
struct Fixed {
    address: Cidr,
    stand: Stand,
}

#[derive(Debug)]
enum Stand {
    /// Somebody is being looked for.
    Searching(Search),
    /// Nobody has it; or somebody came later, and was told that it is ours.
    Ours { rival: Option<Mac> },
    /// Somebody has it; looked at again then.
    Taken { by: Mac, until: Moment },
    /// The link has no carrier yet.
    Waiting,
}

impl Port {
    /// A port that waits for a carrier.
    pub(super) fn new(begin: &Begin, now: Moment) -> Self {
        let mac = begin.mac;
        let client =
            |name: &String| Client::new(Identity { mac, host_name: name.clone() }, begin.seed, now);
        let fixed = begin.fixed.iter().map(|(address, there)| Fixed {
            address: *address,
            stand: if *there { Stand::Ours { rival: None } } else { Stand::Waiting },
        });
        let dhcp = begin.asks.as_ref().map(client);
        Self { mac, carrier: false, dhcp, fixed: fixed.collect() }
    }

    /// The link has a carrier, or has none.
    pub(super) fn carrier(&mut self, carrier: bool, now: Moment) {
        if carrier == self.carrier {
            return;
        }
        self.carrier = carrier;
        if !carrier {
            return;
        }
        if let Some(client) = &mut self.dhcp {
            client.resume(now);
        }
        for fixed in &mut self.fixed {
            if matches!(fixed.stand, Stand::Waiting | Stand::Taken { .. }) {
                fixed.search(self.mac, now);
            }
        }
    }

    /// Hears a frame.
    pub(super) fn hear(&mut self, now: Moment, frame: &[u8]) -> Vec<Vec<u8>> {
        if let Some(client) = &mut self.dhcp {
            client.hear(now, frame);
        }
        let message = Ethernet::parse(frame)
            .filter(|frame| frame.kind == ETHER_ARP)
            .and_then(|frame| Arp::parse(frame.content));
        let Some(message) = message else { return Vec::new() };
        let mac = self.mac;
        self.fixed.iter_mut().filter_map(|fixed| fixed.hear(mac, &message)).collect()
    }

    /// Frames to send now.
    pub(super) fn poll(&mut self, now: Moment) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        if !self.carrier {
            return frames;
        }
        if let Some(client) = &mut self.dhcp {
            while let Some(frame) = client.poll(now) {
                frames.push(frame);
            }
        }
        for fixed in &mut self.fixed {
            fixed.poll(self.mac, now, &mut frames);
        }
        frames
    }

    /// When `poll` has something to do at the latest.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        if !self.carrier {
            // A lease ends whether or not anybody can be asked, and once.
            return self.dhcp.as_ref().and_then(Client::end).filter(|end| *end > now);
        }
        let dhcp = self.dhcp.as_ref().map(Client::deadline);
        let fixed = self.fixed.iter().filter_map(|fixed| match &fixed.stand {
            Stand::Searching(search) => Some(search.deadline()),
            Stand::Taken { until, .. } => Some(*until),
            _ => None,
        });
        dhcp.into_iter().chain(fixed).min()
    }

    /// How it stands.
    pub(super) fn told(&self) -> Four {
        let asked = self.dhcp.as_ref().map(|client| Asked {
            phase: client.phase(),
            lease: client.lease().cloned(),
            end: client.end().filter(|_| client.lease().is_some()),
            trouble: client.trouble(),
        });
        Four { asked, fixed: self.fixed.iter().map(Fixed::told).collect() }
    }

    /// Gives a leased address back: the frame that says so.
    pub(super) fn release(&mut self, now: Moment) -> Option<Vec<u8>> {
        self.dhcp.as_mut()?.release(now)
    }
}

impl Fixed {
    fn own(&self) -> Ipv4Addr {
        match self.address.address() {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        }
    }

    fn search(&mut self, mac: Mac, now: Moment) {
        self.stand = Stand::Searching(Search::new(mac, self.own(), now));
    }

    /// Hears who has which address; the answer where it is ours.
    fn hear(&mut self, mac: Mac, message: &Arp) -> Option<Vec<u8>> {
        let own = self.own();
        match &mut self.stand {
            Stand::Searching(search) => search.hear(message),
            Stand::Ours { rival } => {
                let machine = message.claimed_by(mac, own).filter(|_| message.sender == own)?;
                // A person gave this machine the address: it is defended, once against each rival, and never left.
                if rival.replace(machine) != Some(machine) {
                    return Some(Arp::announcement(mac, own).frame());
                }
            }
            Stand::Taken { .. } | Stand::Waiting => {}
        }
        None
    }

    fn poll(&mut self, mac: Mac, now: Moment, frames: &mut Vec<Vec<u8>>) {
        if matches!(self.stand, Stand::Taken { until, .. } if now >= until) {
            self.search(mac, now);
        }
        let own = self.own();
        let Stand::Searching(search) = &mut self.stand else { return };
        match search.outcome(now) {
            Found::Searching => frames.extend(search.poll(now)),
            Found::Nobody => {
                frames.push(Arp::announcement(mac, own).frame());
                self.stand = Stand::Ours { rival: None };
            }
            Found::Machine(by) => self.stand = Stand::Taken { by, until: now.after(TAKEN_MILLIS) },
        }
    }

    fn told(&self) -> Told {
        match &self.stand {
            Stand::Waiting | Stand::Searching(_) => Told::Unknown,
            Stand::Ours { rival } => Told::Ours { rival: *rival },
            Stand::Taken { by, .. } => Told::Taken { by: *by },
        }
    }
}

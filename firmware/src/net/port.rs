//! The addresses of IPv4 on one link: asked of a server, or fixed ones after a look whether somebody has them.

use core::net::{IpAddr, Ipv4Addr};

use hal::net::address::{Cidr, Mac};
use hal::net::arp::{Arp, Found, Search};
use hal::net::config::{Ipv4, Link};
use hal::net::dhcp4::client::{Client, Identity, Phase, Trouble};
use hal::net::dhcp4::lease::Lease;
use hal::net::frame::{ETHER_ARP, Ethernet};
use hal::time::Moment;

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
    /// A port that begins when the link has a carrier. `there` are addresses that the link has already: what a run
    /// before this one gave it needs no second look.
    pub(super) fn new(
        link: &Link,
        mac: Mac,
        host_name: &str,
        seed: u64,
        now: Moment,
        there: &[Cidr],
    ) -> Self {
        let host_name = host_name.to_owned();
        let dhcp = (link.ipv4() == Ipv4::Dhcp)
            .then(|| Client::new(Identity { mac, host_name }, seed, now));
        let v4 = link.addresses.iter().filter(|address| address.address().is_ipv4());
        let stand = |address: &Cidr| match there.contains(address) {
            true => Stand::Ours { rival: None },
            false => Stand::Waiting,
        };
        let fixed = v4.map(|address| Fixed { address: *address, stand: stand(address) }).collect();
        Self { mac, carrier: false, dhcp, fixed }
    }

    /// The hardware address that it speaks with.
    pub(super) fn mac(&self) -> Mac {
        self.mac
    }

    /// Whether frames must be heard for it.
    pub(super) fn listens(&self) -> bool {
        self.dhcp.is_some() || !self.fixed.is_empty()
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

    /// What a server promised, and may be used at this moment.
    pub(super) fn lease(&self, now: Moment) -> Option<&Lease> {
        let client = self.dhcp.as_ref()?;
        client.lease().filter(|_| client.end().is_none_or(|end| now < end))
    }

    /// The same, its time being none of the question's.
    pub(super) fn any_lease(&self) -> Option<&Lease> {
        self.dhcp.as_ref()?.lease()
    }

    /// The addresses that the link should have now.
    pub(super) fn addresses(&self, now: Moment) -> Vec<Cidr> {
        let ours = self.fixed.iter().filter(|fixed| matches!(fixed.stand, Stand::Ours { .. }));
        let leased = self.lease(now).map(|lease| lease.address);
        ours.map(|fixed| fixed.address).chain(leased).collect()
    }

    /// Whether addresses that the link has and should not have may be taken away: not before a server was heard or a
    /// lease was lost, so that a program that starts again leaves running connections alone.
    pub(super) fn is_settled(&self) -> bool {
        self.dhcp.as_ref().is_none_or(|client| {
            let is_silence = |trouble| matches!(trouble, Trouble::Silence { .. });
            client.lease().is_some() || client.trouble().is_some_and(|trouble| !is_silence(trouble))
        })
    }

    /// Where the DHCP client is.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.dhcp.as_ref().map(Client::phase)
    }

    /// Whether all that is wrong is that no server ever answered.
    pub(super) fn hears_nobody(&self) -> bool {
        let silent = self.dhcp.as_ref().and_then(Client::trouble);
        let taken = self.fixed.iter().find_map(Fixed::problem);
        taken.is_none() && matches!(silent, Some(Trouble::Silence { .. }))
    }

    /// What is wrong, for a person.
    pub(super) fn problem(&self) -> Option<String> {
        let taken = self.fixed.iter().find_map(Fixed::problem);
        taken.or_else(|| trouble(self.dhcp.as_ref()?.trouble()?))
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

    fn problem(&self) -> Option<String> {
        let (own, machine) = match &self.stand {
            Stand::Taken { by, .. } => (self.own(), by),
            Stand::Ours { rival: Some(rival) } => (self.own(), rival),
            _ => return None,
        };
        Some(format!("the address {own} is also used by the machine {machine}: change one of them"))
    }
}

/// What went wrong with DHCP, for a person.
fn trouble(trouble: Trouble) -> Option<String> {
    Some(match trouble {
        Trouble::Silence { .. } => {
            "no DHCP server answers: check the cable and the VLAN, or set a fixed address"
                .to_owned()
        }
        Trouble::Refused { server: Some(server) } => {
            format!("the DHCP server {server} refuses an address: look at its log")
        }
        Trouble::Refused { server: None } => {
            "a DHCP server refuses an address: look at its log".to_owned()
        }
        Trouble::Duplicate { address, machine } => format!(
            "the DHCP server gave {address}, which the machine {machine} already uses: remove it there"
        ),
        Trouble::Expired => "the DHCP lease ran out and no server renewed it".to_owned(),
        _ => return None,
    })
}

//! DHCP of IPv6 on one link: asked only where routers say so, and only once the link has its own address of the cable.

use core::net::Ipv6Addr;

use hal::net::address::{Cidr, Mac};
use hal::net::config::Link;
use hal::net::dhcp6::client::{Client, Identity, Phase, Trouble};
use hal::net::dhcp6::lease::Information;
use hal::net::facts::{AddressFacts, AddressState, Managed};
use hal::time::Moment;

/// DHCP of IPv6 on one link.
#[derive(Debug)]
pub(super) struct Port6 {
    mac: Mac,
    carrier: bool,
    /// The address of the cable that questions come from; none while the system looks whether somebody has it.
    source: Option<Ipv6Addr>,
    client: Client,
}

impl Port6 {
    pub(super) fn new(link: &Link, mac: Mac, host_name: &str, seed: u64) -> Self {
        // VLANs of one card have its hardware address: a server must tell them apart.
        let tag = link.vlan.as_ref().map_or(0, |vlan| u32::from(vlan.id));
        let identity = Identity { mac, link: tag, host_name: host_name.to_owned() };
        Self { mac, carrier: false, source: None, client: Client::new(identity, seed) }
    }

    /// The hardware address that it speaks with.
    pub(super) fn mac(&self) -> Mac {
        self.mac
    }

    /// Whether frames must be heard for it.
    pub(super) fn listens(&self) -> bool {
        self.client.phase() != Phase::Off
    }

    /// Looks at what the system says: what routers leave to servers, the addresses of the link, and whether frames flow.
    pub(super) fn look<'a>(
        &mut self,
        now: Moment,
        managed: Managed,
        here: impl Iterator<Item = &'a AddressFacts> + Clone,
        carrier: bool,
    ) {
        let of = |state: AddressState| {
            let these = here.clone().filter(move |address| address.state == state);
            these.filter_map(|address| match address.address.address() {
                core::net::IpAddr::V6(address) => Some(address),
                core::net::IpAddr::V4(_) => None,
            })
        };
        self.source = of(AddressState::Usable).find(Ipv6Addr::is_unicast_link_local);
        let own = self.client.lease(now).map(|lease| lease.address);
        if own.is_some_and(|own| of(AddressState::Duplicate).any(|taken| taken == own)) {
            self.client.decline(now);
        }
        self.client.want(now, managed);
        if carrier && !self.carrier {
            self.client.resume(now);
        }
        self.carrier = carrier;
    }

    /// Hears a frame.
    pub(super) fn hear(&mut self, now: Moment, frame: &[u8]) {
        self.client.hear(now, frame);
    }

    /// Frames to send now.
    pub(super) fn poll(&mut self, now: Moment) -> Vec<Vec<u8>> {
        let Some(source) = self.source.filter(|_| self.carrier) else { return Vec::new() };
        core::iter::from_fn(|| self.client.poll(now, source)).collect()
    }

    /// When `poll` has something to do at the latest, or the lease ends.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        match self.source.filter(|_| self.carrier) {
            Some(_) => self.client.deadline(),
            None => self.client.end().filter(|end| *end > now),
        }
    }

    /// The address that the link should have now: itself alone, as routers say who else is on the cable.
    pub(super) fn address(&self, now: Moment) -> Option<Cidr> {
        self.client.lease(now).map(|lease| Cidr::host(lease.address.into()))
    }

    /// What servers know.
    pub(super) fn information(&self, now: Moment) -> Option<&Information> {
        self.client.information(now)
    }

    /// Whether addresses that the link has and should not have may be taken away: see `Port::is_settled`.
    pub(super) fn is_settled(&self, now: Moment) -> bool {
        let trouble = self.client.trouble();
        let told = trouble.is_some_and(|trouble| !matches!(trouble, Trouble::Silence { .. }));
        !self.listens() || told || self.client.lease(now).is_some()
    }

    /// Where the client is; `None` where nobody is to be asked.
    pub(super) fn phase(&self) -> Option<Phase> {
        Some(self.client.phase()).filter(|phase| *phase != Phase::Off)
    }

    /// What is wrong, for a person; `reached` says that the link has an address without it.
    pub(super) fn problem(&self, reached: bool) -> Option<String> {
        Some(match self.client.trouble()? {
            // Routers that promise a server which is not there are common, and harm nobody who has an address.
            Trouble::Silence { .. } if reached => return None,
            Trouble::Silence { .. } => {
                "the router says that a DHCP server gives addresses of IPv6, but none answers: look at that server, or set a fixed address"
                    .to_owned()
            }
            Trouble::NoAddresses => {
                "the DHCP server of IPv6 has no address left: make its range larger, or set a fixed address"
                    .to_owned()
            }
            Trouble::Refused => {
                "the DHCP server of IPv6 refuses an address: look at its log".to_owned()
            }
            Trouble::Duplicate { address } => format!(
                "the DHCP server gave {address}, which another machine already uses: remove it there"
            ),
            Trouble::Expired => {
                "the DHCP lease of IPv6 ran out and no server renewed it".to_owned()
            }
            _ => return None,
        })
    }

    /// Gives a leased address back: the frame that says so.
    pub(super) fn release(&mut self, now: Moment) -> Option<Vec<u8>> {
        self.client.release(now, self.source?)
    }
}

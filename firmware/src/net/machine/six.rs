//! DHCP of IPv6 on the links of the page, beside what the system does by itself as routers say.

use core::net::{IpAddr, Ipv6Addr};

use hal::net::address::{Cidr, Mac};
use hal::net::config::{Ipv6, Link};
use hal::net::dhcp6::lease::Information;
use hal::net::facts::{AddressState, LinkFacts};
use hal::time::Moment;

use super::held::Held6;
use super::{Machine, Plan};
use crate::net::listener::{BeginSix, Look, Order};

impl Machine {
    /// Looks at a link of the page, whose frames flow or do not.
    pub(super) fn look_six(&mut self, link: &Link, facts: &LinkFacts) {
        let index = facts.index;
        let Some(mac) = facts.mac.filter(|_| link.ipv6() == Ipv6::Auto) else {
            return self.end_six(index);
        };
        if self.six.get(&index).is_some_and(|port| port.begin.mac != mac) {
            self.end_six(index);
        }
        if !self.six.contains_key(&index) {
            self.begin_six(link, index, mac);
        }
        let look = self.seen_six(facts);
        let Some(port) = self.six.get_mut(&index) else { return };
        if port.look != look {
            port.look = look.clone();
            self.orders.push(Order::LookSix { link: index, look });
        }
    }

    fn begin_six(&mut self, link: &Link, index: u32, mac: Mac) {
        // VLANs of one card have its hardware address: a server must tell them apart.
        let tag = link.vlan.as_ref().map_or(0, |vlan| u32::from(vlan.id));
        let six =
            BeginSix { mac, tag, host_name: self.host_name.clone(), seed: self.chance.number() };
        let run = self.next_run();
        self.six.insert(index, Held6::new(run, six.clone()));
        self.orders.push(Order::BeginSix { link: index, run, six });
    }

    pub(super) fn end_six(&mut self, link: u32) {
        self.orders.extend(self.six.remove(&link).map(|_| Order::EndSix { link }));
    }

    /// How the system has it.
    fn seen_six(&self, facts: &LinkFacts) -> Look {
        let here = self.seen.addresses.iter().filter(|address| address.link == facts.index);
        let of = |state: AddressState| {
            let these = here.clone().filter(move |address| address.state == state);
            these.filter_map(|address| match address.address.address() {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            })
        };
        Look {
            managed: facts.managed,
            source: of(AddressState::Usable).find(Ipv6Addr::is_unicast_link_local),
            taken: of(AddressState::Duplicate).collect(),
            carrier: facts.up && facts.carrier && self.open.contains(&facts.index),
        }
    }

    /// The address that a server gave this link.
    pub(super) fn leased_six(&self, now: Moment, link: u32) -> Option<Cidr> {
        self.six.get(&link).and_then(|port| port.address(now))
    }

    /// Whether addresses of IPv6 that this link should not have may be taken away.
    pub(super) fn is_settled_six(&self, now: Moment, link: u32) -> bool {
        self.six.get(&link).is_none_or(|port| port.is_settled(now))
    }

    /// What servers know, best link first.
    pub(super) fn known_six(&self, now: Moment) -> Vec<(u32, &Information)> {
        let mut plans = self.plans();
        plans.sort_by_key(|plan| plan.metric);
        let indexes = plans.iter().filter_map(Plan::index);
        let known = |index| Some((index, self.six.get(&index)?.information(now)?));
        indexes.filter_map(known).collect()
    }
}

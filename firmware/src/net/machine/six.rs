//! DHCP of IPv6 on the links of the page, beside what the system does by itself as routers say.

use hal::net::address::Cidr;
use hal::net::config::{Ipv6, Link};
use hal::net::dhcp6::lease::Information;
use hal::net::facts::LinkFacts;
use hal::time::Moment;

use super::{Machine, Plan};
use crate::net::port6::Port6;

impl Machine {
    /// Looks at a link of the page, whose frames flow or do not.
    pub(super) fn look_six(&mut self, now: Moment, link: &Link, facts: &LinkFacts) {
        let index = facts.index;
        let Some(mac) = facts.mac.filter(|_| link.ipv6() == Ipv6::Auto) else {
            self.six.remove(&index);
            return;
        };
        if self.six.get(&index).is_some_and(|port| port.mac() != mac) {
            self.six.remove(&index);
        }
        let (seed, name) = (&mut self.chance, &self.host_name);
        let port =
            self.six.entry(index).or_insert_with(|| Port6::new(link, mac, name, seed.number()));
        let here = self.seen.addresses.iter().filter(|address| address.link == index);
        let flows = facts.up && facts.carrier && self.open.contains(&index);
        port.look(now, facts.managed, here, flows);
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

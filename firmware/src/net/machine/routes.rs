//! Which addresses and routes there should be, and the steps from what is to that.

use core::net::{IpAddr, Ipv4Addr};

use hal::net::address::Cidr;
use hal::net::config::{Ipv4, RouteTo};
use hal::net::dhcp4::lease::Lease;
use hal::net::facts::Route;
use hal::net::nic::Change;
use hal::time::Moment;

use super::held::Held;
use super::{Machine, Plan};

impl Machine {
    /// Steps towards the right addresses.
    pub(super) fn set_addresses(&self, now: Moment, plans: &[Plan], changes: &mut Vec<Change>) {
        for plan in plans {
            let Some(facts) = plan.facts.as_ref().filter(|facts| facts.up) else { continue };
            let link = facts.index;
            let port = self.ports.get(&link);
            let mut wanted: Vec<Cidr> = port.map(|port| port.addresses(now)).unwrap_or_default();
            let fixed = plan.link.addresses.iter().copied();
            wanted.extend(fixed.filter(|address| address.address().is_ipv6()));
            wanted.extend(self.leased_six(now, link));
            let settled = port.is_some_and(Held::is_settled);
            for there in self.addresses_of(link) {
                let removable = match there.address() {
                    IpAddr::V4(_) => settled,
                    IpAddr::V6(_) => self.is_settled_six(now, link),
                };
                if removable && !wanted.contains(&there) {
                    changes.push(Change::RemoveAddress { link, address: there });
                }
            }
            let missing = wanted.iter().filter(|address| !self.has(link, **address));
            changes.extend(missing.map(|address| Change::AddAddress { link, address: *address }));
        }
    }

    fn has(&self, link: u32, address: Cidr) -> bool {
        self.addresses_of(link).any(|there| there == address)
    }

    /// Steps towards the right routes.
    pub(super) fn set_routes(&self, now: Moment, plans: &[Plan], changes: &mut Vec<Change>) {
        let mut wanted = Vec::new();
        let mut unsettled = Vec::new();
        for plan in plans {
            let Some(facts) = &plan.facts else { continue };
            let Some(port) = self.ports.get(&facts.index) else { continue };
            if !port.is_settled() {
                unsettled.push(facts.index);
            }
            if facts.up && facts.carrier {
                self.routes_of(now, plan, facts.index, port, &mut wanted);
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        for there in &self.seen.routes {
            if !wanted.contains(there) && !unsettled.contains(&there.link) {
                changes.push(Change::RemoveRoute(*there));
            }
        }
        let missing = wanted.iter().filter(|route| !self.seen.routes.contains(route));
        changes.extend(missing.map(|route| Change::AddRoute(*route)));
    }

    fn routes_of(&self, now: Moment, plan: &Plan, link: u32, port: &Held, wanted: &mut Vec<Route>) {
        let lease = port.lease(now).filter(|lease| self.has(link, lease.address));
        let has_v4 = self.addresses_of(link).any(|address| address.address().is_ipv4());
        let metric = plan.metric;
        let mut push = |to: Cidr, via: Option<IpAddr>, metric: u32| {
            wanted.push(Route { to: to.network(), via, link, metric, source: None });
        };
        // What the page says counts more than what a server says.
        for gateway in &plan.link.gateways {
            if gateway.is_ipv6() || has_v4 {
                push(Cidr::everything_like(*gateway), Some(*gateway), metric);
            }
        }
        let written = plan.link.gateways.iter().any(IpAddr::is_ipv4);
        if let Some(lease) = lease {
            for (to, router) in &lease.routes {
                let via = (!router.is_unspecified()).then_some(IpAddr::V4(*router));
                if !(written && to.bits() == 0) {
                    push(*to, via, metric);
                }
            }
            if let Some(router) = lease.routers.first().filter(|_| !written) {
                push(Cidr::EVERYTHING_V4, Some(IpAddr::V4(*router)), metric);
            }
        }
        for route in self.config.routes.iter().filter(|route| route.link == plan.link.name) {
            let v4 = route.to.address().is_ipv4();
            let ready = !v4 || has_v4 && (plan.link.ipv4() != Ipv4::Dhcp || lease.is_some());
            if let Some(via) = gateway_of(plan, lease, route).filter(|_| ready) {
                push(route.to, via, route.metric.unwrap_or(metric));
            }
        }
    }

    /// The leases that may be used, best link first.
    pub(super) fn leases(&self, now: Moment) -> Vec<(u32, &Lease)> {
        let mut plans = self.plans();
        plans.sort_by_key(|plan| plan.metric);
        let indexes = plans.iter().filter_map(Plan::index);
        indexes.filter_map(|index| Some((index, self.ports.get(&index)?.lease(now)?))).collect()
    }
}

/// The router of a route: its own, or the link's; a network may also be on the link itself (the inner `None`). No
/// answer as long as the link's router is not known.
fn gateway_of(plan: &Plan, lease: Option<&Lease>, route: &RouteTo) -> Option<Option<IpAddr>> {
    if route.via.is_some() {
        return Some(route.via);
    }
    let v4 = route.to.address().is_ipv4();
    let written = plan.link.gateways.iter().find(|gateway| gateway.is_ipv4() == v4);
    if let Some(gateway) = written {
        return Some(Some(*gateway));
    }
    let leased = lease.filter(|_| v4).and_then(router).map(IpAddr::V4);
    match (leased, plan.link.ipv4()) {
        (Some(router), _) => Some(Some(router)),
        (None, Ipv4::Dhcp) if v4 => None,
        _ => Some(None),
    }
}

/// The way to everywhere that a server told.
fn router(lease: &Lease) -> Option<Ipv4Addr> {
    let everywhere =
        lease.routes.iter().find(|(to, router)| to.bits() == 0 && !router.is_unspecified());
    everywhere.map(|(_, router)| *router).or_else(|| lease.routers.first().copied())
}

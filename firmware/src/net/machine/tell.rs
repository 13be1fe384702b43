//! The state in words.

use core::net::IpAddr;

use hal::net::address::Cidr;
use hal::net::config::{Ipv4, Ipv6};
use hal::net::dhcp4::client::Phase;
use hal::net::dhcp6::client::Phase as Phase6;
use hal::net::facts::{AddressState, LinkFacts};
use hal::time::Moment;

use super::held::Held;
use super::{Machine, Plan, opening};
use crate::net::state::{LinkState, State};

impl Machine {
    pub(super) fn tell(&self, now: Moment) -> State {
        let plans = self.plans();
        let links: Vec<LinkState> = plans.iter().map(|plan| self.tell_link(plan)).collect();
        let resolver = self.resolver(now);
        let leases = self.leases(now);
        let ntp = leases.iter().flat_map(|(_, lease)| &lease.ntp).map(ToString::to_string);
        let known = self.known_six(now);
        let ntp6 = known.iter().flat_map(|(_, known)| &known.ntp).map(ToString::to_string);
        State {
            online: links.iter().any(|link| link.carrier && !link.addresses.is_empty()),
            links,
            dns: resolver.servers.iter().map(ToString::to_string).collect(),
            search: resolver.search,
            ntp: ntp.chain(ntp6).collect(),
        }
    }

    fn tell_link(&self, plan: &Plan) -> LinkState {
        let ipv4 = match plan.link.ipv4() {
            Ipv4::Dhcp => "dhcp",
            Ipv4::Static => "static",
            Ipv4::Off => "off",
        };
        let ipv6 = match plan.link.ipv6() {
            Ipv6::Auto => "auto",
            Ipv6::Static => "static",
            Ipv6::Off => "off",
        };
        let told = LinkState {
            name: plan.link.name.clone(),
            ipv4: ipv4.to_owned(),
            ipv6: ipv6.to_owned(),
            ..LinkState::default()
        };
        let Some(facts) = &plan.facts else {
            return LinkState { problem: Some(self.missing(plan)), ..told };
        };
        let port = self.ports.get(&facts.index);
        let here = self.seen.addresses.iter().filter(|address| address.link == facts.index);
        let usable = here.clone().filter(|address| address.state == AddressState::Usable);
        let far = usable.filter(|address| reaches_far(address.address));
        let reached: Vec<Cidr> = far.map(|address| address.address).collect();
        let routes = self.seen.routes.iter().filter(|route| route.link == facts.index);
        let everywhere = routes.filter(|route| route.to.bits() == 0);
        let duplicate = here.clone().find(|address| address.state == AddressState::Duplicate);
        LinkState {
            device: Some(facts.name.clone()),
            mac: facts.mac.map(|mac| mac.to_string()),
            driver: facts.driver.clone(),
            place: facts.place.clone(),
            carrier: facts.carrier,
            speed_mbit: facts.speed_mbit,
            mtu: facts.mtu,
            addresses: reached.iter().map(ToString::to_string).collect(),
            gateways: everywhere.filter_map(|route| Some(route.via?.to_string())).collect(),
            dhcp: port.and_then(|port| Some(phase(port.phase()?).to_owned())),
            dhcp6: self
                .six
                .get(&facts.index)
                .and_then(|port| Some(phase_six(port.phase()?).to_owned())),
            problem: self.problem(facts, duplicate.map(|address| address.address), &reached),
            ..told
        }
    }

    /// Why a link of the page is not there.
    fn missing(&self, plan: &Plan) -> String {
        let refusal = self.refused.iter().find(|(step, _)| {
            step.starts_with("Add") && step.contains(&format!("name: {:?}", plan.link.name))
        });
        match (refusal, &plan.link.nic, &plan.link.vlan) {
            (Some((_, refusal)), ..) => refusal.why.clone(),
            (_, Some(nic), _) => {
                format!("the NIC {nic} is not in this machine: check its MAC address or place")
            }
            (_, _, Some(vlan)) => format!("waits for {}", vlan.on),
            _ => "is being made".to_owned(),
        }
    }

    /// What is wrong with a link that is reached at these addresses.
    fn problem(
        &self,
        facts: &LinkFacts,
        duplicate: Option<Cidr>,
        reached: &[Cidr],
    ) -> Option<String> {
        let index = facts.index;
        let about = |step: &String| {
            let of_link = format!("link: {index}");
            step.contains(&format!("{of_link},"))
                || step.contains(&format!("{of_link} "))
                || *step == opening(index)
        };
        let refused = self.refused.iter().find(|(step, _)| about(step));
        let refused = refused.map(|(_, refusal)| refusal.why.clone());
        if let Some(address) = duplicate {
            return Some(format!(
                "the address {address} is also used by another machine: change one of them"
            ));
        }
        if facts.up && !facts.carrier {
            let unplugged = || Some("no carrier: check the cable and the switch".to_owned());
            return refused.or_else(unplugged);
        }
        if refused.is_some() {
            return refused;
        }
        let told = self.six.get(&index).and_then(|port| port.problem(!reached.is_empty()));
        let six = reached.iter().any(|address| address.address().is_ipv6());
        // A network of IPv6 alone has no server of the old kind, and lacks nothing; where one of IPv6 is promised, that
        // is the one to look at.
        let port = self.ports.get(&index);
        let port = port.filter(|port| !(port.hears_nobody() && (six || told.is_some())));
        port.and_then(Held::problem).or(told)
    }
}

/// Whether an address can be used beyond its own cable.
fn reaches_far(address: Cidr) -> bool {
    match address.address() {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

fn phase_six(phase: Phase6) -> &'static str {
    match phase {
        Phase6::Init => "waiting",
        Phase6::Soliciting => "looking for a server",
        Phase6::Requesting => "asking for an address",
        Phase6::Confirming => "asking whether the address from before fits",
        Phase6::Bound => "bound",
        Phase6::Renewing => "renewing",
        Phase6::Rebinding => "renewing with any server",
        Phase6::Declining => "declining an address that another machine has",
        Phase6::Asking => "asking for information",
        Phase6::Informed => "informed",
        _ => "unknown",
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Init => "waiting",
        Phase::Selecting => "looking for a server",
        Phase::Requesting => "asking for an address",
        Phase::Rebooting => "asking for the address from before",
        Phase::Checking => "checking that nobody has the address",
        Phase::Bound => "bound",
        Phase::Renewing => "renewing",
        Phase::Rebinding => "renewing with any server",
        _ => "unknown",
    }
}

//! What must hold between the parts of a network: each rule with words for who wrote it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::{Bond, Ipv4, Ipv6, Link, Network, NicChoice, ProxyRule, RouteTo};
use crate::net::address::Cidr;

/// Links, routes and the like that one machine can sensibly have.
const LINKS_MAX: usize = 64;
const ROUTES_MAX: usize = 1024;
const HOSTS_MAX: usize = 1024;
const DNS_MAX: usize = 3;
/// What a name of a link can have in Linux.
const NAME_BYTES_MAX: usize = 15;
/// IPv4 works with the first; nothing on Ethernet carries more than the second.
const MTU_MIN: u32 = 576;
const MTU_MAX: u32 = 9216;
/// IPv6 does not work with less.
const MTU_MIN_V6: u32 = 1280;
const TAGS: core::ops::RangeInclusive<u16> = 1..=4094;

/// One thing that is wrong with what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `link «uplink»`.
    pub place: String,
    /// What is wrong, and what to write.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl core::error::Error for Problem {}

/// Collects what is wrong.
struct Complaints {
    place: String,
    list: Vec<Problem>,
}

impl Complaints {
    fn say(&mut self, what: impl Into<String>) {
        self.list.push(Problem { place: self.place.clone(), what: what.into() });
    }
}

/// Everything that does not fit together.
pub(super) fn problems(network: &Network) -> Vec<Problem> {
    let mut complaints = Complaints { place: "network".into(), list: Vec::new() };
    let counts = [
        ("links", network.links.len(), LINKS_MAX),
        ("routes", network.routes.len(), ROUTES_MAX),
        ("hosts", network.hosts.len(), HOSTS_MAX),
        ("dns servers", network.dns.len(), DNS_MAX),
    ];
    for (what, count, most) in counts {
        if count > most {
            complaints.say(format!("{count} {what} are more than {most}"));
        }
    }
    for server in &network.dns {
        if !Cidr::host(*server).is_machine() && !server.is_loopback() {
            complaints.say(format!("dns: {server} can be no server's address"));
        }
    }
    for domain in &network.search {
        if !is_name(domain) {
            complaints.say(format!("search: «{domain}» is no domain"));
        }
    }
    for (host, addresses) in &network.hosts {
        complaints.place = format!("hosts «{host}»");
        if !is_name(host) {
            complaints.say("is no name of a host");
        }
        if addresses.is_empty() {
            complaints.say("has no address; write it like [\"10.0.0.4\"]");
        }
    }
    for (place, link) in network.links.iter().enumerate() {
        complaints.place = match link.name.as_str() {
            "" => format!("link number {}", place + 1),
            name => format!("link «{name}»"),
        };
        check_link(network, place, link, &mut complaints);
    }
    for route in &network.routes {
        complaints.place = format!("route to {}", route.to);
        check_route(network, route, &mut complaints);
    }
    for (place, rule) in network.proxies.iter().enumerate() {
        complaints.place = format!("proxy number {}", place + 1);
        check_proxy(rule, &mut complaints);
    }
    complaints.list
}

fn check_link(network: &Network, place: usize, link: &Link, complaints: &mut Complaints) {
    let earlier = network.links.get(..place).unwrap_or_default();
    if !is_link_name(&link.name) {
        complaints.say("needs a name of at most 15 letters, digits, dots and dashes");
    }
    if earlier.iter().any(|other| other.name == link.name) {
        complaints.say("has the name of another link");
    }
    match (&link.nic, &link.vlan, &link.bond) {
        (Some(nic), None, None) => {
            if earlier.iter().any(|other| uses(other, nic)) {
                complaints.say(format!("the NIC {nic} belongs to another link already"));
            }
        }
        (None, Some(vlan), None) => {
            if !TAGS.contains(&vlan.id) {
                complaints.say(format!("vlan: the id {} is not between 1 and 4094", vlan.id));
            }
            // Only what stands before it can carry a link: so nothing goes round in a circle.
            match earlier.iter().find(|other| other.name == vlan.on) {
                None => complaints.say(format!("vlan: no link «{}» stands before it", vlan.on)),
                Some(on) if on.vlan.is_some() => {
                    complaints.say(format!("vlan: «{}» is a VLAN itself", vlan.on));
                }
                Some(_) => {}
            }
            let same = |other: &&Link| other.vlan.as_ref() == Some(vlan);
            if earlier.iter().any(|other| same(&other)) {
                complaints.say(format!("vlan: the id {} is another link's already", vlan.id));
            }
        }
        (None, None, Some(bond)) => check_bond(earlier, bond, complaints),
        (None, None, None) => complaints
            .say("says not what it is; write nic = \"52:54:00:12:34:56\", or a vlan, or a bond"),
        _ => complaints.say("is more than one of nic, vlan and bond"),
    }
    check_addresses(link, complaints);
    let smallest = if link.ipv6() == Ipv6::Off { MTU_MIN } else { MTU_MIN_V6 };
    if let Some(mtu) = link.mtu.filter(|mtu| !(smallest..=MTU_MAX).contains(mtu)) {
        complaints.say(format!("mtu: {mtu} is not between {smallest} and {MTU_MAX}"));
    }
    let carrier = link.vlan.as_ref().and_then(|vlan| earlier.iter().find(|on| on.name == vlan.on));
    let below = carrier.and_then(|on| on.mtu);
    if let (Some(mtu), Some(below)) = (link.mtu, below)
        && mtu > below
    {
        complaints.say(format!("mtu: {mtu} is more than the {below} of the link that carries it"));
    }
}

fn check_bond(earlier: &[Link], bond: &Bond, complaints: &mut Complaints) {
    if bond.nics.is_empty() {
        complaints.say("bond: names no NIC");
    }
    for (place, nic) in bond.nics.iter().enumerate() {
        let twice = bond.nics.get(..place).unwrap_or_default().contains(nic);
        if twice || earlier.iter().any(|other| uses(other, nic)) {
            complaints.say(format!("bond: the NIC {nic} is used already"));
        }
    }
}

/// Whether a link has this NIC for itself.
fn uses(link: &Link, nic: &NicChoice) -> bool {
    let bonded = link.bond.as_ref().is_some_and(|bond| bond.nics.contains(nic));
    link.nic.as_ref() == Some(nic) || bonded
}

fn check_addresses(link: &Link, complaints: &mut Complaints) {
    for (place, address) in link.addresses.iter().enumerate() {
        if !address.is_machine() {
            complaints.say(format!("addresses: {address} can be no machine's address"));
        }
        let before = link.addresses.get(..place).unwrap_or_default();
        if before.iter().any(|other| other.address() == address.address()) {
            complaints.say(format!("addresses: {} stands there twice", address.address()));
        }
    }
    let has = |v4: bool| link.addresses.iter().any(|address| address.address().is_ipv4() == v4);
    if link.ipv4() == Ipv4::Static && !has(true) {
        complaints.say("ipv4: is static, but addresses has none like 10.0.0.5/24");
    }
    if link.ipv4() != Ipv4::Static && has(true) {
        complaints.say("ipv4: is not static, but addresses has one of IPv4");
    }
    if link.ipv6() == Ipv6::Static && !has(false) {
        complaints.say("ipv6: is static, but addresses has none like fd00::5/64");
    }
    if link.ipv6() == Ipv6::Off && has(false) {
        complaints.say("ipv6: is off, but addresses has one of IPv6");
    }
    for v4 in [true, false] {
        if link.gateways.iter().filter(|gateway| gateway.is_ipv4() == v4).count() > 1 {
            let kind = if v4 { "IPv4" } else { "IPv6" };
            complaints.say(format!("gateways: more than one of {kind}"));
        }
    }
    for gateway in &link.gateways {
        if let Some(what) = unreachable(link, *gateway) {
            complaints.say(format!("gateways: {what}"));
        }
    }
}

/// Why a router cannot be on this link.
fn unreachable(link: &Link, gateway: IpAddr) -> Option<String> {
    if !Cidr::host(gateway).is_machine() {
        return Some(format!("{gateway} can be no router's address"));
    }
    if link.addresses.iter().any(|address| address.address() == gateway) {
        return Some(format!("{gateway} is this machine's own address"));
    }
    let local = matches!(gateway, IpAddr::V6(address) if address.is_unicast_link_local());
    let fixed = match gateway {
        IpAddr::V4(_) => link.ipv4() != Ipv4::Dhcp,
        IpAddr::V6(_) => link.ipv6() == Ipv6::Static,
    };
    let near = link.addresses.iter().any(|address| address.contains(gateway));
    (fixed && !near && !local).then(|| format!("{gateway} is in none of the link's networks"))
}

fn check_route(network: &Network, route: &RouteTo, complaints: &mut Complaints) {
    if route.to.network() != route.to {
        complaints.say(format!("is no whole network; write {}", route.to.network()));
    }
    let Some(link) = network.links.iter().find(|link| link.name == route.link) else {
        complaints.say(format!("there is no link «{}» on this page", route.link));
        return;
    };
    if let Some(via) = route.via {
        if via.is_ipv4() != route.to.address().is_ipv4() {
            complaints.say(format!("{via} is of the other kind of addresses"));
        } else if let Some(what) = unreachable(link, via) {
            complaints.say(what);
        }
    }
}

fn check_proxy(rule: &ProxyRule, complaints: &mut Complaints) {
    if rule.destinations.is_empty() {
        complaints.say("for: names no destination; write for = [\"*\"] for all");
    }
    for destination in &rule.destinations {
        if destination.is_empty()
            || destination.contains([',', ' ', '/']) && destination.parse::<Cidr>().is_err()
        {
            complaints.say(format!("for: «{destination}» is no domain, address or network"));
        }
    }
    // The URL may hold a password: it is not repeated.
    let url = rule.through.0.as_str();
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if !rule.through.is_none() && rest.is_none_or(str::is_empty) {
        let what = "through: write http://name:password@host:port, or none to go straight";
        complaints.say(what.to_string());
    }
}

/// What Linux takes as a name of a link, less what would be misread in a path.
fn is_link_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(plain)
        && !name.starts_with('.')
        // The system's own settings have folders of these names beside those of links.
        && !matches!(name, "all" | "default" | "lo")
}

/// Whether it can be a name in DNS.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.len() <= 63 && label.bytes().all(plain)
    };
    text.len() <= 253 && text.split('.').all(label)
}

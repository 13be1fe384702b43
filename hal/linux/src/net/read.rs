//! What the kernel's messages say, as facts. What is not understood is passed over: newer kernels tell more.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hal::net::address::{Cidr, Mac};
use hal::net::facts::{AddressFacts, AddressState, LinkFacts, LinkKind, Managed, Route, Way};

use super::message::{Reply, attributes, short, text, word};
use super::write::{MARK, TABLE_MAIN, kind};

/// What a link is below: Ethernet, or the machine talking to itself.
const LAYER_ETHERNET: u16 = 1;
const LAYER_LOOPBACK: u16 = 772;
const FLAG_UP: u32 = 1;
/// Both words of the kernel for a carrier: that it is there, and that the link was made ready for it, before which
/// frames are lost.
const FLAGS_CARRIER: u32 = 0x1_0000 | 0x40;

const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_BELOW: u16 = 5;
const LINK_MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const LINK_FAMILIES: u16 = 26;
const LINK_PERMANENT_ADDRESS: u16 = 54;
/// Within what is said of IPv6: what the last router left to a server of DHCP.
const FAMILY_FLAGS: u16 = 1;
const FLAG_MANAGED: u32 = 0x40;
const FLAG_OTHER: u32 = 0x80;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VLAN_ID: u16 = 1;

const ADDRESS_PEER: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_FLAGS: u16 = 8;
const FLAG_DUPLICATE: u32 = 0x08;
const FLAG_TENTATIVE: u32 = 0x40;
const FLAG_PERMANENT: u32 = 0x80;
const SCOPE_LINK: u8 = 253;

const ROUTE_TO: u16 = 1;
const ROUTE_LINK: u16 = 4;
const ROUTE_VIA: u16 = 5;
const ROUTE_METRIC: u16 = 6;
const ROUTE_SOURCE: u16 = 7;
const ROUTE_UNICAST: u8 = 1;
const ROUTE_LOCAL: u8 = 2;

const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
/// The message of ICMPv6 that routers send.
const ROUTER_ADVERTISEMENT: u8 = 134;

/// A link; `None` where the message is about none.
pub(super) fn link(reply: &Reply) -> Option<LinkFacts> {
    if reply.kind != kind::NEW_LINK {
        return None;
    }
    let layer = short(&reply.body, 2)?;
    let flags = word(&reply.body, 8)?;
    let ethernet = layer == LAYER_ETHERNET;
    let mut facts = LinkFacts {
        index: word(&reply.body, 4)?,
        name: String::new(),
        kind: LinkKind::Other(String::new()),
        mac: None,
        permanent_mac: None,
        up: flags & FLAG_UP != 0,
        carrier: flags & FLAGS_CARRIER == FLAGS_CARRIER,
        mtu: 0,
        master: None,
        driver: None,
        place: None,
        speed_mbit: None,
        managed: Managed::Nothing,
    };
    if layer == LAYER_LOOPBACK {
        facts.kind = LinkKind::Loopback;
    }
    let mut below = None;
    let mut info: &[u8] = &[];
    for (number, value) in attributes(reply.body.get(16..)?) {
        match number {
            LINK_ADDRESS if ethernet => facts.mac = mac(value),
            LINK_PERMANENT_ADDRESS if ethernet => facts.permanent_mac = mac(value),
            LINK_NAME => facts.name = text(value)?,
            LINK_MTU => facts.mtu = word(value, 0)?,
            LINK_BELOW => below = word(value, 0),
            LINK_MASTER => facts.master = word(value, 0),
            LINK_INFO => info = value,
            LINK_FAMILIES => facts.managed = managed(value),
            _ => {}
        }
    }
    if let Some(kind) = made_of(info, below) {
        facts.kind = kind;
    }
    Some(facts)
}

/// What the link is made of, where it is made of something.
fn made_of(info: &[u8], below: Option<u32>) -> Option<LinkKind> {
    let named = |wanted| attributes(info).find(|(number, _)| *number == wanted);
    let kind = named(INFO_KIND).and_then(|(_, value)| text(value))?;
    Some(match kind.as_str() {
        "bond" => LinkKind::Bond,
        "vlan" => {
            let data = named(INFO_DATA).map_or(&[][..], |(_, value)| value);
            let id = attributes(data).find(|(number, _)| *number == VLAN_ID);
            LinkKind::Vlan { on: below, id: id.and_then(|(_, value)| short(value, 0)).unwrap_or(0) }
        }
        _ => LinkKind::Other(kind),
    })
}

/// What routers leave to a server, out of what is said of each family of addresses.
fn managed(families: &[u8]) -> Managed {
    let six = attributes(families).find(|(family, _)| *family == u16::from(FAMILY_V6));
    let flags =
        six.and_then(|(_, six)| attributes(six).find(|(number, _)| *number == FAMILY_FLAGS));
    match flags.and_then(|(_, value)| word(value, 0)).unwrap_or(0) {
        flags if flags & FLAG_MANAGED != 0 => Managed::Addresses,
        flags if flags & FLAG_OTHER != 0 => Managed::Information,
        _ => Managed::Nothing,
    }
}

fn mac(value: &[u8]) -> Option<Mac> {
    Some(Mac(value.try_into().ok()?)).filter(|mac| mac.is_machine())
}

fn address_of(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        FAMILY_V4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        FAMILY_V6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

/// An address; `None` where the message is about none.
pub(super) fn address(reply: &Reply) -> Option<AddressFacts> {
    if reply.kind != kind::NEW_ADDRESS {
        return None;
    }
    let [family, bits, flags, scope, ..] = *reply.body.as_slice() else { return None };
    let (mut flags, mut local, mut peer) = (u32::from(flags), None, None);
    for (number, value) in attributes(reply.body.get(8..)?) {
        match number {
            ADDRESS_LOCAL => local = address_of(family, value),
            ADDRESS_PEER => peer = address_of(family, value),
            ADDRESS_FLAGS => flags = word(value, 0)?,
            _ => {}
        }
    }
    let state = if flags & FLAG_DUPLICATE != 0 {
        AddressState::Duplicate
    } else if flags & FLAG_TENTATIVE != 0 {
        AddressState::Tentative
    } else {
        AddressState::Usable
    };
    let own_of_link = family == FAMILY_V6 && scope == SCOPE_LINK;
    Some(AddressFacts {
        link: word(&reply.body, 4)?,
        address: Cidr::new(local.or(peer)?, bits)?,
        state,
        automatic: flags & FLAG_PERMANENT == 0 || own_of_link,
    })
}

/// What a route's message says, whoever made the route.
struct Parts {
    to: Cidr,
    via: Option<IpAddr>,
    link: u32,
    metric: u32,
    source: Option<IpAddr>,
}

fn parts(reply: &Reply) -> Option<Parts> {
    let family = *reply.body.first()?;
    let everything = match family {
        FAMILY_V4 => Cidr::EVERYTHING_V4,
        FAMILY_V6 => Cidr::EVERYTHING_V6,
        _ => return None,
    };
    let mut parts = Parts { to: everything, via: None, link: 0, metric: 0, source: None };
    for (number, value) in attributes(reply.body.get(12..)?) {
        match number {
            ROUTE_TO => {
                parts.to = Cidr::new(address_of(family, value)?, *reply.body.get(1)?)?;
            }
            ROUTE_VIA => parts.via = address_of(family, value),
            ROUTE_LINK => parts.link = word(value, 0)?,
            ROUTE_METRIC => parts.metric = word(value, 0)?,
            ROUTE_SOURCE => parts.source = address_of(family, value),
            _ => {}
        }
    }
    Some(parts)
}

/// A route that carries our mark.
pub(super) fn own_route(reply: &Reply) -> Option<Route> {
    let ours = reply.kind == kind::NEW_ROUTE
        && reply.body.get(4) == Some(&TABLE_MAIN)
        && reply.body.get(5) == Some(&MARK);
    let Parts { to, via, link, metric, source } = parts(reply).filter(|_| ours)?;
    Some(Route { to, via, link, metric, source })
}

/// How the kernel would reach an address, as it answers that question.
pub(super) fn way(reply: &Reply) -> Option<Way> {
    let leads = matches!(reply.body.get(7), Some(&(ROUTE_UNICAST | ROUTE_LOCAL)));
    let Parts { link, via, source, .. } =
        parts(reply).filter(|_| reply.kind == kind::NEW_ROUTE && leads)?;
    Some(Way { link, via, source })
}

/// What a router of IPv6 said of names, unread, and on which link; `None` where the message is none of these.
pub(super) fn options(reply: &Reply) -> Option<(u32, &[u8])> {
    if reply.kind != kind::NEW_ADVICE || reply.body.get(8) != Some(&ROUTER_ADVERTISEMENT) {
        return None;
    }
    let bytes = usize::from(short(&reply.body, 2)?);
    let options = reply.body.get(16..16 + bytes)?;
    Some((word(&reply.body, 4)?, options))
}

#[cfg(test)]
mod tests;

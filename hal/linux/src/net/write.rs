//! Questions and changes as messages to the kernel.

use core::net::IpAddr;

use hal::net::address::Cidr;
use hal::net::facts::Route;
use hal::net::nic::{BondMode, Change, NetError, NetErrorKind};
use rustix::io::Errno;

use super::message::Message;

/// Kinds of messages.
pub(super) mod kind {
    pub(in super::super) const NEW_LINK: u16 = 16;
    pub(in super::super) const REMOVE_LINK: u16 = 17;
    pub(in super::super) const LINKS: u16 = 18;
    pub(in super::super) const NEW_ADDRESS: u16 = 20;
    pub(in super::super) const REMOVE_ADDRESS: u16 = 21;
    pub(in super::super) const ADDRESSES: u16 = 22;
    pub(in super::super) const NEW_ROUTE: u16 = 24;
    pub(in super::super) const REMOVE_ROUTE: u16 = 25;
    pub(in super::super) const ROUTES: u16 = 26;
    pub(in super::super) const NEW_ADVICE: u16 = 68;
}

/// Who made a route: an «L», which no other program claims.
pub(super) const MARK: u8 = 0x4C;
/// The table that the kernel looks in.
pub(super) const TABLE_MAIN: u8 = 254;

const ASK: u16 = 0x001;
const CONFIRM: u16 = 0x004;
const ALL: u16 = 0x300;
const REPLACE: u16 = 0x100;
const ONLY_NEW: u16 = 0x200;
const CREATE: u16 = 0x400;

const FAMILY_ANY: u8 = 0;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
const SCOPE_EVERYWHERE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_NOWHERE: u8 = 255;
const ROUTE_UNICAST: u8 = 1;
/// The router is on the link although no address says so, as where a server gives addresses without a network.
const ROUTE_ON_LINK: u32 = 4;
const FLAG_UP: u32 = 1;

const BOND_ACTIVE_BACKUP: u8 = 1;
const BOND_LACP: u8 = 4;
/// How often the carrier of a bond's links is looked at.
const BOND_LOOK_MILLIS: u32 = 100;
/// LACP: three lost messages of one a second are a lost link, not three of one each half minute.
const BOND_LACP_FAST: u8 = 1;
/// Connections are spread by their ports too: one upload is many connections.
const BOND_SPREAD_BY_PORTS: u8 = 1;

/// «Which links are there?»
pub(super) fn all_links() -> Message {
    Message::new(kind::LINKS, ASK | ALL, &link_part(0, 0, 0))
}

/// «Which addresses are there?»
pub(super) fn all_addresses() -> Message {
    Message::new(kind::ADDRESSES, ASK | ALL, &[FAMILY_ANY, 0, 0, 0, 0, 0, 0, 0])
}

/// «Which routes are there?»
pub(super) fn all_routes() -> Message {
    Message::new(kind::ROUTES, ASK | ALL, &[0; 12])
}

/// «How would you reach this address?»
pub(super) fn way(to: IpAddr) -> Message {
    let target = Cidr::host(to);
    let mut part = [0; 12];
    (part[0], part[1]) = (family(to), target.bits());
    Message::new(kind::ROUTES, ASK, &part).with(1, &octets(to))
}

/// A change as a message, and in words.
pub(super) fn change(change: &Change) -> Result<(Message, String), NetError> {
    let set_link = |link, flags, which| {
        Message::new(kind::NEW_LINK, ASK | CONFIRM, &link_part(link, flags, which))
    };
    Ok(match change {
        Change::Up { link } => {
            (set_link(*link, FLAG_UP, FLAG_UP), format!("switching on link number {link}"))
        }
        Change::Down { link } => {
            (set_link(*link, 0, FLAG_UP), format!("switching off link number {link}"))
        }
        Change::Mtu { link, mtu } => (
            set_link(*link, 0, 0).with_number(4, *mtu),
            format!("setting the MTU of link number {link} to {mtu}"),
        ),
        Change::AddVlan { name, on, id } => (
            new_link(name)?.with_number(5, *on).with_nested(18, |info| {
                info.with_text(1, "vlan").with_nested(2, |data| data.with(1, &id.to_ne_bytes()))
            }),
            format!("making the VLAN {name} with tag {id}"),
        ),
        Change::AddBond { name, mode } => (
            new_link(name)?.with_nested(18, |info| {
                info.with_text(1, "bond").with_nested(2, |data| bond(data, *mode))
            }),
            format!("making the bond {name}"),
        ),
        Change::Join { link, bond } => (
            set_link(*link, 0, 0).with_number(10, *bond),
            format!("putting link number {link} into the bond number {bond}"),
        ),
        Change::RemoveLink { link } => (
            Message::new(kind::REMOVE_LINK, ASK | CONFIRM, &link_part(*link, 0, 0)),
            format!("removing link number {link}"),
        ),
        Change::AddAddress { link, address } => {
            let message = address_part(kind::NEW_ADDRESS, CREATE | REPLACE, *link, *address);
            let message = match address.broadcast() {
                Some(broadcast) => message.with(4, &broadcast.octets()),
                None => message,
            };
            (message, format!("giving link number {link} the address {address}"))
        }
        Change::RemoveAddress { link, address } => (
            address_part(kind::REMOVE_ADDRESS, 0, *link, *address),
            format!("taking the address {address} from link number {link}"),
        ),
        Change::AddRoute(route) => (
            route_part(kind::NEW_ROUTE, CREATE | ONLY_NEW, route),
            format!("adding a route to {}", route.to),
        ),
        Change::RemoveRoute(route) => (
            route_part(kind::REMOVE_ROUTE, 0, route),
            format!("removing the route to {}", route.to),
        ),
        other => {
            let what = format!("a change that this system does not know: {other:?}");
            return Err(NetError::new(NetErrorKind::Unsupported, what));
        }
    })
}

/// Whether the kernel refused only because things are as they were to become. A route that exists may be another's.
pub(super) fn is_so_already(change: &Change, errno: Errno) -> bool {
    match change {
        Change::RemoveRoute(_) => matches!(errno, Errno::SRCH | Errno::NODEV),
        Change::RemoveAddress { .. } => matches!(errno, Errno::ADDRNOTAVAIL | Errno::NODEV),
        Change::RemoveLink { .. } => errno == Errno::NODEV,
        Change::AddAddress { .. } => errno == Errno::EXIST,
        _ => false,
    }
}

fn bond(data: Message, mode: BondMode) -> Message {
    let data = match mode {
        BondMode::ActiveBackup => data.with(1, &[BOND_ACTIVE_BACKUP]),
        BondMode::Lacp => {
            data.with(1, &[BOND_LACP]).with(21, &[BOND_LACP_FAST]).with(14, &[BOND_SPREAD_BY_PORTS])
        }
    };
    data.with_number(3, BOND_LOOK_MILLIS)
}

fn new_link(name: &str) -> Result<Message, NetError> {
    if name.is_empty() || name.len() > 15 {
        let what = format!("«{name}» cannot be the name of a link");
        return Err(NetError::new(NetErrorKind::Misuse, what));
    }
    let flags = ASK | CONFIRM | CREATE | ONLY_NEW;
    Ok(Message::new(kind::NEW_LINK, flags, &link_part(0, 0, 0)).with_text(3, name))
}

fn link_part(link: u32, flags: u32, which: u32) -> [u8; 16] {
    let mut part = [0; 16];
    part[4..8].copy_from_slice(&link.to_ne_bytes());
    part[8..12].copy_from_slice(&flags.to_ne_bytes());
    part[12..16].copy_from_slice(&which.to_ne_bytes());
    part
}

fn address_part(kind: u16, flags: u16, link: u32, address: Cidr) -> Message {
    let mut part = [family(address.address()), address.bits(), 0, SCOPE_EVERYWHERE, 0, 0, 0, 0];
    part[4..8].copy_from_slice(&link.to_ne_bytes());
    let own = octets(address.address());
    Message::new(kind, ASK | CONFIRM | flags, &part).with(2, &own).with(1, &own)
}

fn route_part(kind: u16, flags: u16, route: &Route) -> Message {
    let removes = kind == kind::REMOVE_ROUTE;
    let scope = match (removes, route.via, route.to.address()) {
        (true, ..) => SCOPE_NOWHERE,
        (false, None, IpAddr::V4(_)) => SCOPE_LINK,
        _ => SCOPE_EVERYWHERE,
    };
    let on_link = if route.via.is_some() && !removes { ROUTE_ON_LINK } else { 0 };
    let family = family(route.to.address());
    let mut part =
        [family, route.to.bits(), 0, 0, TABLE_MAIN, MARK, scope, ROUTE_UNICAST, 0, 0, 0, 0];
    part[8..12].copy_from_slice(&on_link.to_ne_bytes());
    let mut message = Message::new(kind, ASK | CONFIRM | flags, &part)
        .with(1, &octets(route.to.network().address()))
        .with_number(4, route.link)
        .with_number(6, route.metric);
    if let Some(via) = route.via {
        message = message.with(5, &octets(via));
    }
    if let Some(source) = route.source {
        message = message.with(7, &octets(source));
    }
    message
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

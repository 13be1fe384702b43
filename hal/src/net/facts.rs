//! What the system says of links, addresses and routes. Absent facts are `None`, never guessed.

use alloc::string::String;
use core::net::IpAddr;

use super::address::{Cidr, Mac};

/// One link: a NIC, or something made of NICs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// The system's number for it; a NIC that comes back gets another.
    pub index: u32,
    /// The system's name for it.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// The hardware address that it uses now.
    pub mac: Option<Mac>,
    /// The hardware address burnt into it, which stays when it is in a bond.
    pub permanent_mac: Option<Mac>,
    /// Switched on.
    pub up: bool,
    /// Cable in, partner there: frames can flow.
    pub carrier: bool,
    /// Largest packet in a frame.
    pub mtu: u32,
    /// The bond that it is part of.
    pub master: Option<u32>,
    /// The driver of the NIC.
    pub driver: Option<String>,
    /// Where the NIC is: its PCI address or the like.
    pub place: Option<String>,
    /// What the partner agreed to, in megabits a second.
    pub speed_mbit: Option<u32>,
    /// What routers of IPv6 leave to a server.
    pub managed: Managed,
}

/// What routers of IPv6 leave to a server of DHCP, as the last of them said.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum Managed {
    /// Nothing; or no router was heard.
    #[default]
    Nothing,
    /// It knows name servers and the like.
    Information,
    /// It gives addresses, and knows the rest too.
    Addresses,
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind {
    /// A NIC.
    Hardware,
    /// The machine talking to itself.
    Loopback,
    /// A tagged part of another link.
    Vlan {
        /// The link that carries it.
        on: Option<u32>,
        /// The tag.
        id: u16,
    },
    /// Several NICs as one.
    Bond,
    /// Anything else, by the system's name for its kind: `veth`, `bridge`, `tun`.
    Other(String),
}

impl LinkFacts {
    /// Whether it is an Ethernet link that can be configured: no loopback, and with a hardware address.
    pub fn is_usable(&self) -> bool {
        self.kind != LinkKind::Loopback && self.mac.is_some()
    }
}

/// One address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressFacts {
    /// The link.
    pub link: u32,
    /// The address and its network.
    pub address: Cidr,
    /// Whether it can be used.
    pub state: AddressState,
    /// Given by the system itself, from what a router says or for the link alone; not for us to remove.
    pub automatic: bool,
}

/// Whether an address can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressState {
    /// Yes.
    Usable,
    /// The system is still asking whether somebody has it.
    Tentative,
    /// Somebody else has it.
    Duplicate,
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// What it leads to.
    pub to: Cidr,
    /// The router; `None` where the target is on the link itself.
    pub via: Option<IpAddr>,
    /// The link that it leaves by.
    pub link: u32,
    /// Of several routes to one target the one with the smallest number counts.
    pub metric: u32,
    /// The own address that packets carry; `None` leaves it to the system.
    pub source: Option<IpAddr>,
}

/// How the system would reach an address now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The link that packets leave by.
    pub link: u32,
    /// The router; `None` where the address is on the link itself.
    pub via: Option<IpAddr>,
    /// The own address that packets carry.
    pub source: Option<IpAddr>,
}

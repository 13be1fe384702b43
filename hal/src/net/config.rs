//! The network as a person writes it down, and what is wrong with it in words. Nothing written means: every NIC by
//! DHCP, and IPv6 as routers say.
//!
//! Reading is total: any text of the right shape becomes a `Network`, and only `check` makes a `Checked` of it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::address::{Cidr, Mac};
use super::nic::BondMode;

/// What must hold between the parts.
mod check;

pub use check::Problem;

/// The network of one machine, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    /// The links; empty for every NIC there is, each by DHCP and as routers of IPv6 say.
    #[serde(rename = "link", skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// DNS servers to use instead of those that DHCP and routers name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Domains that short names are searched for in, instead of those that DHCP and routers name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Names that have these addresses whatever DNS says: private endpoints.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// Ways to networks, beside those that links bring.
    #[serde(rename = "route", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteTo>,
    /// Proxies by destination; the first that fits counts, and what none fits goes straight.
    #[serde(rename = "proxy", skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<ProxyRule>,
}

/// One link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// What this page and the console call it; a VLAN or bond gets this name.
    pub name: String,
    /// Which NIC: its MAC address, its place (`0000:03:00.0`) or the system's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nic: Option<NicChoice>,
    /// A tagged part of another link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// Several NICs as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond: Option<Bond>,
    /// How it gets addresses of IPv4; `dhcp` unless there are some in `addresses`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4>,
    /// How it gets addresses of IPv6; `auto` unless there are some in `addresses`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6>,
    /// Fixed addresses with their prefixes, of both kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Cidr>,
    /// Routers to everywhere else, at most one of each kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
    /// Largest packet; the link's own usual one where none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Which of several ways to everywhere counts: the smallest number; by order on this page where none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// How a link gets addresses of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ipv4 {
    /// It asks a server.
    Dhcp,
    /// Those in `addresses`.
    Static,
    /// None.
    Off,
}

/// How a link gets addresses of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ipv6 {
    /// As routers say, and those in `addresses`.
    Auto,
    /// Those in `addresses`; routers are not believed.
    Static,
    /// None.
    Off,
}

/// Which NIC is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum NicChoice {
    /// The one with this hardware address.
    Mac(Mac),
    /// The one at this place or, where there is none, with this name.
    Named(String),
}

impl From<String> for NicChoice {
    fn from(text: String) -> Self {
        text.parse().map_or(Self::Named(text), Self::Mac)
    }
}

impl From<NicChoice> for String {
    fn from(choice: NicChoice) -> Self {
        alloc::format!("{choice}")
    }
}

impl fmt::Display for NicChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => fmt::Display::fmt(mac, f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl NicChoice {
    /// Whether this NIC is meant.
    pub fn is(&self, link: &super::facts::LinkFacts) -> bool {
        match self {
            Self::Mac(mac) => link.permanent_mac.or(link.mac) == Some(*mac),
            Self::Named(name) => link.place.as_ref() == Some(name) || link.name == *name,
        }
    }
}

/// A tagged part of another link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// The link of this page that carries it.
    pub on: String,
    /// The tag, 1 to 4094.
    pub id: u16,
}

/// Several NICs as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bond {
    /// The NICs.
    pub nics: Vec<NicChoice>,
    /// How they are used.
    pub mode: BondMode,
}

/// A way to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTo {
    /// The network.
    pub to: Cidr,
    /// The link of this page that it leaves by.
    pub link: String,
    /// The router; the link's own (from DHCP or its page) where none is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Of several ways to one network the one with the smallest number counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// Which destinations go through which proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyRule {
    /// Destinations: `*`, a domain with all names under it, an address or a network.
    #[serde(rename = "for")]
    pub destinations: Vec<String>,
    /// `http://name:password@host:port`, or `none` to go straight.
    pub through: ProxyUrl,
}

/// The URL of a proxy, which may hold a password and is shown to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProxyUrl(pub String);

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl(…)")
    }
}

impl ProxyUrl {
    /// Whether it means no proxy.
    pub fn is_none(&self) -> bool {
        self.0 == "none"
    }
}

impl Link {
    /// How it gets addresses of IPv4, said or not.
    pub fn ipv4(&self) -> Ipv4 {
        let fixed = self.addresses.iter().any(|address| address.address().is_ipv4());
        self.ipv4.unwrap_or(if fixed { Ipv4::Static } else { Ipv4::Dhcp })
    }

    /// How it gets addresses of IPv6, said or not.
    pub fn ipv6(&self) -> Ipv6 {
        let fixed = self.addresses.iter().any(|address| address.address().is_ipv6());
        self.ipv6.unwrap_or(if fixed { Ipv6::Static } else { Ipv6::Auto })
    }
}

/// A network in which everything fits together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked(Network);

impl core::ops::Deref for Checked {
    type Target = Network;

    fn deref(&self) -> &Network {
        &self.0
    }
}

impl Network {
    /// The same, once everything fits together; otherwise everything that does not.
    pub fn check(self) -> Result<Checked, Vec<Problem>> {
        let problems = check::problems(&self);
        if problems.is_empty() { Ok(Checked(self)) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests;

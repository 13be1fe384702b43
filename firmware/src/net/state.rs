//! How the network stands, for the console and for `lifeboat net show`. Plain values; fields are only ever added.

use serde::Serialize;

/// The network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// At least one link has an address that reaches further than its own cable.
    pub online: bool,
    /// The links, in the order of the page.
    pub links: Vec<LinkState>,
    /// Servers that are asked for names.
    pub dns: Vec<String>,
    /// Domains that short names are searched for in.
    pub search: Vec<String>,
    /// Time servers that DHCP named.
    pub ntp: Vec<String>,
}

/// One link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkState {
    /// Its name on the page.
    pub name: String,
    /// The system's name for it; none while it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The driver of the NIC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Where the NIC is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Cable in and partner there.
    pub carrier: bool,
    /// What the partner agreed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_mbit: Option<u32>,
    /// Largest packet.
    pub mtu: u32,
    /// `dhcp`, `static` or `off`.
    pub ipv4: String,
    /// `auto`, `static` or `off`.
    pub ipv6: String,
    /// Its usable addresses with their prefixes; those that reach no further than the cable are left out.
    pub addresses: Vec<String>,
    /// Its ways to everywhere that were made here.
    pub gateways: Vec<String>,
    /// The DHCP client's word for where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<String>,
    /// The same of IPv6; none where routers leave nothing to a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp6: Option<String>,
    /// What a person should know or do; none when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl LinkState {
    /// One line for the console: `uplink (eth0): 10.0.0.5/24, 1000 Mbit/s`, or what is wrong.
    #[must_use]
    pub fn line(&self) -> String {
        let name = match &self.device {
            Some(device) if *device != self.name => format!("{} ({device})", self.name),
            _ => self.name.clone(),
        };
        let mut parts = Vec::new();
        if !self.addresses.is_empty() {
            parts.push(self.addresses.join(" "));
        }
        parts.extend(
            self.speed_mbit.filter(|_| self.carrier).map(|speed| format!("{speed} Mbit/s")),
        );
        parts.extend(self.problem.clone());
        if parts.is_empty() {
            parts.push("no address yet".to_owned());
        }
        format!("{name}: {}", parts.join(", "))
    }
}

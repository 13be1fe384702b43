//! What a server promised: an address, for how long, and what it knows of the network.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::message::{
    DOMAINS_MAX, ENTRIES_MAX, Message, ROUTES_MAX, is_machine, option, read_domains, read_routes,
};
use crate::net::address::{Cidr, mask_bits};

/// A lease is asked for again after a while: one of no time at all would be asked for without end.
const SECONDS_MIN: u32 = 10;
/// What is taken for a lease whose length the server does not tell.
const SECONDS_UNTOLD: u32 = 3600;
/// Smallest packet that IPv4 works with in practice, and the largest that there is.
const MTU_RANGE: core::ops::RangeInclusive<u16> = 576..=u16::MAX;

/// What a server promised.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lease {
    /// The address and its network.
    pub address: Cidr,
    /// Routers to everywhere, best first; empty where `routes` says it better.
    pub routers: Vec<Ipv4Addr>,
    /// Routers to networks; an unspecified router means that the network is on the link itself.
    pub routes: Vec<(Cidr, Ipv4Addr)>,
    /// DNS servers, best first.
    pub dns: Vec<Ipv4Addr>,
    /// Domains that short names are searched for in.
    pub domains: Vec<String>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// Largest packet.
    pub mtu: Option<u16>,
    /// Who promised it.
    pub server: Ipv4Addr,
    /// For how long; `u32::MAX` is for ever.
    pub seconds: u32,
    /// When to ask the same server again.
    pub renew_seconds: u32,
    /// When to ask any server.
    pub rebind_seconds: u32,
}

impl Lease {
    /// What an offer or a yes promises; `None` where its address cannot be a machine's or no server signs it.
    pub fn read(message: &Message) -> Option<Self> {
        let options = &message.options;
        let server = options.address(option::SERVER).filter(|server| is_machine(*server))?;
        let bits = match options.address(option::MASK) {
            Some(mask) => mask_bits(mask).filter(|bits| *bits > 0)?,
            None => classful_bits(message.given),
        };
        let address =
            Cidr::new(message.given.into(), bits).filter(|address| address.is_machine())?;
        let seconds = options.number(option::LEASE).unwrap_or(SECONDS_UNTOLD).max(SECONDS_MIN);
        // As RFC 2131, 4.4.5 has them where the server tells no others that make sense.
        let rebind_usual = u32::try_from(u64::from(seconds) * 7 / 8).unwrap_or(seconds);
        let rebind_seconds = options
            .number(option::REBIND)
            .filter(|rebind| *rebind < seconds && *rebind > 1)
            .unwrap_or(rebind_usual);
        let renew_seconds = options
            .number(option::RENEW)
            .filter(|renew| *renew < rebind_seconds && *renew > 0)
            .unwrap_or_else(|| (seconds / 2).min(rebind_seconds - 1));
        let routes = read_routes(options.bytes(option::ROUTES).unwrap_or_default());
        // RFC 3442: whoever understands the routes must not look at the routers.
        let routers =
            if routes.is_empty() { options.addresses(option::ROUTERS) } else { Vec::new() };
        let mut domains = read_domains(options.bytes(option::SEARCH).unwrap_or_default());
        if domains.is_empty() {
            domains.extend(options.text(option::DOMAIN).filter(|domain| is_domain(domain)));
        }
        let mtu = options.short(option::MTU).filter(|mtu| MTU_RANGE.contains(mtu));
        Some(Self {
            address,
            routers,
            routes,
            dns: options.addresses(option::DNS),
            domains,
            ntp: options.addresses(option::NTP),
            mtu,
            server,
            seconds,
            renew_seconds,
            rebind_seconds,
        })
    }

    /// Whether a server could have promised this: so it is for whatever was read of a message. It is for who is told of a
    /// lease by somebody whom he does not trust.
    pub fn is_sound(&self) -> bool {
        let machines = |list: &[Ipv4Addr]| {
            list.len() <= ENTRIES_MAX && list.iter().all(|address| is_machine(*address))
        };
        let is_way = |(to, _): &(Cidr, Ipv4Addr)| to.address().is_ipv4();
        self.address.address().is_ipv4()
            && self.address.bits() > 0
            && self.address.is_machine()
            && [&self.routers, &self.dns, &self.ntp].into_iter().all(|list| machines(list))
            && self.routes.len() <= ROUTES_MAX
            && self.routes.iter().all(is_way)
            && are_domains(&self.domains)
            && self.mtu.is_none_or(|mtu| MTU_RANGE.contains(&mtu))
            && is_machine(self.server)
            && self.seconds >= SECONDS_MIN
    }

    /// The address alone.
    pub fn own(&self) -> Ipv4Addr {
        match self.address.address() {
            core::net::IpAddr::V4(address) => address,
            core::net::IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        }
    }
}

/// What a network had before masks were told.
fn classful_bits(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

fn is_domain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 253 && text.bytes().all(plain)
}

/// Whether this is a list of domains as it is read of messages.
pub(in crate::net) fn are_domains(list: &[String]) -> bool {
    list.len() <= DOMAINS_MAX && list.iter().all(|domain| is_domain(domain))
}

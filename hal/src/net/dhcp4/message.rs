//! Messages of DHCP as bytes. Reading takes any bytes; options that come in parts or in the fields of file and server
//! name are put together first.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::net::address::Mac;
use crate::net::frame::{ipv4, mac};

/// Where servers listen.
pub const SERVER_PORT: u16 = 67;
/// Where clients listen.
pub const CLIENT_PORT: u16 = 68;

const HEAD_BYTES: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Old relays drop messages that are shorter than those of BOOTP.
const MESSAGE_BYTES_MIN: usize = 300;
/// Longest option in one part.
const PART_BYTES_MAX: usize = 255;
/// Longest name of a domain, and most of them.
const DOMAIN_BYTES_MAX: usize = 253;
pub(super) const DOMAINS_MAX: usize = 32;
/// More addresses of one kind, or ways, than this are nobody's.
pub(super) const ENTRIES_MAX: usize = 16;
pub(super) const ROUTES_MAX: usize = 64;

/// The numbers of options.
pub mod option {
    /// Mask of the network.
    pub const MASK: u8 = 1;
    /// Routers, best first.
    pub const ROUTERS: u8 = 3;
    /// DNS servers, best first.
    pub const DNS: u8 = 6;
    /// Name of the machine.
    pub const HOST_NAME: u8 = 12;
    /// Domain of the machine.
    pub const DOMAIN: u8 = 15;
    /// Largest packet.
    pub const MTU: u8 = 26;
    /// Time servers.
    pub const NTP: u8 = 42;
    /// The address that the client wants.
    pub const WANTED: u8 = 50;
    /// For how long an address is promised.
    pub const LEASE: u8 = 51;
    /// Which of the fields of file and server name hold more options.
    pub const OVERLOAD: u8 = 52;
    /// What the message is.
    pub const KIND: u8 = 53;
    /// Which server.
    pub const SERVER: u8 = 54;
    /// Which options the client asks for.
    pub const ASKED: u8 = 55;
    /// Why, in words.
    pub const WORDS: u8 = 56;
    /// Longest message that the client takes.
    pub const SIZE_MAX: u8 = 57;
    /// When to ask the server again.
    pub const RENEW: u8 = 58;
    /// When to ask any server.
    pub const REBIND: u8 = 59;
    /// What kind of machine asks.
    pub const VENDOR: u8 = 60;
    /// Who asks.
    pub const CLIENT: u8 = 61;
    /// Domains that short names are searched for in.
    pub const SEARCH: u8 = 119;
    /// Routes to networks.
    pub const ROUTES: u8 = 121;
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Is there a server?
    Discover,
    /// A server's offer.
    Offer,
    /// May I have, or keep, this address?
    Request,
    /// Somebody else has the address that you gave me.
    Decline,
    /// Yes.
    Ack,
    /// No.
    Nak,
    /// I need the address no more.
    Release,
}

impl Kind {
    const ALL: [(Self, u8); 7] = [
        (Self::Discover, 1),
        (Self::Offer, 2),
        (Self::Request, 3),
        (Self::Decline, 4),
        (Self::Ack, 5),
        (Self::Nak, 6),
        (Self::Release, 7),
    ];

    fn number(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, number)| *number)
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == number).map(|(kind, _)| *kind)
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// From a server, not from a client.
    pub reply: bool,
    /// Ties answers to questions.
    pub exchange: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    /// The answer must go to everybody, as the client cannot hear what is for it alone.
    pub broadcast: bool,
    /// The client's address, where it has one.
    pub own: Ipv4Addr,
    /// The address that the server gives.
    pub given: Ipv4Addr,
    /// The client's hardware address.
    pub mac: Mac,
    /// What the message is.
    pub kind: Kind,
    /// Everything else, by number; the kind is not among them.
    pub options: Options,
}

impl Message {
    /// A client's message without options.
    pub fn of_client(kind: Kind, exchange: u32, mac: Mac) -> Self {
        Self {
            reply: false,
            exchange,
            seconds: 0,
            broadcast: false,
            own: Ipv4Addr::UNSPECIFIED,
            given: Ipv4Addr::UNSPECIFIED,
            mac,
            kind,
            options: Options::default(),
        }
    }

    /// Reads a message; `None` where it is none of DHCP over Ethernet.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let &[operation @ (1 | 2), 1, 6, ..] = head else { return None };
        let raw = rest.strip_prefix(&MAGIC)?;
        let mut options = Options::default();
        options.read(raw);
        let overload = options.bytes(option::OVERLOAD).and_then(|bytes| bytes.first()).copied();
        // Options themselves first, then the file's field, then the server's name: the order matters to parts.
        if overload.is_some_and(|fields| fields & 1 != 0) {
            options.read(head.get(108..236)?);
        }
        if overload.is_some_and(|fields| fields & 2 != 0) {
            options.read(head.get(44..108)?);
        }
        let [number] = *options.bytes(option::KIND)? else { return None };
        let kind = Kind::of(number)?;
        options.remove(option::KIND);
        options.remove(option::OVERLOAD);
        Some(Self {
            reply: operation == 2,
            exchange: u32::from_be_bytes(head.get(4..8)?.try_into().ok()?),
            seconds: u16::from_be_bytes(head.get(8..10)?.try_into().ok()?),
            broadcast: head.get(10)? & 0x80 != 0,
            own: ipv4(head, 12)?,
            given: ipv4(head, 16)?,
            mac: mac(head, 28)?,
            kind,
            options,
        })
    }

    /// Writes the message.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&[if self.reply { 2 } else { 1 }, 1, 6, 0]);
        bytes.extend_from_slice(&self.exchange.to_be_bytes());
        bytes.extend_from_slice(&self.seconds.to_be_bytes());
        bytes.extend_from_slice(&[if self.broadcast { 0x80 } else { 0 }, 0]);
        bytes.extend_from_slice(&self.own.octets());
        bytes.extend_from_slice(&self.given.octets());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&self.mac.0);
        bytes.resize(HEAD_BYTES, 0);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[option::KIND, 1, self.kind.number()]);
        for (number, value) in &self.options.list {
            for part in value.chunks(PART_BYTES_MAX) {
                bytes.push(*number);
                // A part has at most 255 bytes by the line above.
                bytes.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                bytes.extend_from_slice(part);
            }
        }
        bytes.push(255);
        let padded = bytes.len().max(MESSAGE_BYTES_MIN);
        bytes.resize(padded, 0);
        bytes
    }
}

/// Options by number, in order of their first part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    list: Vec<(u8, Vec<u8>)>,
}

impl Options {
    fn read(&mut self, mut raw: &[u8]) {
        while let Some((&number, rest)) = raw.split_first() {
            raw = match number {
                0 => rest,
                255 => return,
                _ => {
                    let Some((&length, rest)) = rest.split_first() else { return };
                    let Some((value, rest)) = rest.split_at_checked(usize::from(length)) else {
                        return;
                    };
                    self.append(number, value);
                    rest
                }
            };
        }
    }

    /// An option without a value is none: not one that we know has a meaning so.
    fn append(&mut self, number: u8, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        match self.list.iter_mut().find(|(known, _)| *known == number) {
            Some((_, value)) => value.extend_from_slice(part),
            None => self.list.push((number, part.to_vec())),
        }
    }

    fn remove(&mut self, number: u8) {
        self.list.retain(|(known, _)| *known != number);
    }

    /// Sets an option; an empty value is none.
    pub fn set(&mut self, number: u8, value: &[u8]) {
        self.remove(number);
        if !value.is_empty() {
            self.list.push((number, value.to_vec()));
        }
    }

    /// The value of an option.
    pub fn bytes(&self, number: u8) -> Option<&[u8]> {
        let found = self.list.iter().find(|(known, _)| *known == number);
        found.map(|(_, value)| value.as_slice())
    }

    /// An option that is one address.
    pub fn address(&self, number: u8) -> Option<Ipv4Addr> {
        self.bytes(number).filter(|value| value.len() == 4).and_then(|value| ipv4(value, 0))
    }

    /// An option that is a list of addresses; those that no machine can have are left out.
    pub fn addresses(&self, number: u8) -> Vec<Ipv4Addr> {
        let (addresses, _) = self.bytes(number).unwrap_or_default().as_chunks::<4>();
        let addresses = addresses.iter().copied().map(Ipv4Addr::from);
        addresses.filter(|address| is_machine(*address)).take(ENTRIES_MAX).collect()
    }

    /// An option that is a number of 32 bits.
    pub fn number(&self, number: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(number)?.try_into().ok()?))
    }

    /// An option that is a number of 16 bits.
    pub fn short(&self, number: u8) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(number)?.try_into().ok()?))
    }

    /// An option that is text, printable and without what pads it.
    pub fn text(&self, number: u8) -> Option<String> {
        let text = core::str::from_utf8(self.bytes(number)?).ok()?.trim_end_matches('\0').trim();
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.into())
    }
}

/// Whether a machine can have this address, whatever its network.
pub(super) fn is_machine(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (1..224).contains(&first) && first != 127
}

/// Domains as DNS writes them, with pointers back into the same bytes; what is no sound name ends the list.
pub(in crate::net) fn read_domains(bytes: &[u8]) -> Vec<String> {
    let mut domains = Vec::new();
    let mut at = 0;
    while at < bytes.len() && domains.len() < DOMAINS_MAX {
        let Some((domain, next)) = read_domain(bytes, at) else { break };
        // The padding of DNSSL reads as empty names.
        if !domain.is_empty() && !domains.contains(&domain) {
            domains.push(domain);
        }
        at = next;
    }
    domains
}

/// One domain, and where the next begins. Pointers lead backwards only, so that they end.
fn read_domain(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut domain = String::new();
    let (mut at, mut lowest, mut next) = (start, start, None);
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => return Some((domain, next.unwrap_or(at + 1))),
            1..=63 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(length))?;
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                if !label.iter().all(plain) || domain.len() + label.len() >= DOMAIN_BYTES_MAX {
                    return None;
                }
                if !domain.is_empty() {
                    domain.push('.');
                }
                domain.push_str(core::str::from_utf8(label).ok()?);
                at += 1 + usize::from(length);
            }
            192.. => {
                let to = usize::from(length & 63) << 8 | usize::from(*bytes.get(at + 1)?);
                next = next.or(Some(at + 2));
                if to >= lowest {
                    return None;
                }
                (at, lowest) = (to, to);
            }
            _ => return None,
        }
    }
}

/// Routes as RFC 3442 packs them: bits, as many bytes of the network as they need, the router.
pub(super) fn read_routes(mut bytes: &[u8]) -> Vec<(crate::net::address::Cidr, Ipv4Addr)> {
    let mut routes = Vec::new();
    while let Some((&bits, rest)) = bytes.split_first() {
        let significant = usize::from(bits).div_ceil(8);
        if bits > 32 || rest.len() < significant + 4 {
            break;
        }
        let (network, rest) = rest.split_at(significant);
        let (router, rest) = rest.split_at(4);
        bytes = rest;
        let mut octets = [0; 4];
        for (octet, byte) in octets.iter_mut().zip(network) {
            *octet = *byte;
        }
        let to = crate::net::address::Cidr::new(Ipv4Addr::from(octets).into(), bits);
        if let (Some(to), Some(router)) = (to, ipv4(router, 0)) {
            routes.push((to.network(), router));
        }
        if routes.len() == ROUTES_MAX {
            break;
        }
    }
    routes
}

#[cfg(test)]
mod tests;

//! Messages of DHCP for IPv6 as bytes. Reading takes any bytes: what is no sound message is none.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::net::address::Mac;
use crate::net::frame6::ipv6;

/// Where servers and relays listen.
pub const SERVER_PORT: u16 = 547;
/// Where clients listen.
pub const CLIENT_PORT: u16 = 546;
/// Every server and relay on the cable.
pub const SERVERS: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 1, 2);

/// Kind and number of the exchange.
const HEAD_BYTES: usize = 4;
/// Number and length of an option.
const OPTION_HEAD_BYTES: usize = 4;
/// More addresses than this in one list are nobody's.
const ADDRESSES_MAX: usize = 16;

/// The numbers of options.
pub mod option {
    /// Who asks.
    pub const CLIENT: u16 = 1;
    /// Which server.
    pub const SERVER: u16 = 2;
    /// Addresses of one link, with their times.
    pub const ADDRESSES: u16 = 3;
    /// One address, within `ADDRESSES`.
    pub const ADDRESS: u16 = 5;
    /// Which options the client asks for.
    pub const ASKED: u16 = 6;
    /// How much a server wants to be the one.
    pub const PREFERENCE: u16 = 7;
    /// Since when the client asks, in hundredths of a second.
    pub const ELAPSED: u16 = 8;
    /// How it went.
    pub const STATUS: u16 = 13;
    /// DNS servers, best first.
    pub const DNS: u16 = 23;
    /// Domains that short names are searched for in.
    pub const SEARCH: u16 = 24;
    /// Time servers, in the older form.
    pub const SNTP: u16 = 31;
    /// When to ask for information again.
    pub const REFRESH: u16 = 32;
    /// Name of the machine.
    pub const HOST_NAME: u16 = 39;
    /// Time servers, in the newer form.
    pub const NTP: u16 = 56;
    /// Longest wait between two questions for a server.
    pub const SOLICIT_MAX: u16 = 82;
    /// Longest wait between two questions for information.
    pub const INFORMATION_MAX: u16 = 83;
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Is there a server?
    Solicit,
    /// A server's offer.
    Advertise,
    /// May I have this address?
    Request,
    /// Does my address fit this cable?
    Confirm,
    /// May I keep it? To the server.
    Renew,
    /// May I keep it? To everybody.
    Rebind,
    /// The answer to everything but `Solicit`.
    Reply,
    /// I need the address no more.
    Release,
    /// Somebody else has the address that you gave me.
    Decline,
    /// What do you know, addresses aside?
    Information,
}

impl Kind {
    const ALL: [(Self, u8); 10] = [
        (Self::Solicit, 1),
        (Self::Advertise, 2),
        (Self::Request, 3),
        (Self::Confirm, 4),
        (Self::Renew, 5),
        (Self::Rebind, 6),
        (Self::Reply, 7),
        (Self::Release, 8),
        (Self::Decline, 9),
        (Self::Information, 11),
    ];

    fn number(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, number)| *number)
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == number).map(|(kind, _)| *kind)
    }
}

/// How it went, in a server's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Well.
    Success,
    /// Not, for no reason that there is a word for here.
    Failed,
    /// There is no address left.
    NoAddresses,
    /// The server knows nothing of this lease.
    NoBinding,
    /// The address is none of this cable.
    NotOnLink,
}

impl Status {
    fn of(number: u16) -> Self {
        match number {
            0 => Self::Success,
            2 => Self::NoAddresses,
            3 => Self::NoBinding,
            4 => Self::NotOnLink,
            _ => Self::Failed,
        }
    }

    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::NoAddresses => 2,
            Self::NoBinding => 3,
            Self::NotOnLink => 4,
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Ties answers to questions; 24 bits.
    pub exchange: u32,
    /// Everything else.
    pub options: Options,
}

impl Message {
    /// Reads a message; `None` where it is none between a client and a server.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let [number, a, b, c] = *head;
        let exchange = u32::from_be_bytes([0, a, b, c]);
        Some(Self { kind: Kind::of(number)?, exchange, options: Options::parse(rest)? })
    }

    /// Writes the message.
    pub fn emit(&self) -> Vec<u8> {
        let [_, a, b, c] = self.exchange.to_be_bytes();
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[self.kind.number(), a, b, c]);
        self.options.emit(&mut bytes);
        bytes
    }
}

/// Options in their order; some numbers may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    list: Vec<(u16, Vec<u8>)>,
}

impl Options {
    /// Reads options; `None` where one is cut.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut list = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_first_chunk::<OPTION_HEAD_BYTES>()?;
            let [a, b, c, d] = *head;
            let length = usize::from(u16::from_be_bytes([c, d]));
            let (value, rest) = rest.split_at_checked(length)?;
            list.push((u16::from_be_bytes([a, b]), value.to_vec()));
            bytes = rest;
        }
        Some(Self { list })
    }

    fn emit(&self, bytes: &mut Vec<u8>) {
        for (number, value) in &self.list {
            // What is longer than an option can be is never put in: see `add`.
            let length = u16::try_from(value.len()).unwrap_or(0);
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(value);
        }
    }

    /// One more option; what is longer than an option can be is none.
    pub fn add(&mut self, number: u16, value: &[u8]) {
        if u16::try_from(value.len()).is_ok() {
            self.list.push((number, value.to_vec()));
        }
    }

    /// The same with one more option.
    #[must_use]
    pub fn with(mut self, number: u16, value: &[u8]) -> Self {
        self.add(number, value);
        self
    }

    /// The value of the first option with this number.
    pub fn bytes(&self, number: u16) -> Option<&[u8]> {
        self.all(number).next()
    }

    /// The values of all options with this number.
    pub fn all(&self, number: u16) -> impl Iterator<Item = &[u8]> {
        let found = self.list.iter().filter(move |(known, _)| *known == number);
        found.map(|(_, value)| value.as_slice())
    }

    /// An option that is a list of addresses; those that no machine can have are left out.
    pub fn addresses(&self, number: u16) -> Vec<Ipv6Addr> {
        let (addresses, _) = self.bytes(number).unwrap_or_default().as_chunks::<16>();
        let addresses = addresses.iter().copied().map(Ipv6Addr::from);
        addresses.filter(|address| is_machine(*address)).take(ADDRESSES_MAX).collect()
    }

    /// An option that is a number of 32 bits.
    pub fn number(&self, number: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(number)?.try_into().ok()?))
    }

    /// How it went; a server that does not say so means well.
    pub fn status(&self) -> Status {
        let told = self.bytes(option::STATUS).and_then(<[u8]>::first_chunk::<2>);
        told.map_or(Status::Success, |number| Status::of(u16::from_be_bytes(*number)))
    }
}

/// The addresses of one link, as they stand in an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Which link of the client.
    pub link: u32,
    /// When to ask the same server again; 0 leaves it to the client.
    pub renew_seconds: u32,
    /// When to ask any server; 0 leaves it to the client.
    pub rebind_seconds: u32,
    /// The addresses and how it went.
    pub options: Options,
}

impl Addresses {
    /// Reads the value of the option.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_first_chunk::<12>()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *head;
        Some(Self {
            link: u32::from_be_bytes([a, b, c, d]),
            renew_seconds: u32::from_be_bytes([e, f, g, h]),
            rebind_seconds: u32::from_be_bytes([i, j, k, l]),
            options: Options::parse(rest)?,
        })
    }

    /// Writes the value of the option.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40);
        for number in [self.link, self.renew_seconds, self.rebind_seconds] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        self.options.emit(&mut bytes);
        bytes
    }
}

/// One address, as it stands in an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: Ipv6Addr,
    /// For how long new connections should use it.
    pub preferred_seconds: u32,
    /// For how long it may be used at all; `u32::MAX` is for ever.
    pub valid_seconds: u32,
}

impl Address {
    /// Reads the value of the option; what a server says of how it went with this one address is none of ours.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(value.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            address: ipv6(value, 0)?,
            preferred_seconds: word(16)?,
            valid_seconds: word(20)?,
        })
    }

    /// Writes the value of the option.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = self.address.octets().to_vec();
        bytes.extend_from_slice(&self.preferred_seconds.to_be_bytes());
        bytes.extend_from_slice(&self.valid_seconds.to_be_bytes());
        bytes
    }
}

/// Who asks, by hardware address alone (DUID-LL). A machine that was only borrowed has no place to keep a name in, and
/// a server's reservation then fits the card, as it does for IPv4.
pub fn client_name(mac: Mac) -> [u8; 10] {
    let [a, b, c, d, e, f] = mac.0;
    [0, 3, 0, 1, a, b, c, d, e, f]
}

/// Whether a machine can be reached at this address, whatever its network.
pub(super) fn is_machine(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
}

#[cfg(test)]
mod tests;

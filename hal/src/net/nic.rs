//! A NIC that takes whole frames, and a system that keeps links, addresses and routes.
//!
//! `Nic` is for what must work before there is an address: DHCP and the search for duplicates. Everything else
//! goes through the system's own sockets. Nothing here waits but `Stack::wait`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use super::address::{Cidr, Mac};
use super::facts::{AddressFacts, LinkFacts, Route, Way};

/// Longest frame that a NIC here sends or gives: DHCP and ARP need no more.
pub const FRAME_BYTES_MAX: usize = 1514;

/// The header of Ethernet alone.
const FRAME_BYTES_MIN: usize = 14;

/// The one rule by which every NIC refuses a frame: whole, and not too long.
pub fn check_frame(frame: &[u8]) -> Result<(), NetError> {
    if (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&frame.len()) {
        return Ok(());
    }
    let bytes = frame.len();
    let what = alloc::format!("a frame of {bytes} bytes, which is none that can be sent");
    Err(NetError::new(NetErrorKind::Misuse, what))
}

/// One link, below IP. It hears ARP and DHCP of both kinds only, of others only, and never copies of what it sent.
pub trait Nic: Send {
    /// The system's number of the link.
    fn link(&self) -> u32;

    /// The hardware address that frames are sent from.
    fn mac(&self) -> Mac;

    /// Sends one whole frame, Ethernet header first, of at most `FRAME_BYTES_MAX` bytes. That it was taken does not
    /// say that it arrived.
    fn send(&mut self, frame: &[u8]) -> Result<(), NetError>;

    /// The next frame that is here already, as its length in `into`, which has `FRAME_BYTES_MAX` bytes; `None` where
    /// there is none. It never waits. A longer frame is none.
    fn receive(&mut self, into: &mut [u8; FRAME_BYTES_MAX]) -> Result<Option<usize>, NetError>;
}

/// What the system keeps: links, addresses, routes.
pub trait Stack: Send {
    /// A link of it, below IP.
    type Nic: Nic;

    /// Every link.
    fn links(&mut self) -> Result<Vec<LinkFacts>, NetError>;

    /// Every address.
    fn addresses(&mut self) -> Result<Vec<AddressFacts>, NetError>;

    /// The routes that `change` made, and no others.
    fn routes(&mut self) -> Result<Vec<Route>, NetError>;

    /// How an address would be reached now.
    fn way(&mut self, to: IpAddr) -> Result<Way, NetError>;

    /// Makes one change. What is so already is no error; what cannot be leaves everything as it was.
    fn change(&mut self, change: &Change) -> Result<(), NetError>;

    /// Opens a link below IP; it must be up.
    fn open(&mut self, link: u32) -> Result<Self::Nic, NetError>;

    /// Waits until something happened, a frame is at one of these NICs, or the time is up (then nothing is told).
    /// What happened before the call and was not told yet counts.
    fn wait(&mut self, nics: &[&Self::Nic], at_most: Duration) -> Result<Vec<Event>, NetError>;
}

/// One change of links, addresses or routes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Switches a link on.
    Up {
        /// The link.
        link: u32,
    },
    /// Switches a link off.
    Down {
        /// The link.
        link: u32,
    },
    /// Sets the largest packet.
    Mtu {
        /// The link.
        link: u32,
        /// Bytes.
        mtu: u32,
    },
    /// Lets the system give the link addresses of IPv6 by itself, or not.
    Ipv6 {
        /// The link.
        link: u32,
        /// Whether the link has IPv6, and whether routers are believed.
        mode: Ipv6Mode,
        /// Of several links whose routers lead everywhere the one with the smallest number counts.
        metric: u32,
    },
    /// Makes a tagged link on another.
    AddVlan {
        /// Its name.
        name: String,
        /// The link that carries it.
        on: u32,
        /// The tag, 1 to 4094.
        id: u16,
    },
    /// Makes a bond without links.
    AddBond {
        /// Its name.
        name: String,
        /// How it uses its links.
        mode: BondMode,
    },
    /// Puts a link, which must be down, into a bond.
    Join {
        /// The link.
        link: u32,
        /// The bond.
        bond: u32,
    },
    /// Removes a link that was made by `AddVlan` or `AddBond`.
    RemoveLink {
        /// The link.
        link: u32,
    },
    /// Gives a link an address.
    AddAddress {
        /// The link.
        link: u32,
        /// The address and its network, which is reached by this link from now on.
        address: Cidr,
    },
    /// Takes an address away.
    RemoveAddress {
        /// The link.
        link: u32,
        /// The address and its network.
        address: Cidr,
    },
    /// Adds a route.
    AddRoute(Route),
    /// Removes a route that `AddRoute` made.
    RemoveRoute(Route),
}

/// What a link does with IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Mode {
    /// Addresses and the default route as routers say.
    Automatic,
    /// Only what it is given; routers are not believed.
    Fixed,
    /// No IPv6 at all.
    Off,
}

/// How a bond uses its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum BondMode {
    /// One at a time; another takes over when its carrier is lost. The switch need not know.
    #[serde(rename = "active-backup")]
    ActiveBackup,
    /// All at once, agreed with the switch by LACP.
    #[serde(rename = "802.3ad")]
    Lacp,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Links, addresses or routes are not what they were: look again.
    Changed,
    /// A router of IPv6 said something of names, which nobody has read yet: `ndisc::read_advice` does.
    Options {
        /// The link that it was heard on.
        link: u32,
        /// The options of its message.
        options: Vec<u8>,
    },
}

/// What kind of failure, sorted by whose fault it is and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetErrorKind {
    /// The caller asked for something that cannot be.
    Misuse,
    /// There is no such link, or not any more.
    Gone,
    /// The link is switched off or has no carrier.
    Down,
    /// There is no route.
    NoRoute,
    /// The system refused: permissions.
    Refused,
    /// The system cannot do this: a module is missing, or the driver cannot.
    Unsupported,
    /// The machine ran out of something: memory, open files, room in a queue. Try again in a moment.
    Exhausted,
    /// Anything else that the system says.
    System,
}

/// A failed operation on the network. `code` is the system's errno where there is one, 0 otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetError {
    /// What kind of failure.
    pub kind: NetErrorKind,
    /// What was being done, on what, in words.
    pub what: String,
    /// The system's errno, or 0.
    pub code: i32,
}

impl NetError {
    /// An error of a kind with words.
    pub fn new(kind: NetErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), code: 0 }
    }

    /// The same error with the system's errno.
    #[must_use]
    pub fn code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.code != 0 {
            write!(f, " (errno {})", self.code)?;
        }
        Ok(())
    }
}

impl core::error::Error for NetError {}

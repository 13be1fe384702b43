//! MAC addresses, and addresses with their prefix, read from any text and written one way.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// The hardware address of an Ethernet link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody on the wire.
    pub const BROADCAST: Self = Self([0xFF; 6]);

    /// Whether it can be one machine's own address.
    pub fn is_machine(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no address of the kind wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAddress {
    /// Not six hexadecimal numbers of two digits.
    Mac,
    /// Not an address with a number of bits that fits it.
    Cidr,
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mac => "is no MAC address; write it like 52:54:00:12:34:56",
            Self::Cidr => "is no address with a prefix; write it like 10.0.0.5/24 or fd00::5/64",
        })
    }
}

impl core::error::Error for NoAddress {}

impl FromStr for Mac {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
            *byte =
                part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or(NoAddress::Mac)?;
        }
        if parts.next().is_some() { Err(NoAddress::Mac) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Self, NoAddress> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// An address, and how many of its first bits are the network's. The bits always fit the address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// `None` where the bits do not fit the address.
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        (bits <= width(address)).then_some(Self { address, bits })
    }

    /// This one address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, bits: width(address) }
    }

    /// Every address of IPv4.
    pub const EVERYTHING_V4: Self = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), bits: 0 };

    /// Every address of IPv6.
    pub const EVERYTHING_V6: Self = Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), bits: 0 };

    /// Every address of the family of this one.
    pub fn everything_like(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::EVERYTHING_V4 } else { Self::EVERYTHING_V6 }
    }

    /// The address, its last bits included.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many of the first bits are the network's.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The same network with the last bits zero.
    #[must_use]
    pub fn network(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Self { address, bits: self.bits }
    }

    /// Whether an address is in this network.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Self { address, bits: self.bits }.network().address == self.network().address
    }

    /// The network's broadcast address; `None` for IPv6, and where a network is too small for one.
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.network().address {
            IpAddr::V4(network) if self.bits <= 30 => {
                let hosts = u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                Some(Ipv4Addr::from_bits(network.to_bits() | hosts))
            }
            _ => None,
        }
    }

    /// Whether a machine can have this address: neither the network itself nor its broadcast, no group's and no
    /// loopback.
    pub fn is_machine(self) -> bool {
        let whole = self.bits == width(self.address);
        match self.address {
            IpAddr::V4(address) => {
                let edge = self.bits <= 30
                    && (self.network().address == self.address
                        || self.broadcast() == Some(address));
                let [first, ..] = address.octets();
                !edge && (1..224).contains(&first) && first != 127
            }
            IpAddr::V6(address) => {
                let anycast = !whole && self.bits < 127 && self.network().address == self.address;
                !anycast
                    && !address.is_multicast()
                    && !address.is_loopback()
                    && !address.is_unspecified()
            }
        }
    }
}

/// Bits of an address of this family.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cidr {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let (address, bits) = text.split_once('/').ok_or(NoAddress::Cidr)?;
        let address = address.parse().map_err(|_| NoAddress::Cidr)?;
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.parse().ok().filter(|_| digits).ok_or(NoAddress::Cidr)?;
        Self::new(address, bits).ok_or(NoAddress::Cidr)
    }
}

impl TryFrom<String> for Cidr {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Self, NoAddress> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

/// How many first bits of a mask are set; `None` where they are not together.
pub fn mask_bits(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then(|| u8::try_from(ones).unwrap_or(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn macs_are_read_and_written_one_way() {
        let mac: Mac = "52:54:00:AB:cd:0f".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:0f");
        assert_eq!("52-54-00-ab-cd-0f".parse(), Ok(mac));
        for bad in
            ["", "52:54:00:ab:cd", "52:54:00:ab:cd:0f:1", "52:54:00:ab:cd:0", "52:54:00:ab:cd:+f"]
        {
            assert_eq!(bad.parse::<Mac>(), Err(NoAddress::Mac), "{bad}");
        }
        assert!(mac.is_machine());
        assert!(!Mac::BROADCAST.is_machine() && !Mac([0; 6]).is_machine());
    }

    #[test]
    fn prefixes_are_checked_and_masked() {
        assert_eq!(cidr("10.1.2.3/8").network().to_string(), "10.0.0.0/8");
        assert_eq!(cidr("10.1.2.3/0").network().to_string(), "0.0.0.0/0");
        assert_eq!(cidr("fd00::ff/64").network().to_string(), "fd00::/64");
        assert_eq!(cidr("fd00::ff/0").network().to_string(), "::/0");
        for bad in ["10.0.0.1", "10.0.0.1/33", "fd00::/129", "10.0.0.1/+8", "10.0.0.1/", "x/8"] {
            assert_eq!(bad.parse::<Cidr>(), Err(NoAddress::Cidr), "{bad}");
        }
    }

    #[test]
    fn networks_know_what_is_in_them() {
        assert!(cidr("10.1.2.3/16").contains("10.1.255.255".parse().unwrap()));
        assert!(!cidr("10.1.2.3/16").contains("10.2.0.0".parse().unwrap()));
        assert!(!Cidr::EVERYTHING_V4.contains("fd00::1".parse().unwrap()));
        assert!(Cidr::EVERYTHING_V6.contains("fd00::1".parse().unwrap()));
        assert_eq!(cidr("10.1.2.3/24").broadcast(), Some(Ipv4Addr::new(10, 1, 2, 255)));
        assert_eq!(cidr("10.1.2.3/31").broadcast(), None);
    }

    #[test]
    fn addresses_that_no_machine_can_have_are_known() {
        for good in ["10.0.0.1/24", "10.0.0.0/31", "10.0.0.0/32", "fd00::1/64", "fe80::1/64"] {
            assert!(cidr(good).is_machine(), "{good}");
        }
        for bad in [
            "10.0.0.0/24",
            "10.0.0.255/24",
            "127.0.0.1/8",
            "0.1.2.3/8",
            "224.0.0.1/24",
            "fd00::/64",
            "ff02::1/64",
            "::1/128",
        ] {
            assert!(!cidr(bad).is_machine(), "{bad}");
        }
    }

    #[test]
    fn masks_with_holes_are_none() {
        assert_eq!(mask_bits(Ipv4Addr::new(255, 255, 254, 0)), Some(23));
        assert_eq!(mask_bits(Ipv4Addr::new(0, 0, 0, 0)), Some(0));
        assert_eq!(mask_bits(Ipv4Addr::new(255, 0, 255, 0)), None);
    }
}

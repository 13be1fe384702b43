//! Addresses and the ranges that they are in, IPv4 alone.

use core::fmt;
use core::net::Ipv4Addr;

use serde_json::Value;

use super::refusal::Refusal;
use super::resource::{list, word};

/// An address.
pub type Address = Ipv4Addr;

/// Addresses at a subnet's begin that are Azure's own: network, gateway and two for names. So is the last.
const RESERVED: u32 = 4;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    base: u32,
    bits: u32,
}

impl Prefix {
    /// Reads `10.9.1.0/24`.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, bits) = text.split_once('/')?;
        let (base, bits): (Address, u32) = (base.parse().ok()?, bits.parse().ok()?);
        let prefix = Self { base: base.to_bits(), bits };
        (bits <= 32 && prefix.base & !prefix.mask() == 0).then_some(prefix)
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32_u32.saturating_sub(self.bits)).unwrap_or(0)
    }

    fn last(self) -> u32 {
        self.base | !self.mask()
    }

    /// Whether the address is in it.
    pub fn holds(self, address: Address) -> bool {
        address.to_bits() & self.mask() == self.base
    }

    pub(crate) fn within(self, outer: Self) -> bool {
        self.bits >= outer.bits && self.base & outer.mask() == outer.base
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.within(other) || other.within(self)
    }

    /// Whether Azure keeps the address to itself.
    pub(crate) fn reserves(self, address: Address) -> bool {
        let at = address.to_bits();
        at.wrapping_sub(self.base) < RESERVED || at == self.last()
    }

    /// Addresses that interfaces can have, in order.
    pub(crate) fn usable(self) -> impl Iterator<Item = Address> {
        (self.base.saturating_add(RESERVED)..self.last()).map(Address::from_bits)
    }

    /// The gateway's address.
    pub fn gateway(self) -> Address {
        Address::from_bits(self.base.saturating_add(1))
    }

    /// The address that answers questions for names.
    pub fn resolver(self) -> Address {
        Address::from_bits(self.base.saturating_add(3))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Address::from_bits(self.base), self.bits)
    }
}

/// The ranges of a network or subnet, one or several.
pub(crate) fn prefixes(properties: &Value) -> Result<Vec<Prefix>, Refusal> {
    let one = word(properties, "/addressPrefix").into_iter();
    let many = list(properties, "/addressPrefixes").iter().filter_map(Value::as_str);
    let read = |text: &str| {
        Prefix::parse(text).ok_or_else(|| {
            let words =
                format!("Address prefix {text} is not a valid CIDR notation or has host bits set.");
            Refusal::new(400, "InvalidCIDRNotation", words)
        })
    };
    one.chain(many).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_knows_what_is_in_it_and_what_azure_keeps() {
        let prefix = Prefix::parse("10.9.1.0/29").unwrap();
        let usable: Vec<String> = prefix.usable().map(|address| address.to_string()).collect();
        assert_eq!(usable, ["10.9.1.4", "10.9.1.5", "10.9.1.6"]);
        assert!(prefix.holds("10.9.1.7".parse().unwrap()));
        assert!(!prefix.holds("10.9.1.8".parse().unwrap()));
        assert!(prefix.reserves("10.9.1.3".parse().unwrap()));
        assert!(prefix.reserves("10.9.1.7".parse().unwrap()));
        assert!(!prefix.reserves("10.9.1.4".parse().unwrap()));
        assert!(prefix.within(Prefix::parse("10.9.0.0/16").unwrap()));
        assert!(prefix.overlaps(Prefix::parse("10.9.1.0/24").unwrap()));
        assert!(!prefix.overlaps(Prefix::parse("10.9.2.0/24").unwrap()));
        assert!(Prefix::parse("0.0.0.0/0").unwrap().holds("8.8.8.8".parse().unwrap()));
        for wrong in ["10.9.1.1/24", "10.9.1.0/33", "10.9.1.0", "x/8"] {
            assert_eq!(Prefix::parse(wrong), None, "{wrong}");
        }
    }
}

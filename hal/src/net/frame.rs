//! Ethernet, IPv4 and UDP around a payload: as much as DHCP and ARP need. Reading takes any bytes.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::address::Mac;

/// What an Ethernet frame with ARP in it says of its content.
pub const ETHER_ARP: u16 = 0x0806;
/// What an Ethernet frame with IPv4 in it says of its content.
pub const ETHER_IPV4: u16 = 0x0800;
/// What an Ethernet frame with IPv6 in it says of its content.
pub const ETHER_IPV6: u16 = 0x86DD;

const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const PROTOCOL_UDP: u8 = 17;
/// Routers on the way to the server may be many; this is what systems use.
const HOPS: u8 = 64;

/// An Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet<'a> {
    /// Whom it is for.
    pub to: Mac,
    /// Who sent it.
    pub from: Mac,
    /// What its content is.
    pub kind: u16,
    /// Its content, padding included.
    pub content: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// Reads a frame.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let (head, content) = frame.split_at_checked(ETHERNET_BYTES)?;
        let kind = u16::from_be_bytes(head.get(12..14)?.try_into().ok()?);
        Some(Self { to: mac(head, 0)?, from: mac(head, 6)?, kind, content })
    }

    /// Writes the frame.
    pub fn emit(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(ETHERNET_BYTES + self.content.len());
        frame.extend_from_slice(&self.to.0);
        frame.extend_from_slice(&self.from.0);
        frame.extend_from_slice(&self.kind.to_be_bytes());
        frame.extend_from_slice(self.content);
        frame
    }
}

/// The MAC address at this place.
pub(super) fn mac(bytes: &[u8], at: usize) -> Option<Mac> {
    Some(Mac(bytes.get(at..at.checked_add(6)?)?.try_into().ok()?))
}

/// The address of IPv4 at this place.
pub(super) fn ipv4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let bytes: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes))
}

/// A datagram of UDP over IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: Ipv4Addr,
    /// From which port.
    pub from_port: u16,
    /// Whom it is for.
    pub to: Ipv4Addr,
    /// To which port.
    pub to_port: u16,
    /// What it says.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads the content of a frame. Fragments are none. The checksum of the IP header must be right; that of UDP is
    /// not looked at: a packet that never left the machine need not have one yet, and Ethernet has its own.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let first = *packet.first()?;
        let head_bytes = usize::from(first & 15) * 4;
        if first >> 4 != 4 || head_bytes < IPV4_BYTES {
            return None;
        }
        let head = packet.get(..head_bytes)?;
        let total = usize::from(u16::from_be_bytes(head.get(2..4)?.try_into().ok()?));
        let fragment = u16::from_be_bytes(head.get(6..8)?.try_into().ok()?) & 0x3FFF;
        if checksum(head) != 0 || fragment != 0 || *head.get(9)? != PROTOCOL_UDP {
            return None;
        }
        // Ethernet pads short frames: the packet says itself how long it is.
        let body = packet.get(head_bytes..total)?;
        let word = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
        let payload = body.get(UDP_BYTES..usize::from(word(4)?))?;
        Some(Self {
            from: ipv4(head, 12)?,
            from_port: word(0)?,
            to: ipv4(head, 16)?,
            to_port: word(2)?,
            payload,
        })
    }

    /// Writes the packet; `None` where the payload is longer than a packet can be.
    pub fn emit(&self) -> Option<Vec<u8>> {
        let udp_bytes = u16::try_from(UDP_BYTES + self.payload.len()).ok()?;
        let total = u16::try_from(IPV4_BYTES).ok()?.checked_add(udp_bytes)?;
        let mut packet = Vec::with_capacity(usize::from(total));
        packet.extend_from_slice(&[0x45, 0]);
        packet.extend_from_slice(&total.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 0, HOPS, PROTOCOL_UDP, 0, 0]);
        packet.extend_from_slice(&self.from.octets());
        packet.extend_from_slice(&self.to.octets());
        let sum = checksum(&packet).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        let mut body = Vec::with_capacity(usize::from(udp_bytes));
        body.extend_from_slice(&self.from_port.to_be_bytes());
        body.extend_from_slice(&self.to_port.to_be_bytes());
        body.extend_from_slice(&udp_bytes.to_be_bytes());
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(self.payload);
        let mut summed = Vec::with_capacity(12 + body.len());
        summed.extend_from_slice(&self.from.octets());
        summed.extend_from_slice(&self.to.octets());
        summed.extend_from_slice(&[0, PROTOCOL_UDP]);
        summed.extend_from_slice(&udp_bytes.to_be_bytes());
        summed.extend_from_slice(&body);
        // Zero says that there is none, so a sum of zero is sent as its other form.
        let sum = match checksum(&summed) {
            0 => u16::MAX,
            sum => sum,
        };
        body[6..8].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(&body);
        Some(packet)
    }
}

/// The checksum of the Internet protocols; 0 over bytes that hold their own right one.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        let high = pair.first().copied().unwrap_or(0);
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([high, low]));
    }
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATAGRAM: Datagram<'_> = Datagram {
        from: Ipv4Addr::UNSPECIFIED,
        from_port: 68,
        to: Ipv4Addr::BROADCAST,
        to_port: 67,
        payload: b"hello",
    };

    #[test]
    fn what_was_written_is_read_padding_and_all() {
        let packet = DATAGRAM.emit().unwrap();
        assert_eq!(Datagram::parse(&packet), Some(DATAGRAM));
        let mut padded = packet.clone();
        padded.resize(60, 0xEE);
        assert_eq!(Datagram::parse(&padded), Some(DATAGRAM));
        let frame =
            Ethernet { to: Mac::BROADCAST, from: Mac([2; 6]), kind: ETHER_IPV4, content: &packet };
        let bytes = frame.emit();
        assert_eq!(Ethernet::parse(&bytes), Some(frame));
    }

    #[test]
    fn checksum_is_the_published_one() {
        // The example of RFC 1071, section 3.
        assert_eq!(checksum(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]), !0xDDF2);
        let packet = DATAGRAM.emit().unwrap();
        assert_eq!(checksum(&packet[..20]), 0);
    }

    #[test]
    fn cut_broken_and_foreign_packets_are_none() {
        let packet = DATAGRAM.emit().unwrap();
        for length in 0..packet.len() {
            assert_eq!(Datagram::parse(&packet[..length]), None, "{length} bytes");
        }
        for bit in 0..160 {
            let mut bad = packet.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Datagram::parse(&bad), None, "bit {bit} of the IP header");
        }
        for length in 0..14 {
            assert_eq!(Ethernet::parse(&packet[..length]), None);
        }
    }
}

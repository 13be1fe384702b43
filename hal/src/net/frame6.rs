//! IPv6 and UDP around a payload: as much as DHCP needs. Reading takes any bytes.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::address::Mac;
use super::frame::checksum;

const HEAD_BYTES: usize = 40;
const UDP_BYTES: usize = 8;
const PROTOCOL_UDP: u8 = 17;
/// What is sent here goes to this cable alone; a relay sends it on as its own.
const HOPS: u8 = 1;

/// A datagram of UDP over IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram6<'a> {
    /// Who sent it.
    pub from: Ipv6Addr,
    /// From which port.
    pub from_port: u16,
    /// Whom it is for.
    pub to: Ipv6Addr,
    /// To which port.
    pub to_port: u16,
    /// What it says.
    pub payload: &'a [u8],
}

impl<'a> Datagram6<'a> {
    /// Reads the content of a frame. Fragments are none, and neither is what has headers in between. The checksum is not
    /// looked at: a packet that never left the machine need not have one yet, and Ethernet has its own.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let (head, rest) = packet.split_at_checked(HEAD_BYTES)?;
        if head.first()? >> 4 != 6 || *head.get(6)? != PROTOCOL_UDP {
            return None;
        }
        // Ethernet pads short frames: the packet says itself how long it is.
        let length = u16::from_be_bytes(head.get(4..6)?.try_into().ok()?);
        let body = rest.get(..usize::from(length))?;
        let word = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
        let payload = body.get(UDP_BYTES..usize::from(word(4)?))?;
        Some(Self {
            from: ipv6(head, 8)?,
            from_port: word(0)?,
            to: ipv6(head, 24)?,
            to_port: word(2)?,
            payload,
        })
    }

    /// Writes the packet; `None` where the payload is longer than a packet can be.
    pub fn emit(&self) -> Option<Vec<u8>> {
        let length = u16::try_from(UDP_BYTES + self.payload.len()).ok()?;
        let mut body = Vec::with_capacity(usize::from(length));
        body.extend_from_slice(&self.from_port.to_be_bytes());
        body.extend_from_slice(&self.to_port.to_be_bytes());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(self.payload);
        let mut summed = Vec::with_capacity(HEAD_BYTES + body.len());
        summed.extend_from_slice(&self.from.octets());
        summed.extend_from_slice(&self.to.octets());
        summed.extend_from_slice(&u32::from(length).to_be_bytes());
        summed.extend_from_slice(&[0, 0, 0, PROTOCOL_UDP]);
        summed.extend_from_slice(&body);
        // Zero would say that there is none, which IPv6 forbids: a sum of zero is sent as its other form.
        let sum = match checksum(&summed) {
            0 => u16::MAX,
            sum => sum,
        };
        body[6..8].copy_from_slice(&sum.to_be_bytes());
        let mut packet = Vec::with_capacity(HEAD_BYTES + body.len());
        packet.extend_from_slice(&[0x60, 0, 0, 0]);
        packet.extend_from_slice(&length.to_be_bytes());
        packet.extend_from_slice(&[PROTOCOL_UDP, HOPS]);
        packet.extend_from_slice(&self.from.octets());
        packet.extend_from_slice(&self.to.octets());
        packet.extend_from_slice(&body);
        Some(packet)
    }
}

/// The hardware address that frames to a group of IPv6 go to.
pub fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// The address at this place.
pub(super) fn ipv6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let bytes: [u8; 16] = bytes.get(at..at.checked_add(16)?)?.try_into().ok()?;
    Some(Ipv6Addr::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATAGRAM: Datagram6<'_> = Datagram6 {
        from: Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1),
        from_port: 546,
        to: Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 1, 2),
        to_port: 547,
        payload: b"hello",
    };

    #[test]
    fn what_was_written_is_read_padding_and_all() {
        let packet = DATAGRAM.emit().unwrap();
        assert_eq!(Datagram6::parse(&packet), Some(DATAGRAM));
        let mut padded = packet.clone();
        padded.resize(80, 0xEE);
        assert_eq!(Datagram6::parse(&padded), Some(DATAGRAM));
        assert_eq!(group_mac(DATAGRAM.to), Mac([0x33, 0x33, 0, 1, 0, 2]));
    }

    #[test]
    fn the_checksum_holds_over_the_pseudo_header_of_rfc_8200() {
        let packet = DATAGRAM.emit().unwrap();
        let mut summed = packet[8..40].to_vec();
        summed.extend_from_slice(&[0, 0, 0, 13, 0, 0, 0, 17]);
        summed.extend_from_slice(&packet[40..]);
        assert_eq!(checksum(&summed), 0);
    }

    #[test]
    fn cut_and_foreign_packets_are_none() {
        let packet = DATAGRAM.emit().unwrap();
        for length in 0..packet.len() {
            assert_eq!(Datagram6::parse(&packet[..length]), None, "{length} bytes");
        }
        for (at, byte) in [(0, 0x45), (6, 44), (6, 6), (5, 200), (45, 200)] {
            let mut bad = packet.clone();
            bad[at] = byte;
            assert_eq!(Datagram6::parse(&bad), None, "{byte} at {at}");
        }
    }
}

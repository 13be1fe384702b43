//! Routers of IPv6 that need no kernel: they say that they are there and how much they want to be used, answer for their
//! own address, and count what they would have to send on.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use hal::net::address::Mac;
use hal::net::frame::{ETHER_IPV6, Ethernet, checksum};
use hal::net::frame6::group_mac;
use qemu::Tap;

use super::peers::Peer;

const PROTOCOL_ICMP: u8 = 58;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const ECHO: u8 = 128;
const EVERYBODY: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 2);
/// The network that these routers are of.
const NETWORK: [u8; 8] = [0xFD, 0x69, 0, 0, 0, 0, 0, 0];
/// Somebody far away.
pub const FAR: Ipv6Addr = Ipv6Addr::new(0xFD99, 0, 0, 0, 0, 0, 0, 1);

/// How much a router wants to be used (RFC 4191).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// Before others.
    High,
    /// After others.
    Low,
}

/// A router.
#[derive(Debug)]
pub struct RouterPeer {
    leaves: Arc<AtomicBool>,
    routed: Arc<AtomicU64>,
    _peer: Peer,
}

impl RouterPeer {
    /// Starts the router with this number.
    pub fn start(tap: Tap, number: u8, preference: Preference) -> Self {
        let leaves = Arc::new(AtomicBool::new(false));
        let routed = Arc::new(AtomicU64::new(0));
        let (leaving, count) = (Arc::clone(&leaves), Arc::clone(&routed));
        let mac = Mac([2, 0xCC, 0, 0, 0, number]);
        let own = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0xCC, u16::from(number));
        let peer = Peer::start(tap, move |frame| {
            let ether = Ethernet::parse(frame).filter(|ether| ether.kind == ETHER_IPV6)?;
            let to = address(ether.content, 24)?;
            let leaves = leaving.load(Ordering::SeqCst);
            if ether.to == mac && to == FAR {
                count.fetch_add(1, Ordering::Relaxed);
                let message = advertisement(mac, preference, 0);
                return leaves.then(|| icmp(mac, ether.from, own, EVERYBODY, &message));
            }
            if leaves || *ether.content.get(6)? != PROTOCOL_ICMP {
                return None;
            }
            match *ether.content.get(40)? {
                ROUTER_SOLICITATION => {
                    let message = advertisement(mac, preference, 600);
                    Some(icmp(mac, group_mac(EVERYBODY), own, EVERYBODY, &message))
                }
                NEIGHBOUR_SOLICITATION if address(ether.content, 48)? == own => {
                    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, 0xE0, 0, 0, 0];
                    message.extend_from_slice(&own.octets());
                    message.extend_from_slice(&[2, 1]);
                    message.extend_from_slice(&mac.0);
                    let from = address(ether.content, 8)?;
                    Some(icmp(mac, ether.from, own, from, &message))
                }
                _ => None,
            }
        });
        Self { leaves, routed, _peer: peer }
    }

    /// Packets to somebody far away that came by this router.
    pub fn routed(&self) -> u64 {
        self.routed.load(Ordering::Relaxed)
    }

    /// It says that it is no router any more, to whoever sends by it, and answers nothing else.
    pub fn leave(&self) {
        self.leaves.store(true, Ordering::SeqCst);
    }
}

/// A question of somebody far away, whose answer has to go by a router; and a neighbour's to all routers, which then say
/// again that they are there: a machine asks no more once it has heard one of them.
pub fn ask_from_far(tap: &Tap, machine: Mac, address: Ipv6Addr) {
    let mac = Mac([2, 0xCC, 0, 0, 0, 0xFF]);
    let own = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0xCC, 0xFF);
    let question = [ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    tap.send(&icmp(mac, group_mac(ROUTERS), own, ROUTERS, &question));
    tap.send(&icmp(mac, machine, FAR, address, &[ECHO, 0, 0, 0, 0, 1, 0, 1]));
}

/// «I am a router, for so long; my network gives you an address.»
fn advertisement(mac: Mac, preference: Preference, seconds: u16) -> Vec<u8> {
    let wish = match preference {
        Preference::High => 0x08,
        Preference::Low => 0x18,
    };
    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, wish];
    message.extend_from_slice(&seconds.to_be_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[1, 1]);
    message.extend_from_slice(&mac.0);
    message.extend_from_slice(&[3, 4, 64, 0xC0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
    message.extend_from_slice(&NETWORK);
    message.extend_from_slice(&[0; 8]);
    message
}

fn address(packet: &[u8], at: usize) -> Option<Ipv6Addr> {
    let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(bytes))
}

/// A frame with a message of ICMP in it that no router sent on.
fn icmp(from_mac: Mac, to_mac: Mac, from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let addresses = [from.octets(), to.octets()].concat();
    let mut summed = addresses.clone();
    summed.extend_from_slice(&u32::from(length).to_be_bytes());
    summed.extend_from_slice(&[0, 0, 0, PROTOCOL_ICMP]);
    summed.extend_from_slice(message);
    let mut message = message.to_vec();
    message[2..4].copy_from_slice(&checksum(&summed).to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[PROTOCOL_ICMP, 255]);
    packet.extend_from_slice(&addresses);
    packet.extend_from_slice(&message);
    Ethernet { to: to_mac, from: from_mac, kind: ETHER_IPV6, content: &packet }.emit()
}

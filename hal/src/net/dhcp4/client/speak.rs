//! What the client says, by state: RFC 2131, table 5.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::{Held, Identity};
use crate::net::address::Mac;
use crate::net::dhcp4::lease::Lease;
use crate::net::dhcp4::message::{CLIENT_PORT, Kind, Message, SERVER_PORT, option};
use crate::net::frame::{Datagram, ETHER_IPV4, Ethernet};

/// What is wanted of servers.
const ASKED: [u8; 12] = [
    option::MASK,
    option::ROUTES,
    option::ROUTERS,
    option::DNS,
    option::DOMAIN,
    option::SEARCH,
    option::MTU,
    option::NTP,
    option::LEASE,
    option::SERVER,
    option::RENEW,
    option::REBIND,
];
/// Longest message that we take: what fits a usual packet.
const MESSAGE_BYTES_MAX: u16 = 1472;
/// What kind of machine asks, for servers that sort by that.
const VENDOR: &[u8] = b"lifeboat";
/// A name of a machine that fits its option.
const HOST_NAME_BYTES_MAX: usize = 63;

/// The questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Is there a server?
    Discover { broadcast: bool },
    /// May I have what you offered?
    Offer { broadcast: bool },
    /// May I have again what I had?
    Reboot { broadcast: bool },
    /// May I keep it? To the server.
    Renew,
    /// May I keep it? To everybody.
    Rebind,
}

/// The frame of a question; `lease` is what it is about.
pub(super) fn ask(
    identity: &Identity,
    exchange: u32,
    seconds: u16,
    ask: Ask,
    lease: Option<&Lease>,
    next_hop: Option<Mac>,
) -> Option<Vec<u8>> {
    let kind = if matches!(ask, Ask::Discover { .. }) { Kind::Discover } else { Kind::Request };
    let mut message = Message::of_client(kind, exchange, identity.mac);
    message.seconds = seconds;
    sign(&mut message, identity);
    message.options.set(option::ASKED, &ASKED);
    message.options.set(option::SIZE_MAX, &MESSAGE_BYTES_MAX.to_be_bytes());
    message.options.set(option::VENDOR, VENDOR);
    let name = identity.host_name.as_bytes();
    message.options.set(option::HOST_NAME, name.get(..HOST_NAME_BYTES_MAX).unwrap_or(name));
    let own = lease.map_or(Ipv4Addr::UNSPECIFIED, Lease::own);
    let everybody = (Mac::BROADCAST, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let (to_mac, from, to) = match ask {
        Ask::Discover { broadcast } => {
            message.broadcast = broadcast;
            everybody
        }
        Ask::Offer { broadcast } => {
            message.broadcast = broadcast;
            message.options.set(option::WANTED, &own.octets());
            message.options.set(option::SERVER, &lease?.server.octets());
            everybody
        }
        Ask::Reboot { broadcast } => {
            message.broadcast = broadcast;
            message.options.set(option::WANTED, &own.octets());
            everybody
        }
        Ask::Renew => {
            message.own = own;
            // The way that the server's answer came goes back to it: itself, a relay or a router.
            (next_hop?, own, lease?.server)
        }
        Ask::Rebind => {
            message.own = own;
            (Mac::BROADCAST, own, Ipv4Addr::BROADCAST)
        }
    };
    frame(identity, to_mac, from, to, &message)
}

/// «Somebody else has the address that you gave me.»
pub(super) fn decline(identity: &Identity, exchange: u32, held: &Held) -> Option<Vec<u8>> {
    let mut message = Message::of_client(Kind::Decline, exchange, identity.mac);
    sign(&mut message, identity);
    message.options.set(option::WANTED, &held.lease.own().octets());
    message.options.set(option::SERVER, &held.lease.server.octets());
    frame(identity, Mac::BROADCAST, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, &message)
}

/// «I need the address no more.»
pub(super) fn release(identity: &Identity, exchange: u32, held: &Held) -> Option<Vec<u8>> {
    let mut message = Message::of_client(Kind::Release, exchange, identity.mac);
    sign(&mut message, identity);
    message.own = held.lease.own();
    message.options.set(option::SERVER, &held.lease.server.octets());
    frame(identity, held.next_hop, held.lease.own(), held.lease.server, &message)
}

/// Who asks: the hardware address, as firmware of servers has it too, so that reservations fit both.
fn sign(message: &mut Message, identity: &Identity) {
    let [a, b, c, d, e, f] = identity.mac.0;
    message.options.set(option::CLIENT, &[1, a, b, c, d, e, f]);
}

fn frame(
    identity: &Identity,
    to_mac: Mac,
    from: Ipv4Addr,
    to: Ipv4Addr,
    message: &Message,
) -> Option<Vec<u8>> {
    let payload = message.emit();
    let (from_port, to_port) = (CLIENT_PORT, SERVER_PORT);
    let packet = Datagram { from, from_port, to, to_port, payload: &payload }.emit()?;
    let frame =
        Ethernet { to: to_mac, from: identity.mac, kind: ETHER_IPV4, content: &packet }.emit();
    Some(frame)
}

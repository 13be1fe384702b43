//! Wake-on-LAN: a server that was switched off for a planned failover is switched on again where that is taken back.
//!
//! A *magic packet* is six bytes of 0xFF and sixteen times the card's hardware address, by UDP to port 9 of every network that
//! this machine is on. Nobody answers it: whether it did anything shows when the server's agent is back.

use core::net::{Ipv4Addr, SocketAddrV4};
use std::io;
use std::net::UdpSocket;

use hal::time::Moment;

use super::roll::wakes::Card;

/// Set to `off` where this machine may send nothing of the kind.
const SWITCH: &str = "LIFEBOAT_WAKE";
/// The port that discards what it gets, by custom.
const PORT: u16 = 9;
/// Bytes of a magic packet.
const PACKET_BYTES: usize = 6 + 16 * 6;
/// Between two packets to the same card.
const EVERY_MILLIS: u64 = 10_000;
/// A server that is connected all this time was never off.
const SETTLES_MILLIS: u64 = 60_000;
/// A server that was woken is back within this, firmware, file systems and all; or somebody has to look at it.
const LIMIT_MILLIS: u64 = 10 * 60_000;

/// A server that is being woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waking {
    since: Moment,
    was_away: bool,
    sent: Option<Moment>,
}

/// What is to be done about it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Its cards are told to wake it.
    Packet,
    /// Its agent is here.
    Back,
    /// Nothing was heard of it in all that time.
    Silent,
    /// It is waited for.
    Nothing,
}

impl Waking {
    /// From now on.
    pub(super) fn begin(now: Moment) -> Self {
        Self { since: now, was_away: false, sent: None }
    }

    /// What is to be done, where its agent is connected or not. One that is connected may be on its way down.
    pub(super) fn next(&mut self, is_connected: bool, now: Moment) -> Next {
        self.was_away |= !is_connected;
        let waited = now.since(self.since);
        if is_connected && (self.was_away || waited >= SETTLES_MILLIS) {
            return Next::Back;
        }
        if waited >= LIMIT_MILLIS {
            return Next::Silent;
        }
        let is_due = self.sent.is_none_or(|sent| now.since(sent) >= EVERY_MILLIS);
        if is_due && !is_connected {
            self.sent = Some(now);
            return Next::Packet;
        }
        Next::Nothing
    }
}

/// Sends each card its packet on every network that this machine is on; how many went out.
///
/// Errors: none did, for this reason.
pub(super) fn send(cards: &[Card]) -> io::Result<usize> {
    if std::env::var_os(SWITCH).is_some_and(|word| word == "off") {
        return Err(io::Error::other(format!("{SWITCH} is off here")));
    }
    let routes = std::fs::read_to_string("/proc/net/route")?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_broadcast(true)?;
    let (mut sent, mut failed) = (0, None);
    for network in broadcasts(&routes) {
        for card in cards {
            match socket.send_to(&packet(*card), SocketAddrV4::new(network, PORT)) {
                Ok(_) => sent += 1,
                Err(error) => failed = Some(error),
            }
        }
    }
    match (sent, failed) {
        (0, Some(error)) => Err(error),
        (0, None) => Err(io::Error::other("this machine is on no network of IPv4")),
        (sent, _) => Ok(sent),
    }
}

/// The packet that wakes a card.
fn packet(card: Card) -> [u8; PACKET_BYTES] {
    let mut packet = [0xFF; PACKET_BYTES];
    for place in packet[6..].chunks_exact_mut(6) {
        place.copy_from_slice(&card);
    }
    packet
}

/// The broadcast addresses of the networks that are reached without a gateway, out of the kernel's table of routes: numbers in
/// hexadecimal, as they lie in memory.
fn broadcasts(routes: &str) -> Vec<Ipv4Addr> {
    let number = |word: &str| {
        let written = u32::from_str_radix(word, 16).ok()?;
        Some(u32::from_be_bytes(written.to_ne_bytes()))
    };
    let network = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (destination, gateway, mask) =
            (number(words.get(1)?)?, number(words.get(2)?)?, number(words.get(7)?)?);
        // A single address and a line between two have nobody to be heard by.
        let is_network = gateway == 0 && (1..=30).contains(&mask.leading_ones());
        is_network.then(|| Ipv4Addr::from_bits(destination | !mask))
    };
    let mut found: Vec<Ipv4Addr> = routes.lines().skip(1).filter_map(network).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t010AA8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t000AA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        eth1\t0000100A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
        eth1\t0000200A\t0100100A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
        wg0\t0200000A\t00000000\t0001\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n";

    #[test]
    fn packets_go_to_the_networks_that_this_machine_is_on_and_no_others() {
        let found: Vec<String> = broadcasts(ROUTES).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.16.255.255", "192.168.10.255"]);
        for odd in ["", "x", "a\nb c d e f g h i\n", "\n\u{fc}\t\t\t\n"] {
            assert!(broadcasts(odd).is_empty(), "{odd}");
        }
    }

    #[test]
    fn a_server_is_woken_until_it_is_back_and_not_for_ever() {
        let mut waking = Waking::begin(Moment(0));
        // Its last connection is still there.
        assert_eq!(waking.next(true, Moment(0)), Next::Nothing);
        assert_eq!(waking.next(true, Moment(5_000)), Next::Nothing);
        assert_eq!(waking.next(false, Moment(10_000)), Next::Packet);
        assert_eq!(waking.next(false, Moment(12_000)), Next::Nothing);
        assert_eq!(waking.clone().next(true, Moment(14_000)), Next::Back);
        assert_eq!(waking.next(false, Moment(LIMIT_MILLIS)), Next::Silent);
        // One that never went is not waited for.
        let mut waking = Waking::begin(Moment(0));
        assert_eq!(waking.next(true, Moment(1)), Next::Nothing);
        assert_eq!(waking.next(true, Moment(SETTLES_MILLIS)), Next::Back);
    }
}

//! A network with a server of addresses and a server of time, at the other end of a machine's cable.
//!
//! Answers ARP, DHCP and SNTP, and nothing else; names the time server by DHCP from the start, and has it silent until it
//! is told the time.

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use hal::net::address::Mac;
use hal::net::arp::Arp;
use hal::net::dhcp4::message::{Kind, Message, option};
use hal::net::frame::{Datagram, ETHER_ARP, ETHER_IPV4, Ethernet};
use qemu::{Network, Port, Tap};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 50);
const MAC: Mac = Mac([2, 0, 0, 9, 0, 1]);
const NTP_PORT: u16 = 123;
/// From 1900, where NTP begins, to 1970.
const ERA_SECONDS: u64 = 2_208_988_800;

/// The site. Dropped, its servers end.
#[derive(Debug)]
pub struct Site {
    network: Network,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    /// Whether the time server answers.
    tells_time: AtomicBool,
    /// How often it was asked.
    asked: AtomicU64,
}

impl Site {
    /// A site whose time server is silent.
    ///
    /// # Panics
    /// Where no thread can be started.
    pub fn new() -> Self {
        let network = Network::new().expect("a network of this process");
        let (shared, tap) = (Arc::<Shared>::default(), network.mirror());
        let theirs = Arc::clone(&shared);
        let server = std::thread::spawn(move || serve(&tap, &theirs));
        Self { network, shared, server: Some(server) }
    }

    /// A port for a machine's card.
    ///
    /// # Panics
    /// Where no socket can be made.
    pub fn port(&self) -> Port {
        self.network.port().expect("a port of a network of this process")
    }

    /// From now on the time server answers.
    pub fn tell_time(&self) {
        self.shared.tells_time.store(true, Ordering::Relaxed);
    }

    /// How often the time server was asked.
    pub fn times_asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            // A server that failed has failed its test already.
            let _ = server.join();
        }
    }
}

fn serve(tap: &Tap, shared: &Shared) {
    while !shared.ended.load(Ordering::Relaxed) {
        let Some(frame) = tap.receive(Duration::from_millis(100)) else { continue };
        let Some(frame) = Ethernet::parse(&frame).filter(|frame| frame.from != MAC) else {
            continue;
        };
        let answer = match frame.kind {
            ETHER_ARP => arp(frame.content),
            ETHER_IPV4 => datagram(&frame, shared),
            _ => None,
        };
        if let Some(answer) = answer {
            tap.send(&answer);
        }
    }
}

fn arp(content: &[u8]) -> Option<Vec<u8>> {
    let question = Arp::parse(content).filter(|arp| arp.asks && arp.target == OWN)?;
    let answer = Arp {
        asks: false,
        sender_mac: MAC,
        sender: OWN,
        target_mac: question.sender_mac,
        target: question.sender,
    };
    Some(answer.frame())
}

fn datagram(frame: &Ethernet<'_>, shared: &Shared) -> Option<Vec<u8>> {
    let asked = Datagram::parse(frame.content)?;
    let (to_mac, to, payload) = match asked.to_port {
        67 => (Mac::BROADCAST, Ipv4Addr::BROADCAST, lease(asked.payload)?),
        NTP_PORT => {
            shared.asked.fetch_add(1, Ordering::Relaxed);
            let answers = shared.tells_time.load(Ordering::Relaxed);
            (frame.from, asked.from, answers.then(|| time(asked.payload))??)
        }
        _ => return None,
    };
    let packet = Datagram {
        from: OWN,
        from_port: asked.to_port,
        to,
        to_port: asked.from_port,
        payload: &payload,
    };
    let content = packet.emit()?;
    Some(Ethernet { to: to_mac, from: MAC, kind: ETHER_IPV4, content: &content }.emit())
}

fn lease(payload: &[u8]) -> Option<Vec<u8>> {
    let asked = Message::parse(payload).filter(|message| !message.reply)?;
    let kind = match asked.kind {
        Kind::Discover => Kind::Offer,
        Kind::Request => Kind::Ack,
        _ => return None,
    };
    let mut message = Message::of_client(kind, asked.exchange, asked.mac);
    message.reply = true;
    message.given = GUEST;
    for (number, value) in [
        (option::SERVER, OWN.octets()),
        (option::MASK, [255, 255, 255, 0]),
        (option::ROUTERS, OWN.octets()),
        (option::NTP, OWN.octets()),
        (option::LEASE, 3600_u32.to_be_bytes()),
    ] {
        message.options.set(number, &value);
    }
    Some(message.emit())
}

/// A time server's answer with this machine's time.
fn time(question: &[u8]) -> Option<Vec<u8>> {
    let cookie = question.get(40..48)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let seconds = u32::try_from((now.as_secs() + ERA_SECONDS) % (1 << 32)).ok()?;
    let fraction = u32::try_from((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000).ok()?;
    let mut packet = vec![0; 48];
    // No leap warning, version 4, server; the second in line to a clock.
    packet[0] = 0b00_100_100;
    packet[1] = 2;
    packet[24..32].copy_from_slice(cookie);
    for at in [32, 40] {
        packet[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
        packet[at + 4..at + 8].copy_from_slice(&fraction.to_be_bytes());
    }
    Some(packet)
}

//! Peers on a network of virtual machines that need no kernel: each a thread with a tap, ended when it is dropped.

use core::net::Ipv4Addr;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use hal::net::address::Mac;
use hal::net::arp::Arp;
use hal::net::frame::{ETHER_ARP, Ethernet};
use hal::time::Moment;
use hal_sim::nic::server::SimServer;
use qemu::Tap;

/// What a frame says of a tag in front of its content.
const ETHER_TAG: u16 = 0x8100;
/// LACP and its like.
const ETHER_SLOW: u16 = 0x8809;
/// Both addresses, and then the type.
const TAG_AT: usize = 12;
/// What an LACP message says of one end: priority, address and key, priority and number of the port, and its state.
const SIDE: usize = 15;
/// Where the actor and the partner of an LACP message are.
const ACTOR: Range<usize> = 4..4 + SIDE;
const PARTNER: Range<usize> = 24..24 + SIDE;
/// Aggregation, synchronised, collecting, distributing.
const DISTRIBUTES: u8 = 0x3C;

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Starts a peer that answers frames.
    pub(super) fn start(
        tap: Tap,
        mut hear: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::SeqCst) {
                let Some(frame) = tap.receive(Duration::from_millis(100)) else { continue };
                if let Some(answer) = hear(&frame) {
                    tap.send(&answer);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Whoever panicked said so.
            let _ = thread.join();
        }
    }
}

/// A DHCP server, perhaps in a VLAN: it hears only frames with its tag, and answers with it.
#[derive(Debug)]
pub struct DhcpPeer {
    server: Arc<Mutex<SimServer>>,
    _peer: Peer,
}

impl DhcpPeer {
    /// Starts a server.
    pub fn start(tap: Tap, vlan: Option<u16>, server: SimServer) -> Self {
        let server = Arc::new(Mutex::new(server));
        let shared = Arc::clone(&server);
        let began = Instant::now();
        let peer = Peer::start(tap, move |frame| {
            let inner = match vlan {
                Some(id) => untag(frame, id)?,
                None => frame.to_vec(),
            };
            let now = Moment(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            let mut server = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = answer_arp(&inner, server.mac, server.address)
                .or_else(|| server.hear(now, &inner))?;
            Some(vlan.map_or_else(|| answer.clone(), |id| tag(&answer, id)))
        });
        Self { server, _peer: peer }
    }

    /// The server.
    pub fn server(&self) -> MutexGuard<'_, SimServer> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frame without its tag; nothing for frames of other VLANs and of none.
fn untag(frame: &[u8], id: u16) -> Option<Vec<u8>> {
    let ether = Ethernet::parse(frame).filter(|ether| ether.kind == ETHER_TAG)?;
    let tag = u16::from_be_bytes([*ether.content.first()?, *ether.content.get(1)?]);
    let (addresses, rest) = (frame.get(..TAG_AT)?, frame.get(TAG_AT + 4..)?);
    (tag & 0x0FFF == id).then(|| [addresses, rest].concat())
}

fn tag(frame: &[u8], id: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(TAG_AT);
    [addresses, &ETHER_TAG.to_be_bytes(), &id.to_be_bytes(), rest].concat()
}

/// The answer to «who has this address?», where it is ours.
fn answer_arp(frame: &[u8], mac: Mac, address: Ipv4Addr) -> Option<Vec<u8>> {
    let ether = Ethernet::parse(frame).filter(|ether| ether.kind == ETHER_ARP)?;
    let asked = Arp::parse(ether.content).filter(|asked| asked.asks && asked.target == address)?;
    let answer = Arp {
        asks: false,
        sender_mac: mac,
        sender: address,
        target_mac: asked.sender_mac,
        target: asked.sender,
    };
    Some(answer.frame())
}

/// Asks who has an address, and tells whether that machine answered in time, and with which hardware address.
pub fn ask(tap: &Tap, address: Ipv4Addr, wait: Duration) -> Option<Mac> {
    let own = Mac([2, 0xAA, 0, 0, 0, 1]);
    let [a, b, c, _] = address.octets();
    let sender = Ipv4Addr::new(a, b, c, 250);
    let deadline = Instant::now() + wait;
    while Instant::now() < deadline {
        tap.send(&Arp::announcement(own, address).frame_from(sender));
        let until = Instant::now() + Duration::from_secs(1);
        while let Some(frame) = tap.receive(until.saturating_duration_since(Instant::now())) {
            let arp = Ethernet::parse(&frame)
                .filter(|ether| ether.kind == ETHER_ARP)
                .and_then(|ether| Arp::parse(ether.content));
            if let Some(arp) = arp.filter(|arp| !arp.asks && arp.sender == address) {
                return Some(arp.sender_mac);
            }
        }
    }
    None
}

/// A question of somebody with an address, out of an announcement.
trait FrameFrom {
    fn frame_from(self, sender: Ipv4Addr) -> Vec<u8>;
}

impl FrameFrom for Arp {
    fn frame_from(self, sender: Ipv4Addr) -> Vec<u8> {
        Self { sender, ..self }.frame()
    }
}

/// What both ends of a cable say to each other by LACP, heard without a word of our own.
#[derive(Debug)]
pub struct LacpWatch {
    said: Arc<Mutex<BTreeMap<Mac, Said>>>,
    _peer: Peer,
}

/// The last that one end said: who it is, and whom it takes the other for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    actor: [u8; SIDE],
    partner: [u8; SIDE],
}

impl Said {
    fn parse(content: &[u8]) -> Option<Self> {
        let side = |range: Range<usize>| content.get(range)?.try_into().ok();
        Some(Self { actor: side(ACTOR)?, partner: side(PARTNER)? })
    }

    /// Whether it sends frames, and to that one.
    fn sends_to(&self, other: &Self) -> bool {
        let state = self.actor[SIDE - 1];
        state & DISTRIBUTES == DISTRIBUTES && self.partner[..SIDE - 1] == other.actor[..SIDE - 1]
    }
}

impl LacpWatch {
    /// Hears what passes a network of two ports.
    pub fn start(tap: Tap) -> Self {
        let said = Arc::new(Mutex::new(BTreeMap::new()));
        let shared = Arc::clone(&said);
        let peer = Peer::start(tap, move |frame| {
            let ether = Ethernet::parse(frame).filter(|ether| ether.kind == ETHER_SLOW)?;
            let heard = Said::parse(ether.content)?;
            shared.lock().unwrap_or_else(PoisonError::into_inner).insert(ether.from, heard);
            None
        });
        Self { said, _peer: peer }
    }

    /// Whether both ends last said that they send frames by this cable, each to the other.
    pub fn agreed(&self) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let ends: Vec<&Said> = said.values().collect();
        matches!(ends[..], [one, two] if one.sends_to(two) && two.sends_to(one))
    }

    /// Forgets what was said: only what is said from now on counts.
    pub fn forget(&self) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_put_on_and_taken_off() {
        let frame = Arp::probe(Mac([2; 6]), Ipv4Addr::new(10, 0, 0, 1)).frame();
        let tagged = tag(&frame, 30);
        assert_eq!(untag(&tagged, 30).as_deref(), Some(&frame[..]));
        assert_eq!(untag(&tagged, 31), None);
        assert_eq!(untag(&frame, 30), None);
    }

    #[test]
    fn ends_agree_only_where_both_send_and_each_means_the_other() {
        let side = |name: u8, state: u8| {
            let mut side = [name; SIDE];
            side[SIDE - 1] = state;
            side
        };
        let said = |actor, partner| {
            let mut content = vec![1, 1, 1, 20];
            content.extend_from_slice(&side(actor, 0x3D));
            content.extend_from_slice(&[0, 0, 0, 2, 20]);
            content.extend_from_slice(&side(partner, 0x05));
            Said::parse(&content).unwrap()
        };
        assert!(said(1, 2).sends_to(&said(2, 1)));
        assert!(!said(1, 3).sends_to(&said(2, 1)));
        let waits = Said { actor: side(1, 0x0D), ..said(1, 2) };
        assert!(!waits.sends_to(&said(2, 1)));
        assert_eq!(Said::parse(&[1, 1, 1]), None);
    }
}

//! Peers on a network of virtual machines that need no kernel: each a thread with a tap, ended when it is dropped.

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
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
/// LACP and its like, and the group that they are sent to.
const ETHER_SLOW: u16 = 0x8809;
const SLOW_GROUP: Mac = Mac([1, 0x80, 0xC2, 0, 0, 2]);
/// Both addresses, and then the type.
const TAG_AT: usize = 12;
/// Where the actor and the partner of an LACP message are, each with their length.
const ACTOR: core::ops::Range<usize> = 4..19;
const PARTNER: core::ops::Range<usize> = 24..39;
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

/// A switch's port that speaks LACP, and answers for an address behind it.
#[derive(Debug)]
pub struct LacpPartner {
    distributing: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    _peer: Peer,
}

impl LacpPartner {
    /// The port with this number of the one switch that there is.
    pub fn start(tap: Tap, port: u8) -> Self {
        let distributing = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(AtomicU64::new(0));
        let (agreed, count) = (Arc::clone(&distributing), Arc::clone(&heard));
        let peer = Peer::start(tap, move |frame| {
            let ether = Ethernet::parse(frame)?;
            if ether.kind != ETHER_SLOW {
                count.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let content = ether.content;
            let actor = content.get(ACTOR)?;
            let ours = partner(port);
            // Both that it distributes, and that it knows with whom.
            let state = *actor.last()?;
            let known = content.get(PARTNER)?.get(..8) == ours.get(..8);
            let agrees = state & DISTRIBUTES == DISTRIBUTES && known;
            agreed.store(agrees, Ordering::SeqCst);
            Some(lacp(&ours, actor, port))
        });
        Self { distributing, heard, _peer: peer }
    }

    /// Whether the machine last said that it sends frames by this port, to this partner.
    pub fn distributes(&self) -> bool {
        self.distributing.load(Ordering::SeqCst)
    }

    /// Frames that were none of LACP.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

/// Who the switch is: priority, address, key, priority and number of the port, and that it takes and sends everything.
fn partner(port: u8) -> [u8; 15] {
    [0x80, 0, 2, 0xBB, 0, 0, 0, 1, 0, 7, 0, 0x80, 0, port, 0x3F]
}

fn lacp(actor: &[u8], partner: &[u8], port: u8) -> Vec<u8> {
    let mut content = vec![1, 1, 1, 20];
    content.extend_from_slice(actor);
    content.extend_from_slice(&[0, 0, 0, 2, 20]);
    content.extend_from_slice(partner);
    content.extend_from_slice(&[0, 0, 0, 3, 16]);
    content.resize(110, 0);
    let from = Mac([2, 0xBB, 0, 0, 1, port]);
    Ethernet { to: SLOW_GROUP, from, kind: ETHER_SLOW, content: &content }.emit()
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
    fn messages_of_lacp_say_who_and_whom() {
        let message = lacp(&partner(2), &[9; 15], 2);
        let content = Ethernet::parse(&message).unwrap().content;
        assert_eq!(content.get(ACTOR), Some(&partner(2)[..]));
        assert_eq!(content.get(PARTNER), Some(&[9; 15][..]));
        assert_eq!((content.len(), content[39 + 3]), (110, 3));
    }
}

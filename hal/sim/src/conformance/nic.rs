//! The suite that every implementation of `hal::net::nic::Nic` passes; it panics at the first broken promise.

use core::net::{Ipv4Addr, Ipv6Addr};

use hal::net::address::Mac;
use hal::net::arp::Arp;
use hal::net::frame::{Datagram, ETHER_ARP, ETHER_IPV4, ETHER_IPV6, Ethernet};
use hal::net::frame6::Datagram6;
use hal::net::nic::{FRAME_BYTES_MAX, NetErrorKind, Nic};

/// Two NICs on one wire, and what a check does to it. Nobody else sends ARP or DHCP there.
pub trait Bench {
    /// The NIC under test.
    type Nic: Nic;

    /// Both ends.
    fn ends(&mut self) -> (&mut Self::Nic, &mut Self::Nic);

    /// Gives frames time to arrive.
    fn pass(&mut self);

    /// Pulls the cable, or puts it in again and waits until both ends have noticed.
    fn set_carrier(&mut self, carrier: bool);
}

/// Runs every check, each on a bench of its own.
pub fn run<B: Bench>(mut factory: impl FnMut() -> B) {
    let checks: [Check<B>; 7] = [
        ("frames to everybody and to one arrive whole", frames_arrive_whole),
        ("frames to others are not heard", frames_to_others_are_not_heard),
        ("what was sent is not heard by who sent it", own_frames_are_not_heard),
        ("only ARP and DHCP for clients are heard", only_arp_and_dhcp_are_heard),
        ("frames of a wrong length are refused", wrong_lengths_are_refused),
        ("many frames keep their order", many_frames_keep_their_order),
        ("a pulled cable carries nothing, and heals", a_pulled_cable_heals),
    ];
    for (name, check) in checks {
        eprintln!("conformance: {name}");
        check(factory());
    }
}

/// A promise in words, and what tries to break it.
type Check<B> = (&'static str, fn(B));

fn heard<B: Bench>(bench: &mut B, first: bool) -> Vec<Vec<u8>> {
    bench.pass();
    let (a, b) = bench.ends();
    let nic = if first { a } else { b };
    let mut frames = Vec::new();
    let mut room = [0xA5; FRAME_BYTES_MAX];
    while let Some(length) = nic.receive(&mut room).expect("listening works") {
        frames.push(room[..length].to_vec());
    }
    frames
}

fn send<B: Bench>(bench: &mut B, frame: &[u8]) {
    bench.ends().0.send(frame).expect("a good frame is taken");
}

fn dhcp(from: Mac, to: Mac, port: u16, payload: &[u8]) -> Vec<u8> {
    let (source, target) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::BROADCAST);
    let datagram = Datagram { from: source, from_port: 67, to: target, to_port: port, payload };
    let content = datagram.emit().expect("payloads of checks are short");
    Ethernet { to, from, kind: ETHER_IPV4, content: &content }.emit()
}

fn dhcp6(from: Mac, to: Mac, port: u16, payload: &[u8]) -> Vec<u8> {
    let (source, target) =
        ([1, 2]).map(|last| Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, last)).into();
    let datagram = Datagram6 { from: source, from_port: 547, to: target, to_port: port, payload };
    let content = datagram.emit().expect("payloads of checks are short");
    Ethernet { to, from, kind: ETHER_IPV6, content: &content }.emit()
}

fn macs<B: Bench>(bench: &mut B) -> (Mac, Mac) {
    let (a, b) = bench.ends();
    (a.mac(), b.mac())
}

fn frames_arrive_whole<B: Bench>(mut bench: B) {
    let (own, other) = macs(&mut bench);
    let longest = vec![0x5A; FRAME_BYTES_MAX - 14 - 28];
    for frame in [
        Arp::probe(own, Ipv4Addr::new(10, 0, 0, 5)).frame(),
        dhcp(own, other, 68, b"to one"),
        dhcp(own, Mac::BROADCAST, 68, b"to everybody"),
        dhcp(own, other, 68, &longest),
        dhcp6(own, other, 546, b"to one, of IPv6"),
        dhcp6(own, other, 546, &longest[..longest.len() - 20]),
    ] {
        send(&mut bench, &frame);
        let came = heard(&mut bench, false);
        // A wire may pad short frames.
        assert_eq!(came.len(), 1, "one frame sent, one heard");
        assert_eq!(came[0].get(..frame.len()), Some(frame.as_slice()));
    }
    assert!(heard(&mut bench, false).is_empty(), "a frame is heard once");
}

fn frames_to_others_are_not_heard<B: Bench>(mut bench: B) {
    let (own, _) = macs(&mut bench);
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    send(&mut bench, &dhcp(own, stranger, 68, b"x"));
    send(&mut bench, &dhcp6(own, stranger, 546, b"x"));
    let mut frame = Arp::probe(own, Ipv4Addr::new(10, 0, 0, 5)).frame();
    frame[..6].copy_from_slice(&stranger.0);
    send(&mut bench, &frame);
    assert!(heard(&mut bench, false).is_empty());
}

fn own_frames_are_not_heard<B: Bench>(mut bench: B) {
    let (own, _) = macs(&mut bench);
    send(&mut bench, &Arp::probe(own, Ipv4Addr::new(10, 0, 0, 5)).frame());
    send(&mut bench, &dhcp(own, Mac::BROADCAST, 68, b"x"));
    send(&mut bench, &dhcp6(own, Mac::BROADCAST, 546, b"x"));
    assert!(heard(&mut bench, true).is_empty());
    assert_eq!(heard(&mut bench, false).len(), 3);
}

fn only_arp_and_dhcp_are_heard<B: Bench>(mut bench: B) {
    let (own, other) = macs(&mut bench);
    let good = dhcp(own, other, 68, b"x");
    send(&mut bench, &dhcp(own, other, 67, b"for servers"));
    send(&mut bench, &dhcp(own, other, 69, b"for others"));
    // Not UDP; a later fragment; another protocol altogether.
    for (at, byte) in [(14 + 9, 6), (14 + 7, 1), (12, 0x88)] {
        let mut frame = good.clone();
        frame[at] = byte;
        if at != 12 {
            let sum = header_sum(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum);
        }
        send(&mut bench, &frame);
    }
    // The same of IPv6: for servers, for others, not UDP, a fragment.
    let good6 = dhcp6(own, other, 546, b"x");
    send(&mut bench, &dhcp6(own, other, 547, b"for servers"));
    send(&mut bench, &dhcp6(own, other, 68, b"for others"));
    for protocol in [6, 44] {
        let mut frame = good6.clone();
        frame[14 + 6] = protocol;
        send(&mut bench, &frame);
    }
    assert!(heard(&mut bench, false).is_empty());
    send(&mut bench, &good);
    send(&mut bench, &good6);
    assert_eq!(heard(&mut bench, false).len(), 2);
}

/// The checksum of a changed IP header.
fn header_sum(header: &[u8]) -> [u8; 2] {
    let mut header = header.to_vec();
    header[10..12].fill(0);
    hal::net::frame::checksum(&header).to_be_bytes()
}

fn wrong_lengths_are_refused<B: Bench>(mut bench: B) {
    for length in [0, 13, FRAME_BYTES_MAX + 1, 9000] {
        let error = bench.ends().0.send(&vec![0xFF; length]).expect_err("no frame");
        assert_eq!(error.kind, NetErrorKind::Misuse, "{length} bytes: {error}");
        assert!(!error.what.is_empty());
    }
    assert!(heard(&mut bench, false).is_empty());
}

fn many_frames_keep_their_order<B: Bench>(mut bench: B) {
    let (own, _) = macs(&mut bench);
    for last in 0..50 {
        send(&mut bench, &Arp::probe(own, Ipv4Addr::new(10, 0, 0, last)).frame());
    }
    let came = heard(&mut bench, false);
    let order: Vec<u8> = came
        .iter()
        .map(|frame| {
            let frame = Ethernet::parse(frame).expect("a frame");
            assert_eq!(frame.kind, ETHER_ARP);
            Arp::parse(frame.content).expect("a probe").target.octets()[3]
        })
        .collect();
    assert_eq!(order, (0..50).collect::<Vec<u8>>());
}

fn a_pulled_cable_heals<B: Bench>(mut bench: B) {
    let (own, _) = macs(&mut bench);
    let frame = Arp::probe(own, Ipv4Addr::new(10, 0, 0, 5)).frame();
    bench.set_carrier(false);
    // It may be taken and lost, or refused; it must not arrive, then or later.
    if let Err(error) = bench.ends().0.send(&frame) {
        assert_eq!(error.kind, NetErrorKind::Down, "{error}");
    }
    bench.set_carrier(true);
    let (a, b) = bench.ends();
    let mut room = [0; FRAME_BYTES_MAX];
    // What the end of the link left behind is told once at most.
    for nic in [a, b] {
        if let Err(error) = nic.receive(&mut room) {
            assert_eq!(error.kind, NetErrorKind::Down, "{error}");
        }
    }
    assert!(heard(&mut bench, false).is_empty());
    send(&mut bench, &frame);
    assert_eq!(heard(&mut bench, false).len(), 1);
}

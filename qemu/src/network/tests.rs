//! The switch between machines that are played by sockets.

use super::*;

const SOON: Duration = Duration::from_secs(5);
const NEVER: Duration = Duration::from_millis(50);

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn frame(to: Mac, from: Mac, body: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, body].concat()
}

const ALL: Mac = Mac([0xff; 6]);
/// A VLAN tag, then an IPv4 packet's type.
const TAGGED: [u8; 8] = [0x81, 0x00, 0x00, 0x2a, 0x08, 0x00, 1, 2];

/// A card as QEMU plays it.
struct Card {
    stream: UnixStream,
    _port: Port,
}

impl Card {
    fn plug(port: Port) -> Self {
        let stream = UnixStream::connect(port.path()).unwrap();
        Self { stream, _port: port }
    }

    fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        self.stream.write_all(&length).unwrap();
        self.stream.write_all(frame).unwrap();
    }

    fn receive(&mut self, wait: Duration) -> Option<Vec<u8>> {
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let mut length = [0_u8; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame).unwrap();
        Some(frame)
    }
}

#[test]
fn frames_are_flooded_then_learned_and_never_changed() {
    let network = Network::new().unwrap();
    let mut one = Card::plug(network.port().unwrap());
    let mut two = Card::plug(network.port().unwrap());
    let mirror = network.mirror();
    let tap = network.tap();
    let hello = frame(ALL, mac(1), &TAGGED);
    one.send(&hello);
    assert_eq!(two.receive(SOON).unwrap(), hello);
    assert_eq!(*tap.receive(SOON).unwrap(), *hello);
    assert_eq!(*mirror.receive(SOON).unwrap(), *hello);
    let jumbo = frame(mac(1), mac(2), &[7; 9000]);
    two.send(&jumbo);
    assert_eq!(one.receive(SOON).unwrap(), jumbo);
    assert_eq!(*mirror.receive(SOON).unwrap(), *jumbo);
    assert!(tap.receive(NEVER).is_none(), "it was for port one alone");
    tap.send(&frame(mac(2), mac(3), &TAGGED));
    assert!(two.receive(SOON).is_some());
    assert!(one.receive(NEVER).is_none());
    // A frame too short for its addresses goes nowhere.
    one.send(&[1, 2, 3]);
    assert!(mirror.receive(SOON).is_some() && mirror.receive(NEVER).is_none());
}

#[test]
fn a_pulled_cable_carries_nothing_and_an_address_may_move() {
    let network = Network::new().unwrap();
    let (first, second) = (network.port().unwrap(), network.port().unwrap());
    let (cable, tap) = (first.cable(), network.tap());
    let (mut first, mut second) = (Card::plug(first), Card::plug(second));
    first.send(&frame(ALL, mac(1), &TAGGED));
    assert!(tap.receive(SOON).is_some() && second.receive(SOON).is_some());
    cable.set_up(false);
    first.send(&frame(ALL, mac(1), &TAGGED));
    assert!(tap.receive(NEVER).is_none());
    tap.send(&frame(mac(1), mac(9), &TAGGED));
    assert!(first.receive(NEVER).is_none());
    // A bond moves its address to the other card.
    assert!(second.receive(SOON).is_some(), "unknown again, so flooded");
    second.send(&frame(ALL, mac(1), &TAGGED));
    assert!(tap.receive(SOON).is_some());
    cable.set_up(true);
    tap.send(&frame(mac(1), mac(9), &TAGGED));
    assert!(second.receive(SOON).is_some() && first.receive(NEVER).is_none());
}

#[test]
fn ports_come_and_go_and_a_peer_that_speaks_nonsense_is_left() {
    let network = Network::new().unwrap();
    let unused = network.port().unwrap();
    let path = unused.path().to_owned();
    drop(unused);
    let mut rude = Card::plug(network.port().unwrap());
    rude.stream.write_all(&[0xff; 64]).unwrap();
    assert!(path.exists(), "sockets go with the network's folder");
    let mut one = Card::plug(network.port().unwrap());
    let tap = network.tap();
    one.send(&frame(ALL, mac(1), &TAGGED));
    assert!(tap.receive(SOON).is_some());
    drop((one, rude));
    // A full queue loses frames, as it does in every switch, and holds nobody up.
    let slow = network.tap();
    for _ in 0..QUEUE_FRAMES_MAX + 10 {
        tap.send(&frame(ALL, mac(4), &TAGGED));
    }
    assert!(network.dropped() >= 10);
    assert!(slow.receive(SOON).is_some());
}

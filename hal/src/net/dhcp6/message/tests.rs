//! Messages survive the wire, and any bytes are taken.

use alloc::vec;

use super::*;

fn sample() -> Message {
    let address = Address {
        address: Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, 5),
        preferred_seconds: 60,
        valid_seconds: 120,
    };
    let inner = Options::default().with(option::ADDRESS, &address.emit());
    let addresses = Addresses { link: 30, renew_seconds: 30, rebind_seconds: 48, options: inner };
    let options = Options::default()
        .with(option::CLIENT, &client_name(Mac([2, 0, 0, 0, 0, 1])))
        .with(option::SERVER, &[0, 1, 9])
        .with(option::ADDRESSES, &addresses.emit())
        .with(option::STATUS, &[0, 2, b'n', b'o']);
    Message { kind: Kind::Reply, exchange: 0x12_3456, options }
}

#[test]
fn bytes_are_those_of_rfc_8415() {
    // The figures of sections 8, 11.4, 21.2, 21.4, 21.6 and 21.13, filled in by hand.
    let expected = [
        &[7, 0x12, 0x34, 0x56][..],
        &[0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1],
        &[0, 2, 0, 3, 0, 1, 9],
        &[0, 3, 0, 40, 0, 0, 0, 30, 0, 0, 0, 30, 0, 0, 0, 48],
        &[
            0, 5, 0, 24, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 60, 0, 0, 0,
            120,
        ],
        &[0, 13, 0, 4, 0, 2, b'n', b'o'],
    ];
    assert_eq!(sample().emit(), expected.concat());
}

#[test]
fn what_was_written_is_read() {
    let message = sample();
    let read = Message::parse(&message.emit()).unwrap();
    assert_eq!(read, message);
    assert_eq!(read.options.status(), Status::NoAddresses);
    let addresses = Addresses::parse(read.options.bytes(option::ADDRESSES).unwrap()).unwrap();
    assert_eq!((addresses.link, addresses.rebind_seconds), (30, 48));
    assert_eq!(addresses.options.status(), Status::Success, "nothing said means well");
    let address = Address::parse(addresses.options.bytes(option::ADDRESS).unwrap()).unwrap();
    assert_eq!(address.valid_seconds, 120);
}

#[test]
fn cut_messages_and_those_of_relays_are_none() {
    let good = sample().emit();
    let whole = [4, 18, 25, 69, good.len()];
    for length in 0..good.len() {
        let read = Message::parse(&good[..length]);
        assert_eq!(read.is_some(), whole.contains(&length), "{length} bytes");
    }
    for kind in [0, 10, 12, 13, 99] {
        let mut bad = good.clone();
        bad[0] = kind;
        assert_eq!(Message::parse(&bad), None, "kind {kind}");
    }
}

#[test]
fn any_bytes_are_taken() {
    let good = sample().emit();
    let mut state = 7_u64;
    for round in 0..50_000 {
        let mut bad = good.clone();
        for _ in 0..1 + round % 4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(state >> 33).unwrap() % bad.len();
            bad[at] = state.to_le_bytes()[3];
        }
        let Some(message) = Message::parse(&bad) else { continue };
        assert_eq!(Message::parse(&message.emit()), Some(message.clone()));
        let _ = message.options.status();
        for value in message.options.all(option::ADDRESSES).filter_map(Addresses::parse) {
            assert!(value.options.all(option::ADDRESS).filter_map(Address::parse).count() < 9);
        }
    }
}

#[test]
fn what_is_longer_than_an_option_is_left_out() {
    let options = Options::default().with(option::DNS, &vec![0; 70_000]);
    assert_eq!(options, Options::default());
}

//! Messages survive the wire, in every form that servers write; any bytes are taken.

use alloc::vec;

use super::*;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn sample() -> Message {
    let mut message = Message::of_client(Kind::Offer, 0x1234_5678, MAC);
    message.reply = true;
    message.broadcast = true;
    message.seconds = 7;
    message.given = Ipv4Addr::new(10, 0, 0, 5);
    message.options.set(option::SERVER, &[10, 0, 0, 1]);
    message.options.set(option::DNS, &[10, 0, 0, 1, 10, 0, 0, 2]);
    message.options.set(option::LEASE, &3600_u32.to_be_bytes());
    message
}

#[test]
fn what_was_written_is_read() {
    let message = sample();
    let bytes = message.emit();
    assert!(bytes.len() >= MESSAGE_BYTES_MIN);
    assert_eq!(Message::parse(&bytes), Some(message.clone()));
    assert_eq!(message.options.number(option::LEASE), Some(3600));
    assert_eq!(message.options.addresses(option::DNS).len(), 2);
    assert_eq!(message.options.short(option::MTU), None);
}

#[test]
fn long_options_come_in_parts_and_are_put_together() {
    let mut message = sample();
    message.options.set(option::ROUTES, &[7; 600]);
    let read = Message::parse(&message.emit()).unwrap();
    assert_eq!(read.options.bytes(option::ROUTES), Some([7; 600].as_slice()));
}

#[test]
fn options_in_the_fields_of_file_and_name_are_found() {
    let mut message = sample();
    message.options.set(option::OVERLOAD, &[3]);
    let mut bytes = message.emit();
    bytes[108..108 + 5].copy_from_slice(&[option::MTU, 2, 5, 220, 255]);
    bytes[44..44 + 7].copy_from_slice(&[option::DNS, 4, 10, 0, 0, 3, 255]);
    let read = Message::parse(&bytes).unwrap();
    assert_eq!(read.options.short(option::MTU), Some(1500));
    assert_eq!(read.options.addresses(option::DNS).len(), 3);
}

#[test]
fn other_messages_are_none() {
    let good = sample().emit();
    for length in 0..HEAD_BYTES + 4 {
        assert_eq!(Message::parse(&good[..length]), None);
    }
    for (at, byte) in [(0, 3), (1, 6), (2, 8), (236, 0), (240, 0), (242, 99)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(Message::parse(&bad), None, "byte {at}");
    }
}

#[test]
fn domains_are_read_with_their_pointers_and_circles_end() {
    let mut bytes = b"\x04corp\x07example\x00\x03dev".to_vec();
    bytes.extend([0xC0, 5, 0xC0, 0]);
    assert_eq!(read_domains(&bytes), ["corp.example", "dev.example"]);
    for bad in [
        &[0xC0, 0][..],
        &[1, b'a', 0xC0, 0],
        &[64, 1],
        &[5, b'a'],
        &[1, b' ', 0],
        &[1, b'a', 0xC0, 9],
    ] {
        assert!(read_domains(bad).is_empty(), "{bad:?}");
    }
    let long = [&[63; 1][..], &[b'a'; 63]].concat().repeat(5);
    assert!(read_domains(&long).is_empty());
}

#[test]
fn routes_are_unpacked() {
    let bytes = [8, 10, 10, 0, 0, 1, 0, 10, 0, 0, 2, 25, 10, 1, 2, 255, 10, 0, 0, 3, 33, 1];
    let routes = read_routes(&bytes);
    let shown: Vec<String> = routes.iter().map(|(to, by)| alloc::format!("{to} {by}")).collect();
    assert_eq!(shown, ["10.0.0.0/8 10.0.0.1", "0.0.0.0/0 10.0.0.2", "10.1.2.128/25 10.0.0.3"]);
    assert!(read_routes(&[24, 1, 2]).is_empty());
}

#[test]
fn any_bytes_are_taken() {
    let mut message = sample();
    message.options.set(option::SEARCH, b"\x04corp\x07example\x00\xC0\x05");
    message.options.set(option::ROUTES, &[8, 10, 10, 0, 0, 1]);
    message.options.set(option::OVERLOAD, &[3]);
    let good = message.emit();
    let mut state = 42_u64;
    let mut dice = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).unwrap()
    };
    let mut read = 0;
    for _ in 0..50_000 {
        let mut bad = good.clone();
        for _ in 0..1 + dice() % 8 {
            let at = dice() % bad.len();
            bad[at] = u8::try_from(dice() % 256).unwrap();
        }
        bad.truncate(dice() % (good.len() * 2));
        if let Some(message) = Message::parse(&bad) {
            read += 1;
            let _ = read_domains(message.options.bytes(option::SEARCH).unwrap_or_default());
            let _ = read_routes(message.options.bytes(option::ROUTES).unwrap_or_default());
            let _ = crate::net::dhcp4::lease::Lease::read(&message);
            assert_eq!(
                Message::parse(&message.emit()).map(|again| again.options),
                Some(message.options)
            );
        }
    }
    assert!(read > 1000, "only {read} of the mutants were messages at all");
    assert_eq!(read_domains(&vec![0; 4096]), Vec::<String>::new());
}

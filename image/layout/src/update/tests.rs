//! The head's bytes do not change by accident, and any bytes end in an answer.

use super::*;
use alloc::string::ToString as _;
use alloc::vec::Vec;

fn head() -> Head {
    Head {
        kind: Kind::Uefi64,
        version: Version([1, 2, 3]),
        least: Version([1, 0, 0]),
        built: 0x6800_0001,
        sha256: [0xaa; 32],
        key: [0xbb; 32],
    }
}

fn whole(head: &Head) -> [u8; HEAD_BYTES] {
    let mut bytes = [0; HEAD_BYTES];
    bytes[..SIGNED_BYTES].copy_from_slice(&head.signed());
    bytes[SIGNED_BYTES..].fill(0xcc);
    bytes
}

#[test]
fn every_byte_is_where_the_format_says() {
    let bytes = whole(&head());
    let mut expected: Vec<u8> = b"LIFEBUPD\x01\0\x01\0\0\0\0\0".to_vec();
    expected.extend([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([1, 0, 0, 0x68, 0, 0, 0, 0, 0, 0, 0xc0, 1, 0, 0, 0, 0]);
    expected.extend([[0xaa; 32], [0xbb; 32]].concat());
    expected.resize(SIGNED_BYTES, 0);
    expected.resize(HEAD_BYTES, 0xcc);
    assert_eq!(bytes.as_slice(), expected);
    let read = Unverified::new(&bytes).unwrap();
    assert_eq!(read.verified(), Ok(head()));
    assert_eq!((read.signed().len(), read.signature()), (448, &[0xcc; 64][..]));
}

#[test]
fn what_is_not_for_this_machine_has_a_reason() {
    let reason = |at: usize, value: u8| {
        let mut bytes = whole(&head());
        bytes[at] = value;
        let read = Unverified::new(&bytes).and_then(|read| read.verified());
        read.map(drop).unwrap_err()
    };
    assert_eq!(reason(0, b'X'), Wrong::NoUpdate);
    assert_eq!(reason(8, 2), Wrong::Format(2));
    assert_eq!(reason(10, 9), Wrong::Kind(9));
    assert_eq!(reason(48, 1), Wrong::Length(SLOT_BYTES + 1));
    for (at, value) in [(12, 1), (28, 2), (120, 1), (447, 1)] {
        assert_eq!(reason(at, value), Wrong::Senseless, "{at}");
    }
    assert!(reason(10, 9).to_string().contains("another kind of machine"));
}

#[test]
fn any_bytes_end_in_an_answer() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()
    };
    for _ in 0..20_000 {
        let mut bytes = whole(&head());
        let [count, ..] = next();
        for _ in 0..=count % 8 {
            let [low, high, value, ..] = next();
            bytes[usize::from(u16::from_le_bytes([low, high])) % HEAD_BYTES] = value;
        }
        if let Ok(head) = Unverified::new(&bytes).and_then(|read| read.verified()) {
            assert!(head.least <= head.version);
            assert_eq!(head.signed().as_slice(), &bytes[..SIGNED_BYTES], "nothing is passed over");
        }
    }
}

//! Sections are put behind those that are there, and changed bytes end in an answer.

use super::*;

/// The smallest program of UEFI with one section and room for more headers.
pub(crate) fn program(sections: u16) -> Vec<u8> {
    let mut bytes = vec![0; 0x600];
    bytes[..2].copy_from_slice(b"MZ");
    put(&mut bytes, PE_OFFSET, 0x80);
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x86..0x88].copy_from_slice(&sections.to_le_bytes());
    put(&mut bytes, 0x80 + 12, 0x600);
    put(&mut bytes, 0x80 + 16, 9);
    bytes[0x94..0x96].copy_from_slice(&240_u16.to_le_bytes());
    let optional = 0x98;
    bytes[optional..optional + 2].copy_from_slice(&OPTIONAL_MAGIC_64.to_le_bytes());
    for (at, value) in [(32, 4096), (36, 512), (56, 0x2000), (60, 0x400)] {
        put(&mut bytes, optional + at, value);
    }
    let table = optional + 240;
    bytes[table..table + 5].copy_from_slice(b".text");
    for (at, value) in [(8, 100), (12, 0x1000), (16, 0x200), (20, 0x400)] {
        put(&mut bytes, table + at, value);
    }
    bytes[0x400..0x404].copy_from_slice(b"code");
    bytes.extend_from_slice(b"symbols of the linker");
    bytes
}

pub(crate) const NEW: [Section<'static>; 2] = [
    Section { name: ".cmdline", bytes: b"quiet\0" },
    Section { name: ".linux", bytes: &[7; 5000] },
];

#[test]
fn sections_are_appended_and_found_again() {
    let whole = append("x", &program(1), &NEW).unwrap();
    let found = sections(&whole).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].0, ".text");
    assert_eq!(found[1], (".cmdline".to_owned(), &b"quiet\0"[..]));
    assert_eq!(found[2], (".linux".to_owned(), &[7; 5000][..]));
    assert!(!whole.windows(7).any(|window| window == b"symbols"));
    assert_eq!(word(&whole, 0x80 + 12), Some(0), "and nothing points at them");
    // Size in memory: two pages of before, one for the first, two for the second.
    assert_eq!(word(&whole, 0x98 + 56), Some(0x5000));
    let sum = word(&whole, 0x98 + 64).unwrap();
    let mut bare = whole.clone();
    put(&mut bare, 0x98 + 64, 0);
    assert_eq!(sum, checksum(&bare));
    assert_eq!(append("x", &program(1), &NEW).unwrap(), whole);
}

#[test]
fn what_has_no_room_or_is_signed_is_refused() {
    let many = [NEW[0]; 15];
    let error = append("x", &program(1), &many).map(drop).unwrap_err();
    assert_eq!(error.blame(), Blame::Limit, "{error}");
    let mut signed = program(1);
    put(&mut signed, 0x98 + 112 + 4 * 8, 0x600);
    assert!(append("x", &signed, &NEW).is_err());
    for bytes in [&b""[..], b"MZ", b"\x7fELF"] {
        assert!(append("x", bytes, &NEW).is_err());
    }
    let long = [Section { name: ".too-long", bytes: b"" }];
    assert!(append("x", &program(1), &long).is_err());
}

#[test]
fn changed_bytes_end_in_an_answer() {
    let good = program(1);
    let mut state = 3_u32;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(state >> 8).unwrap() % below
    };
    let mut read = 0;
    for _ in 0..30_000 {
        let mut bytes = good.clone();
        for _ in 0..=draw(3) {
            // The headers are where it matters.
            let at = 0x80 + draw(0x180);
            // Values that could make the result huge are not worth the memory.
            bytes[at] = u8::try_from(draw(256)).unwrap() & if at % 4 > 1 { 0 } else { 0xff };
        }
        bytes.truncate(good.len() - draw(2) * draw(good.len()));
        if let Ok(whole) = append("x", &bytes, &NEW) {
            read += 1;
            assert!(whole.len() >= 5000);
        }
        drop(sections(&bytes));
    }
    assert!(read > 1000, "some changes are harmless: {read}");
}

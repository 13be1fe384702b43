//! The protocol's bytes against its specification, and against noise.

use super::*;

fn option(number: u32, content: &[u8]) -> Result<ClientOption, Violation> {
    parse_option(number, content)
}

#[test]
fn the_greeting_is_that_of_fixed_newstyle() {
    assert_eq!(greeting(), b"NBDMAGICIHAVEOPT\x00\x03");
}

#[test]
fn options_are_read() {
    assert_eq!(option(1, b"sda"), Ok(ClientOption::ExportName("sda".into())));
    assert_eq!(option(2, b"whatever"), Ok(ClientOption::Abort));
    assert_eq!(option(3, b""), Ok(ClientOption::List));
    let go = b"\0\0\0\x03sda\0\x02\0\x01\0\x03";
    assert_eq!(option(7, go), Ok(ClientOption::Go("sda".into(), vec![1, 3])));
    assert_eq!(option(6, go), Ok(ClientOption::Info("sda".into(), vec![1, 3])));
    let meta = b"\0\0\0\0\0\0\0\x01\0\0\0\x05base:";
    assert_eq!(option(9, meta), Ok(ClientOption::ListMeta(String::new(), vec!["base:".into()])));
    assert_eq!(option(5, b"TLS"), Ok(ClientOption::Unknown));
}

#[test]
fn options_that_lie_about_their_length_are_violations() {
    assert!(option(3, b"x").is_err(), "a list has no content");
    assert!(option(7, b"\0\0\0\x04sda").is_err());
    assert!(option(7, b"\xFF\xFF\xFF\xFF").is_err());
    assert!(option(7, b"\0\0\0\0\xFF\xFF\0\0").is_err(), "fewer kinds than said");
    assert!(option(7, b"\0\0\0\0\0\0\0").is_err(), "a byte left over");
    assert!(option(10, b"\0\0\0\0\xFF\xFF\xFF\xFF\0\0\0\0").is_err());
    assert!(option(1, &[b'x'; 4097]).is_err());
    assert!(option(1, b"\xFF").is_err());
}

#[test]
fn requests_are_read() {
    let bytes = b"\x25\x60\x95\x13\0\x04\0\0ABCDEFGH\0\0\0\0\0\0\x10\0\0\0\x02\0";
    let request = parse_request(bytes).unwrap();
    assert_eq!(request.command, Command::Read);
    assert_eq!((request.flags, request.offset, request.length), (4, 4096, 512));
    assert_eq!(request.cookie, u64::from_be_bytes(*b"ABCDEFGH"));
    assert!(parse_request(&[0; REQUEST_BYTES]).is_err());
}

#[test]
fn replies_have_the_bytes_of_the_specification() {
    let simple = simple_reply(0x0102_0304_0506_0708, Some(Errno::Permission));
    assert_eq!(&simple, b"\x67\x44\x66\x98\0\0\0\x01\x01\x02\x03\x04\x05\x06\x07\x08");
    let data = chunk(7, Chunk::Data(65_536, 512));
    assert_eq!(
        data,
        b"\x66\x8e\x33\xef\0\x01\0\x01\0\0\0\0\0\0\0\x07\0\0\x02\x08\0\0\0\0\0\x01\0\0"
    );
    assert_eq!(data.len(), DATA_HEADER_BYTES);
    let hole = chunk(0, Chunk::Hole(0, 9));
    assert_eq!(&hole[16..], b"\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\0\x09");
    let error = chunk(0, Chunk::Error(Errno::Io, "bad"));
    assert_eq!(&error[4..8], b"\0\x01\x80\x01");
    assert_eq!(&error[16..], b"\0\0\0\x09\0\0\0\x05\0\x03bad");
    let status = chunk(0, Chunk::Status(&[(512, false), (1024, true)]));
    assert_eq!(&status[16..], b"\0\0\0\x14\0\0\0\x01\0\0\x02\0\0\0\0\0\0\0\x04\0\0\0\0\x03");
    let answer = option_reply(7, Answer::UnknownExport, b"no");
    assert_eq!(answer, b"\0\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x07\x80\0\0\x06\0\0\0\x02no");
}

#[test]
fn an_export_is_read_only_and_open_to_many() {
    let facts = export_facts(1 << 40, false, false);
    assert_eq!(u64::from_be_bytes(facts[..8].try_into().unwrap()), 1 << 40);
    let flags = u16::from_be_bytes([facts[8], facts[9]]);
    assert_eq!(flags, 0b1_0000_0111);
    let structured = export_facts(1, true, false);
    assert_eq!(u16::from_be_bytes([structured[8], structured[9]]), 0b1_1000_0111);
    let writable = export_facts(1, false, true);
    assert_eq!(u16::from_be_bytes([writable[8], writable[9]]), 0b1_0110_1101);
}

#[test]
fn long_words_about_an_error_are_cut() {
    let long = "x".repeat(70_000);
    assert!(chunk(0, Chunk::Error(Errno::Io, &long)).len() < 5000);
}

#[test]
fn noise_never_panics() {
    let mut state = 0xD1B5_4A32_D192_ED03_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut understood = 0;
    for round in 0..200_000_u32 {
        let length = usize::try_from(next() % 40).unwrap();
        // Small bytes make lengths that fit now and then.
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                let byte = next().to_le_bytes()[0];
                if byte & 3 == 0 { byte } else { byte >> 6 }
            })
            .collect();
        if parse_option(round % 12, &bytes).is_ok() {
            understood += 1;
        }
        let mut request = [0; REQUEST_BYTES];
        request.iter_mut().for_each(|byte| *byte = next().to_le_bytes()[0]);
        let _ = parse_request(&request);
        request[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        assert!(parse_request(&request).is_ok());
        let mut header = [0; OPTION_HEADER_BYTES];
        header[..8].copy_from_slice(&OPTION_MAGIC);
        header[8..].copy_from_slice(&next().to_le_bytes());
        assert!(parse_option_header(&header).is_ok());
    }
    assert!(understood > 1000, "the noise reaches the parsers' ends: {understood}");
}

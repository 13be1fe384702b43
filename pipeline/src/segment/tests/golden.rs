//! Bytes that must never change: what version 1 wrote, every later program reads, and writes again alike.

use super::*;
use crate::seal::{digest, keyed_digest};

/// Bytes that anybody can make again: position i holds the low byte of i * i / 8.
fn ramp(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * at / 8) & 0xFF).unwrap()).collect()
}

fn page() -> Vec<u8> {
    b"A frame is one extent, compressed then sealed. A segment is many frames, written once. "
        .repeat(3)
}

fn hex(bytes: &[u8]) -> std::string::String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks_exact(2).map(byte).collect()
}

fn made(codec: Codec, contents: &[(FrameKind, Vec<u8>)]) -> Finished<Vec<u8>> {
    let mut writer = writer(1);
    let mut compressor = Compressor::new(codec, 1).unwrap();
    for (kind, content) in contents {
        let mut marks = fingerprints(content);
        if *kind == FrameKind::Page {
            marks.truncate(1);
        }
        writer.append(*kind, &[content], &marks, &mut compressor).unwrap();
    }
    writer.finish()
}

/// The expected values come from other implementations: OpenSSL's HKDF, BLAKE3's own tool. A reader written
/// from FORMAT.md alone, on OpenSSL and the `zstd` program, opened the recorded objects below.
#[test]
fn keys_and_digests_are_those_of_other_implementations() {
    let key = derive_segment_key(&epoch_key(), &identity(1));
    assert_eq!(
        hex(key.as_bytes()),
        "df5e60bee26039cc36485385e1565a4cd6acfdea3cfcc6c6e16d5d917c80463b"
    );
    assert_eq!(
        hex(&digest(&[b"life", b"boat"]).0),
        "a3b3f146eb3e319b7d2341ab082286eba36527c53cb327ada3f1d4c21f16682e"
    );
    assert_eq!(
        hex(&keyed_digest(&epoch_key(), &[b"lifeboat"])),
        "24b55c1e07f571a4a7a5715632bb6848da786a4e5d82141c082b716acced071f"
    );
}

#[test]
fn a_stored_segment_is_these_bytes() {
    let contents = [
        (FrameKind::Data, ramp(2 * BLOCK_BYTES)),
        (FrameKind::Page, page()),
        (FrameKind::Page, vec![7]),
    ];
    let finished = made(Codec::Stored, &contents);
    assert_eq!(finished.length, 160 + 2 * BLOCK_BYTES + 261 + 1 + 16 + 3 * 48 + 4 * 16);
    assert_eq!(
        digest(&[finished.bytes()]).to_string(),
        "a192a21dcf83aab389f7ca03cbf75f9a029239685bfd406344b8b547a577077f"
    );
    assert_eq!(
        finished.digest.to_string(),
        "a72cbdbf90548ff79bb9aec9186946cd2d284ef02847b51fa9b726639421512b"
    );
}

/// Also pins miniz_oxide's choices. Where a new version of it makes others, and the recorded object below
/// still opens, the format has not changed and this digest may.
#[test]
fn a_deflated_segment_is_these_bytes() {
    let finished =
        made(Codec::Deflate, &[(FrameKind::Data, ramp(BLOCK_BYTES)), (FrameKind::Page, page())]);
    assert_eq!(
        digest(&[finished.bytes()]).to_string(),
        "47f8c9d65fd371b6adc88b2b1e03409fde41e0070eaff140b22a05859f154e7e"
    );
}

fn recorded_object_opens(text: &str, codec: Codec) {
    let object = unhex(text);
    let table = open(&object, 1);
    let entry = table.entry(0).unwrap();
    assert_eq!(
        (entry.codec, entry.kind, entry.plain_bytes),
        (codec, FrameKind::Page, page().len())
    );
    assert_eq!(read(&table, &object, entry.address), Ok(page()));
}

#[test]
fn a_recorded_deflated_object_opens() {
    recorded_object_opens(include_str!("golden/deflate.hex"), Codec::Deflate);
}

#[cfg(feature = "zstd")]
#[test]
fn a_recorded_zstd_object_opens() {
    recorded_object_opens(include_str!("golden/zstd.hex"), Codec::Zstd);
}

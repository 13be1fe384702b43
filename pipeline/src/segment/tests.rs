//! Segments written and read back, carried, forked, swapped and damaged.

use std::string::ToString;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::compress::{Codec, Compressor, Decompressor};
use crate::error::Error;
use crate::extent;
use crate::fingerprint::Fingerprinter;
use crate::ids::{Fingerprint, FrameAddress};
use crate::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX};
use crate::seal::SecretKey;

mod carried;
mod fork;
mod format_page;
mod golden;
mod hostile;
mod roundtrip;
mod zero_copy;

fn epoch_key() -> SecretKey {
    SecretKey::from_bytes([0x42; 32])
}

fn identity(name: u8) -> SegmentIdentity {
    SegmentIdentity {
        vault: VaultId([1; 16]),
        server: ServerId([2; 16]),
        segment: SegmentId([name; 16]),
        key_epoch: KeyEpoch(7),
        salt: [name ^ 0xFF; 32],
    }
}

fn expected(name: u8) -> Expected {
    let SegmentIdentity { vault, server, segment, .. } = identity(name);
    Expected { vault, server, segment }
}

fn writer(name: u8) -> SegmentWriter<Vec<u8>> {
    SegmentWriter::new(vec![0; SEGMENT_BYTES_MAX], identity(name), &epoch_key())
}

fn fingerprints(bytes: &[u8]) -> Vec<Fingerprint> {
    let fingerprinter = Fingerprinter::new(&SecretKey::from_bytes([9; 32]));
    bytes.chunks(BLOCK_BYTES).map(|block| fingerprinter.of(block)).collect()
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn text(seed: u64, length: usize) -> Vec<u8> {
    let words: [&[u8]; 8] =
        [b"segment ", b"frame ", b"vault ", b"block ", b"extent ", b"seal ", b"key ", b"point\n"];
    noise(seed, length)
        .into_iter()
        .flat_map(|byte| words[usize::from(byte % 8)])
        .copied()
        .take(length)
        .collect()
}

/// Header, table and whole object of a finished segment.
fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let header = SegmentHeader::parse(bytes).unwrap();
    let table = usize::try_from(header.table_offset()).unwrap();
    (&bytes[..HEADER_BYTES], &bytes[table..table + header.table_bytes()])
}

fn open(bytes: &[u8], name: u8) -> SegmentTable {
    let (header, table) = parts(bytes);
    SegmentTable::open(header, table, &expected(name), &epoch_key()).unwrap()
}

fn read(table: &SegmentTable, segment: &[u8], address: FrameAddress) -> Result<Vec<u8>, Error> {
    let entry = table.find(address).ok_or(Error::UnknownFrame(address))?;
    let start = usize::try_from(entry.offset).unwrap();
    let mut sealed = segment[start..start + entry.sealed_bytes].to_vec();
    let mut out = vec![0; entry.plain_bytes];
    open_frame(table, address, &mut sealed, &mut out, &mut Decompressor::new())?;
    Ok(out)
}

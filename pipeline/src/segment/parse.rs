//! Reads a table's plain bytes, and decides whether they can be one.

use alloc::vec::Vec;

use aes_gcm::aead::inout::InOutBuf;

use super::FrameKind;
use super::frame::{FrameFacts, Nonce};
use super::header::SegmentHeader;
use super::layout::{
    ENTRY_BYTES, FINGERPRINT_BYTES, FORMAT_VERSION, HEADER_BYTES, ORIGIN_BYTES, TABLE_HEAD_BYTES,
    entry, header, origin, table_head, take, take_u16, take_u32,
};
use super::table::{Origin, Record, SegmentTable};
use crate::compress::Codec;
use crate::error::Error;
use crate::ids::{Digest, Fingerprint, FrameAddress, KeyEpoch, SegmentId};
use crate::limits::{BLOCK_BYTES, EXTENT_BLOCKS_MAX, EXTENT_BYTES_MAX, SEGMENT_FRAMES_MAX};
use crate::seal::{Sealer, SecretKey};

/// Opens the table's seal. `header_bytes` are those that `header` was parsed from.
pub(super) fn open_plain(
    header: &SegmentHeader,
    header_bytes: &[u8],
    table_bytes: &[u8],
    sealer: &Sealer,
) -> Result<Vec<u8>, Error> {
    let length = Error::Malformed("its table has another length than its header says");
    if table_bytes.len() != header.table_bytes {
        return Err(length);
    }
    let mut plain = Vec::new();
    plain.try_reserve_exact(table_bytes.len()).map_err(|_| Error::Memory("a frame table"))?;
    plain.resize(table_bytes.len(), 0);
    let buffer = InOutBuf::new(table_bytes, &mut plain).map_err(|_| length)?;
    let associated = &header_bytes[..header::TABLE_TAG.start];
    sealer
        .open(&header.table_nonce.0, associated, buffer, &header.table_tag)
        .map_err(|_| Error::NotAuthentic("frame table"))?;
    Ok(plain)
}

/// Reads an opened table. It is authentic by now, yet every length is checked: a writer's bug must not
/// become a reader's panic.
pub(super) fn parse_table(
    header: &SegmentHeader,
    digest: Digest,
    sealer: Sealer,
    plain: &[u8],
) -> Result<SegmentTable, Error> {
    let (head, rest) = plain
        .split_at_checked(TABLE_HEAD_BYTES)
        .ok_or(Error::Malformed("its table is shorter than the table's head"))?;
    let count = |field| take_u32(head, field) as usize;
    let (frames, origins) = (count(table_head::FRAMES), count(table_head::ORIGINS));
    let fingerprints = count(table_head::FINGERPRINTS);
    let lengths = [
        origins.checked_mul(ORIGIN_BYTES),
        frames.checked_mul(ENTRY_BYTES),
        fingerprints.checked_mul(FINGERPRINT_BYTES),
    ];
    let total = lengths.iter().try_fold(0_usize, |sum, part| sum.checked_add((*part)?));
    if frames != header.frames
        || total != Some(rest.len())
        || head[table_head::RESERVED].iter().any(|&byte| byte != 0)
    {
        return Err(Error::Malformed("its table's head contradicts the table"));
    }
    let (origin_bytes, rest) = rest.split_at(origins * ORIGIN_BYTES);
    let (entry_bytes, fingerprint_bytes) = rest.split_at(frames * ENTRY_BYTES);
    let (fingerprint_chunks, _) = fingerprint_bytes.as_chunks::<FINGERPRINT_BYTES>();
    let mut table = SegmentTable {
        identity: header.identity,
        digest,
        sealer,
        records: parse_records(header, entry_bytes, origins, fingerprints)?,
        fingerprints: fingerprint_chunks.iter().copied().map(Fingerprint).collect(),
        origins: parse_origins(header, origin_bytes)?,
        carried: Vec::new(),
    };
    table.carried = index_carried(&table)?;
    Ok(table)
}

fn parse_origins(
    header: &SegmentHeader,
    bytes: &[u8],
) -> Result<Vec<(Origin, Option<SecretKey>)>, Error> {
    let parse = |bytes: &[u8]| {
        let found = Origin {
            segment: SegmentId(take(bytes, origin::SEGMENT)),
            key_epoch: KeyEpoch(take_u32(bytes, origin::KEY_EPOCH)),
            salt: take(bytes, origin::SALT),
            version: take_u16(bytes, origin::VERSION),
        };
        if found.version > FORMAT_VERSION {
            return Err(Error::NewerFormat(found.version));
        }
        if found.version == 0
            || found.segment == header.identity.segment
            || bytes[origin::RESERVED].iter().any(|&byte| byte != 0)
        {
            return Err(Error::Malformed("its table names an impossible origin"));
        }
        Ok((found, None))
    };
    bytes.chunks_exact(ORIGIN_BYTES).map(parse).collect()
}

fn parse_records(
    header: &SegmentHeader,
    bytes: &[u8],
    origins: usize,
    fingerprints: usize,
) -> Result<Vec<Record>, Error> {
    let mut records = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    let (mut offset, mut fingerprint) = (HEADER_BYTES, 0_usize);
    for (index, bytes) in (0_u32..).zip(bytes.chunks_exact(ENTRY_BYTES)) {
        let (record, fields) = parse_record(bytes, fingerprint)?;
        // Frames lie back to back, so that no byte of the object is outside every seal.
        if fields.offset as usize != offset
            || fields.origin as usize > origins
            || (fields.origin == 0 && record.facts.ordinal != index)
        {
            return Err(Error::Malformed("its table's entries do not fit together"));
        }
        offset = offset.saturating_add(record.facts.sealed_bytes as usize);
        fingerprint += usize::from(record.fingerprints_count);
        records.push(record);
    }
    if offset != header.table_offset || fingerprint != fingerprints {
        return Err(Error::Malformed("its table's entries do not fill the segment"));
    }
    Ok(records)
}

struct Fields {
    offset: u32,
    origin: u32,
}

fn parse_record(bytes: &[u8], fingerprints_start: usize) -> Result<(Record, Fields), Error> {
    let bad = Error::Malformed("its table has an impossible entry");
    let [kind] = take(bytes, entry::KIND);
    let [codec] = take(bytes, entry::CODEC);
    let [count] = take(bytes, entry::FINGERPRINTS);
    let [reserved] = take(bytes, entry::RESERVED);
    let kind = FrameKind::from_byte(kind).ok_or(bad)?;
    let codec = Codec::from_byte(codec).ok_or(bad)?;
    let facts = FrameFacts {
        kind,
        codec,
        ordinal: take_u32(bytes, entry::ORDINAL),
        plain_bytes: take_u32(bytes, entry::PLAIN_BYTES),
        sealed_bytes: take_u32(bytes, entry::SEALED_BYTES),
    };
    let (plain, sealed) = (facts.plain_bytes as usize, facts.sealed_bytes as usize);
    let count_fits = match kind {
        FrameKind::Data => {
            (1..=EXTENT_BLOCKS_MAX).contains(&usize::from(count))
                && plain == usize::from(count) * BLOCK_BYTES
        }
        FrameKind::Page => count == 1 && (1..=EXTENT_BYTES_MAX).contains(&plain),
    };
    let length_fits = match codec {
        Codec::Stored => sealed == plain,
        _ => sealed > 0 && sealed < plain,
    };
    let ordinal_fits = (facts.ordinal as usize) < SEGMENT_FRAMES_MAX;
    if reserved != 0 || !count_fits || !length_fits || !ordinal_fits {
        return Err(bad);
    }
    let fields =
        Fields { offset: take_u32(bytes, entry::OFFSET), origin: take_u32(bytes, entry::ORIGIN) };
    let record = Record {
        facts,
        origin: fields.origin.checked_sub(1),
        offset: fields.offset,
        nonce: Nonce::from_parts(facts.ordinal, take(bytes, entry::NONCE_TAIL)),
        tag: take(bytes, entry::TAG),
        fingerprints_start: u32::try_from(fingerprints_start).map_err(|_| bad)?,
        fingerprints_count: count,
    };
    Ok((record, fields))
}

/// Indices of the carried records by address; one address twice would make `find` ambiguous.
fn index_carried(table: &SegmentTable) -> Result<Vec<u32>, Error> {
    let mut carried: Vec<(FrameAddress, u32)> = (0_u32..)
        .zip(&table.records)
        .filter(|(_, record)| record.origin.is_some())
        .map(|(index, record)| (table.address(record), index))
        .collect();
    carried.sort_unstable();
    if carried.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::Malformed("its table carries one frame twice"));
    }
    Ok(carried.into_iter().map(|(_, index)| index).collect())
}

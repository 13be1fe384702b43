//! Reading a segment: the header tells where the table is, the table tells where every frame is and opens it.
//!
//! Everything here takes bytes from outside: whatever they are, the answer is an error, never a panic.

use alloc::vec::Vec;

use aes_gcm::aead::inout::InOutBuf;

use super::frame::{FrameFacts, Nonce, derive_segment_key, sealer};
use super::layout::{
    self, ENTRY_BYTES, FINGERPRINT_BYTES, FORMAT_VERSION, HEADER_BYTES, MAGIC, ORIGIN_BYTES,
    TABLE_HEAD_BYTES, TABLE_ORDINAL, associated, entry, header, origin, table_head, take, take_u16,
    take_u32,
};
use super::{FrameKind, SegmentIdentity};
use crate::compress::Codec;
use crate::error::Error;
use crate::ids::{Digest, Fingerprint, FrameAddress, KeyEpoch, SegmentId, ServerId, VaultId};
use crate::limits::{
    BLOCK_BYTES, EXTENT_BLOCKS_MAX, EXTENT_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_FRAMES_MAX,
    SEGMENT_TABLE_BYTES_MAX,
};
use crate::seal::{Sealer, SecretKey, TAG_BYTES, digest};

/// The digest of a segment, from its first `HEADER_BYTES` and its sealed table: what manifests name.
#[must_use]
pub fn segment_digest(header_bytes: &[u8], table_bytes: &[u8]) -> Digest {
    digest(&[header_bytes, table_bytes])
}

/// A segment's header, well-formed. It proves nothing: any byte of it may be forged until the table opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    identity: SegmentIdentity,
    frames: usize,
    table_offset: usize,
    table_bytes: usize,
    table_nonce: Nonce,
    table_tag: [u8; TAG_BYTES],
}

impl SegmentHeader {
    /// Reads the first `HEADER_BYTES` of a segment; more bytes behind are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let bytes: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or(Error::Malformed("it is shorter than a segment's header"))?;
        if bytes[header::MAGIC] != MAGIC {
            return Err(Error::Malformed("it does not begin like a segment"));
        }
        match take_u16(bytes, header::VERSION) {
            FORMAT_VERSION => {}
            0 => return Err(Error::Malformed("its format version is 0")),
            newer => return Err(Error::NewerFormat(newer)),
        }
        let frames = take_u32(bytes, header::FRAMES) as usize;
        let table_bytes = take_u32(bytes, header::TABLE_BYTES) as usize;
        let table_offset = usize::try_from(u64::from_le_bytes(take(bytes, header::TABLE_OFFSET)))
            .unwrap_or(usize::MAX);
        if take_u16(bytes, header::LENGTH) != layout::HEADER_BYTES_U16
            || bytes[header::RESERVED].iter().any(|&byte| byte != 0)
            || frames > SEGMENT_FRAMES_MAX
            || table_bytes > SEGMENT_TABLE_BYTES_MAX
            || table_bytes < TABLE_HEAD_BYTES + frames * ENTRY_BYTES
            || table_offset < HEADER_BYTES
            || table_offset.saturating_add(table_bytes) > SEGMENT_BYTES_MAX
        {
            return Err(Error::Malformed("its header contradicts itself or the format's limits"));
        }
        Ok(Self {
            identity: SegmentIdentity {
                vault: VaultId(take(bytes, header::VAULT)),
                server: ServerId(take(bytes, header::SERVER)),
                segment: SegmentId(take(bytes, header::SEGMENT)),
                key_epoch: KeyEpoch(take_u32(bytes, header::KEY_EPOCH)),
                salt: take(bytes, header::SALT),
            },
            frames,
            table_offset,
            table_bytes,
            table_nonce: Nonce::from_parts(TABLE_ORDINAL, take(bytes, header::TABLE_NONCE_TAIL)),
            table_tag: take(bytes, header::TABLE_TAG),
        })
    }

    /// Who the segment says it is.
    #[must_use]
    pub fn identity(&self) -> &SegmentIdentity {
        &self.identity
    }

    /// How many frames it says to have.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Where its sealed table starts.
    #[must_use]
    pub fn table_offset(&self) -> u64 {
        self.table_offset as u64
    }

    /// How long its sealed table is: at most `SEGMENT_TABLE_BYTES_MAX`.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.table_bytes
    }

    /// How long the whole object is.
    #[must_use]
    pub fn object_bytes(&self) -> u64 {
        (self.table_offset + self.table_bytes) as u64
    }
}

/// Which segment the reader asked for: a whole one of another name, server or vault is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The vault.
    pub vault: VaultId,
    /// The server.
    pub server: ServerId,
    /// The segment.
    pub segment: SegmentId,
}

/// The segment that a carried frame was sealed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its name.
    pub segment: SegmentId,
    /// Which of the server's keys its key was derived from.
    pub key_epoch: KeyEpoch,
    /// Its salt.
    pub salt: [u8; 32],
    /// Its format version.
    pub version: u16,
}

/// A segment's table, opened: its seal and its consistency are proved; the frames' bytes are not yet.
pub struct SegmentTable {
    identity: SegmentIdentity,
    digest: Digest,
    sealer: Sealer,
    records: Vec<Record>,
    fingerprints: Vec<Fingerprint>,
    origins: Vec<(Origin, Option<SecretKey>)>,
    /// Indices of carried records, by address.
    carried: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Record {
    facts: FrameFacts,
    /// Index into origins, for a carried frame.
    origin: Option<u32>,
    offset: u32,
    nonce: Nonce,
    tag: [u8; TAG_BYTES],
    fingerprints_start: u32,
    fingerprints_count: u8,
}

/// One frame as the table describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its address for ever: of this segment, or of its origin where it is carried.
    pub address: FrameAddress,
    /// What it holds.
    pub kind: FrameKind,
    /// Its codec.
    pub codec: Codec,
    /// Where its sealed bytes start in this segment.
    pub offset: u64,
    /// How many they are.
    pub sealed_bytes: usize,
    /// How long its content is.
    pub plain_bytes: usize,
    /// Of its blocks, or of its page.
    pub fingerprints: &'a [Fingerprint],
}

/// A frame as it lies in a segment, to be carried into another one.
#[derive(Clone, Copy)]
pub struct SealedFrame<'a> {
    pub(super) vault: VaultId,
    pub(super) server: ServerId,
    pub(super) origin: Origin,
    pub(super) facts: FrameFacts,
    pub(super) nonce: Nonce,
    pub(super) tag: [u8; TAG_BYTES],
    pub(super) fingerprints: &'a [Fingerprint],
    pub(super) bytes: &'a [u8],
}

impl SealedFrame<'_> {
    /// Its address for ever.
    #[must_use]
    pub fn address(&self) -> FrameAddress {
        FrameAddress { segment: self.origin.segment, ordinal: self.facts.ordinal }
    }
}

/// All that opening one frame takes.
pub(super) struct Opening {
    pub(super) facts: FrameFacts,
    pub(super) nonce: Nonce,
    pub(super) tag: [u8; TAG_BYTES],
    pub(super) associated: [u8; associated::BYTES],
    pub(super) sealer: Sealer,
}

impl SegmentTable {
    /// Opens a table with the server's epoch key. Frames carried from segments of the same epoch open too;
    /// those of other epochs after `supply_epoch_key`.
    pub fn open(
        header_bytes: &[u8],
        table_bytes: &[u8],
        expected: &Expected,
        epoch_key: &SecretKey,
    ) -> Result<Self, Error> {
        let header = SegmentHeader::parse(header_bytes)?;
        let segment_key = derive_segment_key(epoch_key, header.identity());
        let mut table =
            Self::open_with_segment_key(header_bytes, table_bytes, expected, &segment_key)?;
        table.supply_epoch_key(header.identity.key_epoch, epoch_key);
        Ok(table)
    }

    /// Opens a table with the segment's own key, as a recovery ticket has it. Carried frames open after
    /// `supply_segment_key`.
    pub fn open_with_segment_key(
        header_bytes: &[u8],
        table_bytes: &[u8],
        expected: &Expected,
        segment_key: &SecretKey,
    ) -> Result<Self, Error> {
        let header = SegmentHeader::parse(header_bytes)?;
        let identity = header.identity;
        if identity.vault != expected.vault {
            return Err(Error::Foreign("its vault"));
        }
        if identity.server != expected.server {
            return Err(Error::Foreign("its server"));
        }
        if identity.segment != expected.segment {
            return Err(Error::Foreign("its segment id"));
        }
        let sealer = sealer(segment_key);
        let plain = open_plain(&header, header_bytes, table_bytes, &sealer)?;
        let digest = segment_digest(&header_bytes[..HEADER_BYTES], table_bytes);
        parse_table(&header, digest, sealer, &plain)
    }

    /// Hands in the server's key of another epoch, for frames carried from segments of that epoch.
    pub fn supply_epoch_key(&mut self, epoch: KeyEpoch, epoch_key: &SecretKey) {
        let SegmentIdentity { vault, server, .. } = self.identity;
        for (origin, key) in &mut self.origins {
            if origin.key_epoch == epoch {
                let Origin { segment, key_epoch, salt, .. } = *origin;
                let identity = SegmentIdentity { vault, server, segment, key_epoch, salt };
                *key = Some(derive_segment_key(epoch_key, &identity));
            }
        }
    }

    /// Hands in the key of one origin's segment, for the frames carried from it.
    pub fn supply_segment_key(&mut self, segment: SegmentId, segment_key: &SecretKey) {
        for (origin, key) in &mut self.origins {
            if origin.segment == segment {
                *key = Some(segment_key.clone());
            }
        }
    }

    /// Who the segment is; proved by the table's seal.
    #[must_use]
    pub fn identity(&self) -> &SegmentIdentity {
        &self.identity
    }

    /// The segment's digest, the same as `Finished::digest`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many frames it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Segments that frames were carried from.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.origins.iter().map(|(origin, _)| origin)
    }

    /// All frames, in the order in which they lie.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.records.iter().map(|record| self.entry_of(record))
    }

    /// The frame at a place of the table, whether sealed here or carried.
    #[must_use]
    pub fn entry(&self, index: u32) -> Option<Entry<'_>> {
        self.records.get(index as usize).map(|record| self.entry_of(record))
    }

    /// The frame of an address: one sealed here, or one carried here.
    #[must_use]
    pub fn find(&self, address: FrameAddress) -> Option<Entry<'_>> {
        self.record(address).map(|record| self.entry_of(record))
    }

    /// A frame with its sealed bytes, to be carried into another segment.
    pub fn sealed_frame<'a>(
        &'a self,
        address: FrameAddress,
        bytes: &'a [u8],
    ) -> Result<SealedFrame<'a>, Error> {
        let record = self.record(address).ok_or(Error::UnknownFrame(address))?;
        if bytes.len() != record.facts.sealed_bytes as usize {
            return Err(Error::Malformed("a frame shorter or longer than its table says"));
        }
        Ok(SealedFrame {
            vault: self.identity.vault,
            server: self.identity.server,
            origin: self.origin_of(record),
            facts: record.facts,
            nonce: record.nonce,
            tag: record.tag,
            fingerprints: self.fingerprints_of(record),
            bytes,
        })
    }

    pub(super) fn opening(&self, address: FrameAddress) -> Result<Opening, Error> {
        let record = self.record(address).ok_or(Error::UnknownFrame(address))?;
        let origin = self.origin_of(record);
        let sealer = match record.origin {
            None => self.sealer.clone(),
            Some(index) => {
                let key = self.origins.get(index as usize).and_then(|(_, key)| key.as_ref());
                sealer(key.ok_or(Error::KeyMissing(origin.key_epoch))?)
            }
        };
        let SegmentIdentity { vault, server, .. } = self.identity;
        Ok(Opening {
            facts: record.facts,
            nonce: record.nonce,
            tag: record.tag,
            associated: record.facts.associated(origin.version, vault, server, origin.segment),
            sealer,
        })
    }

    fn record(&self, address: FrameAddress) -> Option<&Record> {
        if address.segment == self.identity.segment {
            let own = self.records.get(address.ordinal as usize)?;
            return own.origin.is_none().then_some(own);
        }
        let at = |&index: &u32| self.records.get(index as usize).map(|record| self.address(record));
        let found = self.carried.binary_search_by_key(&Some(address), at).ok()?;
        self.records.get(*self.carried.get(found)? as usize)
    }

    fn origin_of(&self, record: &Record) -> Origin {
        let SegmentIdentity { segment, key_epoch, salt, .. } = self.identity;
        let own = Origin { segment, key_epoch, salt, version: FORMAT_VERSION };
        record
            .origin
            .and_then(|index| self.origins.get(index as usize))
            .map_or(own, |(origin, _)| *origin)
    }

    fn address(&self, record: &Record) -> FrameAddress {
        FrameAddress { segment: self.origin_of(record).segment, ordinal: record.facts.ordinal }
    }

    fn fingerprints_of(&self, record: &Record) -> &[Fingerprint] {
        let start = record.fingerprints_start as usize;
        let end = start + usize::from(record.fingerprints_count);
        self.fingerprints.get(start..end).unwrap_or_default()
    }

    fn entry_of<'a>(&'a self, record: &Record) -> Entry<'a> {
        Entry {
            address: self.address(record),
            kind: record.facts.kind,
            codec: record.facts.codec,
            offset: u64::from(record.offset),
            sealed_bytes: record.facts.sealed_bytes as usize,
            plain_bytes: record.facts.plain_bytes as usize,
            fingerprints: self.fingerprints_of(record),
        }
    }
}

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
fn parse_table(
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

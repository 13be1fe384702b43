//! A segment's table, opened: it tells where every frame is, and opens it.
//!
//! Everything here takes bytes from outside: whatever they are, the answer is an error, never a panic.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::frame::{FrameFacts, Nonce, derive_segment_key, sealer};
use super::header::{SegmentHeader, segment_digest};
use super::layout::{FORMAT_VERSION, HEADER_BYTES, associated};
use super::parse::{open_plain, parse_table};
use super::{FrameKind, SegmentIdentity};
use crate::compress::Codec;
use crate::error::Error;
use crate::ids::{Digest, Fingerprint, FrameAddress, KeyEpoch, SegmentId, ServerId, VaultId};
use crate::seal::{Sealer, SecretKey, TAG_BYTES};

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
    pub(super) identity: SegmentIdentity,
    pub(super) digest: Digest,
    pub(super) sealer: Sealer,
    pub(super) records: Vec<Record>,
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) origins: Vec<(Origin, Option<SecretKey>)>,
    /// Indices of carried records, by address.
    pub(super) carried: Vec<u32>,
}

#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) facts: FrameFacts,
    /// Index into origins, for a carried frame.
    pub(super) origin: Option<u32>,
    pub(super) offset: u32,
    pub(super) nonce: Nonce,
    pub(super) tag: [u8; TAG_BYTES],
    pub(super) fingerprints_start: u32,
    pub(super) fingerprints_count: u8,
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
pub(super) struct Opening<'a> {
    pub(super) facts: FrameFacts,
    pub(super) nonce: Nonce,
    pub(super) tag: [u8; TAG_BYTES],
    pub(super) associated: [u8; associated::BYTES],
    pub(super) sealer: Cow<'a, Sealer>,
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

    pub(super) fn opening(&self, address: FrameAddress) -> Result<Opening<'_>, Error> {
        let record = self.record(address).ok_or(Error::UnknownFrame(address))?;
        let origin = self.origin_of(record);
        let sealer = match record.origin {
            None => Cow::Borrowed(&self.sealer),
            Some(index) => {
                let key = self.origins.get(index as usize).and_then(|(_, key)| key.as_ref());
                Cow::Owned(sealer(key.ok_or(Error::KeyMissing(origin.key_epoch))?))
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

    pub(super) fn address(&self, record: &Record) -> FrameAddress {
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

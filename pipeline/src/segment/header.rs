//! A segment's header: what a reader fetches first, to learn where the table is.

use super::SegmentIdentity;
use super::frame::Nonce;
use super::layout::{
    self, ENTRY_BYTES, FORMAT_VERSION, HEADER_BYTES, MAGIC, TABLE_HEAD_BYTES, TABLE_ORDINAL,
    header, take, take_u16, take_u32,
};
use crate::error::Error;
use crate::ids::{Digest, KeyEpoch, SegmentId, ServerId, VaultId};
use crate::limits::{SEGMENT_BYTES_MAX, SEGMENT_FRAMES_MAX, SEGMENT_TABLE_BYTES_MAX};
use crate::seal::{TAG_BYTES, digest};

/// The digest of a segment, from its first `HEADER_BYTES` and its sealed table: what manifests name.
#[must_use]
pub fn segment_digest(header_bytes: &[u8], table_bytes: &[u8]) -> Digest {
    digest(&[header_bytes, table_bytes])
}

/// A segment's header, well-formed. It proves nothing: any byte of it may be forged until the table opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub(super) identity: SegmentIdentity,
    pub(super) frames: usize,
    pub(super) table_offset: usize,
    pub(super) table_bytes: usize,
    pub(super) table_nonce: Nonce,
    pub(super) table_tag: [u8; TAG_BYTES],
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

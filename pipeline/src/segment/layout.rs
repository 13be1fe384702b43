//! Where every field of a segment lies. The only place with offsets; FORMAT.md repeats them and a test compares.

use core::ops::Range;

/// First bytes of every segment.
pub const MAGIC: [u8; 8] = *b"LIFEBSEG";
/// The version of everything in FORMAT.md's chapter "Segment".
pub const FORMAT_VERSION: u16 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 160;
/// The same as the header says it.
pub(super) const HEADER_BYTES_U16: u16 = 160;
/// Bytes of the table's own head.
pub const TABLE_HEAD_BYTES: usize = 16;
/// Bytes of one origin in the table.
pub const ORIGIN_BYTES: usize = 56;
/// Bytes of one entry in the table, without its fingerprints.
pub const ENTRY_BYTES: usize = 48;
/// Bytes of one fingerprint.
pub const FINGERPRINT_BYTES: usize = 16;
/// The ordinal that the table itself is sealed under; no frame has it.
pub const TABLE_ORDINAL: u32 = u32::MAX;

/// Fields of the header.
pub mod header {
    use super::Range;

    /// `MAGIC`.
    pub const MAGIC: Range<usize> = 0..8;
    /// `FORMAT_VERSION`.
    pub const VERSION: Range<usize> = 8..10;
    /// `HEADER_BYTES`.
    pub const LENGTH: Range<usize> = 10..12;
    /// Entries in the table.
    pub const FRAMES: Range<usize> = 12..16;
    /// The vault.
    pub const VAULT: Range<usize> = 16..32;
    /// The server.
    pub const SERVER: Range<usize> = 32..48;
    /// The segment.
    pub const SEGMENT: Range<usize> = 48..64;
    /// The key epoch.
    pub const KEY_EPOCH: Range<usize> = 64..68;
    /// Bytes of the sealed table.
    pub const TABLE_BYTES: Range<usize> = 68..72;
    /// Where the sealed table starts: right behind the last frame.
    pub const TABLE_OFFSET: Range<usize> = 72..80;
    /// The salt of the segment key.
    pub const SALT: Range<usize> = 80..112;
    /// The second part of the table's nonce.
    pub const TABLE_NONCE_TAIL: Range<usize> = 112..120;
    /// Zero.
    pub const RESERVED: Range<usize> = 120..144;
    /// The tag of the table's seal; all before it is the seal's associated data.
    pub const TABLE_TAG: Range<usize> = 144..160;
}

/// Fields of the table's head.
pub mod table_head {
    use super::Range;

    /// Entries.
    pub const FRAMES: Range<usize> = 0..4;
    /// Origins.
    pub const ORIGINS: Range<usize> = 4..8;
    /// Fingerprints of all entries.
    pub const FINGERPRINTS: Range<usize> = 8..12;
    /// Zero.
    pub const RESERVED: Range<usize> = 12..16;
}

/// Fields of one origin.
pub mod origin {
    use super::Range;

    /// The segment that the frame was sealed in.
    pub const SEGMENT: Range<usize> = 0..16;
    /// That segment's key epoch.
    pub const KEY_EPOCH: Range<usize> = 16..20;
    /// That segment's format version.
    pub const VERSION: Range<usize> = 20..22;
    /// Zero.
    pub const RESERVED: Range<usize> = 22..24;
    /// That segment's salt.
    pub const SALT: Range<usize> = 24..56;
}

/// Fields of one entry.
pub mod entry {
    use super::Range;

    /// The kind's number.
    pub const KIND: Range<usize> = 0..1;
    /// The codec's number.
    pub const CODEC: Range<usize> = 1..2;
    /// Fingerprints of this entry.
    pub const FINGERPRINTS: Range<usize> = 2..3;
    /// Zero.
    pub const RESERVED: Range<usize> = 3..4;
    /// 0: sealed here; n: sealed in the n-th origin, counted from 1.
    pub const ORIGIN: Range<usize> = 4..8;
    /// The ordinal that it was sealed under.
    pub const ORDINAL: Range<usize> = 8..12;
    /// Where its sealed bytes start in the segment.
    pub const OFFSET: Range<usize> = 12..16;
    /// Its sealed bytes.
    pub const SEALED_BYTES: Range<usize> = 16..20;
    /// Its plain bytes.
    pub const PLAIN_BYTES: Range<usize> = 20..24;
    /// The second part of its nonce.
    pub const NONCE_TAIL: Range<usize> = 24..32;
    /// The tag of its seal.
    pub const TAG: Range<usize> = 32..48;
}

/// Fields of a frame's associated data.
pub mod associated {
    use super::Range;

    /// Bytes of it.
    pub const BYTES: usize = 64;
    /// The format version of the segment that the frame was sealed in.
    pub const VERSION: Range<usize> = 0..2;
    /// The kind's number.
    pub const KIND: Range<usize> = 2..3;
    /// The codec's number.
    pub const CODEC: Range<usize> = 3..4;
    /// The ordinal.
    pub const ORDINAL: Range<usize> = 4..8;
    /// Plain bytes.
    pub const PLAIN_BYTES: Range<usize> = 8..12;
    /// Sealed bytes.
    pub const SEALED_BYTES: Range<usize> = 12..16;
    /// The vault.
    pub const VAULT: Range<usize> = 16..32;
    /// The server.
    pub const SERVER: Range<usize> = 32..48;
    /// The segment that the frame was sealed in.
    pub const SEGMENT: Range<usize> = 48..64;
}

const _: () = assert!(HEADER_BYTES_U16 as usize == HEADER_BYTES, "one length, said twice");
const _: () = assert!(header::TABLE_TAG.end == HEADER_BYTES, "the header ends with the tag");
const _: () = assert!(table_head::RESERVED.end == TABLE_HEAD_BYTES, "the head has no gap behind");
const _: () = assert!(origin::SALT.end == ORIGIN_BYTES, "an origin has no gap behind");
const _: () = assert!(entry::TAG.end == ENTRY_BYTES, "an entry has no gap behind");
const _: () = assert!(associated::SEGMENT.end == associated::BYTES, "the data has no gap behind");

/// Writes one field. The ranges above fit the arrays that they are used with.
pub(super) fn put(bytes: &mut [u8], field: Range<usize>, value: &[u8]) {
    bytes[field].copy_from_slice(value);
}

/// Reads one field out of an array that was checked to be long enough.
pub(super) fn take<const N: usize>(bytes: &[u8], field: Range<usize>) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[field]);
    value
}

pub(super) fn take_u16(bytes: &[u8], field: Range<usize>) -> u16 {
    u16::from_le_bytes(take(bytes, field))
}

pub(super) fn take_u32(bytes: &[u8], field: Range<usize>) -> u32 {
    u32::from_le_bytes(take(bytes, field))
}

/// A length that limits keep far below 2^32, as it is written.
pub(super) fn u32_of(length: usize) -> u32 {
    u32::try_from(length).expect("limits.rs keeps every length of a segment below 2^32")
}

//! The segment: an immutable object of many frames, a header in front and a sealed table behind. FORMAT.md has the bytes.

mod frame;
mod header;
/// Where every field of a segment lies; FORMAT.md shows the same tables and a test compares them.
pub mod layout;
mod parse;
mod table;
mod writer;

#[cfg(test)]
mod tests;

use crate::ids::{KeyEpoch, SegmentId, ServerId, VaultId};

pub use frame::{derive_segment_key, open_frame};
pub use header::{SegmentHeader, segment_digest};
pub use layout::HEADER_BYTES;
pub use table::{Entry, Expected, Origin, SealedFrame, SegmentTable};
pub use writer::{Finished, SegmentWriter};

/// What a frame holds. The numbers are on disk and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum FrameKind {
    /// Blocks of a disk: one to sixteen whole ones.
    Data = 0,
    /// One page of a map.
    Page = 1,
}

impl FrameKind {
    /// The kind of a number on disk.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Data),
            1 => Some(Self::Page),
            _ => None,
        }
    }
}

/// Who a segment is: fixed when it is begun, in clear in its header, bound into every seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentIdentity {
    /// The vault it belongs to.
    pub vault: VaultId,
    /// The server whose data it holds.
    pub server: ServerId,
    /// Its own name: random, never used again.
    pub segment: SegmentId,
    /// Which of the server's keys its key is derived from.
    pub key_epoch: KeyEpoch,
    /// 256 fresh random bits, so that the segment key is new even where everything else repeats.
    pub salt: [u8; 32],
}

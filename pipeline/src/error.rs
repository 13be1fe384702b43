//! What can go wrong between a block and a sealed segment. Each variant says whose fault it is and what to do.

use core::fmt;

use crate::compress::Codec;
use crate::ids::{FrameAddress, KeyEpoch};

/// One failure of this crate. None is mended by trying the same bytes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Corrupt data or the wrong key: the seal over this part does not open. Read another copy, or check the key.
    NotAuthentic(&'static str),
    /// Corrupt data: the bytes do not follow FORMAT.md. Read another copy.
    Malformed(&'static str),
    /// Corrupt vault: whole, but not the object asked for (swapped or moved). Names what differs.
    Foreign(&'static str),
    /// Made by a newer program: upgrade this one.
    NewerFormat(u16),
    /// Misuse: the table does not hold this frame; the map and the segment do not belong together.
    UnknownFrame(FrameAddress),
    /// Misuse: a carried frame needs the key of this epoch (or its segment's own); hand it in and ask again.
    KeyMissing(KeyEpoch),
    /// Misuse: this build has no such codec; use a build with it.
    CodecMissing(Codec),
    /// Limit: the segment has no room for this frame; finish it and begin the next one.
    SegmentFull,
    /// Limit: memory for this could not be had.
    Memory(&'static str),
    /// Misuse: the caller broke the contract of the function named.
    Misuse(&'static str),
}

impl fmt::Display for Error {
    /// What is wrong, in a clause; the caller names the object in front and the remedy behind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAuthentic(part) => {
                write!(
                    f,
                    "the seal of its {part} does not open: damaged, or sealed with another key"
                )
            }
            Self::Malformed(what) => write!(f, "is damaged: {what}"),
            Self::Foreign(what) => write!(f, "is not the object expected here: {what} differs"),
            Self::NewerFormat(version) => {
                write!(f, "has format version {version}, which a newer program wrote")
            }
            Self::UnknownFrame(address) => {
                write!(f, "holds no frame {} of segment {}", address.ordinal, address.segment)
            }
            Self::KeyMissing(epoch) => {
                write!(
                    f,
                    "carries a frame sealed with key epoch {}, whose key is not at hand",
                    epoch.0
                )
            }
            Self::CodecMissing(codec) => {
                write!(f, "needs the codec {codec:?}, which this build does not have")
            }
            Self::SegmentFull => f.write_str("the segment is full"),
            Self::Memory(what) => write!(f, "no memory for {what}"),
            Self::Misuse(what) => write!(f, "used wrongly: {what}"),
        }
    }
}

impl core::error::Error for Error {}

//! A point's map of one disk: a copy-on-write radix tree over block numbers whose pages are sealed frames.
//!
//! A leaf page holds 256 entries (16 MiB of disk), an inner page 256 children. A subtree of zeros has no page.
//! It refuses to do I/O: pages come from a `PageSource` and go to a `PageSink`.

use pipeline::ids::{Fingerprint, FrameAddress};
use pipeline::limits::{BLOCK_BYTES, DISK_BLOCKS_MAX, PAGE_ENTRIES};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The bytes of a page, both ways.
pub mod page;
/// Looking up, walking and updating a tree.
pub mod tree;

pub use page::{Inner, Leaf};
pub use tree::{update, walk_leaves};

/// Blocks that one leaf page covers.
pub const LEAF_BLOCKS: u64 = PAGE_ENTRIES as u64;

/// The top of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Inner levels above the leaves: 0 where the top is a leaf.
    pub height: u8,
    /// The top page.
    pub top: Child,
}

/// A subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Child {
    /// Every block below is zero.
    Zero,
    /// A page.
    Page(PageRef),
}

/// A page by its logical address and the fingerprint of its plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PageRef {
    /// Where its frame is.
    pub address: FrameAddress,
    /// What its plain bytes must be.
    pub fingerprint: Fingerprint,
}

/// What a map says of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// All zeros; nothing is stored.
    Zero,
    /// Content is in a frame.
    Data(BlockRef),
    /// The source gave the block back; it reads as zeros.
    Discarded,
    /// The source could not read it; its content is unknown.
    Unread,
}

/// A block by its frame, its place in the frame and the fingerprint of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Where its frame is.
    pub address: FrameAddress,
    /// Which block of the frame, from 0.
    pub index: u8,
    /// What its bytes (the disk's last block padded with zeros) must be.
    pub fingerprint: Fingerprint,
}

/// Gives the plain bytes of pages.
pub trait PageSource {
    /// A leaf page.
    fn leaf(&self, page: &PageRef) -> Result<std::sync::Arc<Leaf>, Error>;
    /// An inner page; `level` counts from 1 just above the leaves and must be what the page says.
    fn inner(&self, page: &PageRef, level: u8) -> Result<std::sync::Arc<Inner>, Error>;
}

/// Takes the plain bytes of new pages.
pub trait PageSink {
    /// Stores a page and says where it will be.
    fn store(&mut self, plain: &[u8]) -> Result<PageRef, Error>;
}

impl Child {
    /// Whether both are pages of the same bytes, wherever those lie, or zeros both.
    pub(crate) fn has_bytes_of(&self, other: &Self) -> bool {
        let bytes = |child: &Self| match child {
            Self::Zero => None,
            Self::Page(page) => Some(page.fingerprint),
        };
        bytes(self) == bytes(other)
    }
}

impl Entry {
    /// Whether a disk that was brought to the one reads there as one that is brought to the other.
    pub(crate) fn reads_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Data(one), Self::Data(other)) => one.fingerprint == other.fingerprint,
            (Self::Zero | Self::Discarded, Self::Zero | Self::Discarded) => true,
            // What the source could not read is nowhere known.
            _ => false,
        }
    }
}

impl Root {
    /// The map of a disk that is all zeros.
    pub fn empty(bytes: u64) -> Self {
        Self { height: height_of(blocks_of(bytes)), top: Child::Zero }
    }
}

/// Blocks of a disk of so many bytes, the last perhaps partial.
pub fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES as u64)
}

/// Leaf pages of a disk of so many bytes.
pub fn leaves_of(bytes: u64) -> u64 {
    blocks_of(bytes).div_ceil(LEAF_BLOCKS)
}

/// Inner levels that a map of so many blocks needs.
pub fn height_of(blocks: u64) -> u8 {
    debug_assert!(blocks <= DISK_BLOCKS_MAX, "larger disks are refused before a map is made");
    let mut height = 0;
    let mut covered = LEAF_BLOCKS;
    while covered < blocks {
        covered = covered.saturating_mul(PAGE_ENTRIES as u64);
        height += 1;
    }
    height
}

/// Leaves below one child of an inner page of a level.
pub(crate) fn leaves_per_child(level: u8) -> u64 {
    (PAGE_ENTRIES as u64).saturating_pow(u32::from(level).saturating_sub(1))
}

//! The bytes of a map page: columns, so that they compress; FORMAT.md "Map pages" has the table.
//! Decoding checks every length, index and padding byte: bytes from outside end in an error.

use pipeline::ids::{Fingerprint, FrameAddress, SegmentId};
use pipeline::limits::{EXTENT_BLOCKS_MAX, PAGE_ENTRIES};

use super::{BlockRef, Child, Entry, PageRef};

const LEAF: u8 = 1;
const INNER: u8 = 2;

/// Kinds of leaf entries and children as bytes.
const ZERO: u8 = 0;
const DATA: u8 = 1;
const DISCARDED: u8 = 2;
const UNREAD: u8 = 3;

/// A leaf page: what 256 consecutive blocks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// One entry per block.
    pub entries: [Entry; PAGE_ENTRIES],
}

/// An inner page: 256 consecutive subtrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Levels above the leaves, from 1.
    pub level: u8,
    /// One child per subtree.
    pub children: [Child; PAGE_ENTRIES],
}

/// Plain bytes that are no page: what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPage(pub &'static str);

impl Default for Leaf {
    fn default() -> Self {
        Self { entries: [Entry::Zero; PAGE_ENTRIES] }
    }
}

impl Leaf {
    /// Whether every block is zero, so that the leaf needs no page.
    pub fn is_zero(&self) -> bool {
        self.entries.iter().all(|entry| *entry == Entry::Zero)
    }

    /// The page's plain bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut columns = Columns::new(LEAF, 0);
        let mut indices = Vec::with_capacity(PAGE_ENTRIES);
        for entry in &self.entries {
            match entry {
                Entry::Zero => columns.kinds.push(ZERO),
                Entry::Discarded => columns.kinds.push(DISCARDED),
                Entry::Unread => columns.kinds.push(UNREAD),
                Entry::Data(block) => {
                    columns.kinds.push(DATA);
                    columns.push(block.address, &block.fingerprint);
                    indices.push(block.index);
                }
            }
        }
        columns.finish(&indices)
    }

    /// Reads a page's plain bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPage> {
        let parsed = Parsed::new(bytes, LEAF, 0)?;
        let mut leaf = Self::default();
        let mut stored = 0;
        for (entry, kind) in leaf.entries.iter_mut().zip(parsed.kinds) {
            *entry = match *kind {
                ZERO => Entry::Zero,
                DISCARDED => Entry::Discarded,
                UNREAD => Entry::Unread,
                DATA => {
                    let (address, fingerprint) = parsed.reference(stored)?;
                    let index =
                        *parsed.indices.get(stored).ok_or(BadPage("its block column is short"))?;
                    if usize::from(index) >= EXTENT_BLOCKS_MAX {
                        return Err(BadPage("a block is beyond its frame"));
                    }
                    stored += 1;
                    Entry::Data(BlockRef { address, index, fingerprint })
                }
                _ => return Err(BadPage("an entry is of an unknown kind")),
            };
        }
        if parsed.indices.len() == stored {
            Ok(leaf)
        } else {
            Err(BadPage("bytes follow its last column"))
        }
    }
}

impl Inner {
    /// A page whose subtrees are all zero.
    pub fn empty(level: u8) -> Self {
        Self { level, children: [Child::Zero; PAGE_ENTRIES] }
    }

    /// Whether every subtree is zero, so that the page is not needed.
    pub fn is_zero(&self) -> bool {
        self.children.iter().all(|child| *child == Child::Zero)
    }

    /// The page's plain bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut columns = Columns::new(INNER, self.level);
        for child in &self.children {
            match child {
                Child::Zero => columns.kinds.push(ZERO),
                Child::Page(page) => {
                    columns.kinds.push(DATA);
                    columns.push(page.address, &page.fingerprint);
                }
            }
        }
        columns.finish(&[])
    }

    /// Reads the plain bytes of a page of a level.
    pub fn decode(bytes: &[u8], level: u8) -> Result<Self, BadPage> {
        let parsed = Parsed::new(bytes, INNER, level)?;
        let mut inner = Self::empty(level);
        let mut stored = 0;
        for (child, kind) in inner.children.iter_mut().zip(parsed.kinds) {
            *child = match *kind {
                ZERO => Child::Zero,
                DATA => {
                    let (address, fingerprint) = parsed.reference(stored)?;
                    stored += 1;
                    Child::Page(PageRef { address, fingerprint })
                }
                _ => return Err(BadPage("a child is of an unknown kind")),
            };
        }
        if parsed.indices.is_empty() {
            Ok(inner)
        } else {
            Err(BadPage("bytes follow its last column"))
        }
    }
}

/// A page under construction, column by column.
struct Columns {
    head: [u8; 2],
    segments: Vec<SegmentId>,
    kinds: Vec<u8>,
    places: Vec<u16>,
    ordinals: Vec<u32>,
    fingerprints: Vec<u8>,
}

impl Columns {
    fn new(kind: u8, level: u8) -> Self {
        Self {
            head: [kind, level],
            segments: Vec::new(),
            kinds: Vec::with_capacity(PAGE_ENTRIES),
            places: Vec::new(),
            ordinals: Vec::new(),
            fingerprints: Vec::new(),
        }
    }

    fn push(&mut self, address: FrameAddress, fingerprint: &Fingerprint) {
        let known = self.segments.iter().rposition(|segment| *segment == address.segment);
        let place = known.unwrap_or_else(|| {
            self.segments.push(address.segment);
            self.segments.len() - 1
        });
        self.places.push(u16::try_from(place).expect("a page has 256 entries, so 256 segments"));
        self.ordinals.push(address.ordinal);
        self.fingerprints.extend_from_slice(&fingerprint.0);
    }

    fn finish(self, indices: &[u8]) -> Vec<u8> {
        let count = u16::try_from(self.segments.len()).expect("at most one per entry: 256");
        let references = self.places.len() * (2 + 4 + 16);
        let mut bytes = Vec::with_capacity(
            4 + self.segments.len() * 16 + PAGE_ENTRIES + references + indices.len(),
        );
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(&count.to_le_bytes());
        self.segments.iter().for_each(|segment| bytes.extend_from_slice(&segment.0));
        bytes.extend_from_slice(&self.kinds);
        self.places.iter().for_each(|place| bytes.extend_from_slice(&place.to_le_bytes()));
        self.ordinals.iter().for_each(|ordinal| bytes.extend_from_slice(&ordinal.to_le_bytes()));
        bytes.extend_from_slice(&self.fingerprints);
        bytes.extend_from_slice(indices);
        bytes
    }
}

/// A page's columns as they lie in its bytes; `indices` is whatever follows the last common column.
struct Parsed<'a> {
    segments: &'a [u8],
    kinds: &'a [u8],
    places: &'a [u8],
    ordinals: &'a [u8],
    fingerprints: &'a [u8],
    indices: &'a [u8],
}

impl<'a> Parsed<'a> {
    fn new(bytes: &'a [u8], kind: u8, level: u8) -> Result<Self, BadPage> {
        let mut rest = bytes;
        let head = take(&mut rest, 4)?;
        if head[0] != kind || head[1] != level {
            return Err(BadPage("it is a page of another kind or level"));
        }
        let count = usize::from(u16::from_le_bytes([head[2], head[3]]));
        if count > PAGE_ENTRIES {
            return Err(BadPage("it names more segments than it has entries"));
        }
        let segments = take(&mut rest, count * 16)?;
        let kinds = take(&mut rest, PAGE_ENTRIES)?;
        let stored = kinds.iter().filter(|kind| **kind == DATA).count();
        let places = take(&mut rest, stored * 2)?;
        let ordinals = take(&mut rest, stored * 4)?;
        let fingerprints = take(&mut rest, stored * 16)?;
        Ok(Self { segments, kinds, places, ordinals, fingerprints, indices: rest })
    }

    fn reference(&self, at: usize) -> Result<(FrameAddress, Fingerprint), BadPage> {
        let short = BadPage("its columns are short");
        let place = u16::from_le_bytes(array(self.places, at).ok_or(short)?);
        let ordinal = u32::from_le_bytes(array(self.ordinals, at).ok_or(short)?);
        let fingerprint = Fingerprint(array(self.fingerprints, at).ok_or(short)?);
        let segment = array(self.segments, usize::from(place))
            .ok_or(BadPage("an entry names a segment that the page does not list"))?;
        Ok((FrameAddress { segment: SegmentId(segment), ordinal }, fingerprint))
    }
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], BadPage> {
    let (taken, left) = rest.split_at_checked(bytes).ok_or(BadPage("it is cut short"))?;
    *rest = left;
    Ok(taken)
}

fn array<const N: usize>(column: &[u8], at: usize) -> Option<[u8; N]> {
    column.get(at * N..(at + 1) * N)?.try_into().ok()
}

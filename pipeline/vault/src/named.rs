//! What the map of a disk names: the segments of its pages and blocks, and how many blocks are unknown.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use pipeline::ids::SegmentId;

use crate::error::Error;
use crate::frames::FrameReader;
use crate::map::{Child, Entry, PageRef, PageSource, Root, tree, walk_leaves};
use crate::parallel;

/// What a map names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Segments that hold its pages or its blocks.
    pub(crate) segments: HashSet<SegmentId>,
    /// Blocks that could not be read when the point was made.
    pub(crate) unread: u64,
    /// Blocks that hold something.
    pub(crate) data: u64,
}

impl Named {
    /// Reads a whole map. What lies in one object is read in its order, and several objects at once: the
    /// pages of a full disk of 8 TiB come to 5 GiB, and the vault may be far away.
    pub(crate) fn of(frames: &FrameReader, root: &Root) -> Result<Self, Error> {
        let mut all = Self::default();
        let mut parts = Vec::new();
        walk_leaves(frames, root, &mut |visited| {
            if visited.level > 1 {
                all.segments.insert(visited.page.address.segment);
                return Ok(true);
            }
            parts.push(Root { top: Child::Page(visited.page), height: visited.level });
            Ok(false)
        })?;
        let threads = frames.access().store.parallel();
        // Of a small map the pages below one inner page are read at once too, by the objects that they lie in.
        let inside = (threads / parts.len().max(1)).max(1);
        let all = Mutex::new(all);
        parallel::each(&parts, threads, |part| {
            let named = Self::below(frames, part, inside)?;
            all.lock().unwrap_or_else(PoisonError::into_inner).add(named);
            Ok(())
        })?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the map names of blocks that are otherwise in another map; only pages that differ are read.
    pub(crate) fn since(frames: &FrameReader, before: &Root, root: &Root) -> Result<Self, Error> {
        let mut named = Self::default();
        tree::walk_differing(frames, (before, root), &mut |_, before, entry| match entry {
            _ if before.reads_as(entry) => {}
            _ => named.take(entry),
        })?;
        Ok(named)
    }

    /// What lies below one inner page just above the leaves, or one leaf.
    fn below(frames: &FrameReader, part: &Root, threads: usize) -> Result<Self, Error> {
        let mut named = Self::default();
        let mut leaves: BTreeMap<SegmentId, Vec<PageRef>> = BTreeMap::new();
        walk_leaves(frames, part, &mut |visited| {
            let segment = visited.page.address.segment;
            named.segments.insert(segment);
            if visited.level == 0 {
                leaves.entry(segment).or_default().push(visited.page);
            }
            Ok(true)
        })?;
        let together: Vec<Vec<PageRef>> = leaves.into_values().collect();
        let found = parallel::each(&together, threads, |pages| Self::in_leaves(frames, pages))?;
        found.into_iter().for_each(|more| named.add(more));
        Ok(named)
    }

    fn in_leaves(frames: &FrameReader, pages: &[PageRef]) -> Result<Self, Error> {
        let mut named = Self::default();
        for page in pages {
            frames.leaf(page)?.entries.iter().for_each(|entry| named.take(entry));
        }
        Ok(named)
    }

    fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Data(block) => {
                self.segments.insert(block.address.segment);
                self.data += 1;
            }
            Entry::Unread => self.unread += 1,
            Entry::Zero | Entry::Discarded => {}
        }
    }

    fn add(&mut self, more: Self) {
        self.segments.extend(more.segments);
        self.unread += more.unread;
        self.data += more.data;
    }
}

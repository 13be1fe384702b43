//! What the map of a disk names: the segments of its pages and blocks, and how many blocks are unknown.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use pipeline::ids::SegmentId;

use crate::error::Error;
use crate::frames::FrameReader;
use crate::map::{Child, Entry, PageSource, Root, walk_leaves};
use crate::parallel;

/// What a map names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Segments that hold its pages or its blocks.
    pub(crate) segments: HashSet<SegmentId>,
    /// Blocks that could not be read when the point was made.
    pub(crate) unread: u64,
}

impl Named {
    /// Reads a whole map. What lies below one inner page is read in its order, and several inner pages at once: the
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
        let all = Mutex::new(all);
        parallel::each(&parts, threads, |part| {
            let named = Self::below(frames, part)?;
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.segments.extend(named.segments);
            all.unread += named.unread;
            Ok(())
        })?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn below(frames: &FrameReader, part: &Root) -> Result<Self, Error> {
        let mut named = Self::default();
        walk_leaves(frames, part, &mut |visited| {
            named.segments.insert(visited.page.address.segment);
            if visited.level == 0 {
                for entry in &frames.leaf(&visited.page)?.entries {
                    match entry {
                        Entry::Data(block) => drop(named.segments.insert(block.address.segment)),
                        Entry::Unread => named.unread += 1,
                        Entry::Zero | Entry::Discarded => {}
                    }
                }
            }
            Ok(true)
        })?;
        Ok(named)
    }
}

//! Sets of map pages in eight bytes each: a vault has millions of pages, and most points share most of them.

use std::collections::{HashMap, HashSet};

use pipeline::ids::SegmentId;

use crate::map::PageRef;

/// Pages by segment number, ordinal and level.
#[derive(Default)]
pub(crate) struct PageSet {
    numbers: HashMap<SegmentId, u32>,
    pages: HashSet<u64>,
}

impl PageSet {
    /// Adds a page of a level; true where it is new.
    pub(crate) fn insert(&mut self, page: &PageRef, level: u8) -> bool {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(page.address.segment).or_insert(next);
        self.pages.insert(key(number, page, level))
    }

    /// Whether a page of a level is in the set.
    pub(crate) fn contains(&self, page: &PageRef, level: u8) -> bool {
        let number = self.numbers.get(&page.address.segment);
        number.is_some_and(|number| self.pages.contains(&key(*number, page, level)))
    }

    /// How many pages.
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }
}

/// Ordinals end at 65,535 and levels at 5, so all three fit; a forged ordinal would only be checked once less
/// where it meets another, so it is folded, not trusted.
fn key(number: u32, page: &PageRef, level: u8) -> u64 {
    let ordinal = u64::from(page.address.ordinal & 0x00FF_FFFF);
    u64::from(number) << 32 | u64::from(level) << 24 | ordinal
}

//! Sparse content: pages that are held only where something was written. Copies share pages until
//! one changes.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A page: the larger of the two sectors that disks have.
pub(super) const PAGE_BYTES: u64 = 4096;

type Page = [u8; 4096];

/// The content of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    held: BTreeMap<u64, Arc<Page>>,
}

impl Pages {
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) {
        for part in parts(offset, into.len()) {
            let Some(target) = into.get_mut(part.from..part.from + part.length) else { continue };
            match self.held.get(&part.page) {
                Some(page) => target.copy_from_slice(part.of(page.as_ref())),
                None => target.fill(0),
            }
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for part in parts(offset, bytes.len()) {
            let Some(source) = bytes.get(part.from..part.from + part.length) else { continue };
            let page = self.held.entry(part.page).or_insert_with(|| Arc::new([0; 4096]));
            part.of_mut(Arc::make_mut(page)).copy_from_slice(source);
        }
    }

    /// The range reads as zeros afterwards; whole pages are given back.
    pub(super) fn zero(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        let first_whole = offset.div_ceil(PAGE_BYTES);
        let end_whole = end / PAGE_BYTES;
        if first_whole < end_whole {
            let gone: Vec<u64> =
                self.held.range(first_whole..end_whole).map(|(page, _)| *page).collect();
            for page in gone {
                self.held.remove(&page);
            }
        }
        for edge in [offset / PAGE_BYTES, end_whole] {
            let start = offset.max(edge * PAGE_BYTES);
            let stop = end.min((edge + 1) * PAGE_BYTES);
            let whole = (first_whole..end_whole).contains(&edge);
            if start < stop
                && !whole
                && let Some(page) = self.held.get_mut(&edge)
            {
                let from = usize::try_from(start % PAGE_BYTES).unwrap_or(0);
                let length = usize::try_from(stop - start).unwrap_or(0);
                if let Some(range) = Arc::make_mut(page).get_mut(from..from + length) {
                    range.fill(0);
                }
            }
        }
    }

    /// Takes a range of pages over from another content, sharing them.
    pub(super) fn adopt(&mut self, other: &Self, offset: u64, length: u64) {
        if length == 0 {
            return;
        }
        let first = offset / PAGE_BYTES;
        let last = offset.saturating_add(length - 1) / PAGE_BYTES;
        let gone: Vec<u64> = self.held.range(first..=last).map(|(page, _)| *page).collect();
        for page in gone {
            self.held.remove(&page);
        }
        for (page, content) in other.held.range(first..=last) {
            self.held.insert(*page, Arc::clone(content));
        }
    }

    /// The first range of held pages at or after `offset`.
    pub(super) fn data_after(&self, offset: u64) -> Option<(u64, u64)> {
        let mut pages = self.held.range(offset / PAGE_BYTES..).map(|(page, _)| *page);
        let first = pages.next()?;
        let mut end = first + 1;
        for page in pages {
            if page != end {
                break;
            }
            end += 1;
        }
        Some(((first * PAGE_BYTES).max(offset), end * PAGE_BYTES))
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.held.len() as u64 * PAGE_BYTES
    }
}

/// The piece of a transfer that is in one page.
struct Part {
    page: u64,
    within: usize,
    from: usize,
    length: usize,
}

impl Part {
    fn of<'page>(&self, page: &'page Page) -> &'page [u8] {
        page.get(self.within..self.within + self.length).unwrap_or_default()
    }

    fn of_mut<'page>(&self, page: &'page mut Page) -> &'page mut [u8] {
        page.get_mut(self.within..self.within + self.length).unwrap_or_default()
    }
}

fn parts(offset: u64, length: usize) -> impl Iterator<Item = Part> {
    let mut from = 0;
    core::iter::from_fn(move || {
        if from >= length {
            return None;
        }
        let at = offset + from as u64;
        let within = usize::try_from(at % PAGE_BYTES).ok()?;
        let page_bytes = usize::try_from(PAGE_BYTES).ok()?;
        let part = Part {
            page: at / PAGE_BYTES,
            within,
            from,
            length: (page_bytes - within).min(length - from),
        };
        from += part.length;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn sparse_content_equals_a_flat_vector() {
        const BYTES: usize = 40_000;
        let mut random = Random::new(3);
        let (mut pages, mut flat) = (Pages::default(), vec![0_u8; BYTES]);
        for _ in 0..3000 {
            let offset = usize::try_from(random.below(BYTES as u64)).unwrap();
            let length = usize::try_from(random.below((BYTES - offset + 1) as u64)).unwrap();
            match random.below(3) {
                0 => {
                    pages.zero(offset as u64, length as u64);
                    flat[offset..offset + length].fill(0);
                }
                1 => {
                    let mut bytes = vec![0; length.min(6000)];
                    random.fill(&mut bytes);
                    pages.write(offset as u64, &bytes);
                    flat[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                _ => {
                    let mut bytes = vec![9; length];
                    pages.read(offset as u64, &mut bytes);
                    assert_eq!(bytes, flat[offset..offset + length]);
                }
            }
        }
        // Everything outside the held ranges is zero.
        let mut offset = 0;
        while let Some((start, end)) = pages.data_after(offset) {
            let (from, to) = (usize::try_from(offset).unwrap(), usize::try_from(start).unwrap());
            assert!(flat[from..to].iter().all(|byte| *byte == 0));
            offset = end;
        }
        let rest = usize::try_from(offset).unwrap().min(BYTES);
        assert!(flat[rest..].iter().all(|byte| *byte == 0));
    }
}

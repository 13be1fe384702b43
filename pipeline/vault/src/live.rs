//! What kept points reach: which frames of which segments are live, and who needs them.
//!
//! A walk goes down the maps of all roots; a page that was met before is not entered again, so pages that points share
//! are read once. What was met is kept as two bits per frame, so the record of what is live is also the list of pages
//! visited. One TiB of disk that is full of data, at the default codec's usual ratio of 3, is about 45,000 segments of
//! 8 MiB with 24 frames each: about 4 MiB here. Its map is 65,536 leaf pages, of which a walk reads some 400 MiB once;
//! every further point costs its changed pages. It refuses to decide what becomes of a segment.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use pipeline::ids::{FrameAddress, SegmentId};
use pipeline::limits::SEGMENT_FRAMES_MAX;

use crate::error::Error;
use crate::frames::FrameReader;
use crate::map::{Child, Entry, PageRef, PageSource, Root};

/// Who needs a frame, the one who will need it longest first: frames of one class are likely to die together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// The newest point or the newest checkpoint: it dies when its block is overwritten.
    Newest = 1,
    /// Only points that stay for weeks.
    Long = 2,
    /// Only points that go soon.
    Soon = 3,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 3] = [Self::Newest, Self::Long, Self::Soon];
}

/// The live frames of a server, by the segments that maps name.
#[derive(Default)]
pub struct Live {
    segments: HashMap<SegmentId, Marks>,
    /// The only segments that are looked at, where not all are.
    within: Option<HashSet<SegmentId>>,
}

/// Two bits per frame: 0, or its class.
#[derive(Default)]
struct Marks {
    bits: Vec<u8>,
    live: u32,
}

impl Live {
    /// Nothing is live yet; everything will be looked at.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing is live yet; only frames of these segments will be looked at, and only pages in them entered. That is
    /// exact where the set is "every segment that some record from slot n on introduced": a page that names a frame
    /// was sealed after it, so no page of an older segment names one of these.
    #[must_use]
    pub fn within(segments: HashSet<SegmentId>) -> Self {
        Self { segments: HashMap::new(), within: Some(segments) }
    }

    /// Whether what is said of a segment is the whole truth.
    #[must_use]
    pub fn knows(&self, segment: &SegmentId) -> bool {
        self.within.as_ref().is_none_or(|within| within.contains(segment))
    }

    /// Lets one more segment be looked at: a record published in the meantime introduced it.
    pub fn widen(&mut self, segment: SegmentId) {
        if let Some(within) = &mut self.within {
            within.insert(segment);
        }
    }

    /// Who needs a frame; `None` where nobody does.
    #[must_use]
    pub fn class(&self, address: FrameAddress) -> Option<Class> {
        let marks = self.segments.get(&address.segment)?;
        match marks.get(address.ordinal) {
            1 => Some(Class::Newest),
            2 => Some(Class::Long),
            3 => Some(Class::Soon),
            _ => None,
        }
    }

    /// How many frames of a segment are live.
    #[must_use]
    pub fn count(&self, segment: &SegmentId) -> u32 {
        self.segments.get(segment).map_or(0, |marks| marks.live)
    }

    /// Segments with live frames, by the names that maps use.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentId> {
        self.segments.keys()
    }

    /// Marks one frame; true where it was not marked before and is to be looked at.
    fn mark(&mut self, address: FrameAddress, class: Class) -> bool {
        if !self.knows(&address.segment) {
            return false;
        }
        self.segments.entry(address.segment).or_default().mark(address.ordinal, class)
    }

    /// Goes down from `roots` and marks everything that was not marked before; the calls for pages go out on
    /// `threads` threads. Whoever walks the roots of the class that lives longest first gets the right classes.
    ///
    /// Errors: a page is missing or damaged; then nothing may be concluded from what is not marked.
    pub fn walk(
        &mut self,
        frames: &FrameReader,
        roots: impl IntoIterator<Item = Root>,
        class: Class,
        threads: usize,
    ) -> Result<(), Error> {
        let mut waiting = Vec::new();
        for root in roots {
            if let Child::Page(page) = root.top
                && self.mark(checked(frames, page.address)?, class)
            {
                waiting.push((page, root.height));
            }
        }
        let walk = Walk {
            frames,
            class,
            state: Mutex::new(State { live: self, waiting, at_work: 0, failed: None }),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            for _ in 0..threads.clamp(1, 64) {
                scope.spawn(|| walk.work());
            }
        });
        let state = walk.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.failed.map_or(Ok(()), Err)
    }
}

impl Marks {
    fn get(&self, ordinal: u32) -> u8 {
        let (byte, shift) = place(ordinal);
        self.bits.get(byte).map_or(0, |bits| bits >> shift & 3)
    }

    fn mark(&mut self, ordinal: u32, class: Class) -> bool {
        if self.get(ordinal) != 0 {
            return false;
        }
        let (byte, shift) = place(ordinal);
        if self.bits.len() <= byte {
            self.bits.resize(byte + 1, 0);
        }
        self.bits[byte] |= (class as u8) << shift;
        self.live += 1;
        true
    }
}

fn place(ordinal: u32) -> (usize, u32) {
    (ordinal as usize / 4, ordinal % 4 * 2)
}

/// An address is from a sealed page, so it is honest; this keeps a mistake from taking all memory.
fn checked(frames: &FrameReader, address: FrameAddress) -> Result<FrameAddress, Error> {
    if (address.ordinal as usize) < SEGMENT_FRAMES_MAX {
        return Ok(address);
    }
    let name = crate::names::segment(&frames.server(), &address.segment);
    Err(Error::corrupt(name, "is said by a map to hold more frames than any segment can"))
}

/// One walk: pages wait on a stack, the deepest are taken first, so that the stack stays short.
struct Walk<'a> {
    frames: &'a FrameReader,
    class: Class,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

struct State<'a> {
    live: &'a mut Live,
    waiting: Vec<(PageRef, u8)>,
    at_work: usize,
    failed: Option<Error>,
}

impl<'a> Walk<'a> {
    fn work(&self) {
        while let Some((page, level)) = self.next() {
            let found = self.look(&page, level);
            let mut state = self.lock();
            state.at_work -= 1;
            match found {
                Ok(found) => {
                    // Reversed, so that they are taken in the order of the disk: neighbours lie together.
                    for (address, child) in found.into_iter().rev() {
                        if state.live.mark(address, self.class)
                            && let Some(child) = child
                        {
                            state.waiting.push((child, level - 1));
                        }
                    }
                }
                Err(error) => {
                    state.failed.get_or_insert(error);
                }
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<(PageRef, u8)> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            if let Some(page) = state.waiting.pop() {
                state.at_work += 1;
                return Some(page);
            }
            if state.at_work == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What a page names: frames of blocks, or further pages.
    fn look(
        &self,
        page: &PageRef,
        level: u8,
    ) -> Result<Vec<(FrameAddress, Option<PageRef>)>, Error> {
        let mut found = Vec::new();
        if level > 0 {
            for child in self.frames.inner(page, level)?.children {
                if let Child::Page(child) = child {
                    found.push((checked(self.frames, child.address)?, Some(child)));
                }
            }
            return Ok(found);
        }
        for entry in &self.frames.leaf(page)?.entries {
            if let Entry::Data(block) = entry
                && found.last().is_none_or(|(address, _)| *address != block.address)
            {
                found.push((checked(self.frames, block.address)?, None));
            }
        }
        Ok(found)
    }

    /// A poisoned lock means that a thread panicked; the scope passes its panic on.
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

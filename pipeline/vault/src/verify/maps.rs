//! Every page of every map, once, on several threads: it opens, is the page that its parent means, and what it
//! names is noted. In a deep run each leaf entry is held against the frame table of its segment.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use pipeline::ids::{FrameAddress, SegmentId};
use pipeline::segment::FrameKind;

use super::findings::{Findings, Part};
use super::objects::Inventory;
use super::pages::PageSet;
use super::{Depth, Options, parallel};
use crate::error::Error;
use crate::frames::{FrameReader, Located};
use crate::map::{BlockRef, Child, Entry, Leaf, PageRef, PageSource, Root, blocks_of, height_of};
use crate::names;
use crate::record::DiskState;

/// One map to walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) root: Root,
}

/// The maps of disks whose height fits their size.
pub(crate) fn jobs<'a>(disks: impl IntoIterator<Item = &'a DiskState>) -> Vec<Job> {
    let fits = |disk: &&DiskState| disk.root.height == height_of(blocks_of(disk.bytes));
    disks.into_iter().filter(fits).map(|disk| Job { root: disk.root }).collect()
}

/// What the maps name.
#[derive(Default)]
pub(crate) struct Found {
    /// Segments by the names that maps have for them.
    pub(crate) segments: HashSet<SegmentId>,
    /// Distinct pages read.
    pub(crate) pages: u64,
    /// Pages that are archived and so were not read, with all below them.
    pub(crate) archived_pages: u64,
}

/// A walk over maps.
pub(crate) struct Walk<'a> {
    frames: &'a FrameReader,
    inventory: &'a Inventory,
    findings: &'a Findings,
    options: &'a Options,
    state: Mutex<State>,
    changed: Condvar,
    archived: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Pages still to read: (page, level). Last in, first out, so that it stays as short as the tree is high.
    waiting: Vec<(PageRef, u8)>,
    working: usize,
    seen: PageSet,
    segments: HashSet<SegmentId>,
    failed: Option<Error>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        frames: &'a FrameReader,
        inventory: &'a Inventory,
        findings: &'a Findings,
        options: &'a Options,
    ) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { frames, inventory, findings, options, state, changed, archived: AtomicU64::new(0) }
    }

    /// Walks all maps and gives what they name.
    pub(crate) fn run(self, jobs: &[Job]) -> Result<Found, Error> {
        for job in jobs.iter().rev() {
            self.push(&mut self.lock(), job.root.top, job.root.height);
        }
        std::thread::scope(|scope| {
            for _ in 0..self.options.workers.max(1) {
                scope.spawn(|| self.work());
            }
        });
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failed {
            Some(error) => Err(error),
            None => Ok(Found {
                segments: state.segments,
                pages: state.seen.len() as u64,
                archived_pages: self.archived.into_inner(),
            }),
        }
    }

    fn push(&self, state: &mut State, child: Child, level: u8) {
        if let Child::Page(page) = child
            && state.seen.insert(&page, level)
        {
            state.waiting.push((page, level));
        }
    }

    fn work(&self) {
        while let Some((page, level)) = self.next() {
            let result = self.page(&page, level);
            let mut state = self.lock();
            state.working -= 1;
            if let Err(error) = result {
                state.failed.get_or_insert(error);
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<(PageRef, u8)> {
        let mut state = self.lock();
        loop {
            if self.options.stop.load(Ordering::Relaxed) {
                state.failed.get_or_insert_with(parallel::stopped);
            }
            if state.failed.is_some() {
                return None;
            }
            if let Some(page) = state.waiting.pop() {
                state.working += 1;
                return Some(page);
            }
            if state.working == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn page(&self, page: &PageRef, level: u8) -> Result<(), Error> {
        let holders = self.frames.holders(&page.address.segment);
        self.lock().segments.insert(page.address.segment);
        if holders.iter().any(|holder| self.inventory.is_archived(holder)) {
            self.archived.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let result = if level == 0 {
            self.frames.leaf(page).map(|leaf| (Some(leaf), None))
        } else {
            self.frames.inner(page, level).map(|inner| (None, Some(inner)))
        };
        match result {
            Ok((Some(leaf), _)) => self.leaf(&leaf),
            Ok((_, Some(inner))) => {
                let mut state = self.lock();
                for child in inner.children.iter().rev() {
                    self.push(&mut state, *child, level.saturating_sub(1));
                }
                drop(state);
                self.changed.notify_all();
                Ok(())
            }
            Ok((None, None)) => Ok(()),
            Err(error) => self.blame(page.address, &error),
        }
    }

    fn leaf(&self, leaf: &Leaf) -> Result<(), Error> {
        let mut segments: Vec<SegmentId> = Vec::new();
        let mut located: Option<Located> = None;
        for entry in &leaf.entries {
            let Entry::Data(block) = entry else { continue };
            if segments.last() != Some(&block.address.segment) {
                segments.push(block.address.segment);
            }
            if self.options.depth == Depth::Deep {
                self.entry(block, &mut located)?;
            }
        }
        self.lock().segments.extend(segments);
        Ok(())
    }

    /// The frame that an entry names exists and its segment vouches for the same fingerprint; the deep pass over
    /// the segments proves that the frame's content has it.
    fn entry(&self, block: &BlockRef, located: &mut Option<Located>) -> Result<(), Error> {
        let address = block.address;
        if located.as_ref().is_none_or(|known| known.address != address) {
            let holders = self.frames.holders(&address.segment);
            // Known already, and asking again for each of its blocks would be slow.
            if holders.iter().all(|holder| self.findings.is_bad(holder))
                || holders.iter().any(|holder| self.inventory.is_archived(holder))
            {
                return Ok(());
            }
            match self.frames.locate(address) {
                Ok(found) => *located = Some(found),
                Err(error) => return self.blame(address, &error),
            }
        }
        let Some(located) = located else { return Ok(()) };
        let frame = located.opened.table.find(address);
        let known = frame.and_then(|frame| {
            let known = frame.fingerprints.get(usize::from(block.index))?;
            (frame.kind == FrameKind::Data).then_some(*known)
        });
        if known == Some(block.fingerprint) {
            return Ok(());
        }
        let name = names::segment(&self.frames.server(), &located.segment);
        let what = format!("holds other content in frame {} than a map says", address.ordinal);
        let error = Error::corrupt(name, what).remedy(
            "restore another point, or from --secondary; keep a copy of the vault as it is",
        );
        self.findings.segment(located.segment, Part::Frame(address), &error)
    }

    /// A frame that could not be had: its segment's fault, all of it where not even the table opens.
    fn blame(&self, address: FrameAddress, error: &Error) -> Result<(), Error> {
        for holder in self.frames.holders(&address.segment) {
            match self.frames.table(&holder) {
                Ok(opened) if opened.table.find(address).is_some() => {
                    return self.findings.segment(holder, Part::Frame(address), error);
                }
                Ok(_) => {}
                Err(error) => return self.findings.segment(holder, Part::Whole, &error),
            }
        }
        self.findings.segment(address.segment, Part::Frame(address), error)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A worker that panicked passes its panic on when the scope ends.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

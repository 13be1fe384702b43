//! Rounds: the workers take leaf spans from one cursor until the disk is done or a checkpoint is due.

use core::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hal::disk::Disk;
use pipeline::fingerprint::Fingerprinter;
use pipeline::limits::BLOCK_BYTES;

use super::disks::DiskRun;
use super::job::{Options, Progress};
use super::known_blocks::KnownBlocks;
use super::lanes::Lane;
use super::plan::Plan;
use super::run::Counters;
use super::span::{Shared, SpanReader, clear_beyond};
use super::upload::Uploader;
use crate::error::Error;
use crate::frames::FrameReader;
use crate::map::{Child, Entry, Inner, Leaf, PageRef, PageSink, Root, tree, update};

/// Leaves changed in one round at most: what the round keeps in memory of them.
const CHANGES_MAX: usize = 65_536;

/// The lanes of a run: one per worker for blocks, one for pages unless the run is small.
pub(super) struct Crew<'run> {
    lanes: Vec<Lane<'run>>,
    pages: Option<Mutex<Lane<'run>>>,
}

impl<'run> Crew<'run> {
    pub(super) fn new(lanes: Vec<Lane<'run>>, pages: Option<Lane<'run>>) -> Self {
        Self { lanes, pages: pages.map(Mutex::new) }
    }

    /// Where pages go when no worker runs.
    pub(super) fn page_sink(&mut self) -> &mut dyn PageSink {
        match &mut self.pages {
            Some(pages) => pages.get_mut().unwrap_or_else(PoisonError::into_inner),
            None => &mut self.lanes[0],
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.lanes.iter_mut().try_for_each(Lane::flush)?;
        match &mut self.pages {
            Some(pages) => pages.get_mut().unwrap_or_else(PoisonError::into_inner).flush(),
            None => Ok(()),
        }
    }
}

/// What every round needs of the run.
pub(super) struct Tools<'run> {
    pub(super) frames: &'run FrameReader,
    pub(super) fingerprinter: &'run Fingerprinter,
    pub(super) known: &'run KnownBlocks,
    pub(super) uploader: &'run Uploader,
    pub(super) progress: &'run dyn Progress,
    pub(super) options: &'run Options,
    pub(super) counters: &'run Counters,
}

/// What the workers of one round share.
struct Round<'round> {
    cursor: Option<u64>,
    changes: Vec<(u64, Child)>,
    unread: Vec<u64>,
    unread_more: u64,
    unread_less: u64,
    failed: Option<Error>,
    plan: &'round Plan,
    sent_at_start: u64,
    /// Sent bytes that progress was told of.
    told: u64,
}

/// Runs the workers once over a disk; true when the disk is done. The map is updated, nothing is flushed.
pub(super) fn round<D: Disk>(
    disk: &mut DiskRun<D>,
    crew: &mut Crew<'_>,
    tools: &Tools<'_>,
) -> Result<bool, Error> {
    let mut readers = core::mem::take(&mut disk.readers);
    let plan = disk.plan.clone();
    let (sent_at_start, told) = tools.uploader.totals();
    let state = Mutex::new(Round {
        cursor: disk.cursor,
        changes: Vec::new(),
        unread: Vec::new(),
        unread_more: 0,
        unread_less: 0,
        failed: None,
        plan: &plan,
        sent_at_start,
        told,
    });
    let (root, bytes) = (disk.root, disk.bytes);
    std::thread::scope(|scope| {
        for (reader, lane) in readers.iter_mut().zip(crew.lanes.iter_mut()) {
            let (state, pages) = (&state, crew.pages.as_ref());
            let mut worker = Worker { reader, lane, pages, tools, state, root, bytes };
            scope.spawn(move || {
                if let Err(error) = worker.work() {
                    lock(state).failed.get_or_insert(error);
                }
            });
        }
    });
    let done = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Round { cursor, mut changes, unread, unread_more, unread_less, failed, .. } = done;
    disk.readers = readers;
    if let Some(error) = failed {
        return Err(error);
    }
    changes.sort_unstable_by_key(|(leaf, _)| *leaf);
    let mut keeping = Keeping { sink: crew.page_sink(), frames: tools.frames };
    disk.root = update(tools.frames, &mut keeping, &disk.root, &changes)?;
    disk.cursor = cursor;
    disk.unread_blocks = (disk.unread_blocks + unread_more).saturating_sub(unread_less);
    disk.unread.extend(unread);
    disk.unread.sort_unstable();
    disk.unread.truncate(1000);
    Ok(cursor.is_none())
}

/// Keeps inner pages in memory as they are stored: the next round or run reads them again.
struct Keeping<'a> {
    sink: &'a mut dyn PageSink,
    frames: &'a FrameReader,
}

impl PageSink for Keeping<'_> {
    fn store(&mut self, plain: &[u8]) -> Result<PageRef, Error> {
        let page = self.sink.store(plain)?;
        // The second byte of an inner page is its level.
        if let Some(Ok(inner)) = plain.get(1).map(|level| Inner::decode(plain, *level)) {
            self.frames.keep_inner(&page, inner);
        }
        Ok(page)
    }
}

struct Worker<'a, 'run, 'tools, 'plan, D: Disk> {
    reader: &'a mut SpanReader<D>,
    lane: &'a mut Lane<'run>,
    pages: Option<&'a Mutex<Lane<'run>>>,
    tools: &'a Tools<'tools>,
    state: &'a Mutex<Round<'plan>>,
    root: Root,
    bytes: u64,
}

impl<D: Disk> Worker<'_, '_, '_, '_, D> {
    fn work(&mut self) -> Result<(), Error> {
        while let Some((leaf, runs)) = self.next_span() {
            self.span(leaf, &runs)?;
        }
        Ok(())
    }

    /// The next span, unless the round is over.
    fn next_span(&self) -> Option<(u64, Vec<(u64, u64)>)> {
        if self.tools.options.stop.load(Ordering::Relaxed) {
            self.tools.counters.stopped.store(true, Ordering::Relaxed);
            return None;
        }
        let sent = self.tools.uploader.totals().0;
        let mut state = lock(self.state);
        let due = sent - state.sent_at_start >= self.tools.options.checkpoint_segments;
        if state.failed.is_some() || due || state.changes.len() >= CHANGES_MAX {
            return None;
        }
        let leaf = state.cursor?;
        state.cursor = state.plan.next_leaf(leaf + 1, self.bytes);
        Some((leaf, state.plan.runs_in(leaf, self.bytes)))
    }

    fn span(&mut self, leaf: u64, runs: &[(u64, u64)]) -> Result<(), Error> {
        let tools = self.tools;
        let base = tree::find_leaf(tools.frames, &self.root, leaf)?;
        let blocks: u64 = runs.iter().map(|(first, end)| end - first).sum();
        if base == Child::Zero && self.reader.is_hole(leaf, runs)? {
            tools.progress.advance(blocks * BLOCK_BYTES as u64, 0);
            return Ok(());
        }
        let before = tree::load_leaf(tools.frames, &self.root, leaf)?;
        let mut after = Arc::clone(&before);
        clear_beyond(leaf, self.bytes, &mut after);
        learn(tools.known, &before);
        let shared = Shared { known: tools.known, fingerprinter: tools.fingerprinter };
        let entries = Arc::make_mut(&mut after);
        let found = self.reader.process(&shared, self.lane, leaf, runs, entries)?;
        let child = if *after == *before { base } else { self.store(&after)? };
        unlearn(tools.known, &before, &after);
        let counters = tools.counters;
        counters.read_bytes.fetch_add(found.read_bytes, Ordering::Relaxed);
        counters.new_blocks.fetch_add(found.new_blocks, Ordering::Relaxed);
        counters.known_blocks.fetch_add(found.known_blocks, Ordering::Relaxed);
        let sent = tools.uploader.totals().1;
        let mut state = lock(self.state);
        if child != base {
            state.changes.push((leaf, child));
        }
        state.unread_more += unread(&after);
        state.unread_less += unread(&before);
        state.unread.extend(found.unread);
        state.unread.truncate(1000);
        let more = sent.saturating_sub(state.told);
        state.told = sent.max(state.told);
        drop(state);
        tools.progress.advance(blocks * BLOCK_BYTES as u64, more);
        Ok(())
    }

    fn store(&mut self, leaf: &Arc<Leaf>) -> Result<Child, Error> {
        if leaf.is_zero() {
            return Ok(Child::Zero);
        }
        let plain = leaf.encode();
        let page: PageRef = match self.pages {
            Some(pages) => lock(pages).store(&plain)?,
            None => self.lane.store(&plain)?,
        };
        self.tools.frames.keep_leaf(&page, Arc::clone(leaf));
        Ok(Child::Page(page))
    }
}

/// What the base has of a leaf may turn up elsewhere on the disk.
fn learn(known: &KnownBlocks, leaf: &Leaf) {
    for entry in &leaf.entries {
        if let Entry::Data(block) = entry {
            known.learn(block);
        }
    }
}

/// What is no longer in its place may soon be reached from nowhere.
fn unlearn(known: &KnownBlocks, before: &Leaf, after: &Leaf) {
    for (before, after) in before.entries.iter().zip(&after.entries) {
        if let Entry::Data(block) = before
            && before != after
        {
            known.forget(block);
        }
    }
}

fn unread(leaf: &Leaf) -> u64 {
    leaf.entries.iter().filter(|entry| **entry == Entry::Unread).count() as u64
}

/// A poisoned lock means that a worker panicked; the scope passes its panic on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Writes that are under way behind the caller: bounded in number and bytes, never two on the same pages, and none
//! forgotten. The first that fails is remembered, and nothing is sent after it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use hal::disk::DiskError;
use pipeline_vault::Error;

use super::{Sent, disk_error};
use crate::hydrate::pages::Pages;

/// Bytes that wait or are under way.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Something to be sent.
#[derive(Debug)]
pub(super) enum Work {
    /// Pages.
    Put { offset: u64, bytes: Box<[u8]> },
    /// Pages that shall be zero.
    Clear { offset: u64, bytes: u64 },
}

impl Work {
    pub(super) fn put(offset: u64, bytes: &[u8]) -> Self {
        Self::Put { offset, bytes: bytes.into() }
    }

    fn range(&self) -> (u64, u64) {
        match self {
            Self::Put { offset, bytes } => (*offset, offset + bytes.len() as u64),
            Self::Clear { offset, bytes } => (*offset, offset + bytes),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Put { bytes, .. } => bytes.len(),
            Self::Clear { .. } => 0,
        }
    }
}

/// The threads that send, and what they are to send.
pub(super) struct Behind {
    shared: Arc<Shared>,
    crew: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    in_flight_max: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    /// Ranges of what waits and of what is under way.
    ranges: Vec<(u64, u64)>,
    memory: usize,
    sent: Sent,
    failed: Option<(Error, DiskError)>,
    closed: bool,
}

impl Behind {
    /// Starts as many threads as requests may be in flight.
    pub(super) fn start(pages: Arc<dyn Pages>, in_flight: usize) -> Result<Self, Error> {
        let in_flight_max = in_flight.max(1);
        let shared =
            Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), in_flight_max });
        let mut behind = Self { shared: Arc::clone(&shared), crew: Vec::new() };
        for _ in 0..in_flight_max {
            let (shared, pages) = (Arc::clone(&shared), Arc::clone(&pages));
            let thread = std::thread::Builder::new().name("pages".to_owned());
            let started = thread.spawn(move || shared.send_all(&*pages));
            let started = started.map_err(|error| {
                Error::exhausted("page blob", format!("no thread to send with: {error}"))
            })?;
            behind.crew.push(started);
        }
        Ok(behind)
    }

    /// Takes something to be sent, as soon as there is room and nothing else is under way to the same pages.
    pub(super) fn push(&self, work: Work) -> Result<(), DiskError> {
        let mut state = self.shared.lock();
        let (start, end) = work.range();
        loop {
            state.check()?;
            let full = state.ranges.len() >= 2 * self.shared.in_flight_max
                || (state.memory > 0 && state.memory + work.memory() > BYTES_MAX);
            let busy = state.ranges.iter().any(|known| start < known.1 && known.0 < end);
            if !full && !busy {
                break;
            }
            state = self.shared.wait(state);
        }
        state.ranges.push((start, end));
        state.memory += work.memory();
        state.waiting.push_back(work);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Waits until all was sent.
    pub(super) fn settle(&self) -> Result<(), DiskError> {
        let mut state = self.shared.lock();
        loop {
            state.check()?;
            if state.ranges.is_empty() {
                return Ok(());
            }
            state = self.shared.wait(state);
        }
    }

    pub(super) fn sent(&self) -> Sent {
        self.shared.lock().sent
    }

    pub(super) fn failure(&self) -> Option<Error> {
        self.shared.lock().failed.as_ref().map(|failed| failed.0.clone())
    }
}

impl Drop for Behind {
    /// What waits is forgotten, as in a disk whose power goes; what is under way ends.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.shared.changed.notify_all();
        for thread in self.crew.drain(..) {
            // It panicked, and has said so.
            let _ = thread.join();
        }
    }
}

impl State {
    fn check(&self) -> Result<(), DiskError> {
        self.failed.as_ref().map_or(Ok(()), |failed| Err(failed.1.clone()))
    }

    fn done(&mut self, work: &Work) {
        let range = work.range();
        if let Some(at) = self.ranges.iter().position(|known| *known == range) {
            self.ranges.swap_remove(at);
        }
        self.memory -= work.memory();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread's life.
    fn send_all(&self, pages: &dyn Pages) {
        let mut state = self.lock();
        while !state.closed {
            let Some(work) = state.waiting.pop_front() else {
                state = self.wait(state);
                continue;
            };
            let lost = state.failed.is_some();
            drop(state);
            let result = match &work {
                _ if lost => Ok(()),
                Work::Put { offset, bytes } => pages.put(*offset, bytes),
                Work::Clear { offset, bytes } => pages.clear(*offset, *bytes),
            };
            state = self.lock();
            state.done(&work);
            match (result, &work) {
                (Err(trouble), _) => {
                    let error = Error::from(trouble);
                    let told = disk_error(&error, work.range().0);
                    state.failed.get_or_insert((error, told));
                }
                (Ok(()), _) if lost => (),
                (Ok(()), Work::Put { bytes, .. }) => {
                    state.sent.puts += 1;
                    state.sent.put_bytes += bytes.len() as u64;
                }
                (Ok(()), Work::Clear { .. }) => state.sent.clears += 1,
            }
            self.changed.notify_all();
        }
    }
}

//! Segments on their way to the store: a fixed number of buffers, several in flight, the slowest part pushes back.
//!
//! A segment goes from its worker to the store in the buffer that it was sealed in. The first failure is
//! latched: nothing is sent after it, everybody who waits is told.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use pipeline::flow::{LevelGovernor, LevelPolicy};
use pipeline::ids::ServerId;
use pipeline::limits::SEGMENT_BYTES_MAX;
use pipeline::pool::Pool;
use pipeline::segment::Finished;

use crate::access::Access;
use crate::error::{Error, Retry};
use crate::names;
use crate::record::SegmentRef;
use crate::store::{BlobStore, Created};

/// The way to the store.
pub struct Uploader {
    store: Arc<dyn BlobStore>,
    server: ServerId,
    /// Segments that can be queued: all buffers but those that are being filled.
    places: usize,
    state: Mutex<State>,
    changed: Condvar,
    governor: Mutex<LevelGovernor>,
}

struct State {
    pool: Pool<Vec<u8>>,
    waiting: VecDeque<Finished<Vec<u8>>>,
    in_flight: usize,
    sent: Vec<SegmentRef>,
    sent_bytes: u64,
    sent_segments: u64,
    failed: Option<Error>,
    closed: bool,
}

impl Uploader {
    /// A way to the store with room for so many bytes of segments, at least two more than there are lanes.
    pub fn new(
        access: &Access,
        server: ServerId,
        buffer_bytes_max: usize,
        lanes: usize,
        levels: LevelPolicy,
    ) -> Self {
        let buffers = (buffer_bytes_max / SEGMENT_BYTES_MAX).max(lanes + 2);
        // Zeroed by the kernel on first touch: buffers that are never filled cost nothing.
        let pool = Pool::new((0..buffers).map(|_| vec![0; SEGMENT_BYTES_MAX]));
        Self {
            store: Arc::clone(&access.store),
            server,
            places: buffers - lanes,
            state: Mutex::new(State {
                pool,
                waiting: VecDeque::new(),
                in_flight: 0,
                sent: Vec::new(),
                sent_bytes: 0,
                sent_segments: 0,
                failed: None,
                closed: false,
            }),
            changed: Condvar::new(),
            governor: Mutex::new(LevelGovernor::new(levels)),
        }
    }

    /// Threads that are worth starting for `send_until_closed`.
    pub fn threads(&self) -> usize {
        self.places.min(16)
    }

    /// An empty segment buffer; waits until one is free.
    pub fn buffer(&self) -> Result<Vec<u8>, Error> {
        let mut state = self.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if let Some(buffer) = state.pool.take() {
                return Ok(buffer);
            }
            state = self.wait(state);
        }
    }

    /// Gives a buffer back unused.
    pub fn give_back(&self, buffer: Vec<u8>) {
        let given = self.lock().pool.give(buffer);
        debug_assert!(given.is_ok(), "every buffer comes from the pool");
        self.changed.notify_all();
    }

    /// Hands a finished segment over.
    pub fn send(&self, segment: Finished<Vec<u8>>) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        state.waiting.push_back(segment);
        let queued = state.waiting.len() + state.in_flight;
        drop(state);
        self.changed.notify_all();
        lock(&self.governor).observe(queued, self.places);
        Ok(())
    }

    /// Sends what is handed over until `close`; run on several threads.
    pub fn send_until_closed(&self) {
        while let Some(segment) = self.next() {
            let name = names::segment(&self.server, &segment.segment);
            let result = match self.store.create(&name, segment.bytes()) {
                Ok(Created::New | Created::Same) => Ok(()),
                Ok(Created::Taken) => {
                    Err(Error::corrupt(name, "exists with other bytes although its name is random")
                        .retry(Retry::Now)
                        .remedy(
                            "somebody else writes into this vault: find out who, then run again",
                        ))
                }
                Err(error) => Err(error),
            };
            self.sent(segment, result);
        }
    }

    /// Waits until everything handed over is durable, and gives the references since the last drain.
    pub fn drain(&self) -> Result<Vec<SegmentRef>, Error> {
        let mut state = self.lock();
        while state.failed.is_none() && !(state.waiting.is_empty() && state.in_flight == 0) {
            state = self.wait(state);
        }
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(core::mem::take(&mut state.sent)),
        }
    }

    /// No more will come: the sending threads end once all is sent.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Segments and bytes that are durable so far.
    pub fn totals(&self) -> (u64, u64) {
        let state = self.lock();
        (state.sent_segments, state.sent_bytes)
    }

    /// The compression level for the next segment: what is slower, workers or store, decides.
    pub fn level(&self) -> i32 {
        lock(&self.governor).level()
    }

    fn next(&self) -> Option<Finished<Vec<u8>>> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            if state.in_flight < self.store.parallel().max(1)
                && let Some(segment) = state.waiting.pop_front()
            {
                state.in_flight += 1;
                return Some(segment);
            }
            if state.closed && state.waiting.is_empty() {
                return None;
            }
            state = self.wait(state);
        }
    }

    fn sent(&self, segment: Finished<Vec<u8>>, result: Result<(), Error>) {
        let mut state = self.lock();
        state.in_flight -= 1;
        match result {
            Ok(()) => {
                let bytes = u32::try_from(segment.length).expect("a segment is at most 8 MiB");
                state.sent_bytes += u64::from(bytes);
                state.sent_segments += 1;
                let (segment, digest) = (segment.segment, segment.digest);
                state.sent.push(SegmentRef { segment, bytes, digest });
            }
            Err(error) => {
                state.failed.get_or_insert(error);
            }
        }
        let given = state.pool.give(segment.buffer);
        debug_assert!(given.is_ok(), "every buffer comes from the pool");
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// A poisoned lock means that a thread panicked; its segment is then simply never sent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

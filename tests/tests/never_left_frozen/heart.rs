//! A thread that writes to a file system all the time, as an application does, and whether it gets through.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// A writer.
pub(crate) struct Heart {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    beats: AtomicU64,
    longest_micros: AtomicU64,
    ended: AtomicBool,
}

impl Heart {
    /// Writes and syncs a few bytes over and over.
    pub(crate) fn start(at: &Path) -> Self {
        let state = Arc::new(State::default());
        let (ours, path) = (Arc::clone(&state), at.join("heart"));
        thread::spawn(move || {
            // Not opened by the test's own thread: on a frozen file system that waits too.
            let mut file = File::create(path).expect("a file to write to");
            while !ours.ended.load(Ordering::SeqCst) {
                let began = Instant::now();
                let beat = ours.beats.load(Ordering::SeqCst);
                file.seek(SeekFrom::Start(beat % 64 * 4096)).expect("a seek");
                file.write_all(&[u8::try_from(beat % 251).expect("small"); 4096]).expect("a write");
                file.sync_data().expect("a sync");
                ours.beats.fetch_add(1, Ordering::SeqCst);
                let micros = u64::try_from(began.elapsed().as_micros()).expect("short");
                ours.longest_micros.fetch_max(micros, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { state }
    }

    /// The longest that one write took.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_micros(self.state.longest_micros.load(Ordering::SeqCst))
    }

    /// Whether writes go through within this time: two, as one may have been on its way out.
    pub(crate) fn beats_within(&self, patience: Duration) -> bool {
        let began = Instant::now();
        let first = self.state.beats.load(Ordering::SeqCst);
        while began.elapsed() < patience {
            if self.state.beats.load(Ordering::SeqCst) >= first + 2 {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Writes go through, at the latest then.
    #[track_caller]
    pub(crate) fn must_beat(&self, patience: Duration, when: &str) {
        assert!(self.beats_within(patience), "left frozen: no write in {patience:?}: {when}");
    }

    /// Nothing goes through: the file system is really still.
    #[track_caller]
    pub(crate) fn must_not_beat(&self) {
        assert!(!self.beats_within(Duration::from_millis(60)), "writes go through a freeze");
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
    }
}

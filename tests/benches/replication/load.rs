//! Writes at random places of one file, past the page cache, at a steady rate.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use hal_linux::AlignedBuffer;
use hal_sim::random::Random;

/// Past the page cache.
const DIRECT: i32 = 0o40_000;
const PIECE: usize = 1 << 20;

/// A file that is all there.
pub(crate) struct Load {
    file: Arc<File>,
    bytes: u64,
}

/// What writes to it now.
pub(crate) struct Writing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<f64, String>>,
}

fn fill(random: &mut Random, bytes: &mut [u8]) {
    for word in bytes.as_chunks_mut::<8>().0 {
        *word = random.number().to_le_bytes();
    }
}

impl Load {
    pub(crate) fn prepare(path: &Path, bytes: u64) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).custom_flags(DIRECT);
        let file = options.open(path).map_err(said)?;
        let mut random = Random::new(7);
        let mut buffer = AlignedBuffer::zeroed(PIECE).map_err(|error| error.to_string())?;
        let mut at = 0;
        while at < bytes {
            fill(&mut random, buffer.as_mut());
            file.write_all_at(buffer.as_ref(), at).map_err(said)?;
            at += PIECE as u64;
        }
        file.sync_all().map_err(said)?;
        Ok(Self { file: Arc::new(file), bytes })
    }

    /// Begins to write so many bytes at a time, and a second.
    pub(crate) fn begin(&self, length: usize, rate: f64) -> Result<Writing, String> {
        let mut buffer = AlignedBuffer::zeroed(length).map_err(|error| error.to_string())?;
        let (file, places) = (Arc::clone(&self.file), self.bytes / length as u64);
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut random, mut written) = (Random::new(length as u64), 0.0);
            let began = Instant::now();
            while !asked.load(Ordering::Relaxed) {
                fill(&mut random, buffer.as_mut());
                let at = random.below(places) * length as u64;
                file.write_all_at(buffer.as_ref(), at).map_err(|error| error.to_string())?;
                written += buffer.as_ref().len() as f64;
                let due = Duration::from_secs_f64(written / rate);
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
            Ok(written)
        });
        Ok(Writing { stop, thread })
    }
}

impl Writing {
    /// Ends; how many bytes were written.
    pub(crate) fn end(self) -> Result<f64, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "what writes panicked".to_owned())?
    }
}

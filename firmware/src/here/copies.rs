//! The point into files and devices, while the machine runs from it: by the engine of every other recovery, one disk after the
//! other. It reads the point itself: what the machine writes is beside it, and is never met here.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use pipeline_vault::Error;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::record::DiskState;
use pipeline_vault::restore::{Options, restore_disk};
use pipeline_vault::writer::Progress;

use crate::progress::Counters;
use crate::target::Target;

/// Between two looks whether more may be fetched.
const REST: Duration = Duration::from_millis(50);

/// One disk, and where it is brought to.
pub(crate) struct Job {
    pub(crate) frames: FrameReader,
    pub(crate) disk: DiskState,
    pub(crate) to: PathBuf,
    pub(crate) confirmed: bool,
}

/// A thread at work on them.
pub(crate) struct Copies {
    pace: Arc<Pace>,
    thread: Option<JoinHandle<Result<Vec<u64>, Error>>>,
    done: Option<Result<Vec<u64>, Error>>,
}

impl Copies {
    /// Begins; at this pace, in bytes of the vault a second, until the machine needs nothing any more.
    pub(crate) fn start(
        jobs: Vec<Job>,
        workers: usize,
        pace: Option<u64>,
        counters: Arc<Counters>,
    ) -> Self {
        let pace = Arc::new(Pace::new(pace));
        let stop = Arc::clone(&pace.halt);
        let options = Options { workers, compare: false, stop, ..Options::default() };
        let paced = Paced { counters, pace: Arc::clone(&pace) };
        let work = move || jobs.iter().map(|job| one(job, &options, &paced)).collect();
        Self { pace, thread: Some(thread::spawn(work)), done: None }
    }

    /// Nobody else needs the vault any more.
    pub(crate) fn hurry(&self) {
        self.pace.is_lifted.store(true, Ordering::SeqCst);
    }

    /// Bytes written of each disk once all are whole.
    pub(crate) fn done(&mut self) -> Result<Option<Vec<u64>>, Error> {
        if let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) {
            let fell = |_| Err(Error::device("bringing disks over", "fell"));
            self.done = Some(thread.join().unwrap_or_else(fell));
        }
        self.done.clone().transpose()
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        self.pace.halt.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // What came of it is of no interest any more.
            let _ = thread.join();
        }
    }
}

/// How fast it may be, while the machine reads the same vault.
struct Pace {
    bytes_per_second: Option<u64>,
    began: Instant,
    fetched: AtomicU64,
    is_lifted: AtomicBool,
    halt: Arc<AtomicBool>,
}

impl Pace {
    fn new(bytes_per_second: Option<u64>) -> Self {
        let (fetched, is_lifted) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { bytes_per_second, began: Instant::now(), fetched, is_lifted, halt: Arc::default() }
    }

    /// So much more was fetched: waits until that much was due.
    fn keep(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else { return };
        let all = self.fetched.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        let due = Duration::from_millis(all.saturating_mul(1000) / rate.max(1));
        let is_free = || self.is_lifted.load(Ordering::SeqCst) || self.halt.load(Ordering::SeqCst);
        while self.began.elapsed() < due && !is_free() {
            thread::sleep(REST);
        }
    }
}

/// Counts, and keeps the pace.
struct Paced {
    counters: Arc<Counters>,
    pace: Arc<Pace>,
}

impl Progress for Paced {
    fn total(&self, bytes: u64) {
        self.counters.total(bytes);
    }

    fn advance(&self, covered_bytes: u64, fetched_bytes: u64) {
        self.counters.advance(covered_bytes, fetched_bytes);
        self.pace.keep(fetched_bytes);
    }
}

fn one(job: &Job, options: &Options, progress: &Paced) -> Result<u64, Error> {
    let confirm = job.confirmed.then_some(job.to.as_path());
    let target = Target::open(&job.to, confirm, job.disk.bytes)?;
    let options = Options { compare: target.compare(), room: target.room(), ..options.clone() };
    match onto(job, &target, &options, progress) {
        Ok(bytes) => target.finish().map(|()| bytes),
        Err(error) => Err(target.give_up(error)),
    }
}

fn onto(job: &Job, target: &Target, options: &Options, progress: &Paced) -> Result<u64, Error> {
    let name = shown(&job.to);
    let disk = target.disk()?;
    let done = restore_disk(&job.frames, &job.disk, disk, &name, options, progress)?;
    Ok(done.written_bytes)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

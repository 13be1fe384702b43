//! The point into files and devices, while the machine runs from it: by the engine of every other recovery, one disk after the
//! other. It reads the point itself: what the machine writes is beside it, and is never met here.

use core::sync::atomic::{AtomicBool, Ordering};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use pipeline_vault::Error;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::record::DiskState;
use pipeline_vault::restore::{Options, restore_disk};

use crate::progress::Counters;
use crate::target::Target;

/// One disk, and where it is brought to.
pub(crate) struct Job {
    pub(crate) frames: FrameReader,
    pub(crate) disk: DiskState,
    pub(crate) to: PathBuf,
    pub(crate) confirmed: bool,
}

/// A thread at work on them.
pub(crate) struct Copies {
    halt: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<u64>, Error>>>,
    done: Option<Result<Vec<u64>, Error>>,
}

impl Copies {
    /// Begins.
    pub(crate) fn start(jobs: Vec<Job>, workers: usize, counters: Arc<Counters>) -> Self {
        let halt = Arc::new(AtomicBool::new(false));
        let options =
            Options { workers, compare: false, accept_unread: false, stop: Arc::clone(&halt) };
        let work = move || jobs.iter().map(|job| one(job, &options, &counters)).collect();
        Self { halt, thread: Some(thread::spawn(work)), done: None }
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
        self.halt.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // What came of it is of no interest any more.
            let _ = thread.join();
        }
    }
}

fn one(job: &Job, options: &Options, counters: &Counters) -> Result<u64, Error> {
    let confirm = job.confirmed.then_some(job.to.as_path());
    let target = Target::open(&job.to, confirm, job.disk.bytes)?;
    let options = Options { compare: target.compare(), ..options.clone() };
    match onto(job, &target, &options, counters) {
        Ok(bytes) => target.finish().map(|()| bytes),
        Err(error) => Err(target.give_up(error)),
    }
}

fn onto(job: &Job, target: &Target, options: &Options, counters: &Counters) -> Result<u64, Error> {
    let name = shown(&job.to);
    let disk = target.disk()?;
    let done = restore_disk(&job.frames, &job.disk, disk, &name, options, counters)?;
    Ok(done.written_bytes)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

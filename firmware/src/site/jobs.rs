//! Long work: verbs of this program as processes of their own, how far each is, and how it ended.
//!
//! A crash or want of memory ends a job and nothing else. When the program ends, jobs end in order; what they were at is gone on
//! with when a person orders it. It refuses to know what a verb does.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use firmware_web::api::Refusal;
use firmware_web::api::views::servers::{Health, Progress};
use firmware_web::api::views::vault::{JobState, JobView};
use hal::time::{Clock, Moment};
use serde::{Deserialize, Serialize};

use super::events::{Events, Note};
use super::packed;
use super::refuse::in_the_way;
use crate::admin::keep::Keep;
use crate::child::{self, Heard, Verb};

/// Jobs at work at once.
const RUNNING_MAX: usize = 8;
/// Jobs that are remembered.
const JOBS_MAX: usize = 100;
/// A longer result is not kept across restarts.
const RESULT_BYTES_MAX: usize = 4096;
/// How often it is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(50);
/// Where jobs that ended are kept.
const NAME: &str = "jobs";
const PLAIN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is to be done.
pub(super) struct Wanted {
    /// `verify`, `prune`, `drill`.
    pub(super) kind: &'static str,
    /// On which object: `server web1`, `vault`.
    pub(super) object: String,
    /// Who wants it.
    pub(super) by: String,
    /// The verb.
    pub(super) verb: Verb,
    /// The order that it is at.
    pub(super) order: Option<String>,
}

/// Everything that runs and ran.
pub(super) struct Jobs {
    state: Mutex<State>,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
    keep: Arc<dyn Keep>,
    stop: AtomicBool,
    /// How many have ended since the start.
    ended: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The newest last.
    jobs: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    /// Told apart within a millisecond.
    number: u32,
}

struct Job {
    view: JobView,
    began: Moment,
    order: Option<String>,
    /// It is to end in order.
    stop: Arc<AtomicBool>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    jobs: Vec<JobView>,
}

impl Jobs {
    /// With those that were kept.
    pub(super) fn open(events: Arc<Events>, clock: Arc<dyn Clock>, keep: Arc<dyn Keep>) -> Self {
        let kept = keep.read(NAME).unwrap_or_else(|error| {
            log::warn!("{error}");
            None
        });
        let plain = kept.and_then(|bytes| packed::unpack(&bytes, PLAIN_BYTES_MAX));
        let saved = plain.and_then(|plain| serde_json::from_slice::<Saved>(&plain).ok());
        let job = |view: JobView| Job {
            view,
            began: Moment::default(),
            order: None,
            stop: Arc::default(),
        };
        let jobs = saved.map_or_else(Vec::new, |saved| saved.jobs).into_iter().map(job).collect();
        let state = Mutex::new(State { jobs, ..State::default() });
        Self { state, events, clock, keep, stop: AtomicBool::new(false), ended: AtomicU64::new(0) }
    }

    /// Begins one.
    ///
    /// Errors: the same is at work already, or too much is.
    pub(super) fn begin(self: &Arc<Self>, wanted: Wanted) -> Result<JobView, Refusal> {
        let mut state = self.lock();
        let running = || state.jobs.iter().filter(|job| job.view.state == JobState::Running);
        let same = |job: &&Job| {
            let twin = job.view.kind == wanted.kind && job.view.object == wanted.object;
            if wanted.order.is_some() { job.order == wanted.order } else { twin }
        };
        if let Some(job) = running().find(same) {
            let words = format!("{} runs already, begun by {}", job.view.kind, job.view.by);
            return Err(in_the_way(wanted.object, words, "wait until it has ended"));
        }
        if running().count() >= RUNNING_MAX || self.stop.load(Ordering::SeqCst) {
            let words = format!("{RUNNING_MAX} jobs run already, or the program ends");
            return Err(in_the_way(wanted.object, words, "wait until one has ended"));
        }
        state.number = state.number.wrapping_add(1) % 0x1_0000;
        let began_millis = self.clock.now().0;
        let view = JobView {
            id: format!("{began_millis:012x}{:04x}", state.number),
            kind: wanted.kind.to_owned(),
            object: wanted.object,
            by: wanted.by,
            began_millis,
            words: "begun".to_owned(),
            ..JobView::default()
        };
        let began = self.clock.moment();
        let stop: Arc<AtomicBool> = Arc::default();
        let held = Arc::clone(&stop);
        state.jobs.push_back(Job { view: view.clone(), began, order: wanted.order, stop });
        while state.jobs.len() > JOBS_MAX {
            // Running ones are among the newest: there are few.
            state.jobs.pop_front();
        }
        let (jobs, id, verb) = (Arc::clone(self), view.id.clone(), wanted.verb);
        let work = move || jobs.work(&id, &verb, &held);
        match std::thread::Builder::new().name("job".to_owned()).spawn(work) {
            Ok(thread) => {
                state.threads.retain(|thread| !thread.is_finished());
                state.threads.push(thread);
            }
            Err(error) => {
                state.jobs.pop_back();
                let words = format!("no thread can be started: {error}");
                return Err(in_the_way("this machine", words, "give it more memory"));
            }
        }
        Ok(view)
    }

    fn work(&self, id: &str, verb: &Verb, stop: &AtomicBool) {
        let stopped = || self.stop.load(Ordering::SeqCst) || stop.load(Ordering::SeqCst);
        let result = child::run(verb, &stopped, &mut |heard| self.hear(id, &heard));
        let mut state = self.lock();
        let Some(job) = state.jobs.iter_mut().find(|job| job.view.id == id) else { return };
        job.view.took_millis = self.clock.moment().since(job.began);
        match result {
            Ok(answer) => {
                job.view.state = JobState::Done;
                job.view.words = answer.incomplete.unwrap_or_else(|| "done".to_owned());
                job.view.result = Some(answer.value);
            }
            Err(failed) => {
                job.view.state = JobState::Failed;
                job.view.words = failed.words;
                job.view.result = failed.value;
            }
        }
        let view = job.view.clone();
        drop(state);
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.tell(&view);
        self.save();
    }

    fn hear(&self, id: &str, heard: &Heard<'_>) {
        let mut state = self.lock();
        let Some(job) = state.jobs.iter_mut().find(|job| job.view.id == id) else { return };
        match heard {
            Heard::Progress(progress) => {
                let left = progress.total_bytes.saturating_sub(progress.done_bytes);
                let known = progress.total_bytes > 0;
                job.view.progress = Progress {
                    done_bytes: progress.done_bytes,
                    total_bytes: progress.total_bytes,
                    left_seconds: left.checked_div(progress.bytes_per_second).filter(|_| known),
                };
                job.view.words = "at work".to_owned();
            }
            Heard::Step(step) => {
                let words = format!("step {} {}", step.step, step.standing);
                let bad = step.standing == "failed";
                let note = Note {
                    health: if bad { Health::Bad } else { Health::Working },
                    kind: "order_step",
                    object: format!("server {}", step.server),
                    words: format!("{} {}: {words}", job.view.kind, step.order),
                    by: Some(job.view.by.clone()),
                };
                job.view.words = words;
                drop(state);
                self.events.note(note);
            }
        }
    }

    fn tell(&self, view: &JobView) {
        let failed = view.state == JobState::Failed;
        self.events.note(Note {
            health: if failed { Health::Bad } else { Health::Good },
            kind: if failed { "job_failed" } else { "job_done" },
            object: view.object.clone(),
            words: format!("{}: {}", view.kind, view.words),
            by: Some(view.by.clone()),
        });
    }

    /// The newest first.
    pub(super) fn list(&self) -> Vec<JobView> {
        let state = self.lock();
        state.jobs.iter().rev().map(|job| self.shown(job)).collect()
    }

    /// One of them.
    pub(super) fn find(&self, id: &str) -> Option<JobView> {
        let state = self.lock();
        state.jobs.iter().find(|job| job.view.id == id).map(|job| self.shown(job))
    }

    fn shown(&self, job: &Job) -> JobView {
        let mut view = job.view.clone();
        if view.state == JobState::Running {
            view.took_millis = self.clock.moment().since(job.began);
        }
        view
    }

    /// How many have ended since the start.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::SeqCst)
    }

    /// Whether somebody is at an order here.
    pub(super) fn is_at(&self, order: &str) -> bool {
        let state = self.lock();
        let running = |job: &&Job| job.view.state == JobState::Running;
        state.jobs.iter().filter(running).any(|job| job.order.as_deref() == Some(order))
    }

    /// Ends whoever is at an order here, in order, and waits for it.
    pub(super) fn stop_at(&self, order: &str) {
        let at_it = |job: &&Job| job.order.as_deref() == Some(order);
        self.lock()
            .jobs
            .iter()
            .filter(at_it)
            .for_each(|job| job.stop.store(true, Ordering::SeqCst));
        while self.is_at(order) {
            std::thread::sleep(LOOK);
        }
    }

    /// Ends all of them in order, and waits for it.
    pub(super) fn end(&self) {
        self.stop.store(true, Ordering::SeqCst);
        let threads = core::mem::take(&mut self.lock().threads);
        for thread in threads {
            // One that panicked has ended too.
            drop(thread.join());
        }
    }

    fn save(&self) {
        let state = self.lock();
        let ended = state.jobs.iter().filter(|job| job.view.state != JobState::Running);
        let mut jobs: Vec<JobView> = ended.map(|job| job.view.clone()).collect();
        drop(state);
        for view in &mut jobs {
            let long = |value: &serde_json::Value| value.to_string().len() > RESULT_BYTES_MAX;
            view.result.take_if(|value| long(value));
            view.words.truncate(view.words.floor_char_boundary(1000));
        }
        while !jobs.is_empty() {
            let saved = Saved { jobs };
            let packed = serde_json::to_vec(&saved).map(|plain| packed::pack(&plain));
            jobs = saved.jobs;
            if let Ok(bytes) = packed
                && bytes.len() <= self.keep.room(NAME)
            {
                if let Err(error) = self.keep.write(NAME, &bytes) {
                    log::warn!("{error}: jobs are forgotten at the next start");
                }
                return;
            }
            jobs.drain(..jobs.len().div_ceil(2));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

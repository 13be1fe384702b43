//! Messages on their way: a bounded queue that survives restarts, a thread for each channel, tries with full jitter.
//!
//! A channel that is down, slow or lying delays no other. A message that nobody took for a day is given up, and so is the
//! oldest of a channel whose queue is full: what stands is told again anyway.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hal::time::{Clock, Entropy};
use serde::{Deserialize, Serialize};

use super::message::Message;
use super::settings::Channel;
use crate::admin::keep::{Keep, end_within};

/// The document.
const DOCUMENT: &str = "alerts-queue";
/// Messages that wait for one channel.
pub(super) const WAITING_MAX: usize = 64;
/// How long it is tried to deliver a message.
const LIFE_MILLIS: u64 = 24 * 3_600_000;
/// The first pause is at most this, each further one twice the one before.
const PAUSE_MILLIS: u64 = 2_000;
const PAUSE_MILLIS_MAX: u64 = 10 * 60_000;
/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_secs(60);

/// Sends one message by one channel; how it went, in words.
pub(super) type Deliver = dyn Fn(&Channel, &Message) -> Result<String, String> + Send + Sync;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    channel: String,
    message: Message,
    /// Since when it is tried, by a clock that only runs forwards: the other may be set by years while it waits.
    #[serde(skip)]
    since: u64,
}

/// What came of the last try of a channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    pub(super) words: String,
    pub(super) at: Option<u64>,
}

#[derive(Default)]
struct State {
    channels: Vec<Channel>,
    queue: VecDeque<Waiting>,
    lasts: BTreeMap<String, Last>,
    /// Changes with each set of channels: a thread of an older one ends.
    age: u64,
    /// What is kept is older than what is here.
    changed: bool,
    ended: bool,
}

/// Messages on their way.
pub(super) struct Post {
    state: Mutex<State>,
    woken: Condvar,
    given_up: AtomicU64,
    keep: Arc<dyn Keep>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    deliver: Box<Deliver>,
    /// One at a time writes what waits, and what is newest last.
    writing: Mutex<()>,
}

impl Post {
    /// With what waited when the program ended.
    pub(super) fn open(
        keep: Arc<dyn Keep>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        deliver: Box<Deliver>,
    ) -> Arc<Self> {
        let mut waited: VecDeque<Waiting> = match keep.read(DOCUMENT) {
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                log::warn!("alerts that waited cannot be read and are lost: {error}");
                VecDeque::new()
            }),
            Ok(None) => VecDeque::new(),
            Err(error) => {
                log::warn!("alerts that waited are lost: {error}");
                VecDeque::new()
            }
        };
        waited.iter_mut().for_each(|waiting| waiting.since = clock.moment().0);
        let state = State { queue: waited, ..State::default() };
        Arc::new(Self {
            state: Mutex::new(state),
            woken: Condvar::new(),
            given_up: AtomicU64::new(0),
            keep,
            clock,
            entropy,
            deliver,
            writing: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the channels from now on; what waits for others is dropped.
    pub(super) fn set_channels(self: &Arc<Self>, channels: Vec<Channel>) {
        let age = {
            let mut state = self.lock();
            state.age += 1;
            state
                .queue
                .retain(|waiting| channels.iter().any(|channel| channel.name == waiting.channel));
            state.lasts.retain(|name, _| channels.iter().any(|channel| channel.name == *name));
            state.channels.clone_from(&channels);
            state.changed = true;
            state.age
        };
        self.woken.notify_all();
        for channel in channels {
            let post = Arc::clone(self);
            let started = std::thread::Builder::new()
                .name("alerts".to_owned())
                .spawn(move || post.serve(&channel, age));
            if let Err(error) = started {
                log::warn!("alerts: a channel has no thread and sends nothing: {error}");
            }
        }
        self.write();
    }

    /// Everybody who wants it is told.
    pub(super) fn tell(&self, message: &Message) {
        let mut state = self.lock();
        let wants = |channel: &&Channel| message.alert.health >= channel.at_least;
        let names: Vec<String> =
            state.channels.iter().filter(wants).map(|channel| channel.name.clone()).collect();
        for channel in names {
            let waiting = state.queue.iter().filter(|waiting| waiting.channel == channel).count();
            if waiting >= WAITING_MAX
                && let Some(oldest) =
                    state.queue.iter().position(|waiting| waiting.channel == channel)
            {
                state.queue.remove(oldest);
                self.given_up.fetch_add(1, Ordering::Relaxed);
            }
            let since = self.clock.moment().0;
            state.queue.push_back(Waiting { channel, message: message.clone(), since });
        }
        state.changed = true;
        drop(state);
        self.write();
        self.woken.notify_all();
    }

    /// Sends a message by a channel now, past what waits.
    pub(super) fn try_now(&self, channel: &Channel, message: &Message) -> Result<String, String> {
        let answer = (self.deliver)(channel, message);
        self.note(&channel.name, &answer);
        answer
    }

    /// Messages that wait, and those that were given up.
    pub(super) fn counts(&self) -> (u64, u64) {
        let waiting = u64::try_from(self.lock().queue.len()).unwrap_or(u64::MAX);
        (waiting, self.given_up.load(Ordering::Relaxed))
    }

    /// What came of the last try of a channel.
    pub(super) fn last(&self, channel: &str) -> Last {
        self.lock().lasts.get(channel).cloned().unwrap_or_default()
    }

    /// Ends all threads, as soon as they have sent what they are sending.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.woken.notify_all();
    }

    fn note(&self, channel: &str, answer: &Result<String, String>) {
        let words = match answer {
            Ok(words) | Err(words) => super::board::cut(words, 600),
        };
        let at = Some(self.clock.now().0);
        self.lock().lasts.insert(channel.to_owned(), Last { words, at });
    }

    /// One channel's thread, until its settings are others or the program ends.
    fn serve(&self, channel: &Channel, age: u64) {
        let mut failures = 0_u32;
        while let Some(Waiting { message, since, .. }) = self.next(&channel.name, age) {
            if self.clock.moment().0.saturating_sub(since) > LIFE_MILLIS {
                log::warn!("alerts: {}: a message was given up after a day", channel.name);
                self.given_up.fetch_add(1, Ordering::Relaxed);
                self.done(&channel.name, &message.id);
                continue;
            }
            let answer = (self.deliver)(channel, &message);
            self.note(&channel.name, &answer);
            match answer {
                Ok(_) => {
                    failures = 0;
                    self.done(&channel.name, &message.id);
                }
                Err(words) => {
                    log::warn!("alerts: {}: {words}", channel.name);
                    self.pause(failures, age);
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// The oldest message for a channel, waited for; nothing where its thread is to end.
    fn next(&self, channel: &str, age: u64) -> Option<Waiting> {
        let mut state = self.lock();
        loop {
            if state.ended || state.age != age {
                return None;
            }
            if let Some(waiting) = state.queue.iter().find(|waiting| waiting.channel == channel) {
                return Some(waiting.clone());
            }
            state = self.woken.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn done(&self, channel: &str, id: &str) {
        let mut state = self.lock();
        state.queue.retain(|waiting| waiting.channel != channel || waiting.message.id != id);
        state.changed = true;
        drop(state);
        self.write();
    }

    /// Anything from nothing to twice as long as the last time: not everybody comes back at once.
    fn pause(&self, failures: u32, age: u64) {
        let most = PAUSE_MILLIS.saturating_mul(1 << failures.min(20)).min(PAUSE_MILLIS_MAX);
        let mut random = [0; 8];
        // Without randomness it is the longest pause.
        let chosen = match self.entropy.fill(&mut random) {
            Ok(()) => u64::from_le_bytes(random) % (most + 1),
            Err(_) => most,
        };
        let until = self.clock.moment().after(chosen);
        let mut state = self.lock();
        loop {
            let left = until.since(self.clock.moment());
            if left == 0 || state.ended || state.age != age {
                return;
            }
            let left = Duration::from_millis(left);
            state = self.woken.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Keeps what waits: the newest, as far as the document holds them.
    fn write(&self) {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let queue: Vec<Waiting> = {
            let mut state = self.lock();
            if !core::mem::take(&mut state.changed) {
                return;
            }
            state.queue.iter().cloned().collect()
        };
        let bytes = end_within(self.keep.room(DOCUMENT), &queue).map_err(|error| error.to_string());
        let written = bytes
            .and_then(|bytes| self.keep.write(DOCUMENT, &bytes).map_err(|error| error.to_string()));
        if let Err(words) = written {
            log::warn!("alerts that wait do not outlive a restart: {words}");
        }
    }
}

//! What happens, told to whoever watches. The site is looked at once for all of them, and only while somebody watches.
//!
//! Of overview, jobs and orders the newest state is kept for each viewer, and what was between is left out where it is slow.
//! Events are told one by one; a viewer that leaves too many of them lying is let go, and comes back with the number of its last.

use core::fmt::Write as _;
use core::mem;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use firmware_web::api::Site;
use firmware_web::api::views::events::{EventFilter, EventView};
use serde::Serialize;
use smol::channel::{Receiver, Sender, bounded};

/// How often the site is looked at; and no more of its time than one part in so many.
pub(super) const PACE: Duration = Duration::from_secs(1);
pub(super) const PART: u32 = 5;
/// Viewers at once.
const VIEWERS_MAX: usize = 128;
/// Events that wait for a viewer.
const WAITING_MAX: usize = 512;
/// Events of one look, and of what a viewer missed.
const EVENTS_MAX: usize = 500;
/// Jobs and orders whose state is followed, the newest.
const FOLLOWED_MAX: usize = 100;

/// What happens.
pub(super) struct Feed {
    site: Arc<dyn Site>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    viewers: Vec<Weak<Mailbox>>,
    /// Whether somebody looks.
    looking: bool,
    /// The newest of each kind, as it was told last.
    newest: BTreeMap<Key, Arc<str>>,
    /// The newest event that was told.
    last: Option<u64>,
}

/// What a state is of: its kind, and its identity.
type Key = (&'static str, String);

/// What waits for one viewer.
pub(super) struct Mailbox {
    held: Mutex<Held>,
    wake: Sender<()>,
    woken: Receiver<()>,
}

#[derive(Default)]
struct Held {
    states: BTreeMap<Key, Arc<str>>,
    events: VecDeque<(u64, Arc<str>)>,
    /// The newest event that it has.
    last: u64,
    lost: bool,
}

/// What a mailbox gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing just now.
    Nothing,
    /// This is to be sent.
    Text(String),
    /// It was too slow.
    Lost,
}

impl Feed {
    pub(super) fn new(site: Arc<dyn Site>) -> Self {
        Self { site, state: Mutex::default() }
    }

    /// A viewer more, that has events up to `after`; `None` where there are too many. Whether somebody has to begin looking is
    /// told too.
    pub(super) fn join(&self, after: Option<u64>) -> Option<(Arc<Mailbox>, bool)> {
        let mut state = self.state();
        state.viewers.retain(|viewer| viewer.strong_count() > 0);
        if state.viewers.len() >= VIEWERS_MAX {
            return None;
        }
        let (wake, woken) = bounded(1);
        let held = Held {
            states: state.newest.clone(),
            last: after.unwrap_or_default(),
            ..Held::default()
        };
        let mailbox = Arc::new(Mailbox { held: Mutex::new(held), wake, woken });
        mailbox.wake();
        state.viewers.push(Arc::downgrade(&mailbox));
        let begins = !mem::replace(&mut state.looking, true);
        Some((mailbox, begins))
    }

    /// What a viewer missed since `after` is put before what it gets from now on. May block.
    pub(super) fn catch_up(&self, mailbox: &Mailbox, after: u64) {
        let mut missed = self.events_since(after);
        let mut held = mailbox.held();
        let newest = missed.last().map_or(after, |event| event.0);
        held.events.retain(|(number, _)| *number > newest);
        held.last = held.last.max(newest);
        missed.extend(mem::take(&mut held.events));
        held.events = missed.into();
        drop(held);
        mailbox.wake();
    }

    /// Looks at the site and tells who watches. Gives whether anybody does. May block.
    pub(super) fn look(&self) -> bool {
        let mut states = Vec::new();
        if let Ok(overview) = self.site.overview() {
            states.extend(state("overview", String::new(), &overview));
        }
        for job in self.site.jobs().unwrap_or_default().into_iter().take(FOLLOWED_MAX) {
            states.extend(state("job", job.id.clone(), &job));
        }
        for mut order in self.site.orders().unwrap_or_default().into_iter().take(FOLLOWED_MAX) {
            // Large, and asked for by whoever looks at the order.
            order.console.clear();
            order.screenshot = None;
            states.extend(state("order", order.order.clone(), &order));
        }
        let last = self.state().last;
        let events = match last {
            Some(last) => self.events_since(last),
            None => self.newest_event().map(|number| (number, Arc::from(""))).into_iter().collect(),
        };
        let mut state = self.state();
        state.viewers.retain(|viewer| viewer.strong_count() > 0);
        if state.viewers.is_empty() {
            *state = State::default();
            return false;
        }
        states.retain(|(key, text)| state.newest.get(key) != Some(text));
        let told = if last.is_some() { &events[..] } else { &[] };
        for viewer in state.viewers.iter().filter_map(Weak::upgrade) {
            viewer.put(&states, told);
        }
        state.newest.extend(states);
        while state.newest.len() > 4 * FOLLOWED_MAX {
            state.newest.pop_first();
        }
        state.last = events.last().map(|(number, _)| *number).or(last).or(Some(0));
        true
    }

    fn newest_event(&self) -> Option<u64> {
        let filter = EventFilter { limit: Some(1), ..EventFilter::default() };
        self.site.events(&filter).ok()?.events.first().map(|event| event.number)
    }

    /// Events behind a number, the oldest first.
    fn events_since(&self, after: u64) -> Vec<(u64, Arc<str>)> {
        let filter = EventFilter { limit: Some(EVENTS_MAX), ..EventFilter::default() };
        let Ok(page) = self.site.events(&filter) else { return Vec::new() };
        let newer = page.events.into_iter().filter(|event| event.number > after);
        let mut events: Vec<(u64, Arc<str>)> = newer.filter_map(|event| told(&event)).collect();
        events.sort_by_key(|(number, _)| *number);
        events
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox {
    /// What is to be sent now.
    pub(super) fn take(&self) -> Waiting {
        let mut held = self.held();
        if held.lost {
            return Waiting::Lost;
        }
        let mut text = String::new();
        for (_, state) in mem::take(&mut held.states) {
            text.push_str(&state);
        }
        for (_, event) in mem::take(&mut held.events) {
            text.push_str(&event);
        }
        if text.is_empty() { Waiting::Nothing } else { Waiting::Text(text) }
    }

    /// Ready when there may be something.
    pub(super) async fn woken(&self) {
        // It cannot be closed: the other end is here too.
        let _ = self.woken.recv().await;
    }

    fn put(&self, states: &[(Key, Arc<str>)], events: &[(u64, Arc<str>)]) {
        let mut held = self.held();
        held.states.extend(states.iter().cloned());
        for (number, event) in events {
            if *number > held.last {
                held.last = *number;
                held.events.push_back((*number, Arc::clone(event)));
            }
        }
        if held.events.len() > WAITING_MAX + EVENTS_MAX {
            *held = Held { lost: true, ..Held::default() };
        }
        drop(held);
        self.wake();
    }

    fn wake(&self) {
        // It is full: somebody was told already.
        let _ = self.wake.try_send(());
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state<T: Serialize>(kind: &'static str, id: String, value: &T) -> Option<(Key, Arc<str>)> {
    let json = serde_json::to_string(value).ok()?;
    Some(((kind, id), format!("event: {kind}\ndata: {json}\n\n").into()))
}

fn told(event: &EventView) -> Option<(u64, Arc<str>)> {
    let json = serde_json::to_string(event).ok()?;
    let mut text = String::new();
    let _ = write!(text, "id: {}\nevent: event\ndata: {json}\n\n", event.number);
    Some((event.number, text.into()))
}

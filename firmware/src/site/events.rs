//! What happened: numbered events, the newest 5000 of them, searched, followed, and kept across restarts.
//!
//! Whoever follows has a place in the log and is woken, so that a slow one costs nothing and misses nothing that is still kept. It
//! refuses to judge what an event means: how bad it is says who notes it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_web::api::views::events::{EventFilter, EventPage, EventView};
use firmware_web::api::views::servers::Health;
use hal::time::Clock;
use smol::channel::{Receiver, Sender, bounded};

/// How they are kept across restarts.
mod saved;

/// Events that are kept.
pub const EVENTS_MAX: usize = 5000;
/// Bytes of one event's words; what is longer is cut.
const WORDS_BYTES_MAX: usize = 600;
/// Bytes of its other texts.
const NAME_BYTES_MAX: usize = 120;
/// Events of one page where nothing is said, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;

/// What is noted; number and time are given by the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// How bad it is.
    pub health: Health,
    /// What it is, for machines: `rpo_missed`, `order_step`, `logged_in`.
    pub kind: &'static str,
    /// On which object: `server web1`, `vault`, `appliance`.
    pub object: String,
    /// In a sentence.
    pub words: String,
    /// Who did it, where somebody did.
    pub by: Option<String>,
}

/// The log.
pub struct Events {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    log: VecDeque<EventView>,
    /// The number of the next one.
    next: u64,
    /// Something was noted since it was written down.
    is_new: bool,
    /// Whom a new event wakes.
    wakes: Vec<Sender<()>>,
}

impl Events {
    /// An empty log.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::new(State { next: 1, ..State::default() }), clock }
    }

    /// Adds an event; its number.
    pub fn note(&self, note: Note) -> u64 {
        let at_millis = self.clock.now().0;
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.is_new = true;
        state.log.push_back(EventView {
            number,
            at_millis,
            health: note.health,
            kind: note.kind.to_owned(),
            object: shortened(note.object, NAME_BYTES_MAX),
            words: shortened(note.words, WORDS_BYTES_MAX),
            by: note.by.map(|by| shortened(by, NAME_BYTES_MAX)),
        });
        while state.log.len() > EVENTS_MAX {
            state.log.pop_front();
        }
        // Whoever was woken and did not look yet is awake; whoever is gone is forgotten.
        state.wakes.retain(|wake| !wake.is_closed());
        for wake in &state.wakes {
            let _ = wake.try_send(());
        }
        number
    }

    /// A page of those that are looked for, the newest first.
    #[must_use]
    pub fn find(&self, filter: &EventFilter) -> EventPage {
        let wanted = filter.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
        let text = filter.text.as_deref().map(str::to_lowercase);
        let state = self.lock();
        let mut found = state.log.iter().rev().filter(|event| {
            filter.before.is_none_or(|before| event.number < before)
                && filter.at_least.is_none_or(|health| is_as_bad(event.health, health))
                && filter.object.as_ref().is_none_or(|object| event.object == *object)
                && text.as_ref().is_none_or(|text| holds(event, text))
        });
        let events = found.by_ref().take(wanted).cloned().collect();
        EventPage { events, more: found.next().is_some() }
    }

    /// Everything that is kept, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<EventView> {
        self.lock().log.iter().cloned().collect()
    }

    /// The number of the newest one; 0 where there is none.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.lock().next - 1
    }

    /// Follows what is noted from now on.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        self.subscribe_after(self.newest())
    }

    /// Follows what was noted after that number, as far back as it is kept, and from now on.
    #[must_use]
    pub fn subscribe_after(self: &Arc<Self>, number: u64) -> Subscription {
        let (wake, woken) = bounded(1);
        let mut state = self.lock();
        state.wakes.retain(|wake| !wake.is_closed());
        state.wakes.push(wake);
        // A number that was never given is of another appliance, or of one that forgot.
        let last = number.min(state.next - 1);
        drop(state);
        Subscription { events: Arc::clone(self), last, woken }
    }

    fn after(&self, number: u64) -> Option<EventView> {
        let state = self.lock();
        let place = state.log.partition_point(|event| event.number <= number);
        state.log.get(place).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the log from a place in it. Dropping it is the end of it.
pub struct Subscription {
    events: Arc<Events>,
    last: u64,
    woken: Receiver<()>,
}

impl Subscription {
    /// The next event; waits for it.
    pub async fn next(&mut self) -> EventView {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            // The other end lives in the log, which lives as long as this does.
            let _ = self.woken.recv().await;
        }
    }

    /// The next event where there is one already.
    pub fn try_next(&mut self) -> Option<EventView> {
        let event = self.events.after(self.last)?;
        self.last = event.number;
        Some(event)
    }
}

/// Whether something is at least as bad. Work that goes on and what was put to rest are no worse than good.
fn is_as_bad(health: Health, least: Health) -> bool {
    let rank = |health: Health| match health {
        Health::Good | Health::Working | Health::Off => 0,
        Health::Attention => 1,
        Health::Bad => 2,
    };
    rank(health) >= rank(least)
}

fn holds(event: &EventView, lower: &str) -> bool {
    let texts = [&event.words, &event.object, &event.kind];
    let by = event.by.iter();
    texts.into_iter().chain(by).any(|text| text.to_lowercase().contains(lower))
}

/// A text cut to so many bytes at most, at the border of a letter.
fn shortened(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;

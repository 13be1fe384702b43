//! The thread that keeps the network: it asks the machine what to do, does it, and waits for the system.
//!
//! It decides nothing. Whatever fails is told to the machine, which tries again; nothing here ends it but `stop`.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use hal::net::config::Checked;
use hal::net::nic::{Event, NetError, Stack};
use hal::time::{Clock, Moment};
use pipeline_vault::Error;

use crate::net::below::{Below, News};
use crate::net::listener::Told;
use crate::net::machine::{Action, Machine, Seen};
use crate::net::names::{Files, Resolver};
use crate::net::state::State;

/// Steps in one go; a system that undoes what is done must not hold the thread.
const ROUNDS_MAX: u32 = 64;
/// How soon a new page or the end is noticed at the latest.
const LOOK_UP: Duration = Duration::from_millis(250);
/// How long a system that fails is left alone.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// The machine with its hands: a system, who hears on its links, its files.
#[derive(Debug)]
pub struct Keeper<S, B> {
    stack: S,
    below: B,
    machine: Machine,
    files: Option<Files>,
    /// What is may not be what was seen.
    stale: bool,
    told: Resolver,
}

impl<S: Stack, B: Below<S>> Keeper<S, B> {
    /// A keeper that has done nothing yet. Name servers are written to `files`, where there are any.
    pub fn new(stack: S, below: B, machine: Machine, files: Option<Files>) -> Self {
        let told =
            Resolver { servers: Vec::new(), search: vec!["nothing was told yet".to_owned()] };
        Self { stack, below, machine, files, stale: true, told }
    }

    /// Does everything that can be done now.
    pub fn settle(&mut self, clock: &dyn Clock) -> Result<(), NetError> {
        for _ in 0..ROUNDS_MAX {
            let news = self.below.news(clock.moment());
            let is_quiet = news.is_empty();
            news.into_iter().for_each(|news| self.take(clock.moment(), news));
            if self.stale {
                let seen = Seen {
                    links: self.stack.links()?,
                    addresses: self.stack.addresses()?,
                    routes: self.stack.routes()?,
                };
                self.stale = false;
                self.machine.look(seen);
                self.below.keep(&|link| self.machine.is_open(link));
            }
            let actions = self.machine.act(clock.moment());
            if actions.is_empty() && is_quiet {
                break;
            }
            for action in actions {
                self.perform(clock.moment(), action);
            }
        }
        self.tell_names(clock.moment());
        Ok(())
    }

    fn take(&mut self, now: Moment, news: News) {
        match news {
            News::Told(told) => {
                self.stale |= matches!(*told, Told::Deaf { .. });
                if let Err(why) = self.machine.told(now, *told) {
                    self.below.disbelieve(now, &why);
                }
            }
            News::Anew => {
                self.machine.heard_anew();
                self.stale = true;
            }
        }
    }

    fn perform(&mut self, now: Moment, action: Action) {
        match action {
            Action::Change(change) => {
                let result = self.stack.change(&change);
                log::debug!(
                    "{change:?}: {}",
                    result.as_ref().map_or_else(ToString::to_string, |()| "done".into())
                );
                self.stale = true;
                self.machine.done(now, &change, result.as_ref().copied());
            }
            Action::Open(link) => {
                let opened = self.stack.open(link);
                self.machine.opened(now, link, opened.as_ref().map(|_| ()));
                if let Ok(nic) = opened {
                    self.below.open(now, nic);
                }
                self.stale = true;
            }
            Action::Order(order) => self.below.order(now, order),
        }
    }

    /// Waits for the system, at most so long, and hears what there is.
    pub fn wait(&mut self, clock: &dyn Clock, at_most: Duration) -> Result<(), NetError> {
        let now = clock.moment();
        let until = self.machine.deadline(now).map(|deadline| deadline.since(now));
        let patience = until.map_or(at_most, |millis| at_most.min(Duration::from_millis(millis)));
        for event in self.below.wait(&mut self.stack, clock, patience)? {
            self.stale |= event == Event::Changed;
            self.machine.note(event);
        }
        Ok(())
    }

    fn tell_names(&mut self, now: Moment) {
        let resolver = self.machine.resolver(now);
        let Some(files) = self.files.as_ref().filter(|_| resolver != self.told) else { return };
        match files.write_resolver(&resolver) {
            Ok(()) => self.told = resolver,
            Err(error) => log::warn!("{error}"),
        }
    }
}

/// The network, kept by a thread until it is stopped or dropped.
#[derive(Debug)]
pub struct Network {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    page: Mutex<Option<Checked>>,
    state: Mutex<(u64, State)>,
    changed: Condvar,
}

impl Network {
    /// Brings up what the machine's page says and keeps it so.
    pub fn start<S: Stack + 'static, B: Below<S> + 'static>(
        keeper: Keeper<S, B>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let work = Arc::clone(&shared);
        let keeping = move || keep(keeper, &*clock, &work);
        let thread = std::thread::Builder::new().name("network".to_owned()).spawn(keeping);
        let thread = thread.map_err(|error| {
            Error::exhausted("the network", format!("no thread can be had: {error}"))
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Another page from now on.
    pub fn configure(&self, page: Checked) {
        *lock(&self.shared.page) = Some(page);
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        lock(&self.shared.state).1.clone()
    }

    /// Waits until it stands otherwise than at `version`, at most so long; gives the version and how it stands.
    /// Version 0 is before anything was looked at.
    #[must_use]
    pub fn state_after(&self, version: u64, at_most: Duration) -> (u64, State) {
        let state = lock(&self.shared.state);
        let waited =
            self.shared.changed.wait_timeout_while(state, at_most, |state| state.0 <= version);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Ends in order: gives leased addresses back, and leaves everything else as it is.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It panicked, and said so when it did.
            let _ = thread.join();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep<S: Stack, B: Below<S>>(mut keeper: Keeper<S, B>, clock: &dyn Clock, shared: &Shared) {
    while !shared.stop.load(Ordering::SeqCst) {
        if let Some(page) = lock(&shared.page).take() {
            keeper.machine.configure(page);
            keeper.stale = true;
        }
        let done = keeper.settle(clock).and_then(|()| {
            publish(shared, keeper.machine.state(clock.moment()));
            keeper.wait(clock, LOOK_UP)
        });
        if let Err(error) = done {
            log::warn!("network: {error}");
            keeper.stale = true;
            std::thread::sleep(FAILED_PAUSE);
        }
    }
    // Leased addresses are given back.
    keeper.below.release(clock.moment());
}

fn publish(shared: &Shared, state: State) {
    let mut told = lock(&shared.state);
    if told.0 > 0 && told.1 == state {
        return;
    }
    for link in &state.links {
        let line = link.line();
        if !told.1.links.iter().any(|before| before.line() == line) {
            log::info!("{line}");
        }
    }
    *told = (told.0 + 1, state);
    shared.changed.notify_all();
}

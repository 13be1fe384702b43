//! Where actors and the driver meet: every call to the store waits here until the driver answers it.
//!
//! Actors are ordinary threads that run the vault's own code. At any moment at most one of them is doing anything:
//! the driver answers one call and waits until that actor asks the next thing or ends. So the order of all calls,
//! and what each of them finds, follows from the driver's seed alone.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hal::time::{Clock, UnixMillis};
use hal_sim::SimClock;
use pipeline_vault::store::{BlobStore, Created, Listing, ObjectFacts};
use pipeline_vault::{Blame, Error};

/// Longest that an actor may compute between two calls: more is a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// One call to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Create(String, Arc<[u8]>),
    Read(String, u64, usize),
    ReadAll(String, u64),
    Facts(String),
    List(String, Option<String>, usize),
    Delete(Vec<String>),
    Now,
}

/// What a store answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Created(Created),
    Bytes(Vec<u8>),
    Facts(Option<ObjectFacts>),
    Listing(Listing),
    Deleted(Vec<Result<bool, Error>>),
    Now(u64),
}

/// An answer that was given, and the clocks of the machine at that moment: what a copy of it goes through again.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) request: Request,
    pub(crate) reply: Result<Reply, Error>,
    pub(crate) wall: UnixMillis,
    pub(crate) monotonic_nanos: u64,
}

impl Request {
    /// Whether the store is another one afterwards.
    pub(crate) fn changes(&self) -> bool {
        matches!(self, Self::Create(..) | Self::Delete(_))
    }

    /// Asks a store.
    pub(crate) fn perform(&self, store: &dyn BlobStore) -> Result<Reply, Error> {
        match self {
            Self::Create(name, body) => store.create(name, body).map(Reply::Created),
            Self::Read(name, offset, length) => {
                let mut bytes = vec![0; *length];
                store.read(name, *offset, &mut bytes).map(|()| Reply::Bytes(bytes))
            }
            Self::ReadAll(name, most) => store.read_all(name, *most).map(Reply::Bytes),
            Self::Facts(name) => store.facts(name).map(Reply::Facts),
            Self::List(prefix, next, limit) => {
                store.list(prefix, next.as_deref(), *limit).map(Reply::Listing)
            }
            Self::Delete(names) => Ok(Reply::Deleted(store.delete(names))),
            Self::Now => store.now().map(Reply::Now),
        }
    }
}

/// What the driver knows of an actor's thread.
#[derive(Default)]
struct Seat {
    waiting: VecDeque<(u64, Request)>,
    answer: Option<(u64, Result<Reply, Error>)>,
    tickets: u64,
    running: bool,
    ended: bool,
    dead: bool,
}

/// The meeting point.
#[derive(Default)]
pub(crate) struct Gate {
    seats: Mutex<Vec<Seat>>,
    changed: Condvar,
}

impl Gate {
    /// A place for one more actor, which is thought to be running.
    pub(crate) fn seat(&self) -> usize {
        let mut seats = self.lock();
        seats.push(Seat { running: true, ..Seat::default() });
        seats.len() - 1
    }

    /// Waits until nobody runs: every actor waits for an answer or has ended.
    pub(crate) fn settle(&self) {
        let busy = |seats: &mut Vec<Seat>| seats.iter().any(|seat| seat.running && !seat.ended);
        let (guard, wait) = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, busy)
            .unwrap_or_else(PoisonError::into_inner);
        drop(guard);
        assert!(!wait.timed_out(), "an actor neither asks the store nor ends");
    }

    /// The actors that wait, with what they ask.
    pub(crate) fn waiting(&self) -> Vec<(usize, Request)> {
        let seats = self.lock();
        let waits = |(at, seat): (usize, &Seat)| Some((at, seat.waiting.front()?.1.clone()));
        seats.iter().enumerate().filter_map(waits).collect()
    }

    /// Answers the call that an actor waits in; it runs from here on.
    pub(crate) fn answer(&self, at: usize, reply: Result<Reply, Error>) {
        let mut seats = self.lock();
        let seat = &mut seats[at];
        let (ticket, _) = seat.waiting.pop_front().expect("the actor waits");
        seat.answer = Some((ticket, reply));
        seat.running = true;
        drop(seats);
        self.changed.notify_all();
    }

    /// The actor's machine stops: this call and all later ones fail at once, and nothing of them reaches the store.
    pub(crate) fn kill(&self, at: usize) {
        let mut seats = self.lock();
        seats[at].dead = true;
        seats[at].waiting.clear();
        seats[at].running = true;
        drop(seats);
        self.changed.notify_all();
    }

    pub(crate) fn has_ended(&self, at: usize) -> bool {
        self.lock()[at].ended
    }

    fn ask(&self, at: usize, request: Request) -> Result<Reply, Error> {
        let mut seats = self.lock();
        let seat = &mut seats[at];
        let ticket = seat.tickets;
        seat.tickets += 1;
        if !seat.dead {
            seat.waiting.push_back((ticket, request));
            seat.running = false;
            self.changed.notify_all();
        }
        loop {
            let seat = &mut seats[at];
            if seat.dead {
                return Err(Error::device("this machine", "was stopped"));
            }
            if let Some((_, reply)) = seat.answer.take_if(|(answered, _)| *answered == ticket) {
                return reply;
            }
            seats = self.changed.wait(seats).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self, at: usize) {
        self.lock()[at].ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that an actor's thread has ended, however it ended.
pub(crate) struct Ending(pub(crate) Arc<Gate>, pub(crate) usize);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// The store as one actor sees it.
pub(crate) struct ActorStore {
    pub(crate) gate: Arc<Gate>,
    pub(crate) at: usize,
    /// What a copied machine went through before it was copied.
    pub(crate) replay: Mutex<VecDeque<Logged>>,
    pub(crate) clock: SimClock,
}

impl ActorStore {
    fn ask(&self, request: Request) -> Result<Reply, Error> {
        let mut replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        if replay.is_empty() {
            drop(replay);
            return self.gate.ask(self.at, request);
        }
        // Threads of a machine may ask in another order than they did in the original.
        let Some(at) = replay.iter().position(|logged| logged.request == request) else {
            // It went another way than the original did before it was copied: not a copy, so it ends here.
            drop(replay);
            self.gate.kill(self.at);
            return self.gate.ask(self.at, request);
        };
        let logged = replay.remove(at).expect("its place was just found");
        drop(replay);
        let passed = logged.monotonic_nanos.saturating_sub(self.clock.monotonic_nanos());
        self.clock.advance(passed / 1_000_000);
        self.clock.jump(logged.wall);
        logged.reply
    }
}

/// An answer of another kind than the question is a mistake of the gate.
macro_rules! reply {
    ($reply:expr, $kind:ident) => {
        match $reply {
            Ok(Reply::$kind(value)) => Ok(value),
            Ok(other) => panic!("the driver answered {other:?}"),
            Err(error) => Err(error),
        }
    };
}

impl BlobStore for ActorStore {
    fn prepare(&self) -> Result<(), Error> {
        Ok(())
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        reply!(self.ask(Request::Create(name.to_owned(), body.into())), Created)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let request = Request::Read(name.to_owned(), offset, into.len());
        reply!(self.ask(request), Bytes).map(|bytes| into.copy_from_slice(&bytes))
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        reply!(self.ask(Request::ReadAll(name.to_owned(), bytes_max)), Bytes)
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        reply!(self.ask(Request::Facts(name.to_owned())), Facts)
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        let request = Request::List(prefix.to_owned(), next.map(str::to_owned), limit);
        reply!(self.ask(request), Listing)
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        match self.ask(Request::Delete(names.to_vec())) {
            Ok(Reply::Deleted(answers)) => answers,
            Ok(other) => panic!("the driver answered {other:?}"),
            Err(error) => names.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn now(&self) -> Result<u64, Error> {
        reply!(self.ask(Request::Now), Now)
    }

    fn place(&self) -> String {
        "memory:".to_owned()
    }

    /// One call at a time, so that an actor's next call follows from the answers that it got.
    fn parallel(&self) -> usize {
        1
    }
}

/// What an actor is told when a call fails.
pub(crate) fn unreachable() -> Error {
    let error = Error::device("memory:", "did not answer");
    debug_assert_eq!(error.blame, Blame::Device);
    error
}

//! The courier: a service that carries the requests of whoever holds the keys, runs his errands, and reads what is answered.
//!
//! Names, connections, TLS with its certificates, HTTP, SMTP and syslog are its business; a request comes to it signed, and it has no key
//! to sign another; with a mail comes the password of its server, for that one mail. What it says is bounded, waited for no longer than
//! its keeper's patience, and believed no more than a man on the wire: what comes of the vault is sealed.
//!
//! Each request has a lane, a socket of its own for both bodies, that is used again for the next one. A courier may connect to the ports
//! that its keeper named when it was started; where another port is wanted, another courier is begun, and the first ends with
//! what it still carries.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use pipeline_azure::transport::carrier::carry_by;
use pipeline_azure::transport::failure::{Failure, Kind};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::restart::Pace;
use crate::services::line::Line;
use crate::services::{COURIER, Keeper, Running};

/// The service.
pub(crate) mod apart;
/// Requests, handed over.
mod client;
/// What is said to others that is no request of HTTP.
pub mod errand;
/// What is said on a lane.
pub mod words;

/// Lanes at once, those that wait for another request among them. Beyond that a request waits for a place.
pub(crate) const LANES_MAX: usize = 96;
/// So many errands have a lane where requests have all others: an alert tells of an upload that does not move.
const ERRANDS_MAX: usize = 8;
/// For how long a lane waits for another request; the courier ends it later than that.
const LANE_KEPT: Duration = Duration::from_secs(20);
const LANE_ENDS: Duration = Duration::from_secs(60);
/// A courier that does not take a lane within this is ended.
const TAKES: Duration = Duration::from_secs(10);
/// A courier that ended says so within this.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// One whose lanes ended has ended itself, or has not within this.
const ENDS: Duration = Duration::from_millis(500);
/// Ports that one may connect to; whoever wants more than this begins with his own alone.
const PORTS_MAX: usize = 16;
/// DNS over TCP, for long answers.
const DNS_PORT: u16 = 53;
/// What it is told with the socket of a lane, and first of all.
const LANE: &[u8] = b"lane";

/// From now on all requests and errands of this process go by a courier, which is started when the first one is made.
pub(crate) fn keep(keeper: Keeper<'static>) {
    let courier = Arc::new(Courier::new(keeper));
    if KEPT.set(Arc::clone(&courier)).is_err() || !carry_by(Arc::new(client::Requests(courier))) {
        log::debug!("requests go by a courier already");
    }
}

/// That of this process, where it has one.
static KEPT: OnceLock<Arc<Courier>> = OnceLock::new();

/// What a lane is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    /// Requests of the client of this number.
    Requests(u64),
    /// One errand: its lane is new, and nobody has it afterwards.
    Errand,
}

impl Wants {
    /// With how many lanes in use there is none for it.
    fn lanes_max(self) -> usize {
        match self {
            Self::Requests(_) => LANES_MAX,
            Self::Errand => LANES_MAX + ERRANDS_MAX,
        }
    }
}

/// A courier at work.
struct Work {
    /// `None` once it was ended.
    running: Mutex<Option<Running>>,
    is_lost: AtomicBool,
    line: Line,
    ports: BTreeSet<u16>,
    began: Instant,
}

impl Work {
    fn new(running: Option<Running>, line: Line, ports: BTreeSet<u16>) -> Self {
        let (running, is_lost) = (Mutex::new(running), AtomicBool::new(false));
        Self { running, is_lost, line, ports, began: Instant::now() }
    }
}

/// A lane that waits for more of the same.
struct Idle {
    wants: Wants,
    stream: UnixStream,
    work: Arc<Work>,
    since: Instant,
}

#[derive(Default)]
struct State {
    work: Option<Arc<Work>>,
    pace: Pace,
    rests_until: Option<Instant>,
    idle: Vec<Idle>,
    in_use: usize,
}

/// Who keeps the courier.
pub(crate) struct Courier {
    keeper: Keeper<'static>,
    state: Mutex<State>,
    freed: Condvar,
}

/// A lane in use.
struct Lane {
    stream: UnixStream,
    /// Nothing was said on it yet.
    is_new: bool,
    wants: Wants,
    work: Arc<Work>,
    courier: Arc<Courier>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.courier.lock().in_use -= 1;
        self.courier.freed.notify_all();
    }
}

impl Lane {
    /// All of the answer was read: the next request may have it.
    fn give_back(self) {
        let Ok(stream) = self.stream.try_clone() else { return };
        let (wants, work, since) = (self.wants, Arc::clone(&self.work), Instant::now());
        let mut state = self.courier.lock();
        // One that was replaced ends with the last lane that it carries.
        if state.work.as_ref().is_some_and(|current| Arc::ptr_eq(current, &work)) {
            state.idle.push(Idle { wants, stream, work, since });
        }
    }

    /// Its courier says what none says, or nothing: it is ended, and another one begun.
    fn is_lost(&self, why: &str) {
        let mut state = self.courier.lock();
        self.courier.lose(&mut state, &self.work, why);
    }
}

impl Courier {
    fn new(keeper: Keeper<'static>) -> Self {
        Self { keeper, state: Mutex::default(), freed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane for this, to a courier that may connect to these ports.
    fn lane(
        self: &Arc<Self>,
        wants: Wants,
        ports: &[u16],
        deadline: Instant,
    ) -> Result<Lane, Failure> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            state.idle.retain(|idle| now.duration_since(idle.since) < LANE_KEPT);
            let rests_until = state.rests_until.filter(|until| *until > now);
            let rests = "the service courier ended, and is started again";
            let wait = if state.in_use >= wants.lanes_max() {
                Some((deadline, "too many requests are under way"))
            } else {
                rests_until.map(|until| (until.min(deadline), rests))
            };
            if let Some((until, why)) = wait {
                if now >= deadline {
                    return Err(Failure::new(Kind::Connect, why));
                }
                let left = until.saturating_duration_since(now);
                let waited = self.freed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let Some(work) = self.work(&mut state, ports) else { continue };
            match self.lane_of(&mut state, wants, &work) {
                Ok((stream, is_new)) => {
                    state.in_use += 1;
                    drop(state);
                    return Ok(Lane { stream, is_new, wants, work, courier: Arc::clone(self) });
                }
                Err(error) => {
                    self.lose(&mut state, &work, &format!("it takes nothing more: {error}"));
                }
            }
        }
    }

    /// One that waits, or a new one.
    fn lane_of(
        &self,
        state: &mut State,
        wants: Wants,
        work: &Arc<Work>,
    ) -> std::io::Result<(UnixStream, bool)> {
        let fits = |idle: &Idle| idle.wants == wants && Arc::ptr_eq(&idle.work, work);
        if let Some(at) = state.idle.iter().rposition(fits) {
            return Ok((state.idle.swap_remove(at).stream, false));
        }
        if state.idle.len() + state.in_use >= LANES_MAX && !state.idle.is_empty() {
            state.idle.remove(0);
        }
        let (ours, theirs) = UnixStream::pair()?;
        work.line.send(LANE, &[theirs.as_fd()])?;
        Ok((ours, true))
    }

    /// A courier for these ports; `None` where it cannot be started now.
    fn work(&self, state: &mut State, ports: &[u16]) -> Option<Arc<Work>> {
        let missing = |work: &Arc<Work>| ports.iter().any(|port| !work.ports.contains(port));
        if let Some(work) = state.work.as_ref().filter(|work| !missing(work)) {
            return Some(Arc::clone(work));
        }
        let before = state.work.as_ref().map(|work| work.ports.clone()).unwrap_or_default();
        let mut all: BTreeSet<u16> = before.iter().chain(ports).copied().collect();
        if all.len() > PORTS_MAX {
            all = ports.iter().copied().collect();
        }
        all.insert(DNS_PORT);
        match self.start(all) {
            Ok(work) => {
                // What the one before carries it still carries; nothing new is given to it.
                state.idle.retain(|idle| Arc::ptr_eq(&idle.work, &work));
                state.work = Some(Arc::clone(&work));
                Some(work)
            }
            Err(words) => {
                let pause = state.pace.after(Duration::ZERO);
                log::warn!("{words}; started again in {} s", pause.as_secs());
                state.rests_until = Some(Instant::now() + pause);
                None
            }
        }
    }

    fn start(&self, ports: BTreeSet<u16>) -> Result<Arc<Work>, String> {
        let failed = |error: std::io::Error| format!("the service courier is not heard: {error}");
        let connects: Vec<u16> = ports.iter().copied().collect();
        let running = Running::start(&COURIER.connecting(&connects), &self.keeper, LANE, &[])?;
        // Who does not listen holds nobody up for long.
        set_socket_timeout(&running.line, Timeout::Send, Some(TAKES))
            .map_err(|errno| failed(errno.into()))?;
        let line = running.line.again().map_err(failed)?;
        Ok(Arc::new(Work::new(Some(running), line, ports)))
    }

    /// A courier is no good any more: it ends with all that it carries.
    fn lose(&self, state: &mut State, work: &Arc<Work>, why: &str) {
        // Somebody else may have found out first.
        if work.is_lost.swap(true, Ordering::Relaxed) {
            return;
        }
        let running = work.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = running.and_then(|mut running| {
            // Dropped, it ends.
            running.has_ended(ENDS).then(|| running.why(END_PATIENCE))
        });
        let words = ended.unwrap_or_else(|| format!("the service courier was ended: {why}"));
        state.idle.retain(|idle| !Arc::ptr_eq(&idle.work, work));
        if state.work.as_ref().is_some_and(|current| Arc::ptr_eq(current, work)) {
            state.work = None;
            let pause = state.pace.after(work.began.elapsed());
            log::warn!("{words}; started again in {} s", pause.as_secs());
            state.rests_until = Some(Instant::now() + pause);
        } else {
            log::warn!("{words}");
        }
        self.freed.notify_all();
    }
}

#[cfg(test)]
mod tests;

//! Out of the spool into the vault: pieces become points and checkpoints, and what the vault has is let go.
//!
//! Several workers, one piece of one server each. A piece that fails is tried again after a pause; meanwhile others go on,
//! and points go on into the spool. The order that makes a kill at any instant harmless: the vault's record, then where the
//! server stands, durably in the spool; then the next piece of that server, and its agent is told.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use pipeline::ids::{PointId, ServerId};
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::writer::Options;

use super::backlog::{Backlog, Job};
use super::hub::{Hub, Release};
use super::journal;
use super::ledger;
use super::spooled_disk::Shelf;
use crate::spool::{Mark, Read};

/// What a piece that did not go comes to.
mod trouble;
/// A piece into the chain of its server.
mod writing;

use trouble::Trouble;
use writing::Open;

/// Workers: each has a piece of its own.
pub const WORKERS: usize = 2;
/// How long a worker waits for something to do.
const IDLE: Duration = Duration::from_millis(500);
/// How long it waits where there is something that it cannot take now.
const CROWDED: Duration = Duration::from_millis(20);
/// The longest pause after a failure.
const PAUSE_MILLIS_MAX: u64 = 60_000;
/// Writers that are kept open between two pieces.
pub const WRITERS_MAX: usize = 16;
/// An open piece of so many bytes becomes a checkpoint where a worker is idle, or of an eighth of the spool.
const EAGER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// In memory an open piece of so many bytes becomes a checkpoint: until then its agent may have no more on its way.
const MEMORY_PIECE_BYTES: u64 = 1024 * 1024;

/// What the drain works with.
pub struct Drain {
    hub: Arc<Hub>,
    shelf: Arc<Shelf>,
    backlog: Mutex<Backlog>,
    writers: Mutex<BTreeMap<ServerId, Open>>,
    lasts: bool,
    /// Makes the tokens where no randomness is to be had.
    tokens: AtomicU64,
    /// When a piece of anybody last went to the vault, by a clock that only runs forwards.
    succeeded: AtomicU64,
    access: Box<dyn Fn(ServerId) -> Access + Send + Sync>,
    /// Whether a server goes to the vault no faster than somebody said.
    is_paced: Box<dyn Fn(ServerId) -> bool + Send + Sync>,
    /// The chain that what goes on from a point goes into.
    chains: Box<Chains>,
    options: Options,
}

/// Gives the chain of the vault into which goes what a server sends that goes on from a point.
pub type Chains = dyn Fn(ServerId, Option<PointId>) -> Result<ServerId, Error> + Send + Sync;

impl Drain {
    /// `access` gives the vault as it is used for a server: through that server's limits.
    pub fn new(
        hub: Arc<Hub>,
        shelf: Shelf,
        backlog: Backlog,
        lasts: bool,
        access: impl Fn(ServerId) -> Access + Send + Sync + 'static,
        options: Options,
    ) -> Result<Self, Error> {
        let mut first = [0; 8];
        let server = ServerId([0; 16]);
        access(server).fill(&mut first)?;
        // A piece may be a whole disk: the end does not wait for it. What it came to is a checkpoint by then.
        let options = Options { stop: hub.stopping(), ..options };
        Ok(Self {
            hub,
            is_paced: Box::new(|_| false),
            chains: Box::new(|server, _| Ok(server)),
            shelf: Arc::new(shelf),
            backlog: Mutex::new(backlog),
            writers: Mutex::default(),
            lasts,
            tokens: AtomicU64::new(u64::from_le_bytes(first)),
            succeeded: AtomicU64::new(0),
            access: Box::new(access),
            options,
        })
    }

    /// Who is slow because somebody said so is never all that the workers work on.
    #[must_use]
    pub fn with_paces(self, is_paced: impl Fn(ServerId) -> bool + Send + Sync + 'static) -> Self {
        Self { is_paced: Box::new(is_paced), ..self }
    }

    /// Pieces go into the chains that this says.
    #[must_use]
    pub fn with_chains(self, chains: Box<Chains>) -> Self {
        Self { chains, ..self }
    }

    /// A name that was not given to anything yet, and that no agent guesses.
    pub fn token(&self) -> u64 {
        let mut bytes = [0; 8];
        match (self.access)(ServerId([0; 16])).fill(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => self.tokens.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The name of a loss: no group's cut answers to it.
    fn loss(&self) -> u64 {
        ledger::loss(self.token())
    }

    /// Bytes that wait for the vault, by server.
    #[must_use]
    pub fn waiting(&self) -> Vec<(ServerId, u64)> {
        self.backlog().waiting().collect()
    }

    /// Says of everything that the spool lost something; nobody knows whose.
    pub fn lose_all(&self, servers: impl Iterator<Item = ServerId>) {
        let lost: Vec<(ServerId, u64)> = servers.map(|server| (server, self.loss())).collect();
        self.hub.lost(&lost, "records of the spool are damaged");
    }

    /// Works until the hub ends.
    pub fn run(&self) {
        while !self.hub.is_stopping() {
            let job = self.next();
            match job {
                Some(job) => self.one(&job),
                None => {
                    let cursor = self.backlog().cursor();
                    match self.hub.durable_beyond(cursor, IDLE) {
                        None => return,
                        // There is more, and no room to remember it, or it cannot be read just now.
                        Some(durable) if durable > cursor => std::thread::sleep(CROWDED),
                        Some(_) => {}
                    }
                }
            }
        }
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.hub.now().0
    }

    /// Reads on, as far as there is room to remember it, and takes what may go.
    fn next(&self) -> Option<Job> {
        let durable = self.hub.durable_beyond(Mark::default(), Duration::ZERO)?;
        self.shelf.reach(durable);
        let now = self.now();
        let mut backlog = self.backlog();
        let mut lost = Vec::new();
        while backlog.has_room() && backlog.cursor() < durable {
            if !self.read_on(&mut backlog, durable, &mut lost) {
                break;
            }
            if let Some(job) = backlog.next(now, &self.is_paced) {
                drop(backlog);
                self.tell_lost(&lost);
                return Some(job);
            }
        }
        let job = backlog.next(now, &self.is_paced).or_else(|| {
            let pressed = self.is_pressed(&backlog);
            (pressed.is_some_and(|least| backlog.squeeze(least)))
                .then(|| backlog.next(now, &self.is_paced))
                .flatten()
        });
        let settled = if backlog.cursor() == durable { backlog.settled() } else { Vec::new() };
        drop(backlog);
        self.tell_lost(&lost);
        for (life, sequence) in settled {
            self.hub.vaulted(life, sequence, None);
        }
        job
    }

    /// Takes what is next in the journal: from memory where it was kept a moment ago, else from the spool. False where it
    /// cannot be read now.
    fn read_on(
        &self,
        backlog: &mut Backlog,
        durable: Mark,
        lost: &mut Vec<(ServerId, u64)>,
    ) -> bool {
        let cursor = backlog.cursor();
        let read = match self.hub.at_hand(cursor) {
            Some((after, entry)) => Ok(Some((after, Some(entry)))),
            None => self.shelf.read(cursor).map(|read| match read {
                Read::Record { payload, after } => {
                    let entry = journal::parse(&payload).map(|(_, entry)| entry);
                    self.shelf.give_back(payload);
                    Some((after, entry))
                }
                Read::Lost { after, .. } => Some((after, None)),
                Read::End => None,
            }),
        };
        match read {
            Ok(Some((after, Some(entry)))) => {
                lost.extend(backlog.take(after, entry).map(|server| (server, self.loss())));
            }
            Ok(Some((after, None))) => lost.extend(self.lose(backlog, after)),
            Ok(None) => return false,
            Err(error) => {
                log::warn!("{error}");
                return false;
            }
        }
        debug_assert!(backlog.cursor() <= durable, "what was taken is durable");
        true
    }

    /// Whether open pieces must go although no cut closed them; the least that is worth it.
    fn is_pressed(&self, backlog: &Backlog) -> Option<u64> {
        let usage = self.hub.usage();
        if backlog.has_jobs() && backlog.has_room() {
            return None;
        }
        if !self.lasts {
            return Some(MEMORY_PIECE_BYTES);
        }
        if usage.used > usage.bytes / 2 || !backlog.has_room() {
            return Some(0);
        }
        // A worker has nothing to do: what is on its way for long goes while it is sent, not when all of it is here.
        Some((usage.bytes / 8).min(EAGER_BYTES_MAX)).filter(|least| *least > 0)
    }

    fn release(
        &self,
        up_to: Mark,
        vaulted: Vec<(ServerId, u64, PointId)>,
        lost: Vec<(ServerId, u64)>,
    ) -> Result<(), Trouble> {
        let (done, ended) = mpsc::sync_channel(1);
        let former = self.backlog().former();
        self.hub.release(Release { up_to, vaulted, lost, former, done });
        loop {
            match ended.recv_timeout(IDLE) {
                Ok(()) => return Ok(()),
                Err(mpsc::RecvTimeoutError::Timeout) if !self.hub.is_stopping() => {}
                Err(_) => return Err(Trouble::End),
            }
        }
    }

    /// One piece, to its end.
    fn one(&self, job: &Job) {
        let server = job.life.server;
        match self.put(job) {
            Ok(point) => {
                let vaulted = match (&job.cut, point) {
                    (Some(kept), Some(point)) => Some((kept.cut.epoch, point)),
                    _ => None,
                };
                let needed = {
                    let mut backlog = self.backlog();
                    // Not free for its next piece before it is durable that this one is done.
                    backlog.finish(server)
                };
                let told = vaulted.map(|(epoch, point)| (server, epoch, point));
                let released = self.release(needed, told.into_iter().collect(), Vec::new());
                self.backlog().free(server);
                if released.is_ok() {
                    self.hub.vaulted(job.life, job.sequence, vaulted);
                }
            }
            Err(Trouble::Vault(error)) => self.fail(server, &error),
            Err(Trouble::Lost(words)) => self.start_over(server, &words, 0),
            Err(Trouble::Fenced(error)) => {
                // Not at once: whoever took over may be at work still, and two that take over from each other do no work.
                self.start_over(server, &error.to_string(), PAUSE_MILLIS_MAX);
            }
            Err(Trouble::Forked(error)) => {
                log::info!("server {server}: {error}");
                self.backlog().failed(server, self.now());
            }
            Err(Trouble::Gone(newest)) => self.compare_all(server, newest),
            Err(Trouble::End) => {}
        }
    }

    fn writers(&self) -> MutexGuard<'_, BTreeMap<ServerId, Open>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

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
use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::access::Access;
use pipeline_vault::chain::Chain;
use pipeline_vault::error::Blame;
use pipeline_vault::record::{Body, Consistency, Told};
use pipeline_vault::writer::{DiskJob, Options, Outcome, Publish, Run, Silent, Since, Writer};
use pipeline_vault::{Error, Retry};
use pipeline_wire::message::Instant;

use super::backlog::{Backlog, Job};
use super::base::Base;
use super::hub::{Hub, Release};
use super::journal;
use super::ledger;
use super::spooled_disk::{Shelf, SpooledDisk};
use crate::spool::{Mark, Read};

/// Workers: each has a piece of its own.
pub const WORKERS: usize = 2;
/// How long a worker waits for something to do.
const IDLE: Duration = Duration::from_millis(500);
/// How long it waits where there is something that it cannot take now.
const CROWDED: Duration = Duration::from_millis(20);
/// The first pause after a failure; it doubles.
const PAUSE_MILLIS: u64 = 1000;
/// The longest.
const PAUSE_MILLIS_MAX: u64 = 60_000;
/// Failures in a row after which a server whose pieces take the room of others starts over.
const FAILURES_MAX: u32 = 10;
/// How long it is then kept out.
const KEPT_OUT_MILLIS: u64 = 10 * 60 * 1000;
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

/// A writer between two pieces, and how often in a row a piece failed.
#[derive(Default)]
struct Open {
    writer: Option<Box<Writer>>,
    failures: u32,
    /// When the first of these was, by a clock that only runs forwards.
    failing_since: Option<u64>,
    used: u64,
}

/// Why a piece did not go.
enum Trouble {
    /// The vault, or this machine: later again.
    Vault(Error),
    /// What the spool has of this server is worth nothing: in words.
    Lost(String),
    /// Another writer took the chain over: what comes now is no longer what came after the newest point of this one.
    Fenced(Error),
    /// The server was failed over meanwhile, or that ended: it goes into another chain, or once more into its own, as it is.
    Forked(Error),
    /// What its agent was told to be in the vault is not: this is the newest point there.
    Gone(Option<PointId>),
    /// The end has come.
    End,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Vault(error)
    }
}

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

    fn lose(&self, backlog: &mut Backlog, after: Mark) -> Vec<(ServerId, u64)> {
        let token = self.loss();
        log::error!(
            "records of the spool are damaged: everybody who has something in it sends it again"
        );
        let servers = backlog.lose(after, token);
        servers.into_iter().map(|server| (server, token)).collect()
    }

    fn tell_lost(&self, lost: &[(ServerId, u64)]) {
        if lost.is_empty() {
            return;
        }
        // First durably: a kill in between must not make anybody believe that nothing is missing.
        let needed = self.backlog().needed_from();
        if self.release(needed, Vec::new(), lost.to_vec()).is_ok() {
            self.hub.lost(lost, "records of the spool are damaged");
        }
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

    /// What the spool has of a server is worth nothing: its agent sends everything that the vault does not have.
    fn start_over(&self, server: ServerId, words: &str, pause_millis: u64) {
        let token = self.loss();
        log::error!("server {server}: {words}: it sends again");
        let needed = {
            let mut backlog = self.backlog();
            backlog.drop_server(server, token);
            backlog.failed(server, self.now().saturating_add(pause_millis));
            backlog.needed_from()
        };
        if self.release(needed, Vec::new(), vec![(server, token)]).is_ok() {
            self.hub.lost(&[(server, token)], words);
        }
    }

    /// What an agent was told to be in the vault is not in its chain: it compares everything with this point.
    fn compare_all(&self, server: ServerId, newest: Option<PointId>) {
        let token = ledger::whole_loss(self.token());
        let words = "what it was told to be in the vault is not in its chain now";
        log::warn!("server {server}: {words}: everything of it is compared");
        let needed = {
            let mut backlog = self.backlog();
            backlog.drop_server(server, token);
            backlog.failed(server, self.now());
            backlog.needed_from()
        };
        let epoch = self.hub.vaulted_epoch(server);
        let vaulted = newest.map(|point| (server, epoch, point));
        if self.release(needed, vaulted.into_iter().collect(), vec![(server, token)]).is_ok() {
            newest.into_iter().for_each(|point| self.hub.rebase(server, point));
            self.hub.lost(&[(server, token)], words);
        }
    }

    fn fail(&self, server: ServerId, error: &Error) {
        let now = self.now();
        let (failures, hopeless) = {
            let mut writers = self.writers();
            let open = writers.entry(server).or_default();
            open.failures = open.failures.saturating_add(1);
            let since = *open.failing_since.get_or_insert(now);
            let tried = error.retry == Retry::Never || open.failures >= FAILURES_MAX;
            // Where others go on, it is not the vault that is away.
            (open.failures, tried && self.succeeded.load(Ordering::Relaxed) > since)
        };
        if hopeless && self.holds_others_up() {
            self.start_over(
                server,
                &format!("what it sent has no way into the vault: {error}"),
                PAUSE_MILLIS_MAX,
            );
            self.hub.keep_out(server, KEPT_OUT_MILLIS);
            return;
        }
        let doubled = PAUSE_MILLIS.saturating_mul(1 << failures.min(10).saturating_sub(1));
        let pause = doubled.min(PAUSE_MILLIS_MAX);
        if failures == 1 || pause == PAUSE_MILLIS_MAX {
            log::warn!("server {server}: {error}; tried again in {} s", pause / 1000);
        }
        self.backlog().failed(server, now.saturating_add(pause));
    }

    /// Whether what waits takes the room of others.
    fn holds_others_up(&self) -> bool {
        let usage = self.hub.usage();
        usage.used > usage.bytes / 2 || !self.backlog().has_room()
    }

    fn writers(&self) -> MutexGuard<'_, BTreeMap<ServerId, Open>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer of a server: the one that is open, or a new one.
    fn writer(&self, job: &Job) -> Result<(Box<Writer>, Option<PointId>), Trouble> {
        let server = job.life.server;
        let kept = self.writers().get_mut(&server).and_then(|open| open.writer.take());
        let kept = kept.filter(|writer| !writer.has_failed());
        let known = self.hub.base_point(server);
        let chain = match &kept {
            // A fork is met in the slot of the next record; its end nobody meets who writes beside.
            Some(writer) if writer.server() == server => server,
            _ => (self.chains)(server, known)?,
        };
        if let Some(writer) = kept.filter(|writer| writer.server() == chain) {
            return Ok((writer, None));
        }
        let access = (self.access)(server);
        let mut writer = Box::new(Writer::open(&access, chain, self.options.clone())?);
        let chain = Chain::open(&access, chain)?;
        let newest = chain.newest_point()?;
        if let Some(manifest) = newest.as_ref().and_then(|link| link.record.point()) {
            // The end came after this very point was published, and before that was noted.
            let same = job.cut.as_ref().is_some_and(|kept| {
                known != Some(manifest.id)
                    && manifest.told.source_time == Some(kept.cut.at_millis)
                    && manifest.told.frozen_micros == frozen(kept.cut.frozen_micros)
            });
            if same {
                return Ok((writer, Some(manifest.id)));
            }
        }
        let base = Base::of(&chain, known, &self.options.host)?;
        let Some(words) = base.foreign else { return Ok((writer, None)) };
        let gone = base.is_gone().then(|| base.point_id());
        // What is sent again is what changed since the point that the agent knows of, whatever others put behind it.
        writer.go_on_from(base.point);
        self.writers().entry(server).or_default().writer = Some(writer);
        Err(gone.map_or_else(|| Trouble::Lost(words.to_owned()), Trouble::Gone))
    }

    fn put(&self, job: &Job) -> Result<Option<PointId>, Trouble> {
        let server = job.life.server;
        let (mut writer, published) = self.writer(job)?;
        let result = match published {
            Some(point) => Ok(Some(point)),
            None => self.make(job, &mut writer),
        };
        if result.is_ok() {
            let mut writers = self.writers();
            let used = writers.values().map(|open| open.used).max().unwrap_or(0) + 1;
            writers.insert(
                server,
                Open { writer: Some(writer), failures: 0, failing_since: None, used },
            );
            self.succeeded.fetch_max(self.now(), Ordering::Relaxed);
            if writers.values().filter(|open| open.writer.is_some()).count() > WRITERS_MAX
                && let Some(open) = writers.values_mut().min_by_key(|open| open.used)
            {
                open.writer = None;
            }
        }
        result
    }

    fn make(&self, job: &Job, writer: &mut Writer) -> Result<Option<PointId>, Trouble> {
        let mut run = run_of(job, &self.options);
        for (disk, extents) in job.disks.iter().zip(&job.extents) {
            let hello = &disk.hello;
            let is_missing = writer.disk(&hello.name, &hello.identity).is_none();
            // A checkpoint claims nothing: the disk may be sent behind it.
            if job.cut.is_some() && extents.is_empty() && is_missing {
                let words =
                    format!("nothing of {} was ever sent: it is all zeros here", hello.name);
                log::warn!("server {}: {words}", job.life.server);
                run.told.remark(&words);
            }
        }
        match writer.run(self.disks(job), &run, &Silent) {
            Ok(outcome) => {
                self.note(job, &outcome);
                Ok(job.cut.as_ref().map(|_| outcome.id))
            }
            Err(_) if self.hub.is_stopping() => Err(Trouble::End),
            Err(_) if self.shelf.take_damage() => {
                Err(Trouble::Lost("records of the spool are damaged".to_owned()))
            }
            Err(error) if error.blame == Blame::Refused && error.retry == Retry::Never => {
                let is_forked = self.is_forked(job.life.server, writer);
                Err(if is_forked { Trouble::Forked(error) } else { Trouble::Fenced(error) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a failover, or the end of one, is what a writer of a server's own chain met. Nobody else wrote behind it: what
    /// is on its way goes on from what it went on from.
    fn is_forked(&self, server: ServerId, writer: &Writer) -> bool {
        let met = || {
            let chain = Chain::open(&(self.access)(server), server).ok()?;
            let newest = chain.read(chain.trail().epoch?).ok()?;
            Some(matches!(newest.record.body, Body::Fork(_) | Body::ForkEnded(_)))
        };
        writer.server() == server && met() == Some(true)
    }

    fn note(&self, job: &Job, outcome: &Outcome) {
        let work = outcome.work;
        self.hub.stored(job.life.server, work.read_bytes, work.stored_bytes);
    }

    fn disks(&self, job: &Job) -> Vec<DiskJob<SpooledDisk>> {
        let disk = |(disk, extents): (&journal::SentDisk, &Arc<_>)| {
            let hello = &disk.hello;
            let (shelf, sectors) = (Arc::clone(&self.shelf), hello.sector_bytes);
            let ranges = ranges(extents, hello.bytes);
            DiskJob {
                name: hello.name.clone(),
                identity: hello.identity.clone(),
                disk: SpooledDisk::new(shelf, Arc::clone(extents), hello.bytes, sectors),
                changed: Some(ranges),
            }
        };
        job.disks.iter().zip(&job.extents).map(disk).collect()
    }
}

/// What changed, as byte ranges inside the disk.
fn ranges(
    extents: &super::extents::Extents<super::spooled_disk::Place>,
    bytes: u64,
) -> Vec<(u64, u64)> {
    let block = BLOCK_BYTES as u64;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for (run, _) in extents.iter() {
        let (from, to) =
            (run.start.saturating_mul(block), run.end.saturating_mul(block).min(bytes));
        match ranges.last_mut() {
            Some((first, length)) if *first + *length == from => *length = to - *first,
            _ if from < to => ranges.push((from, to - from)),
            _ => {}
        }
    }
    ranges
}

fn frozen(micros: u64) -> Option<u64> {
    Some(micros).filter(|micros| *micros > 0)
}

fn run_of(job: &Job, options: &Options) -> Run {
    let mut run = Run {
        since: Since::Newest,
        publish: Publish::Checkpoint,
        retry_unread: false,
        ..Run::from(options)
    };
    if let Some(kept) = &job.cut {
        run.publish = Publish::Point;
        run.started = Some(kept.came_millis);
        run.consistency = match kept.cut.instant {
            Instant::Crash => Consistency::Crash,
            Instant::Application => Consistency::Application,
            _ => Consistency::Fuzzy,
        };
        run.told = Told::new(frozen(kept.cut.frozen_micros), Some(kept.cut.at_millis));
        kept.cut.remarks.iter().for_each(|remark| run.told.remark(remark));
    }
    run
}

#[cfg(test)]
mod tests;

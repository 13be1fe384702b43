//! What all connections, the keeper and the drain share: the sessions, and what waits to be written into the spool.
//!
//! One lock, held for moments. It refuses to touch sockets, disks or the vault.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};

use hal::time::{Clock, Moment};
use pipeline::ids::{PointId, ServerId};
use pipeline_wire::frame::PAYLOAD_BYTES_MAX;
use pipeline_wire::message::{
    Blocks, Cut, Demotion, FromAppliance, Hello, Refused, Status, VERSION_MIN, Why,
};
use pipeline_wire::policy::Policy;
use smol::channel::{Receiver, Sender, bounded};

use super::group::Groups;
use super::group::lead::Leads;
use super::journal::{Entry, Life, SentDisk, Standing};
use super::ledger::Ledger;
use super::measures::Measures;
use super::session::{Nonsense, Session};
use crate::spool::{Mark, Usage};

/// From sessions into the queue.
mod admit;
/// Servers that were failed over, or are about to be.
mod failover;
/// Who joined, and with what.
mod join;
/// What is told of servers.
mod tell;

pub use failover::{Draining, demoted};
pub use join::Joined;
use join::{NO_WAY, later};

/// Credit for all agents together, where the machine has the memory.
pub const CREDIT_ALL: u64 = 256 * 1024 * 1024;
/// Credit for one.
const CREDIT_ONE: u64 = 16 * 1024 * 1024;
/// The least that is worth a session: one of the largest messages.
const CREDIT_LEAST: u64 = 1024 * 1024;
/// So many servers are sure to find room at once, for each four of which there is the least credit.
const SURE_OF_FOUR: u64 = 3;
/// Entries are taken in parts of so many bytes, each made durable by one flush.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;
/// Runs in what was just kept and is at hand without being read from the spool.
const AT_HAND_RUNS_MAX: usize = 16_384;
/// The room of a large payload is kept, so many of them: fresh memory costs more than what is done with it.
const SPARE_BYTES: usize = PAYLOAD_BYTES_MAX;
const SPARE_MAX: usize = 16;
/// How long the keeper waits for something to do.
const IDLE: Duration = Duration::from_millis(500);

/// One connection of a session.
struct Line {
    connection: u16,
    wake: Sender<()>,
    ended: Option<Refused>,
}

/// A server that was heard of.
struct Member {
    session: Session,
    lines: BTreeMap<u64, Line>,
    /// Runs that something newer took over from.
    displaced: VecDeque<[u8; 16]>,
    status: Status,
    measures: Measures,
    policy: Option<Policy>,
    group: Option<String>,
    /// Pieces of it that went to the vault.
    pieces: u64,
    /// Nothing is taken of it before this moment.
    kept_out_until: Moment,
    /// The version that its agent speaks.
    speaks: u16,
    /// It was failed over, and this is what its agent is told.
    demotion: Option<Demotion>,
    /// What was ordered for a planned failover, and what came of it.
    drain: Option<Draining>,
    /// Hardware addresses of its machine's cards, as its agent told them.
    cards: Vec<[u8; 6]>,
}

impl Member {
    fn wake(&self) {
        for line in self.lines.values() {
            // Full means that it was woken and has not looked yet.
            let _ = line.wake.try_send(());
        }
    }
}

/// What the drain wants written.
pub struct Release {
    /// Nothing before it is needed any more.
    pub up_to: Mark,
    /// Points that the vault has now.
    pub vaulted: Vec<(ServerId, u64, PointId)>,
    /// Servers of which something was lost.
    pub lost: Vec<(ServerId, u64)>,
    /// Runs before the newest of which something still waits.
    pub former: Vec<Standing>,
    /// Told when it is durable.
    pub done: mpsc::SyncSender<()>,
}

/// What the keeper is to do.
pub(super) enum Task {
    /// Write these, and make them durable.
    Keep(Vec<(Entry, Vec<u8>)>),
    /// Let go of what the vault has.
    Release(Release),
    /// Nothing to do for now.
    Nothing,
    /// End.
    Stop,
}

struct State {
    members: BTreeMap<ServerId, Member>,
    queue: VecDeque<(Entry, Vec<u8>)>,
    queued_bytes: u64,
    /// What was just kept, for the drain: where it begins and ends, and what it is.
    at_hand: VecDeque<(Mark, Mark, Entry)>,
    at_hand_runs: usize,
    releases: VecDeque<Release>,
    groups: Groups,
    leads: Leads,
    /// Credit for all agents together.
    credit_all: u64,
    lines: u64,
    durable: Mark,
    usage: Usage,
    full: bool,
    stop: bool,
}

/// What everybody shares.
pub struct Hub {
    state: Mutex<State>,
    /// Something waits for the keeper.
    to_keep: Condvar,
    /// Something is durable, or the end has come.
    durable: Condvar,
    clock: Arc<dyn Clock>,
    /// Whether what was synced survives a power cut.
    lasts: bool,
    /// Set at the end, for whoever is in the middle of something long.
    stopping: Arc<AtomicBool>,
    /// Memory that payloads were in.
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Hub {
    /// Goes on where a journal ended.
    #[must_use]
    pub fn new(ledger: &Ledger, durable: Mark, lasts: bool, clock: Arc<dyn Clock>) -> Self {
        Self::with_credit(ledger, durable, lasts, clock, CREDIT_ALL)
    }

    /// The same on a machine with memory for so much credit of all agents together; for one of them there always is.
    #[must_use]
    pub fn with_credit(
        ledger: &Ledger,
        durable: Mark,
        lasts: bool,
        clock: Arc<dyn Clock>,
        credit_all: u64,
    ) -> Self {
        let member = |standing: &Standing| (standing.life.server, member_of(standing.clone()));
        let state = State {
            members: ledger.standings().map(member).collect(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            at_hand: VecDeque::new(),
            at_hand_runs: 0,
            releases: VecDeque::new(),
            groups: Groups::default(),
            leads: Leads::default(),
            credit_all: credit_all.max(CREDIT_LEAST),
            lines: 0,
            durable,
            usage: Usage::default(),
            full: false,
            stop: false,
        };
        Self {
            state: Mutex::new(state),
            to_keep: Condvar::new(),
            durable: Condvar::new(),
            clock,
            lasts,
            stopping: Arc::default(),
            spare: Mutex::default(),
        }
    }

    /// Room for a payload of so many bytes, in which anything may be: mostly where another one was before.
    #[must_use]
    pub fn room(&self, bytes: usize) -> Vec<u8> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        // A small payload in much room would be more memory than its agent has credit for.
        let used = if bytes > SPARE_BYTES / 2 { spare.pop() } else { None };
        drop(spare);
        let mut room = used.unwrap_or_default();
        room.resize(bytes, 0);
        room
    }

    /// Takes the room of a payload back.
    pub(super) fn give_back(&self, payload: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX && (SPARE_BYTES / 2..=SPARE_BYTES).contains(&payload.capacity())
        {
            spare.push(payload);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, by a clock that only runs forwards.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.moment()
    }

    /// Takes blocks of a run. A run that something newer took over from is told so by its connection's end.
    pub fn blocks(&self, life: Life, blocks: Blocks, payload: Vec<u8>) -> Result<(), Nonsense> {
        let now = self.clock.moment();
        let mut state = self.lock();
        let Some(member) = state.of(&life) else { return Ok(()) };
        let bytes = payload.len() as u64;
        let (disk, fresh) = (blocks.disk, blocks.sequence > member.session.standing().sequence);
        member.session.blocks(blocks, payload)?;
        if fresh {
            member.measures.came(disk, bytes, now);
        }
        state.admit(life.server)?;
        self.to_keep.notify_all();
        Ok(())
    }

    /// Takes a cut of a run.
    pub fn cut(&self, life: Life, cut: Cut) -> Result<(), Nonsense> {
        let now = self.clock.moment();
        let mut state = self.lock();
        let Some(member) = state.of(&life) else { return Ok(()) };
        if cut.epoch > member.session.standing().epoch {
            member.measures.cut(cut.epoch, cut.frozen_micros, now);
        }
        member.session.cut(cut, self.clock.now().0)?;
        state.admit(life.server)?;
        self.to_keep.notify_all();
        Ok(())
    }

    /// An agent says that it is frozen.
    pub fn frozen(&self, life: Life, token: u64) {
        let mut state = self.lock();
        let Some(member) = state.of(&life) else { return };
        if member.session.standing().lost == Some(token) {
            member.session.owe(FromAppliance::AllFrozen { token });
            member.wake();
            return;
        }
        let effects = state.groups.frozen(life.server, token);
        if !effects.is_empty() {
            state.leads.frozen(token, self.clock.moment());
        }
        state.carry_out(effects);
        self.to_keep.notify_all();
    }

    /// An agent says how it fares.
    pub fn status(&self, life: Life, status: Status) {
        if let Some(member) = self.lock().of(&life) {
            member.status = status;
        }
    }

    /// Whether so much of a run waits to be spooled that nothing more should be read of it.
    #[must_use]
    pub fn is_crowded(&self, life: Life) -> bool {
        self.lock().of(&life).is_some_and(|member| member.session.is_crowded())
    }

    /// Whether the vault may lack something of these blocks.
    #[must_use]
    pub fn is_pending(&self, life: Life, disk: u16, blocks: Range<u64>) -> bool {
        let mut state = self.lock();
        state.of(&life).is_none_or(|member| member.session.is_pending(disk, blocks))
    }

    /// Whether a question about a block has an answer: until the vault has what earlier runs sent, everything is wanted.
    #[must_use]
    pub fn is_settled(&self, life: Life) -> bool {
        self.lock().of(&life).is_none_or(|member| member.session.is_settled())
    }

    /// A disk of a run.
    #[must_use]
    pub fn disk(&self, life: Life, disk: u16) -> Option<SentDisk> {
        let mut state = self.lock();
        state.of(&life)?.session.standing().disks.get(usize::from(disk)).cloned()
    }

    /// What a connection is to say now, and whether it is to end with that.
    #[must_use]
    pub fn owed(&self, server: ServerId, line: u64) -> (Vec<FromAppliance>, Option<Refused>) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(&server) else { return (Vec::new(), None) };
        let ended = member.lines.get_mut(&line).and_then(|line| line.ended.take());
        let speaks = member.lines.first_key_value().is_some_and(|(first, _)| *first == line);
        let said = if speaks && ended.is_none() { member.session.owed() } else { Vec::new() };
        (said, ended)
    }

    /// Ends all connections of a server.
    pub fn end(&self, server: ServerId, refused: &Refused) {
        if let Some(member) = self.lock().members.get_mut(&server) {
            member.end_lines(refused);
        }
    }

    /// Takes nothing of a server for a while: it would only fill the spool.
    pub fn keep_out(&self, server: ServerId, millis: u64) {
        let until = self.clock.moment().after(millis);
        if let Some(member) = self.lock().members.get_mut(&server) {
            member.kept_out_until = until;
            member.end_lines(&later(NO_WAY));
        }
    }

    /// What is to be done with a server from now on. Its agent is told when that changed.
    pub fn instruct(&self, server: ServerId, policy: &Policy, group: Option<&String>) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(&server) else { return };
        member.group = group.cloned();
        if member.policy.as_ref() != Some(policy) {
            let is_news = member.policy.replace(policy.clone()).is_some();
            if is_news {
                member.session.owe_policy(policy.clone());
                member.wake();
            }
        }
    }

    /// A point of these servers is wanted now.
    pub fn cut_now(&self, servers: &[ServerId], application: bool) {
        let mut state = self.lock();
        for server in servers {
            if let Some(member) = state.members.get_mut(server) {
                member.session.owe(FromAppliance::CutNow { application });
                member.wake();
            }
        }
    }

    /// Goes on with groups: begins what is due, gives up what is late. `token` makes one that was never given to anything.
    pub fn tick(&self, token: &dyn Fn() -> u64) {
        let now = self.clock.moment();
        let mut state = self.lock();
        let effects = state.groups.tick(now);
        state.carry_out(effects);
        state.begin_groups(token, now);
        state.look_for_stuck(token);
        self.to_keep.notify_all();
    }

    /// The next thing for the keeper; waits a moment for one.
    pub(super) fn next(&self) -> Task {
        let mut state = self.lock();
        if let Some(release) = state.releases.pop_front() {
            return Task::Release(release);
        }
        if state.queue.is_empty() || state.full {
            if state.stop {
                return Task::Stop;
            }
            let waited = self.to_keep.wait_timeout(state, IDLE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if let Some(release) = state.releases.pop_front() {
                return Task::Release(release);
            }
        }
        // Where the spool was full, it is tried again now and then: somebody may have made room.
        state.full = false;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES
            && let Some((entry, payload)) = state.queue.pop_front()
        {
            bytes += payload.len() as u64;
            batch.push((entry, payload));
        }
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        if batch.is_empty() { Task::Nothing } else { Task::Keep(batch) }
    }

    /// Puts back what found no room.
    pub(super) fn put_back(&self, batch: Vec<(Entry, Vec<u8>)>) {
        let mut state = self.lock();
        state.full = true;
        for (entry, payload) in batch.into_iter().rev() {
            state.queued_bytes += payload.len() as u64;
            state.queue.push_front((entry, payload));
        }
    }

    /// These are durable, and everything before `mark`.
    pub(super) fn is_durable(&self, kept: &[(Life, u64)], mark: Mark, usage: Usage) {
        let mut state = self.lock();
        state.durable = mark;
        state.usage = usage;
        if self.lasts {
            for (life, sequence) in kept {
                if let Some(member) = state.of(life) {
                    member.session.durable(*sequence);
                    member.wake();
                }
            }
        }
        state.give_credit();
        self.durable.notify_all();
    }

    /// Entries that are durable now, so that the drain need not read them: their blocks are read when it is their turn.
    pub(super) fn have_at_hand(&self, entries: impl Iterator<Item = (Mark, Mark, Entry)>) {
        let mut state = self.lock();
        for (at, after, entry) in entries {
            state.at_hand_runs += runs_of(&entry);
            state.at_hand.push_back((at, after, entry));
        }
        while state.at_hand_runs > AT_HAND_RUNS_MAX
            && let Some((_, _, entry)) = state.at_hand.pop_front()
        {
            state.at_hand_runs -= runs_of(&entry);
        }
    }

    /// What was kept at this mark, and the mark behind it, where that is at hand.
    pub(super) fn at_hand(&self, cursor: Mark) -> Option<(Mark, Entry)> {
        let mut state = self.lock();
        while let Some((at, after, entry)) = state.at_hand.pop_front() {
            if at > cursor {
                state.at_hand.push_front((at, after, entry));
                return None;
            }
            state.at_hand_runs -= runs_of(&entry);
            if at == cursor {
                return Some((after, entry));
            }
        }
        None
    }

    /// Everything before this survives; waits for more than `than`, a moment at most. `None`: the end has come.
    #[must_use]
    pub fn durable_beyond(&self, than: Mark, patience: Duration) -> Option<Mark> {
        let state = self.lock();
        if state.durable > than || state.stop {
            return (!state.stop).then_some(state.durable);
        }
        let waited = self.durable.wait_timeout(state, patience);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        (!state.stop).then_some(state.durable)
    }

    /// How full the spool is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.lock().usage
    }

    /// Hands a release to the keeper.
    pub fn release(&self, release: Release) {
        self.lock().releases.push_back(release);
        self.to_keep.notify_all();
    }

    /// The vault has everything of a run up to a sequence, and perhaps a point more.
    pub fn vaulted(&self, life: Life, sequence: u64, point: Option<(u64, PointId)>) {
        let mut state = self.lock();
        if let Some((epoch, _)) = point {
            state.leads.vaulted(life.server, epoch, self.clock.moment());
            if let Some(member) = state.members.get_mut(&life.server) {
                member.measures.vaulted(epoch);
            }
        }
        if let Some(member) = state.members.get_mut(&life.server) {
            member.pieces += 1;
            // Of a run before this one only the point counts: what it sent is the base of what comes now.
            if member.session.standing().life == life {
                member.session.vaulted(sequence, point);
                if !self.lasts {
                    member.session.durable(sequence);
                }
            } else if let Some((epoch, point)) = point {
                member.session.point(epoch, point);
            }
            member.wake();
        }
    }

    /// The point that a server's agent goes on from: the newest that it was told of, or the newest that there was when its
    /// first run began.
    #[must_use]
    pub fn base_point(&self, server: ServerId) -> Option<PointId> {
        let state = self.lock();
        state.members.get(&server)?.session.standing().vaulted.map(|(_, point)| point)
    }

    /// Whether anything is known of a server.
    #[must_use]
    pub fn knows(&self, server: ServerId) -> bool {
        self.lock().members.contains_key(&server)
    }

    /// How many pieces of a server went to the vault: what was seen of its maps before the newest of them is old.
    #[must_use]
    pub fn pieces(&self, server: ServerId) -> u64 {
        self.lock().members.get(&server).map_or(0, |member| member.pieces)
    }

    /// What making points of a server cost.
    pub fn stored(&self, server: ServerId, read_bytes: u64, stored_bytes: u64) {
        if let Some(member) = self.lock().members.get_mut(&server) {
            member.measures.stored(read_bytes, stored_bytes);
        }
    }

    /// Something of these servers was lost: they are to send again what the vault does not have.
    pub fn lost(&self, servers: &[(ServerId, u64)], words: &str) {
        let mut state = self.lock();
        for (server, token) in servers {
            if let Some(member) = state.members.get_mut(server) {
                member.session.lost(*token, words);
                member.wake();
            }
        }
    }

    /// The token that a server's loss has, if something of it was lost.
    #[must_use]
    pub fn loss(&self, server: ServerId) -> Option<u64> {
        self.lock().members.get(&server)?.session.standing().lost
    }

    /// Ends everything: what is in the queue is still written.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.stopping.store(true, Ordering::Relaxed);
        self.to_keep.notify_all();
        self.durable.notify_all();
    }

    /// Becomes true when the end has come.
    #[must_use]
    pub fn stopping(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopping)
    }

    /// Whether the end has come.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.lock().stop
    }
}

/// What an entry takes of memory, as runs.
fn runs_of(entry: &Entry) -> usize {
    match entry {
        Entry::Blocks(_, blocks) => 2 + blocks.runs.len(),
        Entry::Begin(..) | Entry::Cuts(_) | Entry::Standings(_) => 2,
    }
}

fn member_of(standing: Standing) -> Member {
    Member {
        session: Session::new(standing),
        lines: BTreeMap::new(),
        displaced: VecDeque::new(),
        status: Status::default(),
        measures: Measures::default(),
        policy: None,
        group: None,
        pieces: 0,
        kept_out_until: Moment::default(),
        speaks: VERSION_MIN,
        demotion: None,
        drain: None,
        cards: Vec::new(),
    }
}

impl Member {
    fn end_lines(&mut self, refused: &Refused) {
        for line in self.lines.values_mut() {
            line.ended = Some(refused.clone());
            let _ = line.wake.try_send(());
        }
    }
}

/// What a connection ends with that said something senseless.
#[must_use]
pub fn makes_no_sense(nonsense: &Nonsense) -> Refused {
    Refused {
        why: Why::Nonsense,
        words: format!("what the agent said makes no sense: {nonsense}"),
        remedy: "update the agent; if it is the newest, report this".to_owned(),
    }
}

const _: () = assert!(CREDIT_LEAST <= CREDIT_ONE && CREDIT_ONE <= CREDIT_ALL, "credit fits");
const _: () = assert!(SURE_OF_FOUR < 4, "something is left for who needs more than the least");

#[cfg(test)]
mod tests;

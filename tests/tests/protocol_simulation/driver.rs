//! One history: who goes on, what fails, when time passes, all by one seed; and what must be true along the way.

use std::collections::VecDeque;
use std::sync::Arc;

use hal::time::{Clock, UnixMillis};
use hal_sim::random::Random;
use hal_sim::{SimClock, SimEntropy};
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::pins;
use pipeline_vault::store::memory::MemoryStore;
use pipeline_vault::store::{BlobStore, Created};

use crate::actors::{Actor, Job, Machine, copied, start, upkeep_job};
use crate::content::Content;
use crate::gate::{Gate, Logged, Reply, Request, unreachable};
use crate::ghost::Ghost;
use crate::keys::{SERVER, access};
use crate::rates::{Rates, Stats};
use crate::seals::Seals;
use crate::told::told;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// One history.
pub(crate) struct Simulation {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) random: Random,
    rates: Rates,
    pub(crate) gate: Arc<Gate>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) ghost: Ghost,
    seals: Seals,
    late: Vec<(usize, Request)>,
    content: Content,
    /// What the calls of everybody who is healthy are made with: checks.
    pub(crate) healthy: Access,
    clock: SimClock,
    step: u64,
    launched: u64,
    /// A pin arrived after its point was pruned.
    pub(crate) stale_pin: bool,
    pub(crate) stats: Stats,
    pub(crate) trace: Vec<String>,
}

impl Simulation {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let rates = Rates::drawn(&mut random);
        let store = Arc::new(MemoryStore::new());
        let clock = SimClock::at(UnixMillis(store.now().expect("a memory store")));
        let entropy = SimEntropy::new(random.number());
        let healthy = access(store.clone(), &clock, &entropy);
        let mut content = Content::default();
        content.change(&mut random);
        Self {
            store,
            random,
            rates,
            gate: Arc::default(),
            actors: Vec::new(),
            ghost: Ghost::default(),
            seals: Seals::default(),
            late: Vec::new(),
            content,
            healthy,
            clock,
            step: 0,
            launched: 0,
            stale_pin: false,
            stats: Stats::default(),
            trace: vec![format!("{rates:?}")],
        }
    }

    /// Without faults, copies and passing time: the caller says what happens.
    pub(crate) fn calm(seed: u64) -> Self {
        let mut simulation = Self::new(seed);
        let none = 0;
        simulation.rates = Rates {
            fails: none,
            reply_lost: none,
            done_twice: none,
            lands_late: none,
            kills: none,
            sleeps: none,
            time: none,
            copies: none,
            long_times: false,
        };
        simulation
    }

    /// Lets so many actors run, a few at a time.
    pub(crate) fn run(&mut self, launches: u64) -> Result<(), String> {
        loop {
            self.gate.settle();
            self.judge_ended()?;
            let alive = self.alive().count();
            if self.launched < launches && (alive == 0 || alive < 4 && self.random.happens(60_000))
            {
                self.launch();
                continue;
            }
            if alive == 0 {
                break;
            }
            self.one_step()?;
        }
        for (at, request) in core::mem::take(&mut self.late) {
            drop(self.perform(at, &request)?);
        }
        self.stats.seals = self.seals.len() as u64;
        Ok(())
    }

    fn alive(&self) -> impl Iterator<Item = &Actor> {
        self.actors.iter().filter(|actor| actor.thread.is_some())
    }

    /// Somebody new comes: a writer, upkeep, a reader, or a copy of somebody who runs or ran.
    fn launch(&mut self) {
        self.launched += 1;
        let original = self.random.below(self.actors.len() as u64);
        if self.random.happens(self.rates.copies) && !self.actors.is_empty() {
            let original = usize::try_from(original).unwrap_or(0);
            let calls = self.random.below(self.actors[original].log.len() as u64 + 1);
            let mut other = self.content.clone();
            other.change(&mut self.random);
            let other = self.random.happens(500_000).then_some(other);
            self.copy(original, usize::try_from(calls).unwrap_or(0), other);
            return;
        }
        let job = match self.random.below(10) {
            0 => {
                let other = self.content.clone();
                self.content.change(&mut self.random);
                Job::Ingest { other, content: self.content.clone() }
            }
            1..5 => {
                self.content.change(&mut self.random);
                let stop_after = if self.random.happens(300_000) { 1 } else { 0 };
                Job::Protect { content: self.content.clone(), stop_after }
            }
            5..8 => upkeep_job(&mut self.random),
            _ => Job::Restore { pick: self.random.number() },
        };
        self.begin(job);
    }

    /// Starts an actor on a machine of its own.
    pub(crate) fn begin(&mut self, job: Job) -> usize {
        let now = self.store.now().expect("a memory store");
        let skew = self.random.below(4 * MINUTE).saturating_sub(2 * MINUTE);
        let clock = SimClock::at(UnixMillis(now + skew));
        let entropy = SimEntropy::new(self.random.number());
        let machine = Machine { clock, entropy, replay: VecDeque::new() };
        let what = match &job {
            Job::Protect { .. } | Job::Ingest { .. } => "writer",
            Job::Upkeep { .. } => "upkeep",
            Job::Restore { .. } => "reader",
        };
        let label = format!("{what} {}", self.actors.len());
        self.trace.push(format!("{label} begins"));
        self.actors.push(start(&self.gate, label, job, machine));
        self.actors.len() - 1
    }

    /// A machine is copied as it was after so many calls. Where it had not read its disk by then, that may be another
    /// disk than the original's.
    pub(crate) fn copy(&mut self, original: usize, calls: usize, other: Option<Content>) -> usize {
        let of = &self.actors[original];
        let replay: VecDeque<Logged> = of.log.iter().take(calls).cloned().collect();
        let sent = replay.iter().any(|logged| {
            matches!(&logged.request, Request::Create(name, _) if name.starts_with("seg/"))
        });
        let mut job = of.job.clone();
        if let (Job::Protect { content, .. }, Some(other), false) = (&mut job, other, sent) {
            *content = other;
        }
        let (clock, entropy) = (copied(&of.first.0), of.first.1.clone());
        let label = format!("copy {} of {} after {calls} calls", self.actors.len(), of.label);
        self.trace.push(format!("{label} begins"));
        let machine = Machine { clock, entropy, replay };
        let mut actor = start(&self.gate, label, job, machine);
        actor.is_copy = true;
        self.actors.push(actor);
        self.stats.copies += 1;
        self.actors.len() - 1
    }

    fn one_step(&mut self) -> Result<(), String> {
        self.step += 1;
        if self.random.happens(self.rates.time) {
            self.pass_time();
        }
        if !self.late.is_empty() && self.random.happens(50_000) {
            let at = usize::try_from(self.random.below(self.late.len() as u64)).unwrap_or(0);
            let (actor, request) = self.late.swap_remove(at);
            drop(self.perform(actor, &request)?);
        }
        if self.random.happens(10_000) {
            self.check()?;
        }
        let waiting = self.gate.waiting();
        let awake: Vec<_> = waiting
            .iter()
            .filter(|(at, _)| self.actors[*at].sleeps_until <= self.step)
            .cloned()
            .collect();
        let from = if awake.is_empty() { waiting } else { awake };
        if from.is_empty() {
            return Ok(());
        }
        let pick = usize::try_from(self.random.below(from.len() as u64)).unwrap_or(0);
        let (at, request) = from[pick].clone();
        if self.random.happens(self.rates.sleeps) {
            self.actors[at].sleeps_until = self.step + 20 + self.random.below(300);
            return Ok(());
        }
        self.serve(at, request)
    }

    /// Answers one call, as the seed has it.
    fn serve(&mut self, at: usize, request: Request) -> Result<(), String> {
        let rates = self.rates;
        if self.random.happens(rates.kills) {
            if self.random.happens(500_000) {
                drop(self.perform(at, &request)?);
            }
            self.note(at, "is killed");
            self.gate.kill(at);
            return Ok(());
        }
        let changes = request.changes();
        let reply = if self.random.happens(rates.fails) {
            self.send(&request)?;
            self.note(at, "gets no answer");
            Err(unreachable())
        } else if changes && self.random.happens(rates.reply_lost) {
            drop(self.perform(at, &request)?);
            self.note(at, "does not get the reply");
            Err(unreachable())
        } else if changes && self.random.happens(rates.lands_late) {
            self.send(&request)?;
            self.note(at, "gets no answer, and the request is still under way");
            self.late.push((at, request.clone()));
            Err(unreachable())
        } else if changes && self.random.happens(rates.done_twice) {
            drop(self.perform(at, &request)?);
            self.note(at, "sends it again");
            self.perform(at, &request)?
        } else {
            self.perform(at, &request)?
        };
        self.answer(at, request, reply);
        Ok(())
    }

    fn answer(&mut self, at: usize, request: Request, reply: Result<Reply, Error>) {
        let clock = &self.actors[at].clock;
        let (wall, monotonic_nanos) = (clock.now(), clock.monotonic_nanos());
        let logged = Logged { request, reply: reply.clone(), wall, monotonic_nanos };
        self.actors[at].log.push(logged);
        self.gate.answer(at, reply);
    }

    /// Lets one actor do its next call without any fault; false where it has ended.
    pub(crate) fn next_call(&mut self, at: usize) -> Result<bool, String> {
        self.gate.settle();
        self.judge_ended()?;
        let Some((_, request)) = self.gate.waiting().into_iter().find(|(who, _)| *who == at) else {
            return Ok(false);
        };
        let reply = self.perform(at, &request)?;
        self.answer(at, request, reply);
        self.gate.settle();
        self.judge_ended()?;
        Ok(true)
    }

    /// What leaves a machine may be seen by anybody, whether it arrives or not.
    fn send(&mut self, request: &Request) -> Result<(), String> {
        match request {
            Request::Create(name, body) => self.seals.take(name, body),
            _ => Ok(()),
        }
    }

    /// The store does what it is asked; the outer error is a broken promise.
    fn perform(&mut self, at: usize, request: &Request) -> Result<Result<Reply, Error>, String> {
        self.send(request)?;
        self.stats.calls += 1;
        let reply = request.perform(&*self.store);
        self.trace.push(format!("{}: {}", self.actors[at].label, told(request, &reply)));
        match (request, &reply) {
            (Request::Create(name, body), Ok(Reply::Created(Created::New))) => {
                let content = self.actors[at].job.content();
                self.ghost.take(&self.healthy, (name, body), content)?;
                if name.starts_with("pin/") {
                    let pins =
                        pins::list(&self.healthy, &SERVER).map_err(|error| error.to_string())?;
                    let mut slots = pins.iter().filter_map(|found| found.pin.as_ref());
                    self.stale_pin |= slots.any(|pin| !self.ghost.is_kept(pin.slot));
                }
            }
            (Request::Delete(_), Ok(Reply::Deleted(answers))) => {
                let existed = answers.iter().filter(|answer| **answer == Ok(true));
                self.stats.deleted += existed.count() as u64;
            }
            _ => {}
        }
        Ok(reply)
    }

    pub(crate) fn note(&mut self, at: usize, what: &str) {
        self.trace.push(format!("{} {what}", self.actors[at].label));
    }

    /// Time passes everywhere; some machines sleep through it, some have their clocks set.
    fn pass_time(&mut self) {
        let long = if self.rates.long_times { 6 } else { 3 };
        let lengths = [MINUTE, 10 * MINUTE, HOUR, 5 * HOUR, 25 * HOUR, 8 * 24 * HOUR];
        let length = lengths[usize::try_from(self.random.below(long)).unwrap_or(0)];
        // While nobody is in the middle of anything, days may pass in any history.
        let idle = self.alive().next().is_none();
        self.advance(if idle { length.max(25 * HOUR) } else { length });
    }

    pub(crate) fn advance(&mut self, length: u64) {
        self.store.advance(length);
        self.clock.advance(length);
        self.trace.push(format!("{} minutes pass", length / MINUTE));
        for actor in self.actors.iter_mut().filter(|actor| actor.thread.is_some()) {
            actor.slept |= length > HOUR;
            let wall = actor.clock.now().0;
            match self.random.below(20) {
                // Suspended: its wall clock is set on waking, its other clock stood still.
                0..2 => actor.clock.jump(UnixMillis(wall + length)),
                2 => {
                    actor.clock.advance(length);
                    actor.clock.jump(UnixMillis(wall + self.random.below(2 * length)));
                }
                _ => actor.clock.advance(length),
            }
        }
    }
}

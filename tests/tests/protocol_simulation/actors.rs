//! What runs: writers, upkeep and readers, each a thread with the vault's own code, its own machine's clock and randomness.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hal::disk::Disk;
use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk, SimEntropy};
use pipeline::flow::LevelPolicy;
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::chain::Link;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::pins::pin_and_check;
use pipeline_vault::record::Upkeep;
use pipeline_vault::restore;
use pipeline_vault::retain::Policy;
use pipeline_vault::roster;
use pipeline_vault::upkeep;
use pipeline_vault::writer::{
    DiskJob, Options, Outcome, Progress, Publish, Run, Silent, Since, Writer, protect,
};

use crate::content::Content;
use crate::gate::{ActorStore, Ending, Gate, Logged};
use crate::keys::{SERVER, access};

/// Bytes for caches: everything here is small.
const CACHE_BYTES: usize = 1 << 20;

/// What an actor is to do.
#[derive(Clone)]
pub(crate) enum Job {
    /// Makes a point of a disk; stops by itself after so many spans.
    Protect { content: Content, stop_after: u64 },
    /// Makes two points by one writer, each in pieces, as an appliance does of what agents send.
    Ingest { other: Content, content: Content },
    /// Prunes, condemns, collects, compacts.
    Upkeep { policy: &'static str, options: Box<upkeep::Options> },
    /// Restores the point of this number among those that are there.
    Restore { pick: u64 },
}

/// What came of it.
pub(crate) enum Done {
    Protected(Result<Outcome, Error>),
    Kept(Result<upkeep::Report, Error>),
    Restored(Result<Restored, Error>),
}

/// What a reader got after it had pinned a point.
pub(crate) struct Restored {
    pub(crate) slot: u64,
    /// Until when its pin held, by the store's clock.
    pub(crate) pinned_until: Option<u64>,
    pub(crate) disk: Result<SimDisk, Error>,
}

/// An actor as the driver knows it.
pub(crate) struct Actor {
    pub(crate) label: String,
    pub(crate) thread: Option<JoinHandle<Done>>,
    pub(crate) job: Job,
    pub(crate) clock: SimClock,
    /// Clock and randomness as they were when it began: where a copy of it begins again.
    pub(crate) first: (SimClock, SimEntropy),
    pub(crate) log: Vec<Logged>,
    /// Not answered before this step.
    pub(crate) sleeps_until: u64,
    /// Time passed while it ran.
    pub(crate) slept: bool,
    pub(crate) is_copy: bool,
}

/// Where an actor begins: what its machine's clock says, its randomness, and what a copy goes through again.
pub(crate) struct Machine {
    pub(crate) clock: SimClock,
    pub(crate) entropy: SimEntropy,
    pub(crate) replay: VecDeque<Logged>,
}

/// Starts an actor.
pub(crate) fn start(gate: &Arc<Gate>, label: String, job: Job, machine: Machine) -> Actor {
    let at = gate.seat();
    let Machine { clock, entropy, replay } = machine;
    let first = (copied(&clock), entropy.clone());
    let log: Vec<Logged> = replay.iter().cloned().collect();
    let is_copy = !log.is_empty();
    let store =
        ActorStore { gate: Arc::clone(gate), at, replay: Mutex::new(replay), clock: clock.clone() };
    let access = access(Arc::new(store), &clock, &entropy);
    let ending = Ending(Arc::clone(gate), at);
    let run = job.clone();
    let thread = std::thread::Builder::new()
        .name(label.clone())
        .spawn(move || {
            let _ending = ending;
            run.run(&access)
        })
        .expect("a thread");
    let thread = Some(thread);
    let sleeps_until = 0;
    Actor { label, thread, job, clock, first, log, sleeps_until, slept: false, is_copy }
}

/// A clock that says the same and goes its own way.
pub(crate) fn copied(clock: &SimClock) -> SimClock {
    use hal::time::Clock;
    let copy = SimClock::at(clock.now());
    copy.advance(clock.monotonic_nanos() / 1_000_000);
    copy.jump(clock.now());
    copy
}

impl Job {
    fn run(self, access: &Access) -> Done {
        match self {
            Self::Protect { content, stop_after } => {
                Done::Protected(make_point(access, &content, stop_after))
            }
            Self::Ingest { other, content } => Done::Protected(ingest(access, &other, &content)),
            Self::Upkeep { policy, options } => {
                let policy = Policy::parse(policy).expect("a policy");
                Done::Kept(upkeep::run(access, SERVER, &policy, &options))
            }
            Self::Restore { pick } => Done::Restored(read(access, pick)),
        }
    }

    /// What it makes a point of.
    pub(crate) fn content(&self) -> Option<&Content> {
        match self {
            Self::Protect { content, .. } | Self::Ingest { content, .. } => Some(content),
            _ => None,
        }
    }
}

/// Stops the run after some spans: then it publishes a checkpoint and ends with an error.
struct StopAfter {
    left: AtomicU64,
    stop: Arc<AtomicBool>,
}

impl Progress for StopAfter {
    fn total(&self, _: u64) {}

    fn advance(&self, _: u64, _: u64) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.stop.store(true, Ordering::SeqCst);
        }
    }
}

fn options() -> Options {
    Options {
        levels: LevelPolicy::Fixed(1),
        workers: 1,
        buffer_bytes_max: 1,
        known_bytes_max: CACHE_BYTES,
        page_cache_bytes_max: CACHE_BYTES,
        host: "simulated".to_owned(),
        ..Options::default()
    }
}

/// Two points of one content, each after pieces of which some are of another content and are written over; every range
/// is relative to the newest record.
fn ingest(access: &Access, other: &Content, content: &Content) -> Result<Outcome, Error> {
    let options = options();
    let mut writer = Writer::open(access, SERVER, options.clone())?;
    let mut piece = |content: &Content, part: (u64, u64), publish: Publish| {
        let (changed, disk) = (Some(vec![part]), content.disk());
        let job = DiskJob { name: "sda".to_owned(), identity: "wwn".to_owned(), disk, changed };
        let run = Run { since: Since::Newest, publish, ..Run::from(&options) };
        writer.run(vec![job], &run, &Silent)
    };
    let [one, two, three] = Content::thirds();
    let all = (0, one.1 + two.1 + three.1);
    piece(other, all, Publish::Checkpoint)?;
    piece(content, one, Publish::Checkpoint)?;
    piece(content, (two.0, two.1 + three.1), Publish::Point)?;
    piece(other, (one.0, one.1 + two.1), Publish::Checkpoint)?;
    piece(content, all, Publish::Point)
}

pub(crate) fn make_point(
    access: &Access,
    content: &Content,
    stop_after: u64,
) -> Result<Outcome, Error> {
    let options = options();
    let disk = content.disk();
    let job = DiskJob { name: "sda".to_owned(), identity: "wwn".to_owned(), disk, changed: None };
    let progress = StopAfter { left: AtomicU64::new(stop_after), stop: options.stop.clone() };
    protect(access, SERVER, vec![job], &options, &progress)
}

fn read(access: &Access, pick: u64) -> Result<Restored, Error> {
    let points = roster::points(access, SERVER)?;
    let Some(entry) = points.get(usize::try_from(pick).unwrap_or(0) % points.len().max(1)) else {
        return Err(Error::misuse("server", "has no point"));
    };
    let pinned = pin_and_check(access, SERVER, entry.slot, "simulated")?;
    let pinned_until = pinned.pin.as_ref().map(|pin| pin.record().expires);
    let disk = restored(access, &pinned.point, &pinned.upkeep);
    Ok(Restored { slot: entry.slot, pinned_until, disk })
}

/// Restores the one disk of a point.
pub(crate) fn restored(access: &Access, point: &Link, upkeep: &Upkeep) -> Result<SimDisk, Error> {
    let manifest = point.record.point().ok_or_else(|| Error::misuse("slot", "is no point"))?;
    let frames = FrameReader::new(access, SERVER, upkeep, CACHE_BYTES)?;
    let target = Content::empty_disk();
    let options = restore::Options { workers: 1, compare: false, ..Default::default() };
    let handle = target.another()?;
    restore::restore_disk(&frames, &manifest.disks[0], handle, "target", &options, &Silent)?;
    Ok(target)
}

/// How upkeep is done by one of its runs.
pub(crate) fn upkeep_job(random: &mut Random) -> Job {
    let policies = ["last=1", "last=2", "last=3", "2h", "30h,daily=3d"];
    let policy = policies[usize::try_from(random.below(5)).unwrap_or(0)];
    let recent = random.happens(150_000);
    let options = upkeep::Options {
        confirmed: random.happens(800_000),
        compact: random.happens(600_000),
        scope: if recent { upkeep::Scope::Recent(20 * 3_600_000) } else { upkeep::Scope::Whole },
        live_percent_min: if random.happens(500_000) { 100 } else { 50 },
        merge_count_min: 2,
        header_reads_max: 100,
        cache_bytes_max: CACHE_BYTES,
        ..upkeep::Options::default()
    };
    Job::Upkeep { policy, options: Box::new(options) }
}

//! The running agent: everything put together, and put together anew when disks come, grow or go.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use hal::disk::Disk as _;
use hal::time::{Clock, Entropy};
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions, SystemClock, SystemEntropy};
use pipeline_wire::message::FromAgent;

use crate::content::BlockReader;
use crate::devices::{self, Leaf};
use crate::freeze::{Freezer, LinuxFreezer, Thawed};
use crate::hooks::HookFolder;
use crate::manners;
use crate::reboot;
use crate::replicate::disk::Disk;
use crate::replicate::maker::{ARENA_BYTES, DiskMaker};
use crate::replicate::{Means, Replicator, hold_all};
use crate::report::{Board, SOCKET};
use crate::session::exchange::{Exchange, Introduction};
use crate::session::renewal::Renewal;
use crate::session::{self, Party};
use crate::slow::Slower;
use crate::standstill::ThisMachine;
use crate::state::{Enrolment, State};
use crate::volumes::LogicalVolumes;
use crate::{binding, check, lineage, tracker};

/// Hooks around application-consistent points.
const HOOKS: &str = "/etc/lifeboat/hooks.d";
/// What is about to be frozen, in memory: beyond a restart of the machine nothing is.
const FROZEN: &str = "/run/lifeboat-agent.frozen";
/// Who is paused; a restart of the machine pauses nobody.
const SLOWED: &str = "/run/lifeboat-agent.slowed";
/// What a snapshot is taken of; beyond a restart of the machine nothing is suspended.
const SNAPSHOT: &str = "/run/lifeboat-agent.snapshot";
/// This program, even where another lies in its place by now.
const PROGRAM: &str = "/proc/self/exe";
/// What a drain made read-only, in memory: beyond a restart of the machine nothing is.
const DRAINED: &str = "/run/lifeboat-agent.drained";
/// How long a point waits for an appliance that takes nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// What there is before there are disks.
mod nobody;
/// Which disks take part.
mod roster;
/// A copy of a server, which says nothing.
mod silent;
/// Who looks on, in tests.
mod witness;

use nobody::Nobody;
use roster::{Chosen, Remembered, Roster};
use witness::Witness;

/// How often it is looked whether disks came, grew or went.
const LOOK_MILLIS: u64 = 10_000;
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// How a process ends that met a mistake of ours: the service manager starts it again.
const MISTAKE: i32 = 70;

/// Replicates until it is told to stop.
///
/// Errors: why it cannot, with what to do.
pub fn run(state: &State, stop: &Arc<AtomicBool>) -> Result<(), String> {
    silent::keep(Path::new(lineage::MARK), Path::new(SOCKET), stop)?;
    if stop.load(Ordering::SeqCst) {
        return Ok(());
    }
    let enrolment = state.enrolment()?.ok_or_else(|| {
        "this server is not enrolled; make a token (lifeboat server token, where serve runs), then: lifeboat-agent enrol TOKEN"
            .to_owned()
    })?;
    // A thread that is gone would leave a server unprotected that looks protected. What was marked stays in the kernel.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        log::error!("a mistake in the agent ({panic}); it ends, and is started again");
        std::process::exit(MISTAKE);
    }));
    let board = Board::default();
    board.serve(Path::new(SOCKET)).map_err(|error| format!("{SOCKET}: {error}"))?;
    let mut freezer = LinuxFreezer::new(Path::new(PROGRAM));
    let left = Slower::new(Path::new(PROGRAM), Path::new(SLOWED)).let_go_left();
    for words in freezer.record_at(Path::new(FROZEN)).into_iter().chain(left) {
        log::warn!("{words}");
    }
    // Behind thawing, as LVM may have to write there.
    for words in LogicalVolumes::new(Vec::new(), Path::new(SNAPSHOT)).remove_left() {
        log::warn!("{words}");
    }
    // Before this process stands behind others, which the dead-man would inherit.
    if let Err(why) = freezer.start_dead_man() {
        log::error!("{why}");
    }
    let mut bounds = manners::Bounds::default();
    // What the kernel keeps of large disks counts as ours.
    bounds.memory_bytes =
        bounds.memory_bytes.saturating_add(check::memory_bytes(&devices::leaves()));
    for words in manners::behave(bounds) {
        log::warn!("{words}; the agent goes on without");
    }
    let exchange = Arc::new(Exchange::default());
    let party = Party::of(&enrolment)?;
    let renewal = Arc::clone(&party.renewal);
    let roster = Roster::read(state);
    let mut known = Known { enrolment, state, renewal, roster, is_first: true };
    let talking = Arc::clone(&exchange);
    let talk = move || session::keep(&party, &talking);
    let sessions = thread::Builder::new()
        .name("sessions".to_owned())
        .spawn(talk)
        .map_err(|error| format!("no thread can be started: {error}"))?;
    let mut means = Means {
        exchange: Arc::clone(&exchange),
        tracker: None,
        maker: Box::new(Nobody),
        patience: PATIENCE,
        clock: Arc::new(SystemClock),
        memory: Box::new(Remembered::read(state)),
        standstill: Box::new(ThisMachine::new(Path::new(HOOKS), Path::new(DRAINED))),
        board,
    };
    let witness = Arc::new(Mutex::new(Witness::of_test()));
    let freezer = Stiller { freezer: Arc::new(Mutex::new(freezer)), witness };
    let mut disks = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        (means, disks) = replicate(&mut known, (means, disks), &freezer, stop)?;
    }
    hand_over(&mut means, &disks);
    log::info!("stopping: changes stay marked in the kernel until the agent runs again");
    exchange.say(&FromAgent::Goodbye { words: "the agent was stopped".to_owned() }, Vec::new());
    exchange.stop();
    let until = std::time::Instant::now() + FAREWELL;
    while !sessions.is_finished() && std::time::Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Who this is, and what it remembers.
struct Known<'a> {
    enrolment: Enrolment,
    state: &'a State,
    renewal: Arc<Renewal>,
    roster: Roster,
    /// Nothing was tracked yet in this life.
    is_first: bool,
}

/// Replicates the disks as they are now, until they change or all ends.
fn replicate(
    known: &mut Known<'_>,
    (mut means, before): (Means, Vec<Disk>),
    freezer: &Stiller,
    stop: &AtomicBool,
) -> Result<(Means, Vec<Disk>), String> {
    let found = devices::leaves();
    let mut troubles = Vec::new();
    let Chosen { leaves, omitted } = known.roster.choose(found.clone(), &mut troubles);
    let (mut disks, opened) = open(leaves, before, &mut troubles);
    let continued = track(known, &mut means, &mut disks);
    let mut readers = Vec::new();
    for (place, (disk, opened)) in disks.iter_mut().zip(opened).enumerate() {
        let another = opened.another().map_err(|error| format!("{}: {error}", disk.label))?;
        readers.push((disk.leaf.clone(), another));
        disk.content = Box::new(BlockReader::new(opened));
        disk.continued = continued.get(place).copied().unwrap_or(false);
        disk.whole = means.tracker.as_ref().is_some_and(|tracker| tracker.is_whole(place));
        // A compare that ran over a gap in the marks may be past it.
        disk.compare.take_if(|_| !disk.continued);
    }
    let of_readers = readers.iter().map(|(leaf, _)| leaf.clone()).collect();
    let stiller = Box::new(freezer.clone());
    let maker = DiskMaker::new(readers, ARENA_BYTES, stiller, Arc::new(SystemClock));
    let maker = maker.map_err(|error| error.to_string())?;
    let hooks = HookFolder::new(Path::new(HOOKS));
    let slower = Slower::new(Path::new(PROGRAM), Path::new(SLOWED));
    let volumes = LogicalVolumes::new(of_readers, Path::new(SNAPSHOT));
    let maker = maker.with(Some(Box::new(hooks)), Some(Box::new(slower)));
    means.maker = Box::new(maker.with_snapshots(Box::new(volumes)));
    introduce(&means.exchange, &disks)?;
    let exchange = Arc::clone(&means.exchange);
    let (name, server) = (known.enrolment.name.clone(), known.enrolment.server.to_string());
    let mut replicator = Replicator::new(means, disks, name, server);
    replicator.made_until(known.state.made().unwrap_or_else(|why| {
        log::error!("{why}; it is written anew");
        0
    }));
    troubles.into_iter().for_each(|words| replicator.trouble(words));
    let mut look_at = SystemClock.moment().after(LOOK_MILLIS);
    while !stop.load(Ordering::SeqCst) {
        let happened = exchange.happened();
        let wait = replicator.step();
        replicator.newest_point().into_iter().for_each(|point| freezer.witness().point(point));
        if !replicator.is_busy() && replicator.wants_other_disks(&omitted) {
            log::info!("the policy wants other disks: a run of those begins");
            break;
        }
        if !wait.is_zero() {
            exchange.rest(happened, wait);
        }
        let now = SystemClock.moment();
        if now >= look_at && !replicator.is_busy() {
            look_at = now.after(LOOK_MILLIS);
            if let Some(question) = known.renewal.tend(known.state, std::time::Instant::now()) {
                exchange.say(&question, Vec::new());
            }
            if devices::leaves() != found || replicator.has_outgrown() {
                log::info!("disks came, grew or went: everything is looked at anew");
                break;
            }
            if replicator.has_answered() {
                log::info!("a disk answers again: everything is looked at anew");
                break;
            }
        }
    }
    replicator.left_out().into_iter().for_each(|labels| known.roster.leave_out(labels));
    Ok(replicator.into_parts())
}

/// Tracks these disks: of which marks go on from before. Where a kernel cannot do it, or does not do what it says, they are
/// compared.
fn track(known: &mut Known<'_>, means: &mut Means, disks: &mut [Disk]) -> Vec<bool> {
    let folder = known.state.folder();
    let leaves: Vec<Leaf> = disks.iter().map(|disk| disk.leaf.clone()).collect();
    // Given up first, so that the new one takes over what this one left in the kernel.
    means.tracker = None;
    let attached = tracker::attach(&leaves, &tracker::Options::default());
    match attached.and_then(|attached| tracker::tried(attached, &leaves, folder)) {
        Ok(mut attached) => {
            attached.remarks.iter().for_each(|remark| log::info!("{remark}"));
            if core::mem::take(&mut known.is_first) {
                let server = known.enrolment.server;
                let words = reboot::go_on(&mut attached, &leaves, known.state, server);
                words.iter().for_each(|words| log::info!("{words}"));
            }
            means.tracker = Some(Box::new(attached.tracker));
            attached.continued
        }
        Err(why) => {
            log::warn!("changes cannot be tracked, and disks are compared instead: {why}");
            disks.iter_mut().for_each(|disk| disk.leaf.untracked = Some(why.clone()));
            Vec::new()
        }
    }
}

/// What this process alone knew goes to the kernel: what was said to be nobody's may be somebody's when another looks.
fn hand_over(means: &mut Means, disks: &[Disk]) {
    let now = means.maker.changed_blank().unwrap_or_default();
    let Some(tracker) = &mut means.tracker else { return };
    for (place, disk) in disks.iter().enumerate() {
        let now = now.get(place).map(|(blank, _)| blank);
        for blank in core::iter::once(&disk.blank).chain(now) {
            hold_all(&mut **tracker, place, blank);
        }
    }
    tracker.ended();
}

/// A run begins.
fn introduce(exchange: &Exchange, disks: &[Disk]) -> Result<(), String> {
    let mut run = [0; 16];
    SystemEntropy.fill(&mut run).map_err(|error| error.to_string())?;
    let identities = disks.iter().map(|disk| disk.leaf.identity.as_str());
    exchange.begin(Introduction {
        run,
        binding: binding::of_machine(Path::new("/"), identities),
        disks: disks.iter().map(Disk::hello).collect(),
    });
    Ok(())
}

/// Opens disks, and goes on with those that the run before had; one that cannot be opened is left out, and told.
fn open(
    leaves: Vec<(Leaf, String)>,
    mut before: Vec<Disk>,
    troubles: &mut Vec<String>,
) -> (Vec<Disk>, Vec<LinuxDisk>) {
    let options = OpenOptions { access: Access::Read, direct: Direct::Always };
    let mut found = (Vec::new(), Vec::new());
    for (leaf, label) in leaves {
        match LinuxDisk::open(&leaf.path, options) {
            Ok(opened) => {
                let same =
                    |disk: &Disk| disk.label == label && disk.leaf == leaf && disk.gone.is_none();
                found.0.push(match before.iter().position(same) {
                    Some(at) => Disk { carried: true, ..before.swap_remove(at) },
                    None => Disk::new(leaf, label, Box::new(Nobody)),
                });
                found.1.push(opened);
            }
            Err(error) => {
                log::error!("{}: {error}; it is left out", leaf.name);
                troubles
                    .push(format!("{} is left out, since it cannot be opened: {error}", leaf.name));
            }
        }
    }
    found
}

/// Freezes what is mounted when it is told to. There is one, whatever disks there are, since its dead-man stays.
#[derive(Clone)]
struct Stiller {
    freezer: Arc<Mutex<LinuxFreezer>>,
    witness: Arc<Mutex<Witness>>,
}

impl Stiller {
    fn freezer(&self) -> MutexGuard<'_, LinuxFreezer> {
        self.freezer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn witness(&self) -> MutexGuard<'_, Witness> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stiller {
    fn freeze_by(
        &self,
        limit: Duration,
        freeze: impl FnOnce(&mut LinuxFreezer, Duration) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut freezer = self.freezer();
        let mut witness = self.witness();
        freezer.set_file_systems(devices::file_systems());
        if !witness.is_there() {
            return freeze(&mut freezer, limit);
        }
        freeze(&mut freezer, limit.saturating_add(witness::SLACK))?;
        witness.frozen();
        Ok(())
    }
}

impl Freezer for Stiller {
    fn freeze(&mut self, limit: Duration) -> Result<(), String> {
        self.freeze_by(limit, Freezer::freeze)
    }

    fn freeze_beside(&mut self, number: (u32, u32), limit: Duration) -> Result<(), String> {
        self.freeze_by(limit, |freezer, limit| freezer.freeze_beside(number, limit))
    }

    fn is_frozen(&mut self) -> bool {
        self.freezer().is_frozen()
    }

    fn thaw(&mut self) -> Thawed {
        self.freezer().thaw()
    }
}

//! The running agent: everything put together, and put together anew when disks come, grow or go.

use core::cell::Cell;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use hal::disk::{Disk as _, DiskError, ErrorKind};
use hal::time::{Clock, Entropy};
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions, SystemClock, SystemEntropy};
use pipeline_wire::message::{DiskHello, FromAgent};

use crate::binding;
use crate::blocks::BlockSet;
use crate::content::{BlockReader, Content, Each};
use crate::cut::Outcome;
use crate::devices::{self, Leaf};
use crate::freeze::{Freezer, LinuxFreezer, Thawed};
use crate::hooks::HookFolder;
use crate::manners;
use crate::replicate::disk::Disk;
use crate::replicate::maker::{ARENA_BYTES, DiskMaker, Maker, Order, Piece};
use crate::reboot;
use crate::replicate::{Means, Memory, Replicator, hold_all};
use crate::report::{Board, SOCKET};
use crate::session::exchange::{Exchange, Introduction};
use crate::session::renewal::Renewal;
use crate::session::{self, Party};
use crate::state::labels::Labels;
use crate::state::{Enrolment, State};
use crate::tracker::{self, Attached, Tracker};

/// Hooks around application-consistent points.
const HOOKS: &str = "/etc/lifeboat/hooks.d";
/// What is about to be frozen, in memory: beyond a restart of the machine nothing is.
const FROZEN: &str = "/run/lifeboat-agent.frozen";
/// How long a point waits for an appliance that takes nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who looks on, in tests.
mod witness;

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
    let mut freezer = LinuxFreezer::new(Path::new("/proc/self/exe"));
    for words in freezer.record_at(Path::new(FROZEN)) {
        log::warn!("{words}");
    }
    // Before this process stands behind others, which the dead-man would inherit.
    if let Err(why) = freezer.start_dead_man() {
        log::error!("{why}");
    }
    for words in manners::behave(manners::Bounds::default()) {
        log::warn!("{words}; the agent goes on without");
    }
    let exchange = Arc::new(Exchange::default());
    let party = party(&enrolment)?;
    let renewal = Arc::clone(&party.renewal);
    let known = Known { enrolment, state, renewal, is_first: Cell::new(true) };
    let talking = Arc::clone(&exchange);
    let talk = move || session::keep(&party, &talking);
    let sessions = thread::Builder::new()
        .name("sessions".to_owned())
        .spawn(talk)
        .map_err(|error| format!("no thread can be started: {error}"))?;
    let mut means = Means {
        exchange: Arc::clone(&exchange),
        tracker: None,
        maker: Box::new(NoMaker),
        patience: PATIENCE,
        clock: Arc::new(SystemClock),
        memory: Box::new(Remembered { state: state.clone(), labels: labels(state) }),
        board,
    };
    let witness = Arc::new(Mutex::new(Witness::of_test()));
    let freezer = Stiller { freezer: Arc::new(Mutex::new(freezer)), witness };
    let mut disks = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        (means, disks) = replicate(&known, (means, disks), &freezer, stop)?;
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

fn labels(state: &State) -> Labels {
    state.labels().unwrap_or_else(|why| {
        log::warn!("{why}; disks are called what the kernel calls them now");
        Labels::default()
    })
}

fn party(enrolment: &Enrolment) -> Result<Party, String> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in &enrolment.addresses {
        match address.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => log::warn!("{address} is no address and port; it is left out"),
        }
    }
    let uname = rustix::system::uname();
    Ok(Party {
        addresses,
        renewal: Arc::new(Renewal::new(enrolment)?),
        server: enrolment.server,
        host: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
    })
}

/// Who this is, and what it remembers.
struct Known<'a> {
    enrolment: Enrolment,
    state: &'a State,
    renewal: Arc<Renewal>,
    /// Nothing was tracked yet in this life.
    is_first: Cell<bool>,
}

/// Replicates the disks as they are now, until they change or all ends.
fn replicate(
    known: &Known<'_>,
    (mut means, before): (Means, Vec<Disk>),
    freezer: &Stiller,
    stop: &AtomicBool,
) -> Result<(Means, Vec<Disk>), String> {
    let Known { enrolment, state, .. } = known;
    let found = devices::leaves();
    let mut troubles = Vec::new();
    let (mut leaves, opened) = open(&found, &mut troubles);
    let continued = track(known, &mut means, &mut leaves);
    let mut disks = Vec::new();
    let mut readers = Vec::new();
    for (disk, opened) in named(state, &leaves, before)?.into_iter().zip(opened) {
        let another = opened.another().map_err(|error| format!("{}: {error}", disk.label))?;
        readers.push((disk.leaf.clone(), another));
        let place = disks.len();
        let continued = continued.get(place).copied().unwrap_or(false);
        // Of other marks than these it says nothing. A compare that ran over a gap in them may be past it.
        let kept = means.tracker.as_ref().is_some_and(|tracker| tracker.is_whole(place));
        let (whole, compare) = (disk.whole && kept, disk.compare.filter(|_| continued));
        let content = Box::new(BlockReader::new(opened));
        disks.push(Disk { continued, whole, compare, content, ..disk });
    }
    let stiller = Box::new(freezer.clone());
    let maker = DiskMaker::new(readers, ARENA_BYTES, stiller, Arc::new(SystemClock));
    let maker = maker.map_err(|error| error.to_string())?;
    let hooks = HookFolder::new(Path::new(HOOKS));
    means.maker = Box::new(maker.with(Some(Box::new(hooks)), None));
    introduce(&means.exchange, &disks)?;
    let exchange = Arc::clone(&means.exchange);
    let name = enrolment.name.clone();
    let mut replicator = Replicator::new(means, disks, name, enrolment.server.to_string());
    troubles.into_iter().for_each(|words| replicator.trouble(words));
    let mut look_at = SystemClock.moment().after(LOOK_MILLIS);
    while !stop.load(Ordering::SeqCst) {
        let happened = exchange.happened();
        let wait = replicator.step();
        replicator.newest_point().into_iter().for_each(|point| freezer.witness().point(point));
        if !wait.is_zero() {
            exchange.rest(happened, wait);
        }
        let now = SystemClock.moment();
        if now >= look_at && !replicator.is_busy() {
            look_at = now.after(LOOK_MILLIS);
            if let Some(question) = known.renewal.tend(state, std::time::Instant::now()) {
                exchange.say(&question, Vec::new());
            }
            if devices::leaves() != found || replicator.has_outgrown() {
                log::info!("disks came, grew or went: everything is looked at anew");
                break;
            }
        }
    }
    Ok(replicator.into_parts())
}

/// Tracks these disks. For each, whether its marks go on without a gap.
fn track(known: &Known<'_>, means: &mut Means, leaves: &mut [Leaf]) -> Vec<bool> {
    // Given up first, so that the new one takes over what this one left in the kernel.
    means.tracker = None;
    match tracker::attach(leaves, &tracker::Options::default()) {
        Ok(Attached { mut tracker, mut continued, remarks }) => {
            remarks.iter().for_each(|remark| log::info!("{remark}"));
            if known.is_first.replace(false) {
                let server = known.enrolment.server;
                let (goes_on, words) = reboot::go_on(&mut tracker, leaves, known.state, server);
                words.iter().for_each(|words| log::info!("{words}"));
                for (continued, goes_on) in continued.iter_mut().zip(goes_on) {
                    *continued |= goes_on;
                }
            }
            means.tracker = Some(Box::new(tracker));
            continued
        }
        Err(why) => {
            log::warn!("changes cannot be tracked, and disks are compared instead: {why}");
            leaves.iter_mut().for_each(|leaf| leaf.untracked = Some(why.clone()));
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
        disks: disks.iter().map(hello).collect(),
    });
    Ok(())
}

/// Opens disks; one that cannot be is left out, and told.
fn open(leaves: &[Leaf], troubles: &mut Vec<String>) -> (Vec<Leaf>, Vec<LinuxDisk>) {
    let options = OpenOptions { access: Access::Read, direct: Direct::Always };
    let mut found = (Vec::new(), Vec::new());
    for leaf in leaves {
        match LinuxDisk::open(&leaf.path, options) {
            Ok(disk) => {
                found.0.push(leaf.clone());
                found.1.push(disk);
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

/// Disks under the labels that they had before.
fn named(state: &State, leaves: &[Leaf], mut before: Vec<Disk>) -> Result<Vec<Disk>, String> {
    let mut labels = labels(state);
    let mut disks: Vec<Disk> = Vec::new();
    let mut is_new = false;
    for leaf in leaves {
        let taken: Vec<String> = disks.iter().map(|disk| disk.label.clone()).collect();
        let (label, new) = labels.label(&leaf.name, &leaf.identity, &taken);
        is_new |= new;
        let same = |disk: &Disk| disk.label == label && disk.leaf == *leaf && disk.gone.is_none();
        let disk = match before.iter().position(same) {
            Some(at) => Disk { carried: true, ..before.swap_remove(at) },
            None => Disk::new(leaf.clone(), label.clone(), Box::new(Unopened)),
        };
        disks.push(Disk { whole: labels.is_whole(&label), ..disk });
    }
    if is_new {
        state.name_disks(&labels)?;
    }
    Ok(disks)
}

fn hello(disk: &Disk) -> DiskHello {
    DiskHello {
        name: disk.label.clone(),
        identity: disk.leaf.identity.clone(),
        bytes: disk.leaf.bytes,
        sector_bytes: disk.leaf.sector_bytes,
    }
}

/// What a disk holds before it is opened: nothing that can be read.
struct Unopened;

impl Content for Unopened {
    fn read(&mut self, _blocks: &[u64], _each: &mut Each<'_>) -> Result<(), DiskError> {
        self.bytes().map(drop)
    }

    fn bytes(&mut self) -> Result<u64, DiskError> {
        Err(DiskError::new(ErrorKind::Gone, "the disk is not open"))
    }
}

/// What makes instants before there are disks: nobody.
struct NoMaker;

impl Maker for NoMaker {
    fn make(
        &mut self,
        _order: &Order,
        _tracker: &mut dyn Tracker,
        _changed: &mut [BlockSet],
        _exchange: &Arc<Exchange>,
    ) -> Result<Outcome, String> {
        Err("there are no disks yet".to_owned())
    }

    fn piece(&self, _at: usize) -> Option<Piece<'_>> {
        None
    }

    fn forget(&mut self) {}

    fn unread(&mut self, _disk: usize, _into: &mut BlockSet) {}

    fn changed_blank(&mut self) -> Option<Vec<(BlockSet, Vec<u64>)>> {
        None
    }
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

impl Freezer for Stiller {
    fn freeze(&mut self, limit: Duration) -> Result<(), String> {
        let mut freezer = self.freezer();
        let mut witness = self.witness();
        freezer.set_file_systems(devices::file_systems());
        if !witness.is_there() {
            return freezer.freeze(limit);
        }
        freezer.freeze(limit.saturating_add(witness::SLACK))?;
        witness.frozen();
        Ok(())
    }

    fn is_frozen(&mut self) -> bool {
        self.freezer().is_frozen()
    }

    fn thaw(&mut self) -> Thawed {
        self.freezer().thaw()
    }
}

/// Which disks were sent whole, on the disk.
struct Remembered {
    state: State,
    labels: Labels,
}

impl Memory for Remembered {
    fn set_whole(&mut self, label: &str, whole: bool) {
        // The labels may have grown since.
        if let Ok(labels) = self.state.labels() {
            self.labels = labels;
        }
        if self.labels.set_whole(label, whole)
            && let Err(why) = self.state.name_disks(&self.labels)
        {
            log::error!("{why}");
        }
    }
}

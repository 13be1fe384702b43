//! The running agent: everything put together, and put together anew when disks come, grow or go.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use hal::time::{Clock, Entropy};
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions, SystemClock, SystemEntropy, manners};
use pipeline_wire::authority::Credentials;
use pipeline_wire::message::{DiskHello, FromAgent};
use pipeline_wire::tls;

use crate::binding;
use crate::content::BlockReader;
use crate::devices::{self, Leaf};
use crate::freeze::{Freezer, LinuxFreezer, Thawed};
use crate::replicate::disk::Disk;
use crate::replicate::{Means, Memory, Replicator};
use crate::report::{Board, SOCKET};
use crate::session::exchange::{Exchange, Introduction};
use crate::session::link::Tls;
use crate::session::{self, Party};
use crate::state::labels::Labels;
use crate::state::{Enrolment, State};
use crate::tracker::{self, Tracker};

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
        "this server is not enrolled; make a token on the appliance's page and run: lifeboat-agent enrol TOKEN"
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
    // Before this process stands behind others, which the dead-man would inherit.
    if let Err(why) = freezer.start_dead_man() {
        log::error!("{why}");
    }
    stand_back();
    let exchange = Arc::new(Exchange::default());
    let party = party(&enrolment)?;
    let talking = Arc::clone(&exchange);
    let talk = move || session::keep(&party, &talking);
    let sessions = thread::Builder::new()
        .name("sessions".to_owned())
        .spawn(talk)
        .map_err(|error| format!("no thread can be started: {error}"))?;
    let mut means = Means {
        exchange: Arc::clone(&exchange),
        tracker: None,
        freezer: Box::new(Stiller { freezer }),
        clock: Arc::new(SystemClock),
        memory: Box::new(Remembered { state: state.clone(), labels: labels(state) }),
        board,
    };
    let mut disks = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        (means, disks) = replicate(&enrolment, state, means, disks, stop)?;
    }
    log::info!("stopping: changes stay marked in the kernel until the agent runs again");
    exchange.say(&FromAgent::Goodbye { words: "the agent was stopped".to_owned() }, Vec::new());
    exchange.stop();
    let until = std::time::Instant::now() + FAREWELL;
    while !sessions.is_finished() && std::time::Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Behind others, and in memory that no frozen disk is needed for.
fn stand_back() {
    let steps = [
        ("priority", manners::be_nice(19)),
        ("priority on disks", manners::be_idle_on_disks()),
        ("locked memory", manners::lock_memory()),
    ];
    for (what, result) in steps {
        if let Err(error) = result {
            log::warn!("{what}: {error}; the agent goes on without");
        }
    }
}

fn labels(state: &State) -> Labels {
    state.labels().unwrap_or_else(|why| {
        log::warn!("{why}; disks are called what the kernel calls them now");
        Labels::default()
    })
}

fn party(enrolment: &Enrolment) -> Result<Party, String> {
    let credentials = Credentials {
        certificate: enrolment.certificate.clone(),
        key: enrolment.key.clone().into(),
    };
    let broken = |error| {
        format!("what was kept of the enrolment is of no use ({error}): lifeboat-agent enrol TOKEN")
    };
    let config = tls::agent(&credentials, &enrolment.authority).map_err(broken)?;
    let name = tls::appliance_name().map_err(broken)?;
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
        tls: Tls { config, name },
        server: enrolment.server,
        host: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
    })
}

/// Replicates the disks as they are now, until they change or all ends.
fn replicate(
    enrolment: &Enrolment,
    state: &State,
    mut means: Means,
    before: Vec<Disk>,
    stop: &AtomicBool,
) -> Result<(Means, Vec<Disk>), String> {
    let leaves = devices::leaves();
    // Given up first, so that the new one takes over what this one left in the kernel.
    means.tracker = None;
    let (tracker, continued, mut troubles) = track(&leaves);
    means.tracker = tracker;
    let disks = open(state, &leaves, before, &continued, &mut troubles)?;
    let mut run = [0; 16];
    SystemEntropy.fill(&mut run).map_err(|error| error.to_string())?;
    let exchange = Arc::clone(&means.exchange);
    let identities = leaves.iter().map(|leaf| leaf.identity.as_str());
    exchange.begin(Introduction {
        run,
        binding: binding::of_machine(Path::new("/"), identities),
        disks: disks.iter().map(hello).collect(),
    });
    let name = enrolment.name.clone();
    let mut replicator = Replicator::new(means, disks, name, enrolment.server.to_string());
    troubles.into_iter().for_each(|words| replicator.trouble(words));
    let mut look_at = SystemClock.moment().after(LOOK_MILLIS);
    while !stop.load(Ordering::SeqCst) {
        let happened = exchange.happened();
        let wait = replicator.step();
        if !wait.is_zero() {
            exchange.rest(happened, wait);
        }
        let now = SystemClock.moment();
        if now >= look_at && !replicator.is_busy() {
            look_at = now.after(LOOK_MILLIS);
            if devices::leaves() != leaves || replicator.has_outgrown() {
                log::info!("disks came, grew or went: everything is looked at anew");
                break;
            }
        }
    }
    Ok(replicator.into_parts())
}

/// Tracks, where this kernel lets us.
fn track(leaves: &[Leaf]) -> (Option<Box<dyn Tracker>>, Vec<bool>, Vec<String>) {
    match tracker::attach(leaves, &tracker::Options::default()) {
        Ok(attached) => {
            attached.remarks.iter().for_each(|remark| log::info!("{remark}"));
            (Some(Box::new(attached.tracker)), attached.continued, Vec::new())
        }
        Err(why) => {
            log::warn!("changes cannot be tracked: {why}");
            let words = format!("changes cannot be tracked, and disks are compared instead: {why}");
            (None, Vec::new(), vec![words])
        }
    }
}

/// Opens disks, under the labels that they had before.
fn open(
    state: &State,
    leaves: &[Leaf],
    before: Vec<Disk>,
    continued: &[bool],
    troubles: &mut Vec<String>,
) -> Result<Vec<Disk>, String> {
    let mut labels = labels(state);
    let (mut disks, mut before): (Vec<Disk>, Vec<Disk>) = (Vec::new(), before);
    let mut is_new = false;
    for (place, leaf) in leaves.iter().enumerate() {
        let taken: Vec<String> = disks.iter().map(|disk| disk.label.clone()).collect();
        let (label, new) = labels.label(&leaf.name, &leaf.identity, &taken);
        is_new |= new;
        let options = OpenOptions { access: Access::Read, direct: Direct::Always };
        let opened = LinuxDisk::open(&leaf.path, options);
        let content: Box<dyn crate::content::Content> = match opened {
            Ok(disk) => Box::new(BlockReader::new(disk)),
            Err(error) => {
                log::error!("{label}: {error}");
                troubles.push(format!("{label} cannot be opened: {error}"));
                Box::new(Absent(error))
            }
        };
        let continued = continued.get(place).copied().unwrap_or(false);
        let same = |disk: &Disk| disk.label == label && disk.leaf == *leaf && disk.gone.is_none();
        let disk = match before.iter().position(same) {
            Some(at) => Disk { carried: true, content, ..before.swap_remove(at) },
            None => Disk::new(leaf.clone(), label.clone(), content),
        };
        disks.push(Disk { continued, whole: labels.is_whole(&label), ..disk });
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

/// A disk that could not be opened.
struct Absent(hal::disk::DiskError);

impl crate::content::Content for Absent {
    fn read(
        &mut self,
        _blocks: &[u64],
        _each: &mut crate::content::Each<'_>,
    ) -> Result<(), hal::disk::DiskError> {
        Err(self.0.clone())
    }

    fn bytes(&mut self) -> Result<u64, hal::disk::DiskError> {
        Err(self.0.clone())
    }
}

/// Freezes what is mounted when it is told to.
struct Stiller {
    freezer: LinuxFreezer,
}

impl Freezer for Stiller {
    fn freeze(&mut self, limit: Duration) -> Result<(), String> {
        self.freezer.set_file_systems(devices::file_systems());
        self.freezer.freeze(limit)
    }

    fn is_frozen(&mut self) -> bool {
        self.freezer.is_frozen()
    }

    fn thaw(&mut self) -> Thawed {
        self.freezer.thaw()
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

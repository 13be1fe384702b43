//! The agent, put together of its own parts for one loop device.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use hal::disk::Disk as _;
use hal::time::{Clock as _, UnixMillis};
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions, SystemClock};
use pipeline_agent::content::BlockReader;
use pipeline_agent::devices::{FileSystem, Leaf};
use pipeline_agent::freeze::LinuxFreezer;
use pipeline_agent::replicate::disk::Disk;
use pipeline_agent::replicate::maker::{ARENA_BYTES, DiskMaker};
use pipeline_agent::replicate::{Means, Memory, Replicator};
use pipeline_agent::report::{Board, PointReport};
use pipeline_agent::session::exchange::{Exchange, Introduction};
use pipeline_agent::session::renewal::Renewal;
use pipeline_agent::session::{Party, keep};
use pipeline_agent::standstill::Standstill;
use pipeline_agent::tracker::{self, Options};
use pipeline_agent::{binding, enrol};
use pipeline_wire::message::DiskHello;
use tests::loop_mount::LoopMount;
use tests::program::built;

/// What the server is called.
pub(crate) const NAME: &str = "busy";
/// How long a point waits for an appliance that takes nothing.
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCK: f64 = 65_536.0;

/// What was seen of points.
#[derive(Default)]
pub(crate) struct Seen {
    /// The newest epoch in the vault.
    pub(crate) vaulted: u64,
    /// Points since the last row, by epoch, and the last of that.
    points: BTreeMap<u64, PointReport>,
    /// How long after its instant each came into the vault, and how old what was there before had become; seconds.
    after: Vec<f64>,
    ages: Vec<f64>,
    /// The instant of the newest in the vault.
    newest_at: Option<u64>,
}

impl Seen {
    /// How many points of this row are in the vault.
    pub(crate) fn points(&self) -> usize {
        self.after.len()
    }
}

/// A protected server.
pub(crate) struct Server {
    replicator: Replicator,
    exchange: Arc<Exchange>,
    sessions: JoinHandle<()>,
    seen: Seen,
    pins: PathBuf,
}

/// Nothing outlives this agent.
struct Nothing;

/// It is never drained: the machine is the developer's.
impl Standstill for Nothing {
    fn stop(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn read_only(&mut self) -> Result<(), String> {
        Err("a benchmark makes no file system read-only".to_owned())
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn go_on(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn power_off(&mut self) -> Result<(), String> {
        Err("a benchmark switches nothing off".to_owned())
    }
}

impl Memory for Nothing {
    fn compared_at(&self, _label: &str) -> Option<UnixMillis> {
        Some(SystemClock.now())
    }

    fn set_compared(&mut self, _label: &str, _at: UnixMillis) -> Result<(), String> {
        Ok(())
    }
}

fn leaf_of(device: &Path) -> Result<Leaf, String> {
    let words = |error: &dyn core::fmt::Display| format!("{}: {error}", device.display());
    let number = fs::metadata(device).map_err(|error| words(&error))?.rdev();
    let options = OpenOptions { access: Access::Read, direct: Direct::Always };
    let mut disk = LinuxDisk::open(device, options).map_err(|error| words(&error))?;
    let geometry = disk.geometry().map_err(|error| words(&error))?;
    Ok(Leaf {
        name: device.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        path: device.to_owned(),
        number: (rustix::fs::major(number), rustix::fs::minor(number)),
        bytes: geometry.bytes,
        sector_bytes: geometry.logical_sector_bytes,
        identity: "serial=busy".to_owned(),
        untracked: None,
    })
}

fn enrolled(token: &str, leaf: &Leaf) -> Result<(Party, Introduction), String> {
    let disks = vec![DiskHello {
        name: leaf.name.clone(),
        identity: leaf.identity.clone(),
        bytes: leaf.bytes,
        sector_bytes: leaf.sector_bytes,
    }];
    let binding = binding::of_machine(Path::new("/"), [leaf.identity.as_str()]);
    let facts = enrol::Facts {
        binding: binding.clone(),
        host: NAME.to_owned(),
        kernel: "this one".to_owned(),
        disks: disks.clone(),
    };
    let enrolment = enrol::enrol(token, facts).map_err(|error| error.to_string())?;
    let addresses = enrolment.addresses.iter().filter_map(|address| address.parse().ok());
    let party = Party {
        addresses: addresses.collect(),
        renewal: Arc::new(Renewal::new(&enrolment)?),
        server: enrolment.server,
        host: NAME.to_owned(),
        kernel: "this one".to_owned(),
    };
    Ok((party, Introduction { run: *b"of the benchmark", binding, disks }))
}

impl Server {
    /// Enrols it, and begins.
    pub(crate) fn start(token: &str, mounted: &LoopMount) -> Result<Self, String> {
        let leaf = leaf_of(mounted.device())?;
        let (party, introduction) = enrolled(token, &leaf)?;
        let number = fs::metadata(mounted.at()).map_err(|error| error.to_string())?.dev();
        let mut freezer = LinuxFreezer::new(&built("lifeboat-agent"));
        freezer.start_dead_man()?;
        freezer.set_file_systems(vec![FileSystem {
            at: mounted.at().to_owned(),
            kind: "ext4".to_owned(),
            number: (rustix::fs::major(number), rustix::fs::minor(number)),
            leaves: vec![leaf.name.clone()],
            read_only: false,
        }]);
        let pins = Path::new("/sys/fs/bpf").join(format!("lifeboat-rpo-{}", std::process::id()));
        let options = Options { pins: pins.clone(), ..Options::default() };
        let tracker = tracker::attach(core::slice::from_ref(&leaf), &options)?.tracker;
        let options = OpenOptions { access: Access::Read, direct: Direct::Always };
        let open = || LinuxDisk::open(&leaf.path, options).map_err(|error| error.to_string());
        let content = Box::new(BlockReader::new(open()?));
        let disks = vec![Disk::new(leaf.clone(), leaf.name.clone(), content)];
        let clock = Arc::new(SystemClock);
        let readers = vec![(leaf.clone(), open()?)];
        let maker = DiskMaker::new(readers, ARENA_BYTES, Box::new(freezer), clock.clone());
        let exchange = Arc::new(Exchange::default());
        exchange.begin(introduction);
        let talking = Arc::clone(&exchange);
        let sessions = thread::spawn(move || keep(&party, &talking));
        let means = Means {
            exchange: Arc::clone(&exchange),
            tracker: Some(Box::new(tracker)),
            maker: Box::new(maker.map_err(|error| error.to_string())?),
            patience: PATIENCE,
            clock,
            memory: Box::new(Nothing),
            standstill: Box::new(Nothing),
            board: Board::default(),
        };
        let replicator = Replicator::new(means, disks, NAME.to_owned(), String::new());
        Ok(Self { replicator, exchange, sessions, seen: Seen::default(), pins })
    }

    /// Works until it is so.
    pub(crate) fn run_until(&mut self, is_so: &mut dyn FnMut(&Seen) -> bool) -> Result<(), String> {
        let began = std::time::Instant::now();
        while !is_so(&self.seen) {
            if began.elapsed() > Duration::from_secs(900) {
                return Err(format!("it does not come to an end: {:?}", self.replicator.report()));
            }
            let happened = self.exchange.happened();
            let wait = self.replicator.step();
            self.look();
            if !wait.is_zero() {
                self.exchange.rest(happened, wait.min(Duration::from_millis(200)));
            }
        }
        Ok(())
    }

    fn look(&mut self) {
        let (seen, now) = (&mut self.seen, SystemClock.now().0);
        if let Some(point) = self.replicator.newest_point()
            && !seen.points.contains_key(&point.epoch)
        {
            seen.points.insert(point.epoch, point.clone());
        }
        let vaulted = self.replicator.vaulted_epoch();
        if vaulted <= seen.vaulted {
            return;
        }
        seen.vaulted = vaulted;
        let Some(at) = seen.points.get(&vaulted).map(|point| point.at_millis) else { return };
        let seconds = |millis: u64| Duration::from_millis(millis).as_secs_f64();
        seen.ages.extend(seen.newest_at.map(|before| seconds(now.saturating_sub(before))));
        seen.after.push(seconds(now.saturating_sub(at)));
        seen.newest_at = Some(at);
    }

    /// A row begins.
    pub(crate) fn forget(&mut self) {
        let newest =
            self.seen.points.last_key_value().map(|(epoch, point)| (*epoch, point.clone()));
        self.seen.points = newest.into_iter().collect();
        self.seen.after.clear();
        self.seen.ages.clear();
    }

    /// The newest point that was made.
    pub(crate) fn newest_epoch(&self) -> u64 {
        self.seen.points.last_key_value().map_or(0, |(epoch, _)| *epoch)
    }

    /// What was seen since the row began.
    pub(crate) fn row(&mut self) -> String {
        // Between the first and the last: what was written before the first is another row's.
        let millis = |point: Option<&PointReport>| point.map_or(0, |point| point.at_millis);
        let began = millis(self.seen.points.values().nth(1));
        let ended = millis(self.seen.points.values().next_back());
        let seconds = Duration::from_millis(ended.saturating_sub(began)).as_secs_f64();
        let points: Vec<&PointReport> = self.seen.points.values().skip(2).collect();
        let blocks: u64 = points.iter().map(|point| point.blocks).sum();
        let clean = points.iter().filter(|point| point.instant != "fuzzy").count();
        let frozen = points.iter().map(|point| point.frozen_micros).max().unwrap_or(0) / 1000;
        self.seen.after.sort_by(f64::total_cmp);
        let after = &self.seen.after;
        let [middle, worst] = [after.get(after.len() / 2), after.last()]
            .map(|seconds| seconds.copied().unwrap_or(f64::NAN));
        let age = self.seen.ages.iter().copied().fold(f64::NAN, f64::max);
        let sent = blocks as f64 * BLOCK / 1e6 / seconds;
        let made = points.len();
        format!(
            "{sent:.1} MB/s | {made} | {clean} | {frozen} ms | {middle:.1} s, {worst:.1} s | {age:.1} s |"
        )
    }

    /// Resident memory.
    pub(crate) fn memory_bytes(&mut self) -> f64 {
        self.replicator.report().memory_bytes as f64
    }

    /// Ends, and leaves nothing in the kernel.
    pub(crate) fn end(self) {
        self.exchange.stop();
        // It ends with the process in any case.
        let _ = self.sessions.join();
        drop(self.replicator);
        if let Err(why) = tracker::remove(&self.pins) {
            eprintln!("{why}");
        }
    }
}

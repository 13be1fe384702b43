//! How long a freeze takes beside what it is made of: freezing and thawing alone, and reading the same blocks alone.
//!
//! `freeze_length DEVICE MOUNTED-AT AGENT`: the whole disk, a file system on it, and the built program `lifeboat-agent`.

use core::error::Error;
use core::time::Duration;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hal::time::Clock;
use hal_linux::{LinuxDisk, OpenOptions, SystemClock};
use hal_sim::random::Random;
use pipeline::limits::BLOCK_BYTES;
use pipeline_agent::blocks::BlockSet;
use pipeline_agent::capture::{Arena, Source, Unread};
use pipeline_agent::cut::{Cutter, Limits, Server, Sink};
use pipeline_agent::devices::FileSystem;
use pipeline_agent::freeze::{Freezer, LinuxFreezer};
use pipeline_agent::swap::Swap;
use pipeline_agent::tracker::{Audit, Tracker};

const ROUNDS: usize = 31;
const ARENA_BYTES: usize = 128 << 20;
const LIMIT: Duration = Duration::from_secs(20);

/// Says under the freeze that these changed, and then that nothing did.
struct Scripted {
    takes: u32,
    under_freeze: BlockSet,
}

impl Tracker for Scripted {
    fn take(&mut self, _: usize, into: &mut BlockSet) -> Result<(), String> {
        self.takes += 1;
        if self.takes == 2 {
            into.union(&self.under_freeze);
        }
        Ok(())
    }

    fn audit(&mut self) -> Audit {
        Audit::default()
    }

    fn written_bytes(&mut self) -> u64 {
        0
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn blocks(&mut self, _: usize, _: u64, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn zeros(&mut self, _: usize, _: u64, _: u32) -> Result<(), String> {
        Ok(())
    }

    fn unread(&mut self, unread: Unread) -> Result<(), String> {
        Err(format!("{unread:?}"))
    }

    fn pace(&mut self, _: usize) {}
}

/// The least of all rounds and their median: on a busy machine only the first says something.
fn least_and_median(mut of: Vec<f64>) -> (f64, f64) {
    of.sort_by(f64::total_cmp);
    let at = |place: usize| of.get(place).copied().unwrap_or(0.0);
    (at(0), at(of.len() / 2))
}

fn millis(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1000.0
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [device, at, agent] = arguments.as_slice() else {
        return Err("usage: freeze_length DEVICE MOUNTED-AT AGENT".into());
    };
    let mut sources = [Source::new(LinuxDisk::open(device, OpenOptions::default())?)?];
    let [source] = &mut sources;
    let mut arena = Arena::new(&mut source.disk, ARENA_BYTES)?;
    let blocks = source.blocks();
    let mut freezer = LinuxFreezer::new(agent);
    freezer.set_file_systems(vec![file_system(at)?]);
    println!("| residue | least alone ms | reading ms | frozen ms | less alone, by reading |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, count, scattered) in [
        ("1 MiB in one piece", 16, false),
        ("16 MiB in one piece", 256, false),
        ("48 MiB in one piece", 768, false),
        ("1 MiB scattered", 16, true),
        ("16 MiB scattered", 256, true),
        ("48 MiB scattered", 768, true),
    ] {
        let set = some(blocks, count, scattered);
        // In turns, so that whatever else the machine does falls on all three alike.
        let (mut alone, mut reading, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            freezer.freeze(LIMIT)?;
            alone.push(millis(freezer.thaw().micros * 1000));
            arena.clear();
            let began = SystemClock.monotonic_nanos();
            let read = arena.read(&mut sources, core::slice::from_ref(&set), &mut || true);
            read.map_err(|trouble| format!("{trouble:?}"))?;
            reading.push(millis(SystemClock.monotonic_nanos() - began));
            arena.clear();
            frozen.push(cut(&mut freezer, &mut sources, &mut arena, &set)?);
        }
        let [alone, reading, frozen] = [alone, reading, frozen].map(least_and_median);
        let ratio = |alone: f64, reading: f64, frozen: f64| (frozen - alone) / reading;
        let least = ratio(alone.0, reading.0, frozen.0);
        let median = ratio(alone.1, reading.1, frozen.1);
        println!(
            "| {name} | {:.2} | {:.2} | {:.2} | {least:.2}, in the middle {median:.2} |",
            alone.0, reading.0, frozen.0
        );
    }
    Ok(())
}

fn file_system(at: &Path) -> Result<FileSystem, Box<dyn Error>> {
    let number = std::fs::metadata(at)?.dev();
    Ok(FileSystem {
        at: at.to_path_buf(),
        kind: "ext4".to_owned(),
        number: (rustix::fs::major(number), rustix::fs::minor(number)),
        leaves: Vec::new(),
        read_only: false,
    })
}

fn some(blocks: u64, count: u64, scattered: bool) -> BlockSet {
    let mut set = BlockSet::new(blocks);
    let mut random = Random::new(29);
    if !scattered {
        set.insert_range(8, 8 + count);
    }
    while set.count() < count {
        set.insert(random.below(blocks));
    }
    set
}

/// One cut with these blocks under its freeze: how long it was frozen, milliseconds.
fn cut(
    freezer: &mut LinuxFreezer,
    sources: &mut [Source<LinuxDisk>],
    arena: &mut Arena<hal_linux::AlignedBuffer>,
    set: &BlockSet,
) -> Result<f64, String> {
    let mut tracker = Scripted { takes: 0, under_freeze: set.clone() };
    let blank = [BlockSet::new(set.size())];
    let mut changed = [BlockSet::new(set.size())];
    let mut server = Server {
        tracker: &mut tracker,
        freezer,
        sources,
        blank: &blank,
        swap: &Swap::default(),
        arena,
        sink: &mut Nowhere,
        hooks: None,
        throttle: None,
        snapshots: None,
        gate: None,
        clock: &SystemClock,
    };
    let limits = Limits { budget: LIMIT, limit: LIMIT };
    let outcome = Cutter::default().cut(&mut server, &mut changed, limits);
    let outcome = outcome.map_err(|failed| failed.words)?;
    let held: usize = arena.held().map(|held| held.bytes().len()).sum();
    let wanted = usize::try_from(set.count()).unwrap_or(0) * BLOCK_BYTES;
    if held != wanted || !outcome.remarks.is_empty() {
        return Err(format!("{held} of {wanted} bytes, {:?}", outcome.remarks));
    }
    Ok(outcome.frozen.as_secs_f64() * 1000.0)
}

//! What points cost in objects, calls and bytes per server and day, at one point every 10 seconds, minute and five
//! minutes, before and after hourly merging: `cargo bench -p pipeline-vault --bench upkeep_cost`.
//!
//! A simulated disk is written to all the time: every two seconds one block of 64 KiB, half of the writes in a hot set
//! of 64 blocks, the others anywhere in 1 GiB; the content halves when compressed. Points read only what changed. Some
//! hours are simulated and scaled to a day; what is scaled, and by how much, stands in the table. Every hour upkeep runs
//! with `Scope::Recent`; in the end a day passes and it runs with `Scope::Whole`, so that what was merged is deleted.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use hal::disk::Disk;
use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk, SimEntropy};
use pipeline::ids::{KeyEpoch, ServerId, VaultId};
use pipeline::seal::SecretKey;
use pipeline::segment::{SegmentIdentity, derive_segment_key};
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::keys::KeySource;
use pipeline_vault::retain::Policy;
use pipeline_vault::roster;
use pipeline_vault::sealed::{ObjectKey, ObjectKind};
use pipeline_vault::store::count::{CountingStore, Counts};
use pipeline_vault::store::memory::MemoryStore;
use pipeline_vault::upkeep::{Options, Report, Scope, run};
use pipeline_vault::writer::{self, DiskJob, Silent, protect};

const SERVER: ServerId = ServerId([5; 16]);
const BLOCK: u64 = 65_536;
const DISK_BLOCKS: u64 = 16_384;
const HOT_BLOCKS: u64 = 64;
/// Milliseconds between two writes.
const WRITE_EVERY: u64 = 2000;
const HOUR: u64 = 3_600_000;

/// One key for everything: what is measured does not depend on keys.
struct OneKey;

impl KeySource for OneKey {
    fn newest_record_key(&self, _: &ServerId) -> Option<(KeyEpoch, SecretKey)> {
        Some((KeyEpoch(1), SecretKey::from_bytes([1; 32])))
    }

    fn object_key(&self, _: &ServerId, _: ObjectKind, _: &str, _: KeyEpoch) -> Option<ObjectKey> {
        Some(ObjectKey::Epoch(SecretKey::from_bytes([1; 32])))
    }

    fn segment_key(&self, identity: &SegmentIdentity) -> Option<SecretKey> {
        Some(derive_segment_key(&SecretKey::from_bytes([1; 32]), identity))
    }

    fn fingerprint_key(&self, _: &ServerId) -> Option<SecretKey> {
        Some(SecretKey::from_bytes([2; 32]))
    }
}

struct Simulation {
    store: Arc<MemoryStore>,
    counting: Arc<CountingStore>,
    clock: SimClock,
    disk: SimDisk,
    random: Random,
    runs: u64,
}

impl Simulation {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self {
            counting: Arc::new(CountingStore::new(store.clone())),
            store,
            clock: SimClock::default(),
            disk: SimDisk::new(DISK_BLOCKS * BLOCK),
            random: Random::new(11),
            runs: 0,
        }
    }

    /// A machine of its own for every run, as the command line is.
    fn access(&mut self) -> Access {
        self.runs += 1;
        Access {
            store: self.counting.clone(),
            vault: VaultId([9; 16]),
            keys: Arc::new(OneKey),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SimEntropy::new(self.runs)),
        }
    }

    fn pass(&self, millis: u64) {
        self.clock.advance(millis);
        self.store.advance(millis);
    }

    /// The server writes for so long; gives where.
    fn write(&mut self, millis: u64) -> Vec<(u64, u64)> {
        let mut content = vec![0; usize::try_from(BLOCK).expect("a block")];
        let half = content.len() / 2;
        (0..millis / WRITE_EVERY)
            .map(|_| {
                let hot = self.random.below(2) == 0;
                let block = self.random.below(if hot { HOT_BLOCKS } else { DISK_BLOCKS });
                self.random.fill(&mut content[..half]);
                self.disk.load(block * BLOCK, &content);
                (block * BLOCK, BLOCK)
            })
            .collect()
    }

    fn point(&mut self, changed: Option<Vec<(u64, u64)>>) -> Result<(), Error> {
        let access = self.access();
        let disk = self.disk.another().map_err(Error::from)?;
        let job = DiskJob { name: "sda".to_owned(), identity: String::new(), disk, changed };
        protect(&access, SERVER, vec![job], &writer::Options::default(), &Silent).map(|_| ())
    }

    fn upkeep(&mut self, scope: Scope) -> Result<Report, Error> {
        let access = self.access();
        run(&access, SERVER, &Policy::parse("72h")?, &Options { scope, ..Options::default() })
    }

    fn objects(&self) -> (u64, u64) {
        (self.store.names().len() as u64, self.store.bytes())
    }
}

fn calls(counts: &Counts) -> u64 {
    counts.creates + counts.reads + counts.facts + counts.lists + counts.deletes + counts.others
}

/// What one part of the day's work took.
#[derive(Clone, Copy, Default)]
struct Share {
    calls: u64,
    writes: u64,
    sent: u64,
    fetched: u64,
}

impl Share {
    fn add(&mut self, before: &Counts, after: &Counts) {
        self.calls += calls(after) - calls(before);
        self.writes += (after.creates + after.lists) - (before.creates + before.lists);
        self.sent += after.created_bytes - before.created_bytes;
        self.fetched += after.read_bytes - before.read_bytes;
    }

    fn line(&self, what: &str, scale: u64) {
        println!(
            "  {what:<28} {:>9} calls ({:>8} of them writes and lists), {:>8.1} MiB sent, {:>8.1} MiB fetched",
            self.calls * scale,
            self.writes * scale,
            mebibytes(self.sent * scale),
            mebibytes(self.fetched * scale),
        );
    }
}

fn mebibytes(bytes: u64) -> f64 {
    // For people: a rounded figure is what is wanted.
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}

fn simulate(every: u64, hours: u64) -> Result<(), Error> {
    let began = Instant::now();
    let scale = 24 / hours;
    let mut simulation = Simulation::new();
    simulation.write(DISK_BLOCKS * WRITE_EVERY / 4);
    simulation.point(None)?;
    let (base_objects, base_bytes) = simulation.objects();
    let (mut making, mut merging) = (Share::default(), Share::default());
    let mut moved = 0;
    for _ in 0..hours {
        for _ in 0..HOUR / every {
            let changed = simulation.write(every);
            simulation.pass(every);
            let before = simulation.counting.counts();
            simulation.point(Some(changed))?;
            making.add(&before, &simulation.counting.counts());
        }
        let before = simulation.counting.counts();
        moved += simulation.upkeep(Scope::Recent(6 * HOUR))?.segments_moved;
        merging.add(&before, &simulation.counting.counts());
    }
    let points = hours * HOUR / every;
    // Nothing was deleted yet, and what upkeep added is known: without it, this is what would be there.
    let (objects, bytes) = simulation.objects();
    let merged = simulation.store.names().len() as u64;
    let before = simulation.counting.counts();
    simulation.pass(25 * HOUR);
    let whole = simulation.upkeep(Scope::Whole)?;
    let mut daily = Share::default();
    daily.add(&before, &simulation.counting.counts());
    let (after_objects, after_bytes) = simulation.objects();
    let before = simulation.counting.counts();
    let access = simulation.access();
    let listed = roster::points(&access, SERVER)?.len() as u64;
    let listing = calls(&simulation.counting.counts()) - calls(&before);
    assert_eq!(listed, points + 1, "no point is lost");
    let plain = 3 * points;
    println!(
        "a point every {} s: {points} points in {hours} h simulated, scaled by {scale} to a day",
        every / 1000
    );
    println!(
        "  objects of a day: {} made by points, {} left after merging ({} at the end of the simulation, {} before)",
        plain * scale,
        (after_objects.saturating_sub(base_objects)) * scale,
        merged.saturating_sub(base_objects),
        objects.saturating_sub(base_objects),
    );
    println!(
        "  bytes of a day: {:.1} MiB with what is to be deleted, {:.1} MiB after",
        mebibytes(bytes.saturating_sub(base_bytes) * scale),
        mebibytes(after_bytes.saturating_sub(base_bytes) * scale),
    );
    making.line("making the points", scale);
    merging.line("merging every hour", scale);
    daily.line("the whole upkeep, once", 1);
    println!(
        "  {moved} segments merged hourly, {} by the whole upkeep, {} objects deleted",
        whole.segments_moved, whole.objects_deleted
    );
    println!("  listing the {listed} points takes {listing} calls afterwards");
    println!("  ({:.0} s of work)", began.elapsed().max(Duration::from_millis(1)).as_secs_f64());
    Ok(())
}

fn main() {
    for (every, hours) in [(10_000, 2), (60_000, 4), (300_000, 12)] {
        if let Err(error) = simulate(every, hours) {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

//! How fast a point becomes a disk, of what is possible: of opening its frames, and of what Azurite takes by itself; and what
//! follows from that at the rates that Azure publishes, reckoned and not measured.
//!
//! Opening is told in processor time: a machine that others use too gives a program as much of itself as it has threads that
//! want to run, so that of two programs the one with more threads looks faster. A sink by itself is given the very puts of a
//! hydration, in their order and as many at once, before and after each hydration. One sink is Azurite, which needs the
//! processors that a hydration needs too, and those that others use. The other takes what Azure says that it takes of one
//! page blob, waits for the rest, and needs none.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use firmware_recovery::hydrate::fill::{How, IN_FLIGHT, Source, fill};
use firmware_recovery::hydrate::paced::Paced;
use firmware_recovery::hydrate::pages::{Pages, Trouble};
use firmware_recovery::hydrate::vhd::whole;
use hal::buffer::HeapBuffer;
use hal::disk::{Completion, Disk, DiskError, Geometry, Operation, Rejected, Request};
use hal_linux::{SystemClock, SystemEntropy};
use pipeline_azure::pages::{PageBlob, PageOptions};
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::Error;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::points::{ChainView, read_chain};
use pipeline_vault::restore::{Options, WORKERS_MAX, restore_disk};
use pipeline_vault::store::BlobStore as _;
use pipeline_vault::store::directory::DirectoryStore;
use pipeline_vault::vault::Vault as Opened;
use pipeline_vault::writer::Silent;
use rustix::time::{ClockId, clock_gettime};
use tests::azurite::{ACCOUNT, Azurite, KEY};

use crate::ours::Vault;
use crate::run::{Bench, median};

const CACHE_BYTES: usize = 32 << 20;
/// What Azure takes of one page blob each second, and of a disk up to 8 TiB that is uploaded.
const AZURES_BYTES_PER_SECOND: u64 = 60 << 20;
/// How long a put is on its way beside that: a guess at a link within a country.
const AZURES_LATENCY: Duration = Duration::from_millis(10);

/// One put: where, and how much.
type Put = (u64, usize);

/// What a round found.
struct Round {
    /// Of the processor time of filling a page blob in memory, what opening alone takes.
    opening_of_filling: f64,
    /// MiB of content opened in a second of processor time.
    opened_per_second: f64,
    /// Of what a blob at Azure's rate takes by itself, what a hydration brings into it.
    of_metered: f64,
    /// The same of Azurite.
    of_azurite: f64,
}

/// Prints the speeds of each round, the ratios' medians, and the table.
pub(crate) fn measure(bench: &Bench) -> Result<(), String> {
    let folder = bench.fresh("hydrate");
    let vault = Vault::directory(&folder)?;
    vault.protect(&bench.image, None, &["--level", "1"])?;
    let rounds: Result<Vec<Round>, Error> =
        (0..bench.rounds).map(|round| round_of(bench, &folder, round)).collect();
    let rounds = rounds.map_err(|error| error.to_string())?;
    let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    println!(
        "| opened in a second of processor time | {:.0} MiB |",
        middle(|round| round.opened_per_second)
    );
    println!(
        "| opening alone, of the processor time of filling a page blob | {:.0} % |",
        100.0 * middle(|round| round.opening_of_filling)
    );
    println!(
        "| into a blob at Azure's rate, of what it takes by itself | {:.0} % |",
        100.0 * middle(|round| round.of_metered)
    );
    println!(
        "| into Azurite, of what Azurite takes by itself | {:.0} % |",
        100.0 * middle(|round| round.of_azurite)
    );
    reckon();
    Ok(())
}

fn round_of(bench: &Bench, folder: &Path, round: usize) -> Result<Round, Error> {
    let key = KeyFile::read(&folder.join("key"))?.open(None)?;
    let clock = Arc::new(SystemClock);
    let store = Arc::new(DirectoryStore::new(folder.join("vault"), clock.clone()));
    let vault = Opened::open(store, clock, Arc::new(SystemEntropy), &key)?;
    let access = vault.access();
    let view = read_chain(&access, vault.server("bench")?.id)?;
    let manifest = newest(&view)?;
    let disk = &manifest.disks[0];
    let options = Options { workers: WORKERS_MAX, compare: false, ..Options::default() };
    let open = |frames: &FrameReader| {
        let nowhere = Nowhere { bytes: disk.bytes, waiting: None };
        restore_disk(frames, disk, nowhere, "nowhere", &options, &Silent)
    };
    let into = |frames: &FrameReader, pages: &Arc<dyn Pages>| {
        let source = Source { frames, disk, point: manifest.id, time: manifest.started };
        fill(&source, None, pages, &How::new("sink"), &Silent)
    };
    // Each begins with nothing of the vault in its caches; the first pays for memory that the host has to give first.
    let frames = || FrameReader::new(&access, view.server, &view.upkeep, CACHE_BYTES);
    open(&frames()?)?;
    let (opening, restored) = processor_seconds(|| open(&frames()?))?;
    let memory = Arc::new(Forgets::new(whole(disk.bytes)));
    let pages = Arc::clone(&memory) as Arc<dyn Pages>;
    let (filling, _) = processor_seconds(|| into(&frames()?, &pages))?;
    let puts = memory.puts.lock().expect("no thread panics").clone();
    let metered = || Ok(Arc::new(Metered::new(whole(disk.bytes))) as Arc<dyn Pages>);
    let between = |make: &dyn Fn() -> Result<Arc<dyn Pages>, Error>| {
        let before = sink_alone(&*make()?, &puts)?;
        let target = make()?;
        let begun = Instant::now();
        let done = into(&frames()?, &target)?;
        let hydrated = rate(done.sent.put_bytes, begun);
        let after = sink_alone(&*make()?, &puts)?;
        Ok::<_, Error>(Between { before, hydrated, after })
    };
    let at_rate = between(&metered)?;
    let azurite = Azurite::start().map_err(|error| Error::device("Azurite", error))?;
    let number = AtomicU32::new(0);
    let in_azurite = between(&|| {
        let name = format!("blob{}", number.fetch_add(1, Ordering::Relaxed));
        Ok(page_blob(&azurite, &name, whole(disk.bytes))? as Arc<dyn Pages>)
    })?;
    let opened = mebibytes(restored.written_bytes);
    println!(
        "round {round}: {opened:.0} MiB of content in {} MiB of disk, {} puts; processor time: opening {opening:.2} s, filling {filling:.2} s; \
         MiB/s: at Azure's rate {at_rate}; Azurite {in_azurite}; load {}",
        bench.image_bytes >> 20,
        puts.len(),
        std::fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .split(' ')
            .next()
            .unwrap_or_default(),
    );
    Ok(Round {
        opening_of_filling: opening / filling,
        opened_per_second: opened / opening,
        of_metered: at_rate.ratio(),
        of_azurite: in_azurite.ratio(),
    })
}

/// MiB a second into a sink: by itself, by a hydration, by itself again.
struct Between {
    before: f64,
    hydrated: f64,
    after: f64,
}

impl Between {
    fn ratio(&self) -> f64 {
        self.hydrated / f64::midpoint(self.before, self.after)
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, hydrated, after } = self;
        write!(f, "alone {before:.0} and {after:.0}, hydration {hydrated:.0}")
    }
}

/// Runs something, and tells how long the processors were at it for this program.
fn processor_seconds<T>(act: impl FnOnce() -> Result<T, Error>) -> Result<(f64, T), Error> {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        f64::from(u32::try_from(time.tv_sec).unwrap_or(u32::MAX))
            + f64::from(u32::try_from(time.tv_nsec).unwrap_or(0)) / 1e9
    };
    let begun = now();
    let answer = act()?;
    Ok((now() - begun, answer))
}

fn newest(view: &ChainView) -> Result<&pipeline_vault::record::Manifest, Error> {
    Ok(view.find("latest")?.record.point().expect("a point was found"))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn rate(bytes: u64, begun: Instant) -> f64 {
    mebibytes(bytes) / begun.elapsed().as_secs_f64()
}

fn page_blob(azurite: &Azurite, name: &str, bytes: u64) -> Result<Arc<PageBlob>, Error> {
    // A container of its own: one that holds something else is no place for a vault, and is not prepared.
    let address = AzureAddress::parse(&azurite.vault(name))?;
    let key = || Credentials::shared_key(ACCOUNT, &Secret::new(KEY));
    AzureStore::open(&address, key()?, AzureOptions::default())?.prepare()?;
    let blob = PageBlob::kept(&address, name, key()?, &PageOptions::default())?;
    blob.create(bytes).map_err(Error::from)?;
    Ok(Arc::new(blob))
}

/// MiB a second that the sink takes by itself: the puts of a hydration, of noise, as many at once as that has.
fn sink_alone(blob: &dyn Pages, puts: &[Put]) -> Result<f64, Error> {
    let longest = puts.iter().map(|put| put.1).max().unwrap_or(0);
    let mut noise = vec![0_u8; longest];
    hal_sim::random::Random::new(1).fill(&mut noise);
    let waiting = Mutex::new(puts.iter());
    let begun = Instant::now();
    let results: Vec<Result<(), Error>> = std::thread::scope(|scope| {
        let work = || loop {
            let next = waiting.lock().expect("no thread panics").next();
            let Some((offset, length)) = next else { return Ok(()) };
            blob.put(*offset, &noise[..*length]).map_err(Error::from)?;
        };
        let threads: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    results.into_iter().collect::<Result<(), _>>()?;
    Ok(rate(puts.iter().map(|put| put.1 as u64).sum(), begun))
}

/// A disk that forgets what is written to it.
struct Nowhere {
    bytes: u64,
    waiting: Option<Request<HeapBuffer>>,
}

impl Disk for Nowhere {
    type Buffer = HeapBuffer;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        Ok(Geometry {
            bytes: self.bytes,
            logical_sector_bytes: 512,
            physical_sector_bytes: 512,
            request_align_bytes: 1,
            discard_bytes: 0,
            read_only: false,
        })
    }

    fn buffer(&mut self, length: usize) -> Result<HeapBuffer, DiskError> {
        HeapBuffer::zeroed(length)
    }

    fn depth(&self) -> usize {
        1
    }

    fn submit(&mut self, request: Request<HeapBuffer>) -> Result<(), Rejected<HeapBuffer>> {
        self.waiting = Some(request);
        Ok(())
    }

    fn complete(&mut self) -> Result<Option<Completion<HeapBuffer>>, DiskError> {
        Ok(self.waiting.take().map(|request| {
            assert_ne!(request.operation, Operation::Read, "nobody reads a new disk");
            core::hint::black_box(&request.buffer);
            Completion { token: request.token, buffer: request.buffer, result: Ok(()) }
        }))
    }

    fn data_after(&mut self, _: u64) -> Result<Option<(u64, u64)>, DiskError> {
        Ok(None)
    }

    fn another(&self) -> Result<Self, DiskError> {
        Ok(Self { bytes: self.bytes, waiting: None })
    }
}

/// A page blob that forgets what is written to it, but not where.
struct Forgets {
    bytes: u64,
    puts: Mutex<Vec<Put>>,
}

impl Forgets {
    fn new(bytes: u64) -> Self {
        Self { bytes, puts: Mutex::default() }
    }
}

/// A page blob that forgets, and takes no more than one of Azure's.
struct Metered {
    paced: Paced,
}

impl Metered {
    fn new(bytes: u64) -> Self {
        let forgets = Arc::new(Forgets::new(bytes));
        Self { paced: Paced::new(forgets, AZURES_BYTES_PER_SECOND) }
    }
}

impl Pages for Metered {
    fn bytes(&self) -> Result<u64, Trouble> {
        self.paced.bytes()
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        std::thread::sleep(AZURES_LATENCY);
        self.paced.put(offset, bytes)
    }

    fn clear(&self, offset: u64, bytes: u64) -> Result<(), Trouble> {
        self.paced.clear(offset, bytes)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Trouble> {
        self.paced.read(offset, into)
    }

    fn ranges(&self, from: u64, to: u64) -> Result<Vec<(u64, u64)>, Trouble> {
        self.paced.ranges(from, to)
    }
}

impl Pages for Forgets {
    fn bytes(&self) -> Result<u64, Trouble> {
        Ok(self.bytes)
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        self.puts.lock().expect("no thread panics").push((offset, bytes.len()));
        core::hint::black_box(bytes);
        Ok(())
    }

    fn clear(&self, _: u64, _: u64) -> Result<(), Trouble> {
        Ok(())
    }

    fn read(&self, _: u64, into: &mut [u8]) -> Result<(), Trouble> {
        into.fill(0);
        Ok(())
    }

    fn ranges(&self, _: u64, _: u64) -> Result<Vec<(u64, u64)>, Trouble> {
        Ok(Vec::new())
    }
}

/// What it comes to at the rates that Azure publishes for standard disks, which count while a disk is uploaded: 60 MiB/s up
/// to 8 TiB, 300 up to 16 TiB, 500 above; a page blob takes 60. Reckoned.
fn reckon() {
    println!(
        "reckoned, not measured, at Azure's published rates; half of each disk is content, 1 GiB of it changed since the seed's point:"
    );
    println!("| disk | cold | warm, before Azure's own copy of the seed |");
    println!("| --- | --- | --- |");
    for (name, gibibytes) in
        [("100 GiB", 100), ("1 TiB", 1024), ("10 TiB", 10_240), ("20 TiB", 20_480)]
    {
        let mebibytes_per_second = match gibibytes {
            ..=8192 => 60,
            8193..=16_384 => 300,
            _ => 500,
        };
        let seconds = |gibibytes: u64, rate: u64| (gibibytes * 1024).div_ceil(rate);
        let cold = seconds(gibibytes / 2, mebibytes_per_second).div_ceil(60);
        let warm = if gibibytes <= 8192 {
            format!("{} s", seconds(1, 60))
        } else {
            "no page blob is that large: as cold".to_owned()
        };
        println!("| {name} | {cold} min | {warm} |");
    }
}

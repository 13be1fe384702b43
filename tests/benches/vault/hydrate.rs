//! How fast a point becomes a disk: into memory, which is what opening it costs, and into Azurite, whose own speed is measured
//! alone; and what follows from that at the rates that Azure publishes, reckoned and not measured.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use firmware_recovery::hydrate::fill::{How, IN_FLIGHT, Source, fill};
use firmware_recovery::hydrate::pages::{Pages, Trouble};
use firmware_recovery::hydrate::vhd::whole;
use hal::disk::{Completion, Disk, DiskError, Geometry, Operation, Rejected, Request};
use hal_linux::{AlignedBuffer, SystemClock, SystemEntropy};
use pipeline_azure::pages::{PageBlob, PageOptions};
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::frames::FrameReader;
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::points::{ChainView, read_chain};
use pipeline_vault::restore::{Options, WORKERS_MAX, restore_disk};
use pipeline_vault::store::BlobStore;
use pipeline_vault::store::directory::DirectoryStore;
use pipeline_vault::vault::Vault as Opened;
use pipeline_vault::writer::Silent;
use tests::azurite::{ACCOUNT, Azurite, KEY};

use crate::ours::Vault;
use crate::run::{Bench, median};

/// What a put of the sink's own speed carries: as much as one of a hydration.
const PIECE_BYTES: usize = 1 << 20;
const CACHE_BYTES: usize = 32 << 20;

/// Prints the three speeds and the ratio, and the table.
pub(crate) fn measure(bench: &Bench) -> Result<(), String> {
    let folder = bench.fresh("hydrate");
    let vault = Vault::directory(&folder)?;
    vault.protect(&bench.image, None, &["--level", "1"])?;
    let azurite = Azurite::start()?;
    let mut ratios = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let (memory, azure) = round_of(bench, &folder, &azurite, round).map_err(words)?;
        ratios.0.push(memory);
        ratios.1.push(azure);
    }
    println!("| into memory, of opening alone | {:.0} % |", 100.0 * median(ratios.0));
    println!(
        "| into Azurite, of the slower of opening and Azurite | {:.0} % |",
        100.0 * median(ratios.1)
    );
    reckon();
    Ok(())
}

fn words(error: pipeline_vault::Error) -> String {
    error.to_string()
}

fn round_of(
    bench: &Bench,
    folder: &Path,
    azurite: &Azurite,
    round: usize,
) -> Result<(f64, f64), pipeline_vault::Error> {
    let key = KeyFile::read(&folder.join("key"))?.open(None)?;
    let clock = Arc::new(SystemClock);
    let store = Arc::new(DirectoryStore::new(folder.join("vault"), clock.clone()));
    let vault = Opened::open(store, clock, Arc::new(SystemEntropy), &key)?;
    let access = vault.access();
    let view = read_chain(&access, vault.server("bench")?.id)?;
    let frames = || FrameReader::new(&access, view.server, &view.upkeep, CACHE_BYTES);
    let manifest = newest(&view)?;
    let disk = &manifest.disks[0];
    let options = Options { workers: WORKERS_MAX, compare: false, ..Options::default() };
    let open = || {
        let nowhere = Nowhere { bytes: disk.bytes, waiting: None };
        let begun = Instant::now();
        let restored = restore_disk(&frames()?, disk, nowhere, "nowhere", &options, &Silent)?;
        Ok::<_, pipeline_vault::Error>((restored, rate(restored.written_bytes, begun)))
    };
    // The first pays for memory that the host has to give first.
    open()?;
    let (restored, opening) = open()?;
    let frames = frames()?;
    let source = Source { frames: &frames, disk, point: manifest.id, time: manifest.started };
    let how = How::new("sink");
    let memory: Arc<dyn Pages> =
        Arc::new(Forgets { bytes: whole(disk.bytes), last: Mutex::default() });
    let begun = Instant::now();
    fill(&source, None, &memory, &how, &Silent)?;
    let into_memory = rate(restored.written_bytes, begun);
    let blob = |name: String| page_blob(azurite, &name, whole(disk.bytes));
    let alone = sink_alone(&blob(format!("alone{round}"))?, restored.written_bytes)?;
    let target = blob(format!("disk{round}"))? as Arc<dyn Pages>;
    let begun = Instant::now();
    let done = fill(&source, None, &target, &how, &Silent)?;
    let into_azure = rate(done.sent.put_bytes, begun);
    println!(
        "{} MiB of content in {} MiB of disk: opening {opening:.0} MiB/s, into memory {into_memory:.0}, Azurite alone {alone:.0}, into Azurite {into_azure:.0}",
        restored.written_bytes >> 20,
        bench.image_bytes >> 20,
    );
    Ok((into_memory / opening, into_azure / opening.min(alone)))
}

fn newest(view: &ChainView) -> Result<&pipeline_vault::record::Manifest, pipeline_vault::Error> {
    Ok(view.find("latest")?.record.point().expect("a point was found"))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(bytes: u64, begun: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 20) / begun.elapsed().as_secs_f64()
}

fn page_blob(
    azurite: &Azurite,
    name: &str,
    bytes: u64,
) -> Result<Arc<PageBlob>, pipeline_vault::Error> {
    // A container of its own: one that holds something else is no place for a vault, and is not prepared.
    let address = AzureAddress::parse(&azurite.vault(name))?;
    let key = || Credentials::shared_key(ACCOUNT, &Secret::new(KEY));
    AzureStore::open(&address, key()?, AzureOptions::default())?.prepare()?;
    let blob = PageBlob::kept(&address, name, key()?, &PageOptions::default())?;
    blob.create(bytes).map_err(pipeline_vault::Error::from)?;
    Ok(Arc::new(blob))
}

/// MiB a second that the sink takes by itself: so many bytes of noise, as many requests at once as a hydration has.
fn sink_alone(blob: &Arc<PageBlob>, bytes: u64) -> Result<f64, pipeline_vault::Error> {
    let mut noise = vec![0_u8; PIECE_BYTES];
    hal_sim::random::Random::new(1).fill(&mut noise);
    let offsets = Mutex::new((0..bytes / PIECE_BYTES as u64).map(|at| at * PIECE_BYTES as u64));
    let begun = Instant::now();
    let results: Vec<Result<(), pipeline_vault::Error>> = std::thread::scope(|scope| {
        let work = || loop {
            let next = offsets.lock().expect("no thread panics").next();
            let Some(offset) = next else { return Ok(()) };
            blob.write(offset, &noise).map_err(pipeline_vault::Error::from)?;
        };
        let threads: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    results.into_iter().collect::<Result<(), _>>()?;
    Ok(rate(bytes, begun))
}

/// A disk that forgets what is written to it.
struct Nowhere {
    bytes: u64,
    waiting: Option<Request<AlignedBuffer>>,
}

impl Disk for Nowhere {
    type Buffer = AlignedBuffer;

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

    fn buffer(&mut self, length: usize) -> Result<AlignedBuffer, DiskError> {
        AlignedBuffer::zeroed(length)
    }

    fn depth(&self) -> usize {
        1
    }

    fn submit(&mut self, request: Request<AlignedBuffer>) -> Result<(), Rejected<AlignedBuffer>> {
        self.waiting = Some(request);
        Ok(())
    }

    fn complete(&mut self) -> Result<Option<Completion<AlignedBuffer>>, DiskError> {
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

/// A page blob that forgets all but its last sector.
struct Forgets {
    bytes: u64,
    last: Mutex<Vec<u8>>,
}

impl Pages for Forgets {
    fn bytes(&self) -> Result<u64, Trouble> {
        Ok(self.bytes)
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        if offset + 512 == self.bytes {
            *self.last.lock().expect("no thread panics") = bytes.to_vec();
        }
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
/// to 8 TiB, 300 up to 16 TiB, 500 above. Reckoned.
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
        let minutes = |gibibytes: u64, rate: u64| (gibibytes * 1024).div_ceil(rate * 60);
        let cold = minutes(gibibytes / 2, mebibytes_per_second);
        println!("| {name} | {cold} min | {} min |", minutes(1, 60));
    }
}

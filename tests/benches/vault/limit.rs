//! How near a first point comes to the sum of its parts: each stage alone over the same bytes, on all cores.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashSet;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::time::Instant;

use pipeline::compress::{Codec, Compressor, Outcome};
use pipeline::extent::runs;
use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::Fingerprint;
use pipeline::limits::{BLOCK_BYTES, EXTENT_BYTES_MAX, SEGMENT_BYTES_MAX};
use pipeline::seal::{SecretKey, seal_in_place};
use pipeline::zero::is_zero;

use crate::ours::Vault;
use crate::run::{Bench, median};

/// Seconds of each stage, summed over the batches.
#[derive(Default, Debug)]
struct Stages {
    read: f64,
    zero: f64,
    fingerprint: f64,
    compress: f64,
    seal: f64,
    write: f64,
    stored_bytes: u64,
}

/// Extents that are in memory at once while one stage is timed over them.
const BATCH_EXTENTS: usize = 128;

/// Prints the limit, the time of a real first point, and their ratio.
pub(crate) fn measure(bench: &Bench) -> Result<(), String> {
    let mut ratios = Vec::new();
    let mut stages = Stages::default();
    for _ in 0..bench.rounds {
        stages = alone(bench)?;
        let limit = stages.sum();
        let vault = Vault::directory(&bench.fresh("ours"))?;
        let (cost, _) = vault.protect(&bench.image, None, &["--level", "1"])?;
        let real = cost.wall.as_secs_f64();
        println!("limit {limit:.2} s, first point {real:.2} s: {:.0} %", 100.0 * limit / real);
        ratios.push(limit / real);
    }
    println!("stages of the last round: {stages:.2?}");
    println!("| first point against its limit | {:.0} % |", 100.0 * median(ratios));
    Ok(())
}

/// Nanoseconds of processor that the stages' threads took.
static PROCESSOR: AtomicU64 = AtomicU64::new(0);

/// Seconds of processor that the stages take over the image, one after another.
pub(crate) fn processor_seconds(bench: &Bench) -> Result<f64, String> {
    let before = PROCESSOR.load(Ordering::Relaxed);
    alone(bench)?;
    let nanos = PROCESSOR.load(Ordering::Relaxed) - before;
    Ok(Duration::from_nanos(nanos).as_secs_f64())
}

/// Counts what this thread took so far.
fn note_processor() {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = counted.split(' ').next().and_then(|nanos| nanos.parse().ok());
    PROCESSOR.fetch_add(nanos.unwrap_or(0), Ordering::Relaxed);
}

impl Stages {
    fn sum(&self) -> f64 {
        self.read + self.zero + self.fingerprint + self.compress + self.seal + self.write
    }
}

/// Runs each stage alone on all cores, batch by batch.
fn alone(bench: &Bench) -> Result<Stages, String> {
    let file = std::fs::File::open(&bench.image).map_err(|error| error.to_string())?;
    let folder = bench.fresh("bare");
    let mut stages = Stages::default();
    let mut seen = HashSet::new();
    let data = data_extents(&file, bench.image_bytes);
    let mut extents = vec![vec![0_u8; EXTENT_BYTES_MAX]; BATCH_EXTENTS];
    for (number, batch) in data.chunks(BATCH_EXTENTS).enumerate() {
        let extents = &mut extents[..batch.len()];
        stages.read += on_all_cores(extents, |at, extent| {
            file.read_exact_at(extent, batch[at]).expect("the image reads");
        });
        let mut masks = vec![0_u16; batch.len()];
        let mut both: Vec<_> = extents.iter().zip(&mut masks).collect();
        stages.zero += on_all_cores(&mut both, |_, (extent, mask)| {
            for (at, block) in extent.chunks_exact(BLOCK_BYTES).enumerate() {
                **mask |= u16::from(!is_zero(block)) << at;
            }
        });
        stages.fingerprint += fingerprints(extents, &mut masks, &mut seen);
        let mut sealed: Vec<Vec<u8>> = batch.iter().map(|_| vec![0; EXTENT_BYTES_MAX]).collect();
        stages.compress += compress(extents, &masks, &mut sealed);
        stages.seal += on_all_cores(&mut sealed, |at, bytes| {
            let nonce = [u8::try_from(at % 256).expect("a byte"); 12];
            let tag = seal_in_place(&SecretKey::from_bytes([3; 32]), &nonce, b"", bytes);
            core::hint::black_box(tag);
        });
        stages.stored_bytes += sealed.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        let joined: Vec<u8> = sealed.concat();
        let mut parts: Vec<_> = joined.chunks(SEGMENT_BYTES_MAX).collect();
        stages.write += on_all_cores(&mut parts, |at, part| {
            let path = folder.join(format!("{number}-{at}"));
            let mut file = std::fs::File::create(path).expect("a file in the benchmark's place");
            file.write_all(part).expect("a file takes bytes");
        });
    }
    bench.fresh("bare");
    Ok(stages)
}

/// Extents that hold data, as the file system tells: holes cost nobody anything.
pub(crate) fn data_extents(file: &std::fs::File, bytes: u64) -> Vec<u64> {
    let mut extents = Vec::new();
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        let extent = start / EXTENT_BYTES_MAX as u64 * EXTENT_BYTES_MAX as u64;
        if extent + EXTENT_BYTES_MAX as u64 > bytes {
            break;
        }
        extents.push(extent);
        at = extent + EXTENT_BYTES_MAX as u64;
    }
    extents
}

/// Fingerprints what is not zero; blocks seen before are taken out of the masks, as a point does.
fn fingerprints(extents: &[Vec<u8>], masks: &mut [u16], seen: &mut HashSet<Fingerprint>) -> f64 {
    let fingerprinter = Fingerprinter::new(&SecretKey::from_bytes([4; 32]));
    let mut prints = vec![[Fingerprint([0; 16]); 16]; extents.len()];
    let mut all: Vec<_> = extents.iter().zip(masks.iter()).zip(&mut prints).collect();
    let seconds = on_all_cores(&mut all, |_, ((extent, mask), prints)| {
        for (at, block) in extent.chunks_exact(BLOCK_BYTES).enumerate() {
            if **mask & (1 << at) != 0 {
                prints[at] = fingerprinter.of(block);
            }
        }
    });
    for (mask, prints) in masks.iter_mut().zip(&prints) {
        for (at, print) in prints.iter().enumerate() {
            if *mask & (1 << at) != 0 && !seen.insert(*print) {
                *mask &= !(1 << at);
            }
        }
    }
    seconds
}

fn compress(extents: &[Vec<u8>], masks: &[u16], sealed: &mut [Vec<u8>]) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let compressors: Vec<_> = (0..cores * 2)
        .map(|_| Mutex::new(Compressor::new(Codec::Zstd, 1).expect("this build has zstd")))
        .collect();
    let mut all: Vec<_> = extents.iter().zip(masks).zip(sealed).collect();
    on_all_cores(&mut all, |_, ((extent, mask), out)| {
        let runs = runs(extent, **mask);
        let free = compressors.iter().find_map(|compressor| compressor.try_lock().ok());
        let mut compressor = free.expect("there are more compressors than threads");
        let plain = runs.iter().map(|run| run.len()).sum::<usize>();
        let length = match compressor.compress(&runs, &mut out[..plain]) {
            Outcome::Compressed { len, .. } => len,
            Outcome::Incompressible => plain,
        };
        out.truncate(length);
    })
}

/// Hands the items to one thread per core and gives the wall seconds.
fn on_all_cores<T: Send>(items: &mut [T], work: impl Fn(usize, &mut T) + Sync) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(items.iter_mut().enumerate());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no worker panics").next();
                    let Some((at, item)) = next else { return note_processor() };
                    work(at, item);
                }
            });
        }
    });
    begun.elapsed().as_secs_f64()
}

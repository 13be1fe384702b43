//! What each stage costs on one core: `cargo bench -p pipeline --bench stages [-- FILE [MIB]]`.
//!
//! Without a file it concatenates files of /usr/lib. It prints, and judges nothing: absolute times vary too much.

use core::time::Duration;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use pipeline::compress::{Codec, Compressor, Decompressor, Outcome};
use pipeline::extent;
use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::{Fingerprint, KeyEpoch, SegmentId, ServerId, VaultId};
use pipeline::limits::{BLOCK_BYTES, EXTENT_BLOCKS_MAX, EXTENT_BYTES_MAX, SEGMENT_BYTES_MAX};
use pipeline::seal::{SecretKey, seal_in_place};
use pipeline::segment::{
    Expected, Finished, FrameKind, HEADER_BYTES, SegmentHeader, SegmentIdentity, SegmentTable,
    SegmentWriter, open_frame,
};
use pipeline::zero::is_zero;

/// The best of this many rounds: the others were disturbed.
const ROUNDS: usize = 3;
/// The kernel's account of processor time moves in steps of some milliseconds.
const ROUND_MIN: Duration = Duration::from_millis(200);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let path = arguments.next();
    let mebibytes = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(256);
    let corpus = corpus(path.as_deref().map(Path::new), mebibytes * 1024 * 1024);
    println!("{} MiB of {}", corpus.len() >> 20, path.as_deref().unwrap_or("/usr/lib"));
    touching(&corpus);
    let codecs = [(Codec::Zstd, -3), (Codec::Zstd, 1), (Codec::Zstd, 3), (Codec::Deflate, 1)];
    for (codec, level) in codecs.into_iter().filter(|(codec, _)| codec.is_present()) {
        compressing(&corpus, codec, level);
    }
    whole("corpus", &corpus);
    let noise = noise(64 * 1024 * 1024);
    appending(&noise);
    whole("noise", &noise);
}

fn touching(corpus: &[u8]) {
    let zeros = vec![0_u8; 16 * 1024 * 1024];
    report("zero test, zeros", zeros.len(), best(|| assert!(is_zero(&zeros))));
    let count = |blocks: &[u8]| blocks.chunks(BLOCK_BYTES).filter(|block| is_zero(block)).count();
    report("zero test, corpus", corpus.len(), best(|| consume(count(corpus))));
    let fingerprinter = Fingerprinter::new(&SecretKey::from_bytes([1; 32]));
    let blocks = || corpus.chunks(BLOCK_BYTES);
    let hash = || blocks().fold(0_u8, |all, block| all ^ fingerprinter.of(block).0[0]);
    report("fingerprint", corpus.len(), best(|| consume(hash())));
    let key = SecretKey::from_bytes([2; 32]);
    let mut frame = corpus[..EXTENT_BYTES_MAX].to_vec();
    let seal =
        || (0..64_u8).for_each(|n| consume(seal_in_place(&key, &[n; 12], b"ad", &mut frame)));
    report("seal", 64 * EXTENT_BYTES_MAX, best(seal));
}

fn compressing(corpus: &[u8], codec: Codec, level: i32) {
    let mut compressor = Compressor::new(codec, level).expect("memory for a compressor");
    let mut out = vec![0_u8; EXTENT_BYTES_MAX];
    for (shape, keep) in [("one run", u16::MAX), ("many runs", 0x7777)] {
        let (mut plain, mut made) = (0, 0);
        let time = best(|| {
            (plain, made) = (0, 0);
            for extent in corpus.chunks_exact(EXTENT_BYTES_MAX) {
                let runs = extent::runs(extent, keep);
                plain += runs.iter().map(|run| run.len()).sum::<usize>();
                made += compressed(&mut compressor, &runs, &mut out);
            }
        });
        report(&format!("{codec:?} {level}, {shape}, ratio {}", ratio(plain, made)), plain, time);
    }
    decompressing(corpus, &mut compressor, codec, level);
}

fn decompressing(corpus: &[u8], compressor: &mut Compressor, codec: Codec, level: i32) {
    let mut out = vec![0_u8; EXTENT_BYTES_MAX];
    let mut frames = Vec::new();
    for extent in corpus.chunks_exact(EXTENT_BYTES_MAX) {
        if let Outcome::Compressed { len, .. } = compressor.compress(&[extent], &mut out) {
            frames.push(out[..len].to_vec());
        }
    }
    let mut decompressor = Decompressor::new();
    let time = best(|| {
        for frame in &frames {
            decompressor.decompress(codec, frame, &mut out).expect("what was just compressed");
        }
    });
    report(&format!("{codec:?} {level}, decode"), frames.len() * EXTENT_BYTES_MAX, time);
}

fn compressed(compressor: &mut Compressor, runs: &[&[u8]], out: &mut [u8]) -> usize {
    match compressor.compress(runs, out) {
        Outcome::Compressed { len, .. } => len,
        Outcome::Incompressible => runs.iter().map(|run| run.len()).sum(),
    }
}

/// What does not compress, from the probe to the seal.
fn appending(noise: &[u8]) {
    let mut compressor = Compressor::new(Codec::preferred(), 1).expect("memory for a compressor");
    let fingerprints = [Fingerprint([0; 16]); EXTENT_BLOCKS_MAX];
    let mut buffer = vec![0; SEGMENT_BYTES_MAX];
    let time = best(|| {
        let mut extents = noise.chunks_exact(EXTENT_BYTES_MAX).peekable();
        while extents.peek().is_some() {
            let key = SecretKey::from_bytes([3; 32]);
            let mut writer = SegmentWriter::new(&mut *buffer, IDENTITY, &key);
            while writer.has_room(EXTENT_BYTES_MAX)
                && let Some(extent) = extents.next()
            {
                writer
                    .append(FrameKind::Data, &[extent], &fingerprints, &mut compressor)
                    .expect("has_room said so");
            }
            consume(writer.finish().digest);
        }
    });
    report("noise, append alone", noise.len(), time);
}

/// The path of a first point (zero test, fingerprint, append, finish), and back.
fn whole(name: &str, corpus: &[u8]) {
    let (mut made, mut buffer) = (0, vec![0; SEGMENT_BYTES_MAX]);
    let time = best(|| {
        made = 0;
        protect(corpus, &mut buffer, |segment| made += segment.length);
    });
    report(&format!("{name} to segments, ratio {}", ratio(corpus.len(), made)), corpus.len(), time);
    let (mut plain, mut time) = (0, Duration::ZERO);
    protect(corpus, &mut buffer, |segment| {
        plain += segment.plain_bytes;
        let length = segment.length;
        let watch = Stopwatch::start();
        restore(&mut segment.buffer[..length]);
        time += watch.elapsed();
    });
    report(&format!("{name} from segments"), usize::try_from(plain).unwrap_or(usize::MAX), time);
}

fn protect(corpus: &[u8], buffer: &mut [u8], mut done: impl FnMut(&mut Finished<&mut [u8]>)) {
    let fingerprinter = Fingerprinter::new(&SecretKey::from_bytes([1; 32]));
    let mut compressor = Compressor::new(Codec::preferred(), 1).expect("memory for a compressor");
    let mut extents = corpus.chunks_exact(EXTENT_BYTES_MAX).peekable();
    while extents.peek().is_some() {
        let key = SecretKey::from_bytes([3; 32]);
        let mut writer = SegmentWriter::new(&mut *buffer, IDENTITY, &key);
        while writer.has_room(EXTENT_BYTES_MAX)
            && let Some(extent) = extents.next()
        {
            let (mut keep, mut fingerprints) = (0_u16, Vec::with_capacity(EXTENT_BLOCKS_MAX));
            for (bit, block) in extent.chunks_exact(BLOCK_BYTES).enumerate() {
                if !is_zero(block) {
                    keep |= 1 << bit;
                    fingerprints.push(fingerprinter.of(block));
                }
            }
            if keep != 0 {
                let runs = extent::runs(extent, keep);
                writer
                    .append(FrameKind::Data, &runs, &fingerprints, &mut compressor)
                    .expect("has_room said so");
            }
        }
        done(&mut writer.finish());
    }
}

const IDENTITY: SegmentIdentity = SegmentIdentity {
    vault: VaultId([1; 16]),
    server: ServerId([2; 16]),
    segment: SegmentId([3; 16]),
    key_epoch: KeyEpoch(0),
    salt: [4; 32],
};

fn restore(object: &mut [u8]) {
    let SegmentIdentity { vault, server, segment, .. } = IDENTITY;
    let header = SegmentHeader::parse(object).expect("a segment just made");
    let (frames, sealed) = object.split_at_mut(usize::try_from(header.table_offset()).unwrap_or(0));
    let expected = Expected { vault, server, segment };
    let key = SecretKey::from_bytes([3; 32]);
    let table = SegmentTable::open(&frames[..HEADER_BYTES], sealed, &expected, &key)
        .expect("a segment just made");
    let mut out = vec![0; EXTENT_BYTES_MAX];
    let mut decompressor = Decompressor::new();
    for entry in table.entries() {
        let start = usize::try_from(entry.offset).unwrap_or(0);
        let sealed = &mut frames[start..start + entry.sealed_bytes];
        open_frame(&table, entry.address, sealed, &mut out, &mut decompressor)
            .expect("a frame just sealed");
    }
}

/// Each round repeats the work until it is long enough to be measured.
fn best(mut work: impl FnMut()) -> Duration {
    let mut once = || {
        let watch = Stopwatch::start();
        let mut times = 0;
        while times == 0 || watch.0.elapsed() < ROUND_MIN {
            work();
            times += 1;
        }
        watch.elapsed() / times
    };
    (0..ROUNDS).map(|_| once()).min().unwrap_or_default()
}

/// Time on the processor where the kernel tells, so that other work on the machine counts less.
struct Stopwatch(Instant, Option<Duration>);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now(), Self::on_cpu())
    }

    fn elapsed(&self) -> Duration {
        match (self.1, Self::on_cpu()) {
            (Some(then), Some(now)) => now.saturating_sub(then),
            _ => self.0.elapsed(),
        }
    }

    fn on_cpu() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    }
}

/// Keeps a result from being optimised away.
fn consume<T>(result: T) {
    core::hint::black_box(result);
}

fn report(what: &str, bytes: usize, time: Duration) {
    let rate = bytes as u128 * 1000 / time.as_nanos().max(1);
    println!("{what:<40} {rate:>7} MB/s");
}

fn ratio(plain: usize, made: usize) -> String {
    let hundredths = plain * 100 / made.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn corpus(path: Option<&Path>, bytes: usize) -> Vec<u8> {
    let mut corpus = Vec::with_capacity(bytes);
    add(path.unwrap_or_else(|| Path::new("/usr/lib")), bytes, &mut corpus);
    corpus.truncate(corpus.len() / EXTENT_BYTES_MAX * EXTENT_BYTES_MAX);
    assert!(corpus.len() >= EXTENT_BYTES_MAX, "the corpus has at least one extent");
    corpus
}

/// Adds a file, or a folder's files in the order of their names, until there is enough.
fn add(path: &Path, bytes: usize, corpus: &mut Vec<u8>) {
    let room = bytes - corpus.len();
    if room == 0 || path.is_symlink() {
        return;
    }
    if let Ok(folder) = path.read_dir() {
        let mut paths: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().for_each(|path| add(path, bytes, corpus));
    } else if let Ok(file) = File::open(path) {
        // What cannot be read is no part of the corpus.
        let _ = file.take(room as u64).read_to_end(corpus);
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    for (seed, chunk) in (0_u64..).zip(noise.chunks_mut(BLOCK_BYTES)) {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&seed.to_le_bytes());
        consume(seal_in_place(&SecretKey::from_bytes([5; 32]), &nonce, b"", chunk));
    }
    noise
}

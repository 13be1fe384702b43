//! DESIGN invariant 10 at addresses: a block is read into an aligned pooled buffer, compressed into its final place
//! in the segment, sealed there, and uploaded from there.
//!
//! Whenever a segment is handed to the store, all memory of this process is searched (through /proc/self/mem) for
//! the plain bytes of the disk and for the sealed bytes of the segment. Plain bytes may lie where the disk's "DMA"
//! put them and nowhere else; sealed bytes inside the body that the store was handed and nowhere else. That a stored
//! frame is sealed straight from the DMA buffer, which leaves no plain bytes behind either way, is proved where the
//! sealer can be watched: pipeline/src/segment/tests/zero_copy.rs.
//!
//! It was seen to fail: with `let bytes = &bytes.to_vec()` in `SpanReader::take` of the writer, with the runs of a
//! frame gathered into a vector in `Lane::append`, and with `segment.bytes().to_vec()` in the uploader. A disk that
//! copies every read once more is kept here, so that the search is seen to find in every run.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use hal::disk::{Completion, Disk, DiskError, Geometry, Rejected, Request};
use hal_linux::{SystemClock, SystemEntropy};
use hal_sim::random::Random;
use hal_sim::{HeapBuffer, SimDisk};
use pipeline_vault::store::guard::{Change, GuardedStore};
use pipeline_vault::store::memory::MemoryStore;
use pipeline_vault::vault::Vault;
use pipeline_vault::writer::{DiskJob, Options, Silent, protect};

const BLOCK: usize = 65_536;
const EXTENT: usize = 16 * BLOCK;
const BLOCKS: usize = 320;
/// A find is this many bytes of a block in a row: what a codec keeps of its input between two matches is shorter.
const PLAIN_BYTES: usize = 2048;
/// Sealed bytes that are searched for.
const SEALED_BYTES: usize = 64;
/// Memory is searched in pieces of this size.
const PIECE: usize = 1 << 20;

/// The tests search one memory: one after the other.
static ALONE: Mutex<()> = Mutex::new(());

/// What a block of the disk holds: a number that names it, then text or noise. Not computed from anything that lies in
/// memory as such.
fn block(number: usize, into: &mut [u8]) {
    let mut random = Random::new(0xB10C ^ number as u64);
    if (number / 16).is_multiple_of(2) {
        random.fill(into);
    } else {
        for line in into.chunks_mut(96) {
            let words = [b"segment ", b"sealing ", b"address ", b"storing "];
            for (at, byte) in line.iter_mut().enumerate() {
                *byte = words[number % 4][at % 8];
            }
            let length = line.len().min(12);
            random.fill(&mut line[..length]);
        }
    }
    let mark = mark().to_le_bytes();
    into[..8].copy_from_slice(&mark);
    into[8..16].copy_from_slice(&(number as u64).to_le_bytes());
}

/// What every block begins with.
fn mark() -> u64 {
    // From two halves, so that the constant itself is no find.
    core::hint::black_box(0x7B3F_A1C9_u64) << 32 | core::hint::black_box(0x55E2_9D17)
}

/// Where something was found: address, and which block.
type Find = (usize, usize);

/// This process's memory, to be searched.
struct Memory {
    piece: Vec<u8>,
    expected: Vec<u8>,
}

impl Memory {
    fn new() -> Self {
        Self { piece: vec![0; PIECE + BLOCK], expected: vec![0; BLOCK] }
    }

    /// Writable memory, as (first address, one past the last).
    fn regions() -> Vec<(usize, usize)> {
        let maps = fs::read_to_string("/proc/self/maps").expect("Linux tells of its mappings");
        let parse = |line: &str| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let start = usize::from_str_radix(start, 16).ok()?;
            let end = usize::from_str_radix(end, 16).ok()?;
            rest.starts_with("rw").then_some((start, end))
        };
        maps.lines().filter_map(parse).collect()
    }

    /// Every address at which `first` is followed by what `is_it` wants.
    fn search(
        &mut self,
        first: &[u8; 8],
        wanted: usize,
        mut is_it: impl FnMut(&mut [u8], &[u8], usize),
    ) {
        let memory = File::open("/proc/self/mem").expect("a process may read itself");
        let mut pages = Pages::new();
        for (start, end) in Self::regions() {
            let mut at = start;
            while at < end {
                let length = (end - at).min(PIECE + wanted);
                // Untouched pages hold nothing and would be made by reading them.
                let touched = pages.touched(at, length);
                let piece = &mut self.piece[..length];
                let own = self.expected.as_ptr_range();
                let own = own.start.addr()..own.end.addr();
                if touched && memory.read_exact_at(piece, at as u64).is_ok() {
                    for place in places(piece, first) {
                        let address = at + place;
                        let ours = own.contains(&address);
                        if let Some(found) = piece.get(place..place + wanted)
                            && !ours
                        {
                            is_it(&mut self.expected, found, address);
                        }
                    }
                }
                at += (end - at).min(PIECE);
            }
        }
        let own = self.piece.as_ptr_range();
        debug_assert!(!own.is_empty(), "the piece is alive while it is searched with");
    }

    /// All finds of plain blocks outside this searcher's own memory.
    fn plain(&mut self) -> HashSet<Find> {
        let mut finds = HashSet::new();
        let own = self.piece.as_ptr_range();
        let own = own.start.addr()..own.end.addr();
        self.search(&mark().to_le_bytes(), PLAIN_BYTES, |expected, found, address| {
            let number = u64::from_le_bytes(found[8..16].try_into().expect("eight bytes"));
            let Some(number) = usize::try_from(number).ok().filter(|number| *number < BLOCKS)
            else {
                return;
            };
            if own.contains(&address) {
                return;
            }
            block(number, expected);
            if expected[..PLAIN_BYTES] == *found {
                finds.insert((address, number));
            }
        });
        finds
    }

    /// All addresses of some sealed bytes outside this searcher's own memory.
    fn sealed(&mut self, probe: &[u8]) -> Vec<usize> {
        let mut finds = Vec::new();
        let own = self.piece.as_ptr_range();
        let own = own.start.addr()..own.end.addr();
        let first: [u8; 8] = probe[..8].try_into().expect("eight bytes");
        self.search(&first, probe.len(), |_, found, address| {
            if found == probe && !own.contains(&address) {
                finds.push(address);
            }
        });
        finds
    }
}

/// Which pages of this process exist.
struct Pages(File);

impl Pages {
    fn new() -> Self {
        Self(File::open("/proc/self/pagemap").expect("Linux tells of its pages"))
    }

    fn touched(&mut self, at: usize, length: usize) -> bool {
        let first = at / 4096;
        let count = (at + length).div_ceil(4096) - first;
        let mut entries = vec![0; count * 8];
        let read = self.0.read_exact_at(&mut entries, (first * 8) as u64);
        // Bit 63 says that the page is in memory, bit 62 that it is swapped out.
        read.is_err() || entries.chunks_exact(8).any(|entry| entry[7] & 0xC0 != 0)
    }
}

fn places(piece: &[u8], first: &[u8; 8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(next) = piece.get(at..).and_then(|rest| rest.iter().position(|b| *b == first[0]))
    {
        at += next;
        if piece.get(at..at + 8) == Some(first.as_slice()) {
            places.push(at);
        }
        at += 1;
    }
    places
}

/// Searches memory whenever the store is handed a segment.
struct Watching {
    disk: SimDisk,
    seen: Mutex<Seen>,
}

struct Seen {
    memory: Memory,
    /// Where plain bytes lay before anything was read: the simulated disk's own memory.
    before: HashSet<Find>,
    segments: usize,
    in_dma: usize,
    stray_plain: Vec<Find>,
    stray_sealed: Vec<usize>,
    bodies: HashSet<usize>,
}

impl Watching {
    fn look(&self, body: &[u8]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let range = body.as_ptr_range();
        let range = range.start.addr()..range.end.addr();
        seen.segments += 1;
        seen.bodies.insert(range.start);
        let finds = seen.memory.plain();
        // The disk is read on while memory is searched, so the log is taken afterwards.
        let reads = self.disk.dma_log();
        for find in finds {
            let (address, number) = find;
            // A block in a buffer lies where the read of its offset put it.
            let by_dma = reads.iter().any(|(offset, start, length)| {
                let inside = address.checked_sub(*start).filter(|at| at + BLOCK <= *length);
                inside.is_some_and(|at| *offset + at as u64 == (number * BLOCK) as u64)
            });
            if by_dma {
                seen.in_dma += 1;
            } else if !seen.before.contains(&find) {
                seen.stray_plain.push(find);
            }
        }
        // Behind the header, in the middle, and in front of the table.
        for at in [256, body.len() / 2, body.len() / 8 * 7] {
            let Some(probe) = body.get(at..at + SEALED_BYTES) else { continue };
            let finds = seen.memory.sealed(probe);
            assert!(finds.contains(&(range.start + at)), "the search sees the body itself");
            seen.stray_sealed.extend(finds.into_iter().filter(|address| !range.contains(address)));
        }
    }
}

/// A disk whose every read goes through one buffer more, as behind a driver that bounces.
struct Bouncing {
    inner: SimDisk,
    bounce: Vec<u8>,
}

impl Disk for Bouncing {
    type Buffer = HeapBuffer;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        self.inner.geometry()
    }

    fn buffer(&mut self, length: usize) -> Result<HeapBuffer, DiskError> {
        self.inner.buffer(length)
    }

    fn depth(&self) -> usize {
        self.inner.depth()
    }

    fn submit(&mut self, request: Request<HeapBuffer>) -> Result<(), Rejected<HeapBuffer>> {
        self.inner.submit(request)
    }

    fn complete(&mut self) -> Result<Option<Completion<HeapBuffer>>, DiskError> {
        let done = self.inner.complete()?;
        if let Some(buffer) = done.as_ref().and_then(|done| done.buffer.as_ref()) {
            self.bounce[..EXTENT].copy_from_slice(&buffer.as_ref()[..EXTENT]);
        }
        Ok(done)
    }

    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        self.inner.data_after(offset)
    }

    fn another(&self) -> Result<Self, DiskError> {
        Ok(Self { inner: self.inner.another()?, bounce: vec![0; EXTENT] })
    }
}

/// Protects a full disk and gives what the store saw.
fn watched<D: Disk>(wrap: impl Fn(SimDisk) -> D) -> Seen {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let disk = SimDisk::new((BLOCKS * BLOCK) as u64);
    let mut buffer = vec![0; BLOCK];
    for number in 0..BLOCKS {
        block(number, &mut buffer);
        disk.load((number * BLOCK) as u64, &buffer);
    }
    buffer.fill(0);
    disk.clear_dma_log();
    let mut memory = Memory::new();
    let before = memory.plain();
    assert!(before.len() >= BLOCKS, "the search sees the disk's own memory: {}", before.len());
    let seen = Seen {
        memory,
        before,
        segments: 0,
        in_dma: 0,
        stray_plain: Vec::new(),
        stray_sealed: Vec::new(),
        bodies: HashSet::new(),
    };
    let handle = disk.another().expect("a handle");
    let watching = Arc::new(Watching { disk, seen: Mutex::new(seen) });
    let watcher = Arc::clone(&watching);
    let store = Arc::new(GuardedStore::new(Arc::new(MemoryStore::new()), move |change| {
        match change {
            Change::Create(name, body) if name.starts_with("seg/") && body.len() > BLOCK => {
                watcher.look(body);
            }
            _ => {}
        }
        Ok(())
    }));
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let (mut vault, _) = Vault::create(store, clock, entropy).expect("an empty place");
    let server = vault.enrol("db1").expect("a fresh name").id;
    let access = vault.access();
    let disk = wrap(handle);
    let job = DiskJob { name: "sda".into(), identity: String::new(), disk, changed: None };
    let options = Options { workers: 1, ..Options::default() };
    let done = protect(&access, server, vec![job], &options, &Silent).expect("a point");
    assert_eq!(done.work.new_blocks, BLOCKS as u64);
    assert!(done.work.stored_bytes < (BLOCKS * BLOCK) as u64 * 4 / 5, "half of it is text");
    drop((access, vault));
    let watching = Arc::into_inner(watching).expect("nobody else holds the store");
    watching.seen.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn plain_bytes_lie_in_dma_buffers_and_sealed_bytes_in_the_body_and_nowhere_else() {
    let seen = watched(|disk| disk);
    assert!(seen.segments >= 2 && seen.in_dma > 0, "{} segments", seen.segments);
    assert_eq!(seen.stray_plain, [], "plain bytes outside the disk's buffers");
    assert_eq!(seen.stray_sealed, [0_usize; 0], "sealed bytes outside the body");
}

#[test]
fn a_disk_that_copies_once_more_is_seen() {
    let seen = watched(|disk| Bouncing { inner: disk, bounce: vec![0; EXTENT] });
    assert!(!seen.stray_plain.is_empty(), "the search is blind");
}

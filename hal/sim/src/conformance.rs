//! The one suite that every implementation of `hal::disk::Disk` passes; it panics at the first
//! broken promise.
//!
//! The factory gives a fresh disk for every check: writable, all zeros, of 1 to 64 MiB, the odder
//! the better.

use hal::disk::{Completion, Disk, DiskError, ErrorKind, Geometry, Operation, Request};

use crate::random::Random;

/// Second handles, other threads, handles dropped in flight.
mod handles;
/// The suite of NICs.
pub mod nic;
/// Many requests at once.
mod queue;
/// What must be refused, and how.
mod refusal;
/// Size, sectors, buffers.
mod shape;
/// Holes, zeros, discards.
mod sparse;
/// Bytes in, the same bytes out.
mod transfer;

/// Smallest disk that the checks need.
const DISK_BYTES_MIN: u64 = 1024 * 1024;
/// Largest disk that the checks hold a copy of.
const DISK_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Runs every check, each on a disk of its own.
pub fn run<D: Disk>(mut factory: impl FnMut() -> D) {
    let checks: [Check<D>; 21] = [
        ("geometry makes sense", shape::geometry_makes_sense),
        ("buffers are aligned and zeroed", shape::buffers_are_aligned_and_zeroed),
        ("fresh disk reads as zeros", transfer::fresh_disk_reads_as_zeros),
        ("random work equals a flat copy", transfer::random_work_equals_a_flat_copy),
        ("the tail is readable and writable", transfer::the_tail_is_readable_and_writable),
        ("data moves at the buffer's own address", transfer::data_moves_at_the_buffers_own_address),
        ("a read leaves the rest of its buffer alone", transfer::a_read_leaves_the_rest_alone),
        ("large requests are done in full", transfer::large_requests_are_done_in_full),
        ("flush always has an answer", transfer::flush_always_has_an_answer),
        ("every token comes back once", queue::every_token_comes_back_once),
        ("a full queue says so", queue::a_full_queue_says_so),
        ("mixed requests fly together", queue::mixed_requests_fly_together),
        ("unaligned requests are refused", refusal::unaligned_requests_are_refused),
        ("requests past the end are refused", refusal::requests_past_the_end_are_refused),
        ("malformed requests are refused", refusal::malformed_requests_are_refused),
        ("zeroed ranges read as zeros", sparse::zeroed_ranges_read_as_zeros),
        ("discard spares its neighbours", sparse::discard_spares_its_neighbours),
        ("data is never in a hole", sparse::data_is_never_in_a_hole),
        ("another handle sees what was written", handles::another_handle_sees_what_was_written),
        ("a handle moves between threads in flight", handles::a_handle_moves_between_threads),
        ("a handle may be dropped in flight", handles::a_handle_may_be_dropped_in_flight),
    ];
    for (name, check) in checks {
        eprintln!("conformance: {name}");
        check(Bench::new(factory()));
    }
}

/// A promise in words, and what tries to break it.
type Check<D> = (&'static str, fn(Bench<D>));

/// A disk on the bench: the trait, shortened to what checks say.
pub(crate) struct Bench<D: Disk> {
    disk: D,
    geometry: Geometry,
    random: Random,
}

impl<D: Disk> Bench<D> {
    fn new(mut disk: D) -> Self {
        let geometry = disk.geometry().expect("a fresh disk tells its geometry");
        assert!(
            (DISK_BYTES_MIN..=DISK_BYTES_MAX).contains(&geometry.bytes),
            "the factory's disk has {} bytes",
            geometry.bytes
        );
        // Fixed, so that a failure repeats; the disks themselves bring the variety.
        Self { disk, geometry, random: Random::new(geometry.bytes) }
    }

    fn align(&self) -> u64 {
        u64::from(self.geometry.request_align_bytes)
    }

    /// `value` cut down to what requests may start and end at.
    fn aligned(&self, value: u64) -> u64 {
        value / self.align() * self.align()
    }

    /// A random aligned range of at most `most` bytes, never empty.
    fn range(&mut self, most: u64) -> (u64, usize) {
        let units = self.geometry.bytes / self.align();
        let start = self.random.below(units);
        let length = 1 + self.random.below((units - start).min((most / self.align()).max(1)));
        (start * self.align(), size(length * self.align()))
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.random.fill(&mut bytes);
        bytes
    }

    fn request(&mut self, operation: Operation, offset: u64, length: usize) -> Request<D::Buffer> {
        let buffer = matches!(operation, Operation::Read | Operation::Write)
            .then(|| self.disk.buffer(length).expect("a buffer can be had"));
        let length = u32::try_from(length).expect("requests of checks are small");
        Request { token: self.random.number(), operation, offset, length, buffer }
    }

    fn submit(&mut self, request: Request<D::Buffer>) {
        self.disk
            .submit(request)
            .map_err(|rejected| rejected.error)
            .expect("a good request is taken");
    }

    fn complete(&mut self) -> Completion<D::Buffer> {
        self.disk.complete().expect("completing works").expect("a request is in flight")
    }

    /// One request from submission to completion; the token and the buffer must come back.
    fn done(&mut self, request: Request<D::Buffer>) -> Completion<D::Buffer> {
        let (token, had_buffer) = (request.token, request.buffer.is_some());
        self.submit(request);
        let completion = self.complete();
        assert_eq!(completion.token, token, "a completion of what was submitted");
        assert_eq!(completion.buffer.is_some(), had_buffer, "the buffer comes back");
        assert!(
            self.disk.complete().expect("completing nothing works").is_none(),
            "nothing is in flight after its only completion"
        );
        completion
    }

    fn perform(
        &mut self,
        operation: Operation,
        offset: u64,
        length: usize,
    ) -> Result<(), DiskError> {
        let request = self.request(operation, offset, length);
        self.done(request).result
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut request = self.request(Operation::Write, offset, bytes.len());
        let buffer = request.buffer.as_mut().expect("a write has a buffer");
        buffer.as_mut()[..bytes.len()].copy_from_slice(bytes);
        let completion = self.done(request);
        completion.result.expect("a write works");
        let buffer = completion.buffer.expect("the buffer comes back");
        assert!(buffer.as_ref()[..bytes.len()] == *bytes, "a write leaves its buffer as it was");
    }

    fn read(&mut self, offset: u64, length: usize) -> Vec<u8> {
        let mut request = self.request(Operation::Read, offset, length);
        // Not zeros: a read that does nothing must show.
        request.buffer.as_mut().expect("a read has a buffer").as_mut().fill(0xA5);
        let completion = self.done(request);
        completion.result.expect("a read works");
        completion.buffer.expect("the buffer comes back").as_ref()[..length].to_vec()
    }

    /// Everything on the disk.
    fn everything(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while (all.len() as u64) < self.geometry.bytes {
            let offset = all.len() as u64;
            let length = size((self.geometry.bytes - offset).min(1 << 20));
            all.extend(self.read(offset, length));
        }
        all
    }

    /// The request must be refused with this kind and come back untouched.
    fn refused(&mut self, request: Request<D::Buffer>, kind: ErrorKind, why: &str) {
        let sent = facts(&request);
        let Err(rejected) = self.disk.submit(request) else {
            panic!("taken although {why}");
        };
        assert_eq!(rejected.error.kind, kind, "{why}: {}", rejected.error);
        assert!(!rejected.error.what.is_empty(), "an error has words");
        assert_eq!(facts(&rejected.request), sent, "{why}: the request comes back untouched");
        assert!(
            self.disk.complete().expect("completing nothing works").is_none(),
            "{why}: a refused request is not in flight"
        );
    }
}

/// Everything of a request, its buffer by address and length.
type RequestFacts = (u64, Operation, u64, u32, Option<(usize, usize)>);

fn facts<B: AsRef<[u8]>>(request: &Request<B>) -> RequestFacts {
    let buffer = request.buffer.as_ref().map(|buffer| place(buffer));
    (request.token, request.operation, request.offset, request.length, buffer)
}

/// Address and length of a buffer.
fn place<B: AsRef<[u8]>>(buffer: &B) -> (usize, usize) {
    (buffer.as_ref().as_ptr().addr(), buffer.as_ref().len())
}

fn size(value: u64) -> usize {
    usize::try_from(value).expect("sizes of checks fit in memory")
}

//! The conformance suite notices disks that break their promises: silently, and by bad manners.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use hal::disk::{Completion, Disk, DiskError, Geometry, Operation, Rejected, Request};
use hal_sim::{Faults, HeapBuffer, SimDisk, conformance};

const BYTES: u64 = 2 * 1024 * 1024 + 512;

fn notices(what: &str, factory: impl FnMut() -> Rude) {
    let outcome = catch_unwind(AssertUnwindSafe(|| conformance::run(factory)));
    assert!(outcome.is_err(), "the suite let through {what}");
}

/// A disk with bad manners.
struct Rude {
    disk: SimDisk,
    manner: Manner,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Polite,
    /// Gives back another buffer than it was given.
    SwapsBuffers,
    /// Keeps the buffer.
    KeepsBuffers,
    /// Answers with a token of its own.
    InventsTokens,
    /// Takes whatever it is asked, cut to what it can do.
    TakesAnything,
    /// Says that all is a hole.
    HidesData,
    /// Zeroes a sector too many.
    ZeroesTooMuch,
    /// Reads one sector too few.
    ReadsShort,
    /// A second handle is a disk of its own.
    SharesNothing,
}

impl Rude {
    fn new(manner: Manner, faults: Faults) -> Self {
        let disk = SimDisk::new(BYTES);
        disk.set_faults(faults);
        Self { disk, manner }
    }
}

impl Disk for Rude {
    type Buffer = HeapBuffer;

    fn geometry(&mut self) -> Result<Geometry, DiskError> {
        self.disk.geometry()
    }

    fn buffer(&mut self, length: usize) -> Result<HeapBuffer, DiskError> {
        self.disk.buffer(length)
    }

    fn depth(&self) -> usize {
        self.disk.depth()
    }

    fn submit(&mut self, mut request: Request<HeapBuffer>) -> Result<(), Rejected<HeapBuffer>> {
        let geometry = self.disk.geometry().unwrap();
        match self.manner {
            Manner::TakesAnything if geometry.check(&request).is_err() => {
                request.operation = Operation::Flush;
                (request.offset, request.length) = (0, 0);
            }
            Manner::ZeroesTooMuch if request.operation == Operation::Zero => {
                let end = request.offset + u64::from(request.length) + 512;
                request.length += if end <= geometry.bytes { 512 } else { 0 };
            }
            Manner::ReadsShort if request.operation == Operation::Read && request.length > 512 => {
                request.length = request.length / 512 * 512 - 512;
            }
            _ => {}
        }
        self.disk.submit(request)
    }

    fn complete(&mut self) -> Result<Option<Completion<HeapBuffer>>, DiskError> {
        let mut done = self.disk.complete()?;
        if let Some(done) = &mut done {
            match (self.manner, &mut done.buffer) {
                (Manner::SwapsBuffers, Some(buffer)) => {
                    let mut other = HeapBuffer::zeroed(buffer.as_ref().len())?;
                    other.as_mut().copy_from_slice(buffer.as_ref());
                    *buffer = other;
                }
                (Manner::KeepsBuffers, buffer) => *buffer = None,
                (Manner::InventsTokens, _) => done.token ^= 1,
                _ => {}
            }
        }
        Ok(done)
    }

    fn data_after(&mut self, offset: u64) -> Result<Option<(u64, u64)>, DiskError> {
        if self.manner == Manner::HidesData { Ok(None) } else { self.disk.data_after(offset) }
    }

    fn another(&self) -> Result<Self, DiskError> {
        let disk = match self.manner {
            Manner::SharesNothing => SimDisk::new(BYTES),
            _ => self.disk.another()?,
        };
        Ok(Self { disk, manner: self.manner })
    }
}

#[test]
fn a_polite_disk_passes() {
    conformance::run(|| Rude::new(Manner::Polite, Faults::default()));
}

#[test]
fn bad_manners_are_noticed() {
    for (what, manner) in [
        ("swapped buffers", Manner::SwapsBuffers),
        ("kept buffers", Manner::KeepsBuffers),
        ("invented tokens", Manner::InventsTokens),
        ("bad requests taken", Manner::TakesAnything),
        ("hidden data", Manner::HidesData),
        ("zeroing too much", Manner::ZeroesTooMuch),
        ("short reads", Manner::ReadsShort),
        ("handles that share nothing", Manner::SharesNothing),
    ] {
        notices(what, || Rude::new(manner, Faults::default()));
    }
}

#[test]
fn silent_faults_are_noticed() {
    let often = 100_000;
    for (what, faults) in [
        ("lost writes", Faults { seed: 1, lost_write_per_million: often, ..Faults::default() }),
        (
            "stray writes",
            Faults { seed: 1, misdirected_write_per_million: often, ..Faults::default() },
        ),
        ("flipped bits", Faults { seed: 1, flipped_read_per_million: often, ..Faults::default() }),
        ("read errors", Faults { seed: 1, read_error_per_million: often, ..Faults::default() }),
        ("flush errors", Faults { seed: 1, flush_error_per_million: often, ..Faults::default() }),
    ] {
        notices(what, || Rude::new(Manner::Polite, faults.clone()));
    }
}

//! Many requests at a time by io_uring: transfers fly in the kernel, everything else is done in
//! `complete`.

use std::collections::VecDeque;
use std::sync::Arc;

use hal::disk::{Completion, DiskError, ErrorKind, Geometry, Operation, Rejected, Request};
use rustix::io::Errno;

use super::open::Opened;
use super::{full, plain, sparse};
use crate::sys::memory::AlignedBuffer;
use crate::sys::ring::{Finished, Ring, Transfer};

/// Requests in flight: enough to keep a fast disk busy with 1 MiB requests, few enough to bound its
/// buffers.
pub(super) const DEPTH: usize = 16;

/// How often a request may be interrupted before that is an error: far more than ever happens, and
/// not for ever.
const INTERRUPTIONS_MAX: u32 = 1000;

/// A queue of requests over one ring.
#[derive(Debug)]
pub(super) struct Queue {
    ring: Ring<Opened>,
    /// What flies in each slot of the ring.
    flying: [Option<Flight>; DEPTH],
    /// Requests that have no form in the ring, done one by one when nothing has finished.
    slow: VecDeque<Request<AlignedBuffer>>,
}

/// One request in the ring.
#[derive(Clone, Copy, Debug)]
struct Flight {
    token: u64,
    operation: Operation,
    offset: u64,
    /// What the caller asked for.
    length: usize,
    /// What the system is asked for: `length`, rounded up at the end of the disk.
    asked: usize,
    done: usize,
    /// How often the kernel gave it back undone.
    interruptions: u32,
}

impl Queue {
    /// A queue, or `None` where the kernel has no io_uring for us.
    pub(super) fn new(opened: &Arc<Opened>) -> Option<Self> {
        let slots = u32::try_from(DEPTH).ok()?;
        let ring = Ring::new(Arc::clone(opened), slots).ok()?;
        Some(Self { ring, flying: [None; DEPTH], slow: VecDeque::with_capacity(DEPTH) })
    }

    /// Starts a checked request.
    pub(super) fn submit(
        &mut self,
        request: Request<AlignedBuffer>,
        geometry: &Geometry,
    ) -> Result<(), Rejected<AlignedBuffer>> {
        if self.ring.flying() + self.slow.len() >= DEPTH {
            return Err(Rejected { request, error: full() });
        }
        if matches!(request.operation, Operation::Zero | Operation::Discard) {
            self.slow.push_back(request);
            return Ok(());
        }
        let Some(slot) = self.flying.iter().position(Option::is_none) else {
            return Err(Rejected { request, error: full() });
        };
        let length = request.length as usize;
        let asked = match request.operation {
            Operation::Read => plain::asked(geometry, length),
            _ => length,
        };
        let Request { token, operation, offset, length: bytes, buffer } = request;
        let flight = Flight { token, operation, offset, length, asked, done: 0, interruptions: 0 };
        self.start(slot, flight, buffer).map_err(|buffer| Rejected {
            request: Request { token, operation, offset, length: bytes, buffer },
            error: full(),
        })
    }

    /// The next finished request.
    pub(super) fn complete(
        &mut self,
        opened: &Opened,
    ) -> Result<Option<Completion<AlignedBuffer>>, DiskError> {
        loop {
            let block = self.slow.is_empty();
            let finished =
                self.ring.wait(block).map_err(|errno| opened.error(errno, "waiting for"))?;
            let Some(finished) = finished else {
                let Some(request) = self.slow.pop_front() else { return Ok(None) };
                return Ok(Some(perform(opened, request)));
            };
            if let Some(done) = self.finish(opened, finished)? {
                return Ok(Some(done));
            }
        }
    }

    fn start(
        &mut self,
        slot: usize,
        flight: Flight,
        buffer: Option<AlignedBuffer>,
    ) -> Result<(), Option<AlignedBuffer>> {
        let transfer = match flight.operation {
            Operation::Read => Transfer::Read,
            Operation::Write => Transfer::Write,
            _ => Transfer::Sync,
        };
        let Ok(left) = u32::try_from(flight.asked - flight.done) else { return Err(buffer) };
        let at = flight.offset + flight.done as u64;
        self.ring.start(slot, transfer, at, flight.done, left, buffer)?;
        if let Some(taken) = self.flying.get_mut(slot) {
            *taken = Some(flight);
        }
        Ok(())
    }

    /// Turns a finished transfer into a completion, or sends its rest on its way.
    fn finish(
        &mut self,
        opened: &Opened,
        finished: Finished,
    ) -> Result<Option<Completion<AlignedBuffer>>, DiskError> {
        let Finished { slot, buffer, result } = finished;
        let Some(mut flight) = self.flying.get_mut(slot).and_then(Option::take) else {
            return Err(DiskError::new(
                ErrorKind::Misuse,
                "the kernel finished what was not begun",
            ));
        };
        let token = flight.token;
        if let Outcome::Done(result) = outcome(opened, &mut flight, result) {
            return Ok(Some(Completion { token, buffer, result }));
        }
        match self.start(slot, flight, buffer) {
            Ok(()) => Ok(None),
            Err(buffer) => {
                let result = Err(opened.error(Errno::AGAIN, "continuing on"));
                Ok(Some(Completion { token, buffer, result }))
            }
        }
    }
}

/// What becomes of a transfer that the kernel has finished with.
enum Outcome {
    Done(Result<(), DiskError>),
    Continue,
}

fn outcome(opened: &Opened, flight: &mut Flight, result: Result<usize, Errno>) -> Outcome {
    let at = flight.offset + flight.done as u64;
    let doing = match flight.operation {
        Operation::Read => "reading",
        _ => "writing",
    };
    match (flight.operation, result) {
        // Interrupted or cancelled with the thread that began it; the request itself is as good as
        // new.
        (_, Err(Errno::INTR | Errno::AGAIN | Errno::CANCELED))
            if flight.interruptions < INTERRUPTIONS_MAX =>
        {
            flight.interruptions += 1;
            Outcome::Continue
        }
        (Operation::Flush, result) => Outcome::Done(opened.flushed(result.map(drop))),
        (Operation::Read, Ok(0)) => Outcome::Done(Err(plain::shrank(opened, at))),
        (Operation::Read, Err(Errno::INVAL)) if flight.done > 0 => {
            Outcome::Done(Err(plain::shrank(opened, at)))
        }
        (_, Ok(0)) => Outcome::Done(Err(opened.error(Errno::IO, doing).at(at))),
        (_, Ok(bytes)) => {
            flight.done += bytes;
            if flight.done >= flight.length { Outcome::Done(Ok(())) } else { Outcome::Continue }
        }
        (_, Err(errno)) => Outcome::Done(Err(opened.error(errno, doing).at(at))),
    }
}

fn perform(opened: &Opened, request: Request<AlignedBuffer>) -> Completion<AlignedBuffer> {
    let length = u64::from(request.length);
    let result = match request.operation {
        Operation::Discard => sparse::discard(opened, request.offset, length),
        _ => sparse::zero(opened, request.offset, length),
    };
    Completion { token: request.token, buffer: request.buffer, result }
}

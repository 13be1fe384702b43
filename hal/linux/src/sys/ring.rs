//! io_uring with buffers that it owns from start to finish, so that the kernel never writes to
//! memory of others. It refuses to lend a buffer out while a transfer is under way, whatever
//! happens to its owner.
#![allow(unsafe_code, reason = "this folder is where the project's unsafe lives")]

use core::fmt;
use core::mem;
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use io_uring::types::{Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode};
use rustix::io::Errno;

use super::memory::AlignedBuffer;

/// How long a dropped ring waits for what is under way, before it gives its buffers up for lost.
const DROP_WAIT: Duration = Duration::from_secs(30);
/// Pauses of a millisecond when the kernel is short of resources, before that becomes an error.
const SHORTAGE_RETRIES_MAX: u32 = 2000;

/// What to do with a slot's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// Fill it from the file.
    Read,
    /// Write it to the file.
    Write,
    /// Make the file's data durable; no buffer.
    Sync,
}

/// A finished transfer: the slot is free again.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) slot: usize,
    pub(crate) buffer: Option<AlignedBuffer>,
    /// Bytes transferred.
    pub(crate) result: Result<usize, Errno>,
}

/// A ring over one file, with a fixed number of slots.
pub(crate) struct Ring<F: AsFd> {
    uring: IoUring,
    slots: Vec<Slot>,
    flying: usize,
    /// Held open as long as the kernel may work on it.
    file: Arc<F>,
}

enum Slot {
    Free,
    Flying(Option<AlignedBuffer>),
}

impl<F: AsFd> Ring<F> {
    /// A ring with this many slots, proven to work by a request that does nothing. An error where
    /// the kernel has no io_uring, has it switched off, or lacks what we need of it.
    pub(crate) fn new(file: Arc<F>, slots: u32) -> io::Result<Self> {
        let mut uring: IoUring = IoUring::builder().dontfork().build(slots)?;
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        let needed =
            [opcode::Read::CODE, opcode::Write::CODE, opcode::Fsync::CODE, opcode::Nop::CODE];
        if !needed.iter().all(|code| probe.is_supported(*code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let entry = opcode::Nop::new().build();
        // SAFETY: a no-op refers to no memory.
        unsafe { uring.submission().push(&entry) }.map_err(io::Error::other)?;
        uring.submit_and_wait(1)?;
        match uring.completion().next() {
            Some(entry) if entry.result() >= 0 => {}
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        let slots = (0..slots).map(|_| Slot::Free).collect();
        Ok(Self { uring, slots, flying: 0, file })
    }

    /// Transfers under way.
    pub(crate) fn flying(&self) -> usize {
        self.flying
    }

    /// Starts a transfer of `from..from + length` of the buffer at `offset` of the file, in a free
    /// slot. On refusal (slot taken, range outside the buffer, no buffer) the buffer comes back at
    /// once.
    pub(crate) fn start(
        &mut self,
        slot: usize,
        transfer: Transfer,
        offset: u64,
        from: usize,
        length: u32,
        mut buffer: Option<AlignedBuffer>,
    ) -> Result<(), Option<AlignedBuffer>> {
        let fd = Fd(self.file.as_fd().as_raw_fd());
        if !matches!(self.slots.get(slot), Some(Slot::Free)) {
            return Err(buffer);
        }
        let address = match (transfer, &mut buffer) {
            (Transfer::Sync, _) => core::ptr::null_mut(),
            (_, None) => return Err(buffer),
            (_, Some(owned)) => {
                let end = from.checked_add(length as usize);
                if end.is_none_or(|end| end > owned.as_ref().len()) {
                    return Err(buffer);
                }
                owned.address().wrapping_add(from)
            }
        };
        let entry = match transfer {
            Transfer::Read => opcode::Read::new(fd, address, length).offset(offset).build(),
            Transfer::Write => opcode::Write::new(fd, address, length).offset(offset).build(),
            Transfer::Sync => opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build(),
        }
        .user_data(slot as u64);
        // SAFETY: the entry's memory is `length` bytes inside `buffer` (checked above), which moves
        // into the slot below and leaves it only when the kernel has reported this entry finished,
        // or never (see `drop`). Moving the buffer does not move its mapping. The file descriptor
        // is kept open by `self.file`.
        if unsafe { self.uring.submission().push(&entry) }.is_err() {
            return Err(buffer);
        }
        if let Some(taken) = self.slots.get_mut(slot) {
            *taken = Slot::Flying(buffer);
        }
        self.flying += 1;
        // A shortage leaves the entry in the queue, and the next call hands it over; what is really
        // wrong comes out of `wait`, which sees the same error.
        let _ = self.uring.submit();
        Ok(())
    }

    /// The next finished transfer. Waits for one if `block`; `None` when there is none to wait for.
    pub(crate) fn wait(&mut self, block: bool) -> Result<Option<Finished>, Errno> {
        let mut shortages = 0;
        loop {
            if let Some(finished) = self.reap() {
                return Ok(Some(finished));
            }
            if !block || self.flying == 0 {
                return Ok(None);
            }
            match self.uring.submit_and_wait(1).map_err(errno) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::BUSY | Errno::NOMEM)
                    if shortages < SHORTAGE_RETRIES_MAX =>
                {
                    shortages += 1;
                    thread::sleep(Duration::from_millis(1));
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    fn reap(&mut self) -> Option<Finished> {
        loop {
            let entry = self.uring.completion().next()?;
            let Ok(slot) = usize::try_from(entry.user_data()) else { continue };
            let Some(taken) = self.slots.get_mut(slot) else { continue };
            let Slot::Flying(buffer) = mem::replace(taken, Slot::Free) else { continue };
            self.flying -= 1;
            let result = usize::try_from(entry.result())
                .map_err(|_| Errno::from_raw_os_error(entry.result().saturating_neg()));
            return Some(Finished { slot, buffer, result });
        }
    }

    /// Waits until nothing is under way; false when the kernel does not finish in time.
    fn drain(&mut self) -> bool {
        let deadline = Instant::now() + DROP_WAIT;
        while self.flying > 0 {
            if self.reap().is_some() {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let timed = self.uring.params().is_feature_ext_arg();
            let waited = if timed {
                let pause = Timespec::from(left.min(Duration::from_secs(1)));
                let args = SubmitArgs::new().timespec(&pause);
                self.uring.submitter().submit_with_args(1, &args)
            } else {
                self.uring.submit_and_wait(1)
            };
            match waited.map_err(errno) {
                Ok(_) | Err(Errno::INTR | Errno::TIME) => {}
                Err(Errno::AGAIN | Errno::BUSY | Errno::NOMEM) => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return false,
            }
        }
        true
    }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl<F: AsFd> Drop for Ring<F> {
    fn drop(&mut self) {
        if !self.drain() {
            // The kernel may still write there: better lost memory than corrupt memory.
            self.slots.drain(..).for_each(mem::forget);
        }
    }
}

impl<F: AsFd> fmt::Debug for Ring<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} of {} slots flying)", self.flying, self.slots.len())
    }
}

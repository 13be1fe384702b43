//! Changes on top of a point's disk, which stays as it is: what a repair writes, or a machine that runs from the point.
//!
//! Whole blocks are kept, in memory up to a limit or in a scratch file at their own place, so that the file is as large as
//! the disk and holds only what was changed. Blocks that became zero are kept by their number alone.
//! It refuses to outlive the program: what must be done again after a kill is done again.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pipeline::limits::BLOCK_BYTES;
use pipeline::zero::is_zero;
use pipeline_vault::Error;

use super::content::{ReadAt, inside};

/// Which blocks are kept.
mod marks;
#[cfg(test)]
mod tests;

use marks::{Kept, Marks};

/// Writers of different blocks seldom wait for each other: so many locks share the blocks among them.
const STRIPES: usize = 64;
/// A block's bytes, as offsets are counted.
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Where changed blocks are kept.
#[derive(Debug)]
pub enum Scratch {
    /// In memory, so many bytes of them at most.
    Memory {
        /// The limit.
        bytes_max: u64,
    },
    /// In a file that nobody else uses; what is in it is not looked at.
    File(File),
}

/// A disk that can be written to, while what it is a copy of stays as it is. Usable from many threads at once.
#[derive(Debug)]
pub struct Overlay<B> {
    base: B,
    state: Mutex<State>,
    file: Option<File>,
    bytes_max: u64,
    /// Something could not be kept.
    full: AtomicBool,
    /// Whoever changes a part of a block holds its lock from reading to writing.
    stripes: [Mutex<()>; STRIPES],
}

#[derive(Debug, Default)]
struct State {
    marks: Marks,
    /// Content of changed blocks that are not zero, where there is no file.
    held: HashMap<u64, Box<[u8]>>,
}

impl<B: ReadAt> Overlay<B> {
    /// An overlay without changes.
    pub fn new(base: B, scratch: Scratch) -> Self {
        let (file, bytes_max) = match scratch {
            Scratch::Memory { bytes_max } => (None, bytes_max),
            Scratch::File(file) => (Some(file), u64::MAX),
        };
        let stripes = [const { Mutex::new(()) }; STRIPES];
        let full = AtomicBool::new(false);
        Self { base, state: Mutex::default(), file, bytes_max, full, stripes }
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.base.bytes()
    }

    /// What lies below.
    pub fn base(&self) -> &B {
        &self.base
    }

    /// Whether a change was refused because there was no room for it, whoever asked for it and whatever became of that:
    /// a kernel that writes behind its programs tells them little.
    pub fn was_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The most that is kept in memory; all there is where it goes into a file.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The numbers of the blocks that were written to, in order; those that are again as they were too.
    pub fn changed(&self) -> Vec<u64> {
        lock(&self.state).marks.all()
    }

    /// Fills all of `into` from `offset`.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let range = inside(offset, into.len(), self.bytes())?;
        let mut at = range.start;
        let mut rest = into;
        while at < range.end {
            let (kept, run) = self.run_of_one_kind(at, range.end);
            let (part, behind) = rest.split_at_mut(run);
            match kept {
                None => self.base.read_at(at, part)?,
                Some(Kept::Zero) => part.fill(0),
                Some(Kept::Content) => self.read_kept(at, part)?,
            }
            at += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    /// Writes all of `from` at `offset`. A failure may leave the first blocks of the range written.
    pub fn write_at(&self, offset: u64, from: &[u8]) -> Result<(), Error> {
        let range = inside(offset, from.len(), self.bytes())?;
        let mut at = range.start;
        let mut rest = from;
        while at < range.end {
            let length =
                usize::try_from(end_of_block(at).min(range.end) - at).expect("a part of one block");
            let (part, behind) = rest.split_at(length);
            self.write_part(at, part)?;
            at += length as u64;
            rest = behind;
        }
        Ok(())
    }

    /// Makes a range read as zeros, and gives back what was kept of it.
    pub fn zero_at(&self, offset: u64, bytes: u64) -> Result<(), Error> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes());
        let end = end.ok_or_else(|| Error::misuse("disk", "zeros past its end were asked for"))?;
        let mut at = offset;
        while at < end {
            let stop = end_of_block(at).min(end);
            if at.is_multiple_of(BLOCK) && (stop - at == BLOCK || stop == self.bytes()) {
                let number = at / BLOCK;
                let _held = lock(self.stripe(number));
                let mut state = lock(&self.state);
                state.marks.mark(number, Kept::Zero);
                state.held.remove(&number);
            } else {
                let length = usize::try_from(stop - at).expect("a part of one block");
                self.write_part(at, &[0; BLOCK_BYTES][..length])?;
            }
            at = stop;
        }
        Ok(())
    }

    /// Waits until what was written is on the medium, as far as the scratch has one.
    pub fn flush(&self) -> Result<(), Error> {
        match &self.file {
            Some(file) => file.sync_data().map_err(scratch_error),
            None => Ok(()),
        }
    }

    /// What is kept of the block at a byte, and for how many bytes on that stays so, up to `end`.
    fn run_of_one_kind(&self, at: u64, end: u64) -> (Option<Kept>, usize) {
        let state = lock(&self.state);
        let kept = state.marks.find(at / BLOCK);
        let mut stop = end_of_block(at).min(end);
        // Each block in memory lies by itself; all else is read in one piece.
        let pieces = self.file.is_none() && kept == Some(Kept::Content);
        while !pieces && stop < end && state.marks.find(stop / BLOCK) == kept {
            stop = end_of_block(stop).min(end);
        }
        (kept, usize::try_from(stop - at).expect("no longer than the buffer that it is for"))
    }

    fn read_kept(&self, at: u64, into: &mut [u8]) -> Result<(), Error> {
        if let Some(file) = &self.file {
            return file.read_exact_at(into, at).map_err(scratch_error);
        }
        let state = lock(&self.state);
        match state.held.get(&(at / BLOCK)) {
            Some(block) => into.copy_from_slice(&block[within(at)..within(at) + into.len()]),
            // It became zero since its mark was looked at.
            None => into.fill(0),
        }
        Ok(())
    }

    /// Writes a part of one block, or all of it.
    fn write_part(&self, at: u64, part: &[u8]) -> Result<(), Error> {
        let number = at / BLOCK;
        let _held = lock(self.stripe(number));
        let start = number * BLOCK;
        let whole = usize::try_from(end_of_block(start).min(self.bytes()) - start)
            .expect("a block or less");
        let mut block = vec![0; whole].into_boxed_slice();
        if part.len() < whole {
            self.read_at(start, &mut block)?;
        }
        block[within(at)..within(at) + part.len()].copy_from_slice(part);
        self.keep(number, block)
    }

    fn keep(&self, number: u64, block: Box<[u8]>) -> Result<(), Error> {
        if is_zero(&block) {
            let mut state = lock(&self.state);
            state.marks.mark(number, Kept::Zero);
            state.held.remove(&number);
            return Ok(());
        }
        if let Some(file) = &self.file {
            let written = file.write_all_at(&block, number * BLOCK).map_err(scratch_error);
            written.inspect_err(|_| self.full.store(true, Ordering::Relaxed))?;
            lock(&self.state).marks.mark(number, Kept::Content);
            return Ok(());
        }
        let mut state = lock(&self.state);
        let others = state.held.len() - usize::from(state.held.contains_key(&number));
        if (others as u64 + 1).saturating_mul(BLOCK) > self.bytes_max {
            self.full.store(true, Ordering::Relaxed);
            let what =
                format!("may keep {} bytes of changes in memory, and is full", self.bytes_max);
            return Err(Error::exhausted("overlay", what)
                .remedy("keep the changes in a file: --overlay FILE"));
        }
        state.marks.mark(number, Kept::Content);
        state.held.insert(number, block);
        Ok(())
    }

    fn stripe(&self, number: u64) -> &Mutex<()> {
        &self.stripes[usize::try_from(number % STRIPES as u64).expect("a remainder by 64")]
    }
}

impl<B: ReadAt> ReadAt for Overlay<B> {
    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        Self::read_at(self, offset, into)
    }
}

fn end_of_block(at: u64) -> u64 {
    (at / BLOCK + 1).saturating_mul(BLOCK)
}

fn within(at: u64) -> usize {
    usize::try_from(at % BLOCK).expect("a remainder by 64 Ki")
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn scratch_error(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return Error::exhausted("overlay", "its file system is full")
            .remedy("make room, or name another file");
    }
    Error::device("overlay", format!("its file cannot be used: {error}"))
}

/// A poisoned lock means that somebody panicked; marks and blocks change in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What blocks of a disk hold, read past the page cache, several at once, in buffers made beforehand.
//!
//! A block is given whole, padded with zeros where the disk ends in it, or named as one that cannot be read: never are
//! zeros given for what could not be read.

use hal::disk::{Disk, DiskError, ErrorKind, Operation, Request};
use pipeline::limits::BLOCK_BYTES;

/// Blocks of one request: 256 KiB, from where on disks are as fast as they get.
const REQUEST_BLOCKS: usize = 4;
/// Requests on their way at once; their buffers are given back after each call, so that many disks cost no more than one.
const REQUESTS_MAX: usize = 8;

/// Reads blocks.
pub trait Content: Send {
    /// Gives each of these blocks, which ascend, in any order.
    ///
    /// Errors: the disk is gone; blocks that were not given are not known.
    fn read(&mut self, blocks: &[u64], each: &mut Each<'_>) -> Result<(), DiskError>;

    /// How large the disk is now.
    ///
    /// Errors: it is gone.
    fn bytes(&mut self) -> Result<u64, DiskError>;
}

/// Takes a block and what it holds, or why it cannot be read.
pub type Each<'a> = dyn FnMut(u64, Result<&[u8], &DiskError>) + 'a;

/// Blocks of a disk.
pub struct BlockReader<D> {
    disk: D,
}

impl<D: Disk> BlockReader<D> {
    /// Of this disk.
    #[must_use]
    pub fn new(disk: D) -> Self {
        Self { disk }
    }

    fn submit(
        &mut self,
        place: usize,
        run: Run,
        bytes: u64,
        buffer: D::Buffer,
    ) -> Result<(), DiskError> {
        let token = u64::try_from(place).unwrap_or(u64::MAX);
        let request = run.request(token, bytes, buffer)?;
        self.disk.submit(request).map_err(|rejected| rejected.error)
    }

    fn buffer(&mut self) -> Result<D::Buffer, DiskError> {
        self.disk.buffer(REQUEST_BLOCKS * BLOCK_BYTES)
    }

    /// Blocks of a run that failed, one by one.
    fn read_singly(&mut self, run: Run, each: &mut Each<'_>) -> Result<(), DiskError> {
        let bytes = self.disk.geometry()?.bytes;
        for block in run.first..run.first + run.blocks {
            let single = Run { first: block, blocks: 1 };
            let buffer = self.buffer()?;
            let done = self.disk.run(single.request(0, bytes, buffer)?)?;
            let mut buffer = done.buffer.ok_or_else(lost_buffer)?;
            match done.result {
                Ok(()) => each(block, Ok(single.padded(&mut buffer, 0, bytes)?)),
                Err(error) if error.kind == ErrorKind::Gone => return Err(error),
                Err(error) => each(block, Err(&error)),
            }
        }
        Ok(())
    }
}

impl<D: Disk> Content for BlockReader<D> {
    fn read(&mut self, blocks: &[u64], each: &mut Each<'_>) -> Result<(), DiskError> {
        let bytes = self.disk.geometry()?.bytes;
        let all = runs(blocks);
        let mut waiting = all.iter().enumerate();
        let (mut failed, mut flying, mut wrong) = (Vec::new(), 0_usize, None);
        let mut buffers = Vec::new();
        for _ in 0..self.disk.depth().clamp(1, REQUESTS_MAX.min(all.len().max(1))) {
            buffers.push(self.buffer()?);
        }
        loop {
            // After something went wrong no more is asked for, but what was is waited for.
            while wrong.is_none()
                && let Some(buffer) = buffers.pop()
            {
                let Some((place, run)) = waiting.next() else { break };
                match self.submit(place, *run, bytes, buffer) {
                    Ok(()) => flying += 1,
                    Err(error) => wrong = Some(error),
                }
            }
            if flying == 0 {
                break;
            }
            let Some(done) = self.disk.complete()? else { break };
            flying -= 1;
            let place = usize::try_from(done.token).unwrap_or(usize::MAX);
            let run = *all.get(place).ok_or_else(lost_buffer)?;
            let mut buffer = done.buffer.ok_or_else(lost_buffer)?;
            match done.result {
                Ok(()) => {
                    for at in 0..run.blocks {
                        each(run.first + at, Ok(run.padded(&mut buffer, at, bytes)?));
                    }
                }
                Err(error) if error.kind == ErrorKind::Gone => wrong = Some(error),
                Err(_) => failed.push(run),
            }
            buffers.push(buffer);
        }
        if let Some(error) = wrong {
            return Err(error);
        }
        failed.into_iter().try_for_each(|run| self.read_singly(run, each))
    }

    fn bytes(&mut self) -> Result<u64, DiskError> {
        Ok(self.disk.geometry()?.bytes)
    }
}

#[derive(Clone, Copy)]
struct Run {
    first: u64,
    blocks: u64,
}

impl Run {
    fn request<B>(self, token: u64, disk_bytes: u64, buffer: B) -> Result<Request<B>, DiskError> {
        let offset = self.first.saturating_mul(block_bytes());
        let whole = self.blocks * block_bytes();
        let length = whole.min(disk_bytes.saturating_sub(offset));
        // Where the disk ends before the last of these blocks begins, somebody made it smaller.
        let is_there = whole - length < block_bytes();
        let length = u32::try_from(length).ok().filter(|_| is_there).ok_or_else(|| {
            DiskError::new(ErrorKind::Gone, "the disk is smaller than it was").at(offset)
        })?;
        Ok(Request { token, operation: Operation::Read, offset, length, buffer: Some(buffer) })
    }

    /// A block of the run that was read, padded with zeros beyond the disk's end.
    fn padded<B: AsRef<[u8]> + AsMut<[u8]>>(
        self,
        buffer: &mut B,
        at: u64,
        disk_bytes: u64,
    ) -> Result<&[u8], DiskError> {
        let begin = usize::try_from(at).unwrap_or(usize::MAX).saturating_mul(BLOCK_BYTES);
        let offset = (self.first + at) * block_bytes();
        let block = buffer.as_mut().get_mut(begin..begin.saturating_add(BLOCK_BYTES));
        let block = block.ok_or_else(lost_buffer)?;
        let held = usize::try_from(disk_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Some(beyond) = block.get_mut(held..) {
            beyond.fill(0);
        }
        Ok(block)
    }
}

fn block_bytes() -> u64 {
    BLOCK_BYTES as u64
}

fn lost_buffer() -> DiskError {
    DiskError::new(ErrorKind::Misuse, "a buffer came back that was not lent")
}

/// Neighbours together, as many as one request reads.
fn runs(blocks: &[u64]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if run.first + run.blocks == *block && run.blocks < REQUEST_BLOCKS as u64 => {
                run.blocks += 1;
            }
            _ => runs.push(Run { first: *block, blocks: 1 }),
        }
    }
    runs
}

#[cfg(test)]
mod tests;

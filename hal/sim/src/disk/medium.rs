//! What all handles of one simulated disk share: content, what of it is durable, faults, and the
//! log of transfers.

use std::collections::VecDeque;

use hal::disk::{DiskError, ErrorKind, Geometry, Operation};

use super::Counts;
use super::pages::Pages;
use crate::fault::{Faults, touched};
use crate::random::Random;

/// Unflushed writes that the disk's cache holds; older ones reach the medium by themselves.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Transfers that the log of addresses keeps.
const DMA_LOG_MAX: usize = 65_536;

/// One write that has been acknowledged and not yet flushed.
#[derive(Debug)]
struct Unflushed {
    offset: u64,
    length: u64,
    /// `None` for zeros.
    bytes: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Medium {
    pub(super) geometry: Geometry,
    /// Counts power cuts: a handle of an earlier one is dead.
    pub(super) power: u64,
    pub(super) counts: Counts,
    /// What reads see.
    content: Pages,
    /// What a power cut leaves for certain.
    durable: Pages,
    unflushed: VecDeque<Unflushed>,
    unflushed_bytes: u64,
    faults: Faults,
    random: Random,
    /// Requests and bytes written since the faults were set.
    requests: u64,
    written: u64,
    dma: VecDeque<(u64, usize, usize)>,
}

impl Medium {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            power: 0,
            counts: Counts::default(),
            content: Pages::default(),
            durable: Pages::default(),
            unflushed: VecDeque::new(),
            unflushed_bytes: 0,
            faults: Faults::default(),
            random: Random::new(0),
            requests: 0,
            written: 0,
            dma: VecDeque::new(),
        }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.random = Random::new(faults.seed);
        self.requests = 0;
        self.written = 0;
        self.faults = faults;
    }

    /// Puts content on the medium from outside: durable, without faults, not counted.
    pub(super) fn load(&mut self, offset: u64, bytes: &[u8]) {
        self.content.write(offset, bytes);
        self.durable.write(offset, bytes);
    }

    pub(super) fn peek(&self, offset: u64, into: &mut [u8]) {
        self.content.read(offset, into);
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.content.held_bytes()
    }

    pub(super) fn dma_log(&self) -> Vec<(u64, usize, usize)> {
        self.dma.iter().copied().collect()
    }

    pub(super) fn clear_dma_log(&mut self) {
        self.dma.clear();
    }

    pub(super) fn data_after(&self, offset: u64) -> Option<(u64, u64)> {
        let (start, end) = self.content.data_after(offset)?;
        let end = end.min(self.geometry.bytes);
        Some((start, end)).filter(|(start, end)| start < end)
    }

    /// Which of the waiting requests finishes next.
    pub(super) fn next_of(&mut self, waiting: usize) -> usize {
        if waiting > 1 && self.random.happens(self.faults.reorder_per_million) {
            usize::try_from(self.random.below(waiting as u64)).unwrap_or(0)
        } else {
            0
        }
    }

    /// Faults that come with the number of requests: the disk vanishes or shrinks.
    pub(super) fn count(&mut self, power: u64) -> Result<(), DiskError> {
        self.requests += 1;
        if let Some(shrink) = self.faults.shrink
            && self.requests > shrink.after_requests
        {
            self.geometry.bytes = self.geometry.bytes.min(shrink.bytes);
        }
        self.alive(power)
    }

    pub(super) fn alive(&self, power: u64) -> Result<(), DiskError> {
        let vanished =
            self.faults.vanish_after_requests.is_some_and(|requests| self.requests > requests);
        if vanished || power != self.power {
            return Err(DiskError::new(ErrorKind::Gone, "the simulated disk is gone"));
        }
        Ok(())
    }

    fn inside(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        if offset.saturating_add(length) > self.geometry.bytes {
            let at = offset.max(self.geometry.bytes);
            return Err(DiskError::new(ErrorKind::Gone, "the simulated disk shrank").at(at));
        }
        Ok(())
    }

    pub(super) fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.inside(offset, into.len() as u64)?;
        let broken = touched(&self.faults.read_error_ranges, offset, into.len() as u64);
        let failed = self.random.happens(self.faults.read_error_per_million).then_some(offset);
        if let Some(at) = broken.or(failed) {
            return Err(DiskError::new(ErrorKind::Medium, "a simulated read error").at(at));
        }
        self.content.read(offset, into);
        if self.random.happens(self.faults.flipped_read_per_million) {
            let at = usize::try_from(self.random.below(into.len() as u64)).unwrap_or(0);
            if let Some(byte) = into.get_mut(at) {
                *byte ^= 1 << self.random.below(8);
            }
        }
        if self.dma.len() >= DMA_LOG_MAX {
            self.dma.pop_front();
        }
        self.dma.push_back((offset, into.as_ptr().addr(), into.len()));
        self.counts.reads += 1;
        self.counts.read_bytes += into.len() as u64;
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let length = bytes.len() as u64;
        self.may_write(offset, length)?;
        if self.random.happens(self.faults.torn_write_per_million) {
            let sector = self.sector();
            for (index, part) in bytes.chunks(sector).enumerate() {
                if self.random.below(2) == 0 {
                    self.apply(offset + (index * sector) as u64, part.len() as u64, Some(part));
                }
            }
            return Err(DiskError::new(ErrorKind::Medium, "a simulated torn write").at(offset));
        }
        self.counts.writes += 1;
        self.counts.written_bytes += length;
        self.written += length;
        if self.random.happens(self.faults.lost_write_per_million) {
            return Ok(());
        }
        let offset = if self.random.happens(self.faults.misdirected_write_per_million) {
            self.elsewhere(length)
        } else {
            offset
        };
        self.apply(offset, length, Some(bytes));
        Ok(())
    }

    /// `Zero` and `Discard`; a discard takes whole granules only, as real ones do.
    pub(super) fn clear(
        &mut self,
        operation: Operation,
        offset: u64,
        length: u64,
    ) -> Result<(), DiskError> {
        if operation == Operation::Zero {
            self.may_write(offset, length)?;
            self.counts.zeros += 1;
            self.counts.zeroed_bytes += length;
            self.apply(offset, length, None);
            return Ok(());
        }
        self.inside(offset, length)?;
        let granule = u64::from(self.geometry.discard_bytes);
        if granule == 0 {
            let error =
                DiskError::new(ErrorKind::Unsupported, "this simulated disk cannot discard");
            return Err(error.at(offset));
        }
        self.counts.discards += 1;
        let start = offset.next_multiple_of(granule);
        let end = (offset + length) / granule * granule;
        if start < end {
            self.apply(start, end - start, None);
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), DiskError> {
        self.counts.flushes += 1;
        if self.random.happens(self.faults.flush_error_per_million) {
            // As Linux has it: what could not be written is forgotten, reads may go on seeing it.
            self.unflushed.clear();
            self.unflushed_bytes = 0;
            return Err(DiskError::new(ErrorKind::Medium, "a simulated flush error"));
        }
        for write in self.unflushed.drain(..) {
            self.durable.adopt(&self.content, write.offset, write.length);
        }
        self.unflushed_bytes = 0;
        Ok(())
    }

    /// The power goes: of the unflushed writes some survive, some are lost, some are torn between
    /// sectors.
    pub(super) fn cut_power(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let sector = self.sector() as u64;
        for write in core::mem::take(&mut self.unflushed) {
            match random.below(3) {
                0 => {}
                1 => apply(&mut self.durable, write.offset, write.length, write.bytes.as_deref()),
                _ => tear(&mut self.durable, &write, sector, &mut random),
            }
        }
        self.unflushed_bytes = 0;
        self.content = self.durable.clone();
        self.power += 1;
    }

    fn may_write(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        self.inside(offset, length)?;
        let broken = touched(&self.faults.write_error_ranges, offset, length);
        let failed = self.random.happens(self.faults.write_error_per_million).then_some(offset);
        if let Some(at) = broken.or(failed) {
            return Err(DiskError::new(ErrorKind::Medium, "a simulated write error").at(at));
        }
        if self.faults.full_after_bytes.is_some_and(|most| self.written + length > most) {
            return Err(DiskError::new(ErrorKind::Full, "the simulated disk is full").at(offset));
        }
        Ok(())
    }

    fn apply(&mut self, offset: u64, length: u64, bytes: Option<&[u8]>) {
        apply(&mut self.content, offset, length, bytes);
        self.unflushed.push_back(Unflushed { offset, length, bytes: bytes.map(<[u8]>::to_vec) });
        self.unflushed_bytes += bytes.map_or(0, |_| length);
        while self.unflushed_bytes > CACHE_BYTES_MAX {
            let Some(oldest) = self.unflushed.pop_front() else { break };
            apply(&mut self.durable, oldest.offset, oldest.length, oldest.bytes.as_deref());
            self.unflushed_bytes -= oldest.bytes.map_or(0, |_| oldest.length);
        }
    }

    /// Any aligned place where `length` bytes fit.
    fn elsewhere(&mut self, length: u64) -> u64 {
        let sector = self.sector() as u64;
        let places = (self.geometry.bytes.saturating_sub(length) / sector).saturating_add(1);
        self.random.below(places) * sector
    }

    fn sector(&self) -> usize {
        self.geometry.logical_sector_bytes as usize
    }
}

fn apply(pages: &mut Pages, offset: u64, length: u64, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => pages.write(offset, bytes),
        None => pages.zero(offset, length),
    }
}

fn tear(pages: &mut Pages, write: &Unflushed, sector: u64, random: &mut Random) {
    let mut done = 0;
    while done < write.length {
        let part = sector.min(write.length - done);
        if random.below(2) == 0 {
            let bytes = write.bytes.as_deref().map(|bytes| {
                let from = usize::try_from(done).unwrap_or(usize::MAX);
                let to = usize::try_from(done + part).unwrap_or(usize::MAX);
                bytes.get(from..to).unwrap_or_default()
            });
            apply(pages, write.offset + done, part, bytes);
        }
        done += part;
    }
}

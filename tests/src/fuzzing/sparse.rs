//! A disk that is mostly zeros: its size in MiB as two bytes, then sectors of 512 bytes, each behind its number in four.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use firmware_recovery::guest::view::View;

const SECTOR: usize = 512;
const MIB_MAX: u16 = 1024;

/// The disk. What is written to it stays until it is dropped.
pub struct Sparse {
    bytes: u64,
    sectors: Mutex<HashMap<u64, [u8; SECTOR]>>,
}

impl Sparse {
    /// Takes any bytes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let (size, mut rest) = bytes.split_first_chunk::<2>().unwrap_or((&[1, 0], &[]));
        let mebibytes = u16::from_le_bytes(*size).clamp(1, MIB_MAX);
        let mut sectors = HashMap::new();
        while let Some((number, more)) = rest.split_first_chunk::<4>() {
            let (content, left) = more.split_at(SECTOR.min(more.len()));
            let mut sector = [0; SECTOR];
            for (byte, value) in sector.iter_mut().zip(content) {
                *byte = *value;
            }
            sectors.insert(u64::from(u32::from_le_bytes(*number)), sector);
            rest = left;
        }
        Self { bytes: u64::from(mebibytes) << 20, sectors: Mutex::new(sectors) }
    }

    /// The bytes that [`Sparse::read`] takes for this disk; `keep` says which sectors that are not zeros are in them.
    #[must_use]
    pub fn emit(disk: &[u8], keep: &dyn Fn(usize) -> bool) -> Vec<u8> {
        let mebibytes = u16::try_from(disk.len() >> 20).unwrap_or(MIB_MAX);
        let mut bytes = mebibytes.to_le_bytes().to_vec();
        for (number, sector) in disk.chunks(SECTOR).enumerate() {
            if sector.iter().any(|byte| *byte != 0) && keep(number) {
                bytes.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend(sector);
            }
        }
        bytes
    }

    fn inside(&self, offset: u64, length: usize) -> io::Result<()> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.bytes);
        end.map(|_| ()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A place's sector, and where in it.
fn place(offset: u64) -> (u64, usize) {
    let within = usize::try_from(offset % SECTOR as u64).expect("below a sector");
    (offset / SECTOR as u64, within)
}

impl View for Sparse {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, mut into: &mut [u8]) -> io::Result<()> {
        self.inside(offset, into.len())?;
        let sectors = self.sectors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut offset = offset;
        while !into.is_empty() {
            let (number, within) = place(offset);
            let (here, rest) = into.split_at_mut(into.len().min(SECTOR - within));
            match sectors.get(&number) {
                Some(sector) => here.copy_from_slice(&sector[within..within + here.len()]),
                None => here.fill(0),
            }
            offset += here.len() as u64;
            into = rest;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.inside(offset, from.len())?;
        let mut sectors = self.sectors.lock().unwrap_or_else(PoisonError::into_inner);
        for (offset, value) in (offset..).zip(from) {
            let (number, within) = place(offset);
            sectors.entry(number).or_insert([0; SECTOR])[within] = *value;
        }
        Ok(())
    }
}

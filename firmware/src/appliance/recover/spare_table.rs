//! The spare partition table of a disk that was restored onto a larger one: moved to the new end, where it belongs.
//!
//! Only where the table is whole and was written for the old size. Everything else of it stays: the GUIDs, and every entry
//! byte for byte. The spare is durable before the first table points at it, so that a cut at any moment leaves a whole one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crc::{CRC_32_ISO_HDLC, Crc};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const SIGNATURE: &[u8] = b"EFI PART";
/// Bytes of a header that its checksum is of, at least.
const HEADER_BYTES: usize = 92;
/// Where its fields are.
const HEADER_BYTES_AT: usize = 12;
const CHECKSUM_AT: usize = 16;
const OWN_AT: usize = 24;
const OTHER_AT: usize = 32;
const FIRST_USABLE_AT: usize = 40;
const LAST_USABLE_AT: usize = 48;
const ENTRIES_AT: usize = 72;
const ENTRY_COUNT_AT: usize = 80;
const ENTRY_BYTES_AT: usize = 84;
const ENTRIES_CHECKSUM_AT: usize = 88;
/// No table in use is larger: the usual one takes 16 KiB.
const ENTRIES_BYTES_MAX: u64 = 1024 * 1024;
/// In the first sector, which old programs read: kind and size of the one partition that stands for all.
const OLD_KIND_AT: usize = 446 + 4;
const OLD_SECTORS_AT: usize = 446 + 12;
const OLD_KIND: u8 = 0xEE;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// The spare is at the end of the larger disk.
    Yes,
    /// There is no table of this kind, or it was not whole for the old size: nothing was touched.
    No,
}

/// Moves the spare table of the disk at `path`, which holds a disk that was `old_bytes` long.
pub(crate) fn move_to_end(
    path: &Path,
    old_bytes: u64,
    new_bytes: u64,
    sector: u32,
) -> io::Result<Moved> {
    let mut disk = OpenOptions::new().read(true).write(true).open(path)?;
    let moved =
        relocate(&mut disk, old_bytes, new_bytes, u64::from(sector), &|disk: &mut File| {
            disk.sync_all()
        })?;
    Ok(moved)
}

/// A header as it is on the disk: one sector.
struct Header(Vec<u8>);

impl Header {
    fn number(&self, at: usize) -> u64 {
        let bytes = self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }

    fn small(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    }

    fn set(&mut self, at: usize, number: u64) {
        if let Some(place) = self.0.get_mut(at..at + 8) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }

    /// The part that its checksum is of.
    fn counted(&self) -> Option<usize> {
        let bytes = usize::try_from(self.small(HEADER_BYTES_AT)).ok()?;
        (HEADER_BYTES..=self.0.len()).contains(&bytes).then_some(bytes)
    }

    fn checksum(&self) -> Option<u32> {
        let mut counted = self.0.get(..self.counted()?)?.to_vec();
        counted.get_mut(CHECKSUM_AT..CHECKSUM_AT + 4)?.fill(0);
        Some(CRC.checksum(&counted))
    }

    fn seal(&mut self) {
        let sum = self.checksum().unwrap_or(0);
        if let Some(place) = self.0.get_mut(CHECKSUM_AT..CHECKSUM_AT + 4) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
    }

    fn is_whole(&self) -> bool {
        self.0.starts_with(SIGNATURE) && self.checksum() == Some(self.small(CHECKSUM_AT))
    }

    /// Bytes of all entries.
    fn entries_bytes(&self) -> u64 {
        u64::from(self.small(ENTRY_COUNT_AT)) * u64::from(self.small(ENTRY_BYTES_AT))
    }
}

/// The two headers and the entries, where both tables are whole and each is where the old size wants it.
fn read_whole<D: Read + Seek>(
    disk: &mut D,
    old_last: u64,
    sector: u64,
) -> io::Result<Option<(Header, Vec<u8>)>> {
    let first = Header(read(disk, sector, sector)?);
    let spare = Header(read(disk, old_last * sector, sector)?);
    let placed = |header: &Header, own: u64, other: u64| {
        header.is_whole() && (header.number(OWN_AT), header.number(OTHER_AT)) == (own, other)
    };
    let bytes = first.entries_bytes();
    if !placed(&first, 1, old_last)
        || !placed(&spare, old_last, 1)
        || bytes == 0
        || bytes > ENTRIES_BYTES_MAX
        || spare.entries_bytes() != bytes
    {
        return Ok(None);
    }
    let mut both = Vec::new();
    for header in [&first, &spare] {
        let start = header.number(ENTRIES_AT);
        if start.checked_add(bytes.div_ceil(sector)).is_none_or(|end| end > old_last) {
            return Ok(None);
        }
        let entries = read(disk, start * sector, bytes)?;
        if CRC.checksum(&entries) != header.small(ENTRIES_CHECKSUM_AT) {
            return Ok(None);
        }
        both.push(entries);
    }
    let same = both.first() == both.last();
    Ok(both.pop().filter(|_| same).map(|entries| (first, entries)))
}

fn relocate<D: Read + Write + Seek>(
    disk: &mut D,
    old_bytes: u64,
    new_bytes: u64,
    sector: u64,
    settle: &dyn Fn(&mut D) -> io::Result<()>,
) -> io::Result<Moved> {
    let (old_sectors, new_sectors) = (old_bytes / sector.max(1), new_bytes / sector.max(1));
    // A table and its spare take more; below that there is none, and nothing to compute with.
    if old_sectors < 6 || new_sectors <= old_sectors || sector < 512 {
        return Ok(Moved::No);
    }
    let (old_last, new_last) = (old_sectors - 1, new_sectors - 1);
    let Some((mut first, entries)) = read_whole(disk, old_last, sector)? else {
        return Ok(Moved::No);
    };
    let room = first.entries_bytes().div_ceil(sector);
    let entries_at = new_last - room;
    if entries_at <= first.number(FIRST_USABLE_AT) {
        return Ok(Moved::No);
    }
    first.set(OTHER_AT, new_last);
    first.set(LAST_USABLE_AT, entries_at - 1);
    let mut spare = Header(first.0.clone());
    spare.set(OWN_AT, new_last);
    spare.set(OTHER_AT, 1);
    spare.set(ENTRIES_AT, entries_at);
    first.seal();
    spare.seal();
    write(disk, entries_at * sector, &entries)?;
    write(disk, new_last * sector, &spare.0)?;
    settle(disk)?;
    write(disk, sector, &first.0)?;
    grow_old_table(disk, old_last, new_last, sector)?;
    settle(disk)?;
    // Gone last: until now the old pair was whole.
    let nothing = vec![0; spare.0.len()];
    let beneath = entries_at > old_last;
    if beneath {
        write(disk, old_last * sector, &nothing)?;
        settle(disk)?;
    }
    Ok(Moved::Yes)
}

/// The first sector's one partition covers the whole disk, for programs that know nothing newer.
fn grow_old_table<D: Read + Write + Seek>(
    disk: &mut D,
    old_last: u64,
    new_last: u64,
    sector: u64,
) -> io::Result<()> {
    let mut table = read(disk, 0, sector)?;
    let sectors = |last: u64| u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes();
    let kind = table.get(OLD_KIND_AT).copied();
    let Some(size) = table.get_mut(OLD_SECTORS_AT..OLD_SECTORS_AT + 4) else { return Ok(()) };
    if kind == Some(OLD_KIND) && *size == sectors(old_last) {
        size.copy_from_slice(&sectors(new_last));
        write(disk, 0, &table)?;
    }
    Ok(())
}

fn read<D: Read + Seek>(disk: &mut D, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    disk.seek(SeekFrom::Start(at))?;
    disk.read_exact(&mut buffer)?;
    Ok(buffer)
}

fn write<D: Write + Seek>(disk: &mut D, at: u64, bytes: &[u8]) -> io::Result<()> {
    disk.seek(SeekFrom::Start(at))?;
    disk.write_all(bytes)
}

#[cfg(test)]
mod tests;

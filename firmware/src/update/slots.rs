//! The slots on a medium: two files of its EFI system partition, each in clusters that never change hands.
//!
//! What is written is their contents, in place, and their three entries in the folder, which say by a file's name whether the
//! boot manager looks at it. No cluster is ever taken or given back, so a power cut finds the file system as whole as it was;
//! and the entries are written as one sector where they lie in one, as the builder lays them.
//!
//! It refuses to know what is in a slot, and it takes any bytes for a medium.

use hal::disk::{Disk, DiskError, Operation, Request};
use image_layout::disk::{ESP_OFFSET, SLOT_BYTES};
use image_layout::esp::{Slot, SlotFile, unfinished};
use pipeline_vault::Error;

/// FAT32, read.
mod fat;

use fat::{Entry, Shape};

/// Most that is read or written at once.
pub const PIECE_BYTES: usize = 1 << 20;
/// What a medium is called in errors.
const OBJECT: &str = "the medium";
const ANEW: &str = "write the medium anew with the image of the newer version";

/// A medium.
pub struct Slots<D: Disk> {
    disk: D,
    /// Where the file system begins.
    start: u64,
    shape: Shape,
}

/// A slot's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which slot.
    pub slot: Slot,
    /// What the boot manager sees of it; `None` where it sees nothing.
    pub file: Option<SlotFile>,
    entry: Entry,
}

impl<D: Disk> Slots<D> {
    /// Those of a partition, or of a whole disk of the image's layout.
    pub fn open(mut disk: D) -> Result<Self, Error> {
        let bytes = disk.geometry().map_err(failed)?.bytes;
        for start in [0, ESP_OFFSET] {
            let Some(room) = bytes.checked_sub(start) else { continue };
            if room < fat::SECTOR_BYTES {
                continue;
            }
            let sector = read(&mut disk, start, fat::SECTOR)?;
            if let Some(shape) = Shape::parse(&sector, room) {
                return Ok(Self { disk, start, shape });
            }
        }
        Err(Error::corrupt(OBJECT, "has no EFI system partition of Lifeboat's").remedy(ANEW))
    }

    /// All slots that have a file.
    pub fn list(&mut self) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for entry in self.folder()? {
            let file = SlotFile::parse(&entry.name);
            let hidden = [Slot::A, Slot::B].into_iter().find(|slot| {
                let short = format!("lifeboa{}.new", if *slot == Slot::A { 'a' } else { 'b' });
                let name = entry.name.to_ascii_lowercase();
                name == unfinished(*slot) || name == short
            });
            if let Some(slot) = file.map(|file| file.slot).or(hidden) {
                found.push(Found { slot, file, entry });
            }
        }
        Ok(found)
    }

    /// The file of a slot, with all the room that a slot has.
    pub fn find(&mut self, slot: Slot) -> Result<Found, Error> {
        let mut all = self.list()?;
        all.retain(|found| found.slot == slot);
        match (all.pop(), all.pop()) {
            (Some(found), None) if u64::from(found.entry.bytes) == SLOT_BYTES => Ok(found),
            (Some(_), None) => {
                Err(Error::corrupt(OBJECT, "has a slot of another length").remedy(ANEW))
            }
            (None, _) => {
                Err(Error::corrupt(OBJECT, "has no room for a second system").remedy(ANEW))
            }
            (Some(_), Some(_)) => {
                Err(Error::corrupt(OBJECT, "has two files for one slot").remedy(ANEW))
            }
        }
    }

    /// Gives a slot's file the name that says this; `None` hides it from boot managers. Durable when this returns.
    pub fn name(&mut self, found: &Found, file: Option<SlotFile>) -> Result<(), Error> {
        let name = file.map_or_else(|| unfinished(found.slot), |file| file.to_string());
        let short = fat::short_name(found.slot == Slot::A, file.is_some());
        let mut records = found.entry.renamed(&name, short).ok_or_else(|| {
            Error::corrupt(OBJECT, "has a slot whose entry was written by something else")
                .remedy(ANEW)
        })?;
        // Where the three lie in two sectors, what a boot manager must not see disappears first, and what it may see comes
        // last; between the two it sees a short name that is a slot's for nobody.
        if file.is_some() {
            records.sort_by_key(|(place, _)| *place);
        } else {
            records.sort_by_key(|(place, _)| core::cmp::Reverse(*place));
        }
        let mut rest = records.as_slice();
        while let Some((place, _)) = rest.first() {
            let sector = place - place % fat::SECTOR_BYTES;
            let mut bytes = read(&mut self.disk, self.start + sector, fat::SECTOR)?;
            let inside = rest
                .iter()
                .take_while(|(place, _)| (sector..sector + fat::SECTOR_BYTES).contains(place));
            let count = inside.clone().count();
            for (place, record) in inside {
                let at = usize::try_from(place - sector).unwrap_or(usize::MAX);
                let target = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..record.len()));
                target.ok_or_else(broken)?.copy_from_slice(record);
            }
            write(&mut self.disk, self.start + sector, &bytes)?;
            flush(&mut self.disk)?;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Where a slot's bytes lie, in their order, in pieces of at most [`PIECE_BYTES`].
    pub fn pieces(&mut self, found: &Found) -> Result<Vec<(u64, usize)>, Error> {
        let table = self.table()?;
        let chain = self.shape.chain(&table, found.entry.cluster).ok_or_else(broken)?;
        let cluster_bytes = self.shape.cluster_bytes;
        let mut left = u64::from(found.entry.bytes);
        let mut pieces: Vec<(u64, usize)> = Vec::new();
        for cluster in chain {
            let length = left.min(cluster_bytes);
            left -= length;
            let at = self.start + self.shape.place(cluster);
            let length = usize::try_from(length).unwrap_or_default();
            match pieces.last_mut() {
                Some((start, whole))
                    if *start + *whole as u64 == at && *whole + length <= PIECE_BYTES =>
                {
                    *whole += length
                }
                _ if length > 0 => pieces.push((at, length)),
                _ => {}
            }
        }
        let aligned = pieces.iter().all(|(_, length)| length.is_multiple_of(fat::SECTOR));
        if left == 0 && aligned { Ok(pieces) } else { Err(broken()) }
    }

    /// Reads a piece.
    pub fn read(&mut self, at: u64, length: usize) -> Result<Vec<u8>, Error> {
        read(&mut self.disk, at, length)
    }

    /// Writes a piece.
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        write(&mut self.disk, at, bytes)
    }

    /// Everything written is durable afterwards.
    pub fn flush(&mut self) -> Result<(), Error> {
        flush(&mut self.disk)
    }

    /// The table of clusters.
    fn table(&mut self) -> Result<Vec<u32>, Error> {
        let mut table = Vec::new();
        let (start, mut left) = (self.start + self.shape.table, self.shape.table_bytes);
        let mut at = start;
        while left > 0 {
            let length = usize::try_from(left.min(PIECE_BYTES as u64)).unwrap_or(PIECE_BYTES);
            let bytes = read(&mut self.disk, at, length)?;
            table.extend(bytes.chunks_exact(4).map(|word| {
                u32::from_le_bytes([word[0], word[1], word[2], word[3]]) & 0x0fff_ffff
            }));
            at += length as u64;
            left -= length as u64;
        }
        Ok(table)
    }

    /// What is in the folder of the slots.
    fn folder(&mut self) -> Result<Vec<Entry>, Error> {
        let table = self.table()?;
        let mut cluster = self.shape.root;
        for name in image_layout::esp::SLOTS_FOLDER.split('/') {
            let entries = self.entries(&table, cluster)?;
            let inner = entries
                .iter()
                .find(|entry| entry.is_folder && entry.name.eq_ignore_ascii_case(name));
            cluster = inner
                .ok_or_else(|| Error::corrupt(OBJECT, "has no folder of slots").remedy(ANEW))?
                .cluster;
        }
        self.entries(&table, cluster)
    }

    fn entries(&mut self, table: &[u32], cluster: u32) -> Result<Vec<Entry>, Error> {
        let chain = self.shape.chain(table, cluster).ok_or_else(broken)?;
        let mut sectors = Vec::new();
        for cluster in chain.into_iter().take(fat::FOLDER_CLUSTERS_MAX) {
            let place = self.shape.place(cluster);
            let length = usize::try_from(self.shape.cluster_bytes).unwrap_or(fat::SECTOR);
            sectors.push((place, read(&mut self.disk, self.start + place, length)?));
        }
        Ok(fat::entries(&sectors))
    }
}

fn broken() -> Error {
    Error::corrupt(OBJECT, "has a file system that does not hold together").remedy(ANEW)
}

fn failed(error: DiskError) -> Error {
    Error::from(error).on(OBJECT)
}

fn read<D: Disk>(disk: &mut D, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let buffer = disk.buffer(length).map_err(failed)?;
    let size = u32::try_from(length).map_err(|_| broken())?;
    let request = Request {
        token: 1,
        operation: Operation::Read,
        offset,
        length: size,
        buffer: Some(buffer),
    };
    let done = disk.run(request).map_err(failed)?;
    done.result.map_err(failed)?;
    let buffer = done.buffer.ok_or_else(broken)?;
    Ok(buffer.as_ref().get(..length).ok_or_else(broken)?.to_vec())
}

fn write<D: Disk>(disk: &mut D, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    let mut buffer = disk.buffer(bytes.len()).map_err(failed)?;
    buffer.as_mut().get_mut(..bytes.len()).ok_or_else(broken)?.copy_from_slice(bytes);
    let size = u32::try_from(bytes.len()).map_err(|_| broken())?;
    let request = Request {
        token: 1,
        operation: Operation::Write,
        offset,
        length: size,
        buffer: Some(buffer),
    };
    disk.run(request).map_err(failed)?.result.map_err(failed)
}

fn flush<D: Disk>(disk: &mut D) -> Result<(), Error> {
    let request =
        Request { token: 1, operation: Operation::Flush, offset: 0, length: 0, buffer: None };
    disk.run(request).map_err(failed)?.result.map_err(failed)
}

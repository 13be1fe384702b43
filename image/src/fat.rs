//! FAT32, written once and whole: every file in one piece, names of any length, nothing that depends on the time.
//!
//! It never reads a file system and never changes one. Files begin at multiples of 4 KiB of the partition, so that the
//! CD's own folders can point at the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Blame, Error};

/// Entries of folders: 32 bytes, short names and pieces of long ones.
mod names;

use names::{ENTRY_BYTES, Entry, entries_for};

const SECTOR: usize = 512;
/// Clusters are one sector: only so are 72 MiB enough of them for FAT32.
const CLUSTER: usize = SECTOR;
/// FAT32 has at least so many clusters; with fewer, readers take it for FAT16.
const CLUSTERS_MIN: usize = 65_525;
const RESERVED_MIN: usize = 32;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// First of January 1980, the first day there is.
pub(crate) const NO_DATE: u16 = 0x0021;
/// Files and the data area begin at multiples of this.
const ALIGN: usize = 4096;

/// A file to put in: its path, and what is in it.
pub type Files<'a> = [(String, &'a [u8])];

/// A file system, and where its files are.
#[derive(Debug)]
pub struct Fat {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Offset of every file, in the order of the files that were given; 0 for an empty one.
    pub places: Vec<usize>,
}

#[derive(Debug, Default)]
struct Folder {
    folders: BTreeMap<String, Self>,
    files: BTreeMap<String, usize>,
    cluster: u32,
}

impl Folder {
    fn put(&mut self, path: &str, file: usize) {
        match path.split_once('/') {
            Some((folder, rest)) => {
                self.folders.entry(folder.to_owned()).or_default().put(rest, file)
            }
            None => drop(self.files.insert(path.to_owned(), file)),
        }
    }

    fn bytes(&self) -> usize {
        // Two entries for itself and what is above it; in the root, one for the label.
        let own: usize =
            self.folders.keys().chain(self.files.keys()).map(|name| entries_for(name)).sum();
        ENTRY_BYTES * (own + 2)
    }
}

/// The sizes of a file system.
struct Shape {
    sectors: u32,
    reserved: usize,
    table_sectors: usize,
    clusters: usize,
}

impl Shape {
    fn of(bytes: usize) -> Option<Self> {
        let sectors = bytes / SECTOR;
        let mut table_sectors = 1;
        loop {
            let tables = 2 * table_sectors;
            // So many reserved sectors that the data begins at a round place.
            let reserved = (RESERVED_MIN + tables).next_multiple_of(ALIGN / SECTOR) - tables;
            let clusters = sectors.checked_sub(reserved + tables)?;
            let needed = ((clusters + 2) * 4).div_ceil(SECTOR);
            if needed <= table_sectors {
                let sectors = u32::try_from(sectors).ok()?;
                let shape = Self { sectors, reserved, table_sectors, clusters };
                return (clusters >= CLUSTERS_MIN).then_some(shape);
            }
            table_sectors = needed;
        }
    }

    /// Where a cluster begins.
    fn offset(&self, cluster: u32) -> usize {
        let first = (self.reserved + 2 * self.table_sectors) * SECTOR;
        first + (cluster as usize - 2) * CLUSTER
    }
}

/// Makes a file system of `bytes` bytes at `offset` of its disk. `serial` names it to those who ask.
pub fn make(
    bytes: u64,
    offset: u64,
    serial: u32,
    label: &[u8; 11],
    files: &Files<'_>,
) -> Result<Fat, Error> {
    let full = |what: &str| {
        Error::new(
            Blame::Limit,
            "the EFI system partition",
            what,
            "take something out of the recipe",
        )
    };
    let length = usize::try_from(bytes).map_err(|_| full("too large for this machine"))?;
    let shape = Shape::of(length).ok_or_else(|| full("has no size that FAT32 could have"))?;
    let mut root = Folder::default();
    for (place, (path, _)) in files.iter().enumerate() {
        root.put(path, place);
    }
    let mut table = Table { chain: vec![0x0fff_fff8, END_OF_CHAIN] };
    table.folders(&mut root);
    let clusters: Vec<u32> = files.iter().map(|(_, bytes)| table.file(bytes.len())).collect();
    if table.chain.len() > shape.clusters + 2 {
        return Err(full("is too small for what should be in it"));
    }
    let hidden = u32::try_from(offset / SECTOR as u64).map_err(|_| full("begins too late"))?;
    let mut image = vec![0; length];
    let boot = boot_sector(&shape, hidden, serial, label);
    let used = table.chain.iter().filter(|&&entry| entry != 0).count();
    let info = info_sector(&shape, used, table.chain.len());
    for (sector, bytes) in [(0, &boot), (1, &info), (6, &boot), (7, &info)] {
        image[sector * SECTOR..][..SECTOR].copy_from_slice(bytes);
    }
    let chain: Vec<u8> = table.chain.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    for copy in 0..2 {
        let start = (shape.reserved + copy * shape.table_sectors) * SECTOR;
        image[start..][..chain.len()].copy_from_slice(&chain);
    }
    let mut places = vec![0; files.len()];
    for (place, ((_, bytes), &cluster)) in places.iter_mut().zip(files.iter().zip(&clusters)) {
        if cluster != 0 {
            *place = shape.offset(cluster);
            image[*place..][..bytes.len()].copy_from_slice(bytes);
        }
    }
    let sizes: Vec<(u32, u32)> = clusters
        .iter()
        .zip(files)
        .map(|(&cluster, (_, bytes))| (cluster, u32::try_from(bytes.len()).unwrap_or(u32::MAX)))
        .collect();
    write_folder(&mut image, &shape, &root, None, label, &sizes);
    Ok(Fat { bytes: image, places })
}

/// The table of clusters: what follows each.
struct Table {
    chain: Vec<u32>,
}

impl Table {
    /// A chain of so many clusters in one piece; 0 where there is nothing to hold.
    fn take(&mut self, count: usize) -> u32 {
        let first = self.chain.len();
        for place in 0..count {
            let next = u32::try_from(first + place + 1).unwrap_or(END_OF_CHAIN);
            self.chain.push(if place + 1 == count { END_OF_CHAIN } else { next });
        }
        if count == 0 { 0 } else { u32::try_from(first).unwrap_or(0) }
    }

    fn folders(&mut self, folder: &mut Folder) {
        folder.cluster = self.take(folder.bytes().div_ceil(CLUSTER));
        for inner in folder.folders.values_mut() {
            self.folders(inner);
        }
    }

    fn file(&mut self, bytes: usize) -> u32 {
        // Clusters 0 and 1 do not exist, so the data begins with cluster 2.
        while bytes > 0 && !((self.chain.len() - 2) * CLUSTER).is_multiple_of(ALIGN) {
            self.chain.push(0);
        }
        self.take(bytes.div_ceil(CLUSTER))
    }
}

fn write_folder(
    image: &mut [u8],
    shape: &Shape,
    folder: &Folder,
    above: Option<u32>,
    label: &[u8; 11],
    files: &[(u32, u32)],
) {
    let mut bytes = Vec::with_capacity(folder.bytes());
    match above {
        None => bytes.extend_from_slice(&Entry::label(label).bytes()),
        Some(above) => {
            bytes.extend_from_slice(&Entry::folder(*b".          ", folder.cluster).bytes());
            bytes.extend_from_slice(&Entry::folder(*b"..         ", above).bytes());
        }
    }
    let mut used = BTreeSet::new();
    for (name, inner) in &folder.folders {
        let short = names::push(&mut bytes, name, &mut used);
        bytes.extend_from_slice(&Entry::folder(short, inner.cluster).bytes());
        // To what is in the root, the root's number is 0.
        let above = if above.is_none() { 0 } else { folder.cluster };
        write_folder(image, shape, inner, Some(above), label, files);
    }
    for (name, &file) in &folder.files {
        let short = names::push(&mut bytes, name, &mut used);
        let (cluster, size) = files[file];
        bytes.extend_from_slice(&Entry::file(short, cluster, size).bytes());
    }
    image[shape.offset(folder.cluster)..][..bytes.len()].copy_from_slice(&bytes);
}

fn boot_sector(shape: &Shape, hidden: u32, serial: u32, label: &[u8; 11]) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0xeb, 0x58, 0x90]);
    put(3, b"LIFEBOAT");
    put(11, &512_u16.to_le_bytes());
    put(13, &[1]);
    put(14, &u16::try_from(shape.reserved).unwrap_or(u16::MAX).to_le_bytes());
    put(16, &[2]);
    put(21, &[0xf8]);
    put(24, &63_u16.to_le_bytes());
    put(26, &255_u16.to_le_bytes());
    put(28, &hidden.to_le_bytes());
    put(32, &shape.sectors.to_le_bytes());
    put(36, &u32::try_from(shape.table_sectors).unwrap_or(u32::MAX).to_le_bytes());
    // The root's first cluster; where the sector with free counts is; where the copies are.
    put(44, &2_u32.to_le_bytes());
    put(48, &1_u16.to_le_bytes());
    put(50, &6_u16.to_le_bytes());
    put(64, &[0x80, 0, 0x29]);
    put(67, &serial.to_le_bytes());
    put(71, label);
    put(82, b"FAT32   ");
    put(510, &[0x55, 0xaa]);
    sector
}

fn info_sector(shape: &Shape, used: usize, next: usize) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    let free = (shape.clusters + 2).saturating_sub(used);
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"RRaA");
    put(484, b"rrAa");
    put(488, &u32::try_from(free).unwrap_or(u32::MAX).to_le_bytes());
    put(492, &u32::try_from(next).unwrap_or(u32::MAX).to_le_bytes());
    put(508, &[0, 0, 0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests;

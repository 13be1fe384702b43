//! FAT32 as far as two files of a known place need it: where clusters are and follow each other, and what entries of a folder
//! say. Pure: bytes in, values out, whatever the bytes.

use core::ops::Range;

/// Length of a sector; media of ours have no other.
pub(super) const SECTOR: usize = 512;
pub(super) const SECTOR_BYTES: u64 = 512;
/// Of a folder so much is read.
pub(super) const FOLDER_CLUSTERS_MAX: usize = 128;
/// A table of clusters is no longer: that of 4 GiB in sectors.
const TABLE_BYTES_MAX: u64 = 32 << 20;
const RECORD: usize = 32;
const LONG: u8 = 0x0f;
const FOLDER: u8 = 0x10;
const VOLUME: u8 = 0x08;
const REMOVED: u8 = 0xe5;
/// Letters in one record of a long name, and where they stand.
const LETTERS: usize = 13;
const LETTER_PLACES: [Range<usize>; 3] = [1..11, 14..26, 28..32];
/// Records of a long name that a slot's file has, whatever it is called.
const LONG_RECORDS: usize = 2;

/// Where everything is, in bytes from the beginning of the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) cluster_bytes: u64,
    pub(super) table: u64,
    pub(super) table_bytes: u64,
    pub(super) root: u32,
    data: u64,
    clusters: u32,
}

impl Shape {
    /// Reads the first sector of a file system that has `room` bytes; `None` where it is none of FAT32.
    pub(super) fn parse(sector: &[u8], room: u64) -> Option<Self> {
        let byte = |at: usize| sector.get(at).copied().map(u64::from);
        let half = |at: usize| Some(byte(at)? | byte(at + 1)? << 8);
        let word = |at: usize| Some(half(at)? | half(at + 2)? << 16);
        let per_cluster = byte(13)?;
        let sound = half(510)? == 0xaa55
            && half(11)? == SECTOR_BYTES
            && per_cluster.is_power_of_two()
            && half(17)? == 0
            && half(22)? == 0;
        let (reserved, copies, table_sectors, sectors) =
            (half(14)?, byte(16)?, word(36)?, word(32)?);
        let before = reserved.checked_add(copies.checked_mul(table_sectors)?)?;
        let count = sectors.checked_sub(before)?.checked_div(per_cluster)?;
        let table_bytes = table_sectors * SECTOR_BYTES;
        let fits = reserved > 0
            && (1..=2).contains(&copies)
            && table_bytes <= TABLE_BYTES_MAX
            && (count + 2).checked_mul(4)? <= table_bytes
            && sectors * SECTOR_BYTES <= room;
        if !sound || !fits {
            return None;
        }
        Some(Self {
            cluster_bytes: per_cluster * SECTOR_BYTES,
            table: reserved * SECTOR_BYTES,
            table_bytes,
            root: u32::try_from(word(44)?).ok()?,
            data: before * SECTOR_BYTES,
            clusters: u32::try_from(count).ok()?,
        })
    }

    /// Where a cluster begins. It must be one of a chain.
    pub(super) fn place(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster.saturating_sub(2)) * self.cluster_bytes
    }

    /// The clusters from this one on; `None` where one is none, or they go round.
    pub(super) fn chain(&self, table: &[u32], first: u32) -> Option<Vec<u32>> {
        let mut chain = Vec::new();
        let mut next = first;
        while next < 0x0fff_fff8 {
            let there = next >= 2 && next - 2 < self.clusters;
            if !there || chain.len() > table.len() {
                return None;
            }
            chain.push(next);
            next = *table.get(usize::try_from(next).ok()?)?;
        }
        Some(chain)
    }
}

/// A file or folder, and where its records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_folder: bool,
    pub(super) cluster: u32,
    pub(super) bytes: u32,
    /// Places of its records, the long name's first.
    places: Vec<u64>,
    /// The last record.
    short: [u8; RECORD],
}

impl Entry {
    /// Its records under another name, each with its place; `None` where they are not as many as that takes.
    pub(super) fn renamed(&self, name: &str, short: [u8; 11]) -> Option<Vec<(u64, [u8; RECORD])>> {
        let letters: Vec<u16> = name.encode_utf16().collect();
        if letters.len().div_ceil(LETTERS) != LONG_RECORDS || self.places.len() != LONG_RECORDS + 1
        {
            return None;
        }
        let sum = checksum(&short);
        let mut records = Vec::new();
        for number in (1..=LONG_RECORDS).rev() {
            let mut record = [0xff; RECORD];
            record[0] = u8::try_from(number).ok()? | if number == LONG_RECORDS { 0x40 } else { 0 };
            record[11..14].copy_from_slice(&[LONG, 0, sum]);
            record[26..28].fill(0);
            let from = (number - 1) * LETTERS;
            for (place, at) in
                LETTER_PLACES.into_iter().flat_map(|range| range.step_by(2)).enumerate()
            {
                // The name, then one zero, then ones.
                let letter = match letters.get(from + place) {
                    Some(letter) => *letter,
                    None if from + place == letters.len() => 0,
                    None => 0xffff,
                };
                record[at..at + 2].copy_from_slice(&letter.to_le_bytes());
            }
            records.push(record);
        }
        let mut last = self.short;
        last[..11].copy_from_slice(&short);
        // Which of its letters are small: none.
        last[12] = 0;
        records.push(last);
        Some(self.places.iter().copied().zip(records).collect())
    }
}

/// The short name of a slot's file, which only old programs see.
pub(super) fn short_name(first: bool, shown: bool) -> [u8; 11] {
    match (first, shown) {
        (true, true) => *b"LIFEBOAAEFI",
        (true, false) => *b"LIFEBOAANEW",
        (false, true) => *b"LIFEBOABEFI",
        (false, false) => *b"LIFEBOABNEW",
    }
}

fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// What the sectors of a folder hold, each sector or cluster with its place.
pub(super) fn entries(parts: &[(u64, Vec<u8>)]) -> Vec<Entry> {
    let mut found = Vec::new();
    // A long name's records so far: their places, numbers, sums and letters.
    let mut long: Vec<(u64, &[u8])> = Vec::new();
    let records = parts.iter().flat_map(|(place, bytes)| {
        bytes
            .chunks_exact(RECORD)
            .enumerate()
            .map(move |(at, record)| (place + (at * RECORD) as u64, record))
    });
    for (place, record) in records {
        match record[0] {
            0 => break,
            REMOVED => long.clear(),
            _ if record[11] & 0x3f == LONG => {
                if record[0] & 0x40 != 0 {
                    long.clear();
                }
                long.push((place, record));
            }
            _ if record[11] & VOLUME != 0 => long.clear(),
            _ => found.extend(entry(place, record, &core::mem::take(&mut long))),
        }
    }
    found
}

fn entry(place: u64, record: &[u8], long: &[(u64, &[u8])]) -> Option<Entry> {
    let short: [u8; RECORD] = record.try_into().ok()?;
    let named: [u8; 11] = record.get(..11)?.try_into().ok()?;
    let name = long_name(long, checksum(&named));
    let mut places: Vec<u64> = Vec::new();
    if name.is_some() {
        places.extend(long.iter().map(|(place, _)| *place));
    }
    places.push(place);
    let half = |at: usize| u32::from(u16::from_le_bytes([short[at], short[at + 1]]));
    Some(Entry {
        name: name.unwrap_or_else(|| plain_name(&named)),
        is_folder: short[11] & FOLDER != 0,
        cluster: half(20) << 16 | half(26),
        bytes: half(28) | half(30) << 16,
        places,
        short,
    })
}

/// A long name, where its records are whole and belong to the short one.
fn long_name(long: &[(u64, &[u8])], sum: u8) -> Option<String> {
    let mut letters = Vec::new();
    for (number, (_, record)) in (1_u8..).zip(long.iter().rev()) {
        let last = usize::from(number) == long.len();
        if record[0] != number | if last { 0x40 } else { 0 } || record[13] != sum {
            return None;
        }
        for at in LETTER_PLACES.into_iter().flat_map(|range| range.step_by(2)) {
            letters.push(u16::from_le_bytes([record[at], record[at + 1]]));
        }
    }
    let end = letters.iter().position(|letter| *letter == 0).unwrap_or(letters.len());
    let name = String::from_utf16(letters.get(..end)?).ok()?;
    (!name.is_empty()).then_some(name)
}

fn plain_name(short: &[u8; 11]) -> String {
    let (stem, end) = short.split_at(8);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_ascii_lowercase();
    let (stem, end) = (text(stem), text(end));
    if end.is_empty() { stem } else { format!("{stem}.{end}") }
}

#[cfg(test)]
mod tests;

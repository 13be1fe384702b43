//! Partition tables: GPT, the main one or the spare, and MBR with its chain of logical partitions.

use std::io;

use hal::table::{guid_text, table_guid};

use crate::guest::view::{View, read_some};

/// Entries that are looked at, in whatever table.
const ENTRIES_MAX: usize = 256;
/// Sectors that tables are counted in: 512 first, then those of disks with native 4 KiB.
const SECTORS: [u64; 2] = [512, 4096];
const SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// How a disk is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Not at all, or nobody knows how.
    #[default]
    None,
    /// By a master boot record.
    Mbr,
    /// By GUIDs.
    Gpt,
}

/// What a table says a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What a UEFI firmware starts from.
    Esp,
    /// Where a boot loader for BIOS keeps the rest of itself on a GPT disk.
    BiosBoot,
    /// Anything else.
    Other,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1; logical ones of an MBR from 5.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// `PARTUUID`.
    pub uuid: String,
    /// `PARTLABEL`.
    pub label: String,
    /// What it is for.
    pub role: Role,
    /// An MBR's flag that a BIOS starts from it.
    pub active: bool,
}

/// A disk's partition table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its kind.
    pub scheme: Scheme,
    /// Size of the sectors that it counts in.
    pub sector_bytes: u64,
    /// There is code in the first sector for a BIOS to run.
    pub boot_code: bool,
    /// The partitions, in order of their numbers.
    pub entries: Vec<Entry>,
}

impl Table {
    /// Reads a disk's table; one that is not sound is none.
    pub fn read(view: &dyn View) -> io::Result<Self> {
        let first = read_some(view, 0, 512)?;
        let has_signature = first.get(510..512) == Some(&SIGNATURE);
        let boot_code = has_signature && first[..440].iter().any(|byte| *byte != 0);
        for sector_bytes in SECTORS {
            if let Some(entries) = gpt(view, sector_bytes)? {
                return Ok(Self { scheme: Scheme::Gpt, sector_bytes, boot_code, entries });
            }
        }
        let entries = if has_signature { mbr(view, &first)? } else { Vec::new() };
        let scheme = if entries.is_empty() { Scheme::None } else { Scheme::Mbr };
        Ok(Self { scheme, sector_bytes: 512, boot_code, entries })
    }
}

fn gpt(view: &dyn View, sector: u64) -> io::Result<Option<Vec<Entry>>> {
    let last = (view.bytes() / sector).saturating_sub(1);
    for lba in [1, last] {
        let header = read_some(view, lba * sector, usize::try_from(sector).unwrap_or(512))?;
        if table_guid(&header, lba).is_none() {
            continue;
        }
        let wanted = (|| {
            let count = usize::try_from(word(&header, 80)?).ok()?.min(ENTRIES_MAX);
            let size = usize::try_from(word(&header, 84)?).ok()?;
            let at = long(&header, 72)?.checked_mul(sector)?;
            (128..=4096).contains(&size).then_some((at, count, size))
        })();
        let Some((at, count, size)) = wanted else { continue };
        let bytes = read_some(view, at, count * size)?;
        let parse = |(place, entry): (usize, &[u8])| gpt_entry(entry, place, sector);
        return Ok(Some(bytes.chunks_exact(size).enumerate().filter_map(parse).collect()));
    }
    Ok(None)
}

fn gpt_entry(entry: &[u8], place: usize, sector: u64) -> Option<Entry> {
    const NAME_BYTES: core::ops::Range<usize> = 56..128;
    let guid: [u8; 16] = entry.get(..16)?.try_into().ok()?;
    if guid == [0; 16] {
        return None;
    }
    let role = match guid_text(&guid).as_str() {
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" => Role::Esp,
        "21686148-6449-6e6f-744e-656564454649" => Role::BiosBoot,
        _ => Role::Other,
    };
    let unique: [u8; 16] = entry.get(16..32)?.try_into().ok()?;
    let (first, last) = (long(entry, 32)?, long(entry, 40)?);
    let letters =
        entry.get(NAME_BYTES)?.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    let letters: Vec<u16> = letters.take_while(|letter| *letter != 0).collect();
    Some(Entry {
        number: u32::try_from(place + 1).ok()?,
        start: first.checked_mul(sector)?,
        bytes: last.checked_sub(first)?.checked_add(1)?.checked_mul(sector)?,
        uuid: guid_text(&unique).to_string(),
        label: String::from_utf16_lossy(&letters),
        role,
        active: false,
    })
}

/// A slot of an MBR or of a link in the chain: flag, type, first sector, sectors.
fn slot(sector: &[u8], place: usize) -> Option<(u8, u8, u64, u64)> {
    let entry = sector.get(446 + place * 16..)?.get(..16)?;
    let (first, count) = (word(entry, 8)?, word(entry, 12)?);
    (entry[4] != 0 && count != 0).then_some((
        entry[0],
        entry[4],
        u64::from(first),
        u64::from(count),
    ))
}

fn mbr(view: &dyn View, first: &[u8]) -> io::Result<Vec<Entry>> {
    let id = word(first, 440).unwrap_or(0);
    let entry = |number: u32, flag: u8, kind: u8, start: u64, count: u64| Entry {
        number,
        start: start * 512,
        bytes: count * 512,
        uuid: format!("{id:08x}-{number:02x}"),
        label: String::new(),
        role: if kind == 0xEF { Role::Esp } else { Role::Other },
        active: flag == 0x80,
    };
    let mut entries = Vec::new();
    let mut extended = None;
    for (place, number) in (0..4).zip(1_u32..) {
        match slot(first, place) {
            // What is no flag is no table: boot sectors of file systems end in the same signature.
            Some((flag, ..)) if flag & 0x7F != 0 => return Ok(Vec::new()),
            Some((_, 0x05 | 0x0F | 0x85, start, _)) => extended = extended.or(Some(start)),
            Some((flag, kind, start, count)) => {
                entries.push(entry(number, flag, kind, start, count))
            }
            None => (),
        }
    }
    // Each link names one logical partition by its distance from the link, and the next link by its distance from the
    // first.
    let mut next = extended;
    for number in (5_u32..).take(ENTRIES_MAX) {
        let (Some(base), Some(link)) = (extended, next) else { break };
        let sector = read_some(view, link * 512, 512)?;
        if sector.get(510..512) != Some(&SIGNATURE) {
            break;
        }
        if let Some((flag, kind, start, count)) = slot(&sector, 0) {
            entries.push(entry(number, flag, kind, link + start, count));
        }
        next = slot(&sector, 1).map(|(_, _, start, _)| base + start);
    }
    Ok(entries)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

//! Folders and path tables of ISO 9660, for one way of writing names.

use std::collections::BTreeMap;

use super::{SECTOR, both16, both32};

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Eight and three capital letters.
    Plain,
    /// As they are, in UCS-2.
    Full,
}

impl Names {
    fn file(self, name: &str) -> Vec<u8> {
        match self {
            Self::Plain => {
                let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
                format!("{}.{};1", capitals(stem, 8), capitals(end, 3)).into_bytes()
            }
            Self::Full => wide(name),
        }
    }

    fn folder(self, name: &str) -> Vec<u8> {
        match self {
            Self::Plain => capitals(name, 8).into_bytes(),
            Self::Full => wide(name),
        }
    }

    /// A field of fixed length.
    pub(super) fn padded(self, text: &str, length: usize) -> Vec<u8> {
        let (mut bytes, blank): (Vec<u8>, &[u8]) = match self {
            Self::Plain => (text.as_bytes().to_vec(), b" "),
            Self::Full => (wide(text), b"\0 "),
        };
        bytes.extend(blank.iter().cycle().take(length.saturating_sub(bytes.len())));
        bytes.truncate(length);
        bytes
    }
}

fn capitals(text: &str, length: usize) -> String {
    let letters = text.chars().take(length).map(|letter| {
        let letter = letter.to_ascii_uppercase();
        if letter.is_ascii_alphanumeric() { letter } else { '_' }
    });
    // A long name keeps its last letter, by which two slots differ.
    let mut letters: String = letters.collect();
    if let Some(last) = text.chars().last().filter(|_| text.len() > length) {
        letters.pop();
        letters.push(last.to_ascii_uppercase());
    }
    letters
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[derive(Debug, Default)]
struct Folder {
    name: Vec<u8>,
    above: usize,
    sector: u32,
    bytes: u32,
    /// By identifier, in which order they must stand: a folder's place in the list, or a file's first sector and length.
    entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Folder(usize),
    File(u32, u32),
}

/// All folders, the root first, each before what is in it.
#[derive(Debug)]
pub(super) struct Tree {
    folders: Vec<Folder>,
    start: u32,
    end: u32,
}

impl Tree {
    /// The folders of these files, whose tables and entries stand from sector `start` on. `None` where a file does not
    /// begin with a sector, or there are too many.
    pub(super) fn new(files: &[(String, u64, u64)], start: u32, names: Names) -> Option<Self> {
        let mut paths: Vec<Vec<&str>> = vec![Vec::new()];
        for (path, _, _) in files {
            let parts: Vec<&str> = path.split('/').collect();
            let depths = 1..parts.len();
            paths.extend(depths.filter_map(|depth| parts.get(..depth).map(<[&str]>::to_vec)));
        }
        // Path tables are ordered by depth, then by the folder above, then by name.
        paths.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        paths.dedup();
        let mut folders: Vec<Folder> = Vec::new();
        for path in &paths {
            let above = path.split_last().map_or(0, |(_, above)| {
                paths.iter().position(|other| other.as_slice() == above).unwrap_or(0)
            });
            let name = path.last().map_or_else(|| vec![0], |name| names.folder(name));
            let place = folders.len();
            if place > 0 {
                folders.get_mut(above)?.entries.insert(name.clone(), Entry::Folder(place));
            }
            folders.push(Folder { name, above, ..Folder::default() });
        }
        for (path, offset, length) in files {
            if !offset.is_multiple_of(SECTOR) {
                return None;
            }
            let parts: Vec<&str> = path.split('/').collect();
            let (name, above) = parts.split_last()?;
            let place = paths.iter().position(|other| other.as_slice() == above)?;
            let entry =
                Entry::File(u32::try_from(offset / SECTOR).ok()?, u32::try_from(*length).ok()?);
            let taken = folders.get_mut(place)?.entries.insert(names.file(name), entry);
            // Two names that are the same in capital letters would hide each other.
            if taken.is_some() {
                return None;
            }
        }
        let mut end = start.checked_add(2)?;
        for folder in &mut folders {
            // One sector each: that is room for forty files.
            let entries: usize = folder.entries.keys().map(|name| record_bytes(name.len())).sum();
            let bytes = entries + 2 * record_bytes(1);
            if bytes as u64 > SECTOR {
                return None;
            }
            folder.sector = end;
            folder.bytes = u32::try_from(SECTOR).ok()?;
            end += 1;
        }
        let tree = Self { folders, start, end };
        (u64::from(tree.table_bytes()) <= SECTOR).then_some(tree)
    }

    /// The first sector behind it.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// The sector of the path table, little end first; the other one follows.
    pub(super) fn table_place(&self) -> u32 {
        self.start
    }

    pub(super) fn table_bytes(&self) -> u32 {
        u32::try_from(self.table(u16::to_le_bytes, u32::to_le_bytes).len()).unwrap_or(u32::MAX)
    }

    /// The root's own entry, which stands in the volume's descriptor.
    pub(super) fn root(&self) -> Vec<u8> {
        self.folders
            .first()
            .map(|root| record(&[0], true, root.sector, root.bytes))
            .unwrap_or_default()
    }

    /// Every sector that it fills.
    pub(super) fn sectors(&self) -> Vec<(u32, Vec<u8>)> {
        let mut sectors = vec![
            (self.start, self.table(u16::to_le_bytes, u32::to_le_bytes)),
            (self.start + 1, self.table(u16::to_be_bytes, u32::to_be_bytes)),
        ];
        for folder in &self.folders {
            let above = &self.folders[folder.above];
            let mut bytes = record(&[0], true, folder.sector, folder.bytes);
            bytes.extend(record(&[1], true, above.sector, above.bytes));
            for (name, entry) in &folder.entries {
                bytes.extend(match *entry {
                    Entry::Folder(place) => {
                        let inner = &self.folders[place];
                        record(name, true, inner.sector, inner.bytes)
                    }
                    Entry::File(sector, length) => record(name, false, sector, length),
                });
            }
            sectors.push((folder.sector, bytes));
        }
        sectors
    }

    fn table(&self, half: fn(u16) -> [u8; 2], word: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for folder in &self.folders {
            bytes.push(u8::try_from(folder.name.len()).unwrap_or(u8::MAX));
            bytes.push(0);
            bytes.extend_from_slice(&word(folder.sector));
            bytes.extend_from_slice(&half(u16::try_from(folder.above + 1).unwrap_or(u16::MAX)));
            bytes.extend_from_slice(&folder.name);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
        }
        bytes
    }
}

fn record_bytes(name: usize) -> usize {
    (33 + name).next_multiple_of(2)
}

fn record(name: &[u8], folder: bool, sector: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![0; record_bytes(name.len())];
    bytes[0] = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    bytes[2..10].copy_from_slice(&both32(sector));
    bytes[10..18].copy_from_slice(&both32(length));
    // First of January 1980, as in the file system that these files are in, too.
    bytes[18..25].copy_from_slice(&[80, 1, 1, 0, 0, 0, 0]);
    bytes[25] = if folder { 2 } else { 0 };
    bytes[28..32].copy_from_slice(&both16(1));
    bytes[32] = u8::try_from(name.len()).unwrap_or(u8::MAX);
    bytes[33..33 + name.len()].copy_from_slice(name);
    bytes
}

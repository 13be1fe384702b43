//! NTFS, as much of it as reading files of Windows by their names takes, and bytes changed in their place.
//!
//! Files are found by the indexes of folders, and their bytes by the runs that their records name. It never makes a
//! file longer or shorter, and nothing but file contents is written, so that the journal has nothing to say to it.
//! Compressed and encrypted files, and those whose records are spread over several, are refused.

use std::io::{self, Error, ErrorKind, Read};
use std::sync::Arc;

use super::tree::{Kind, Rights, Tree};
use super::view::View;

/// Records, attributes and runs.
mod record;

use record::{Record, Run};

/// The records of the file of all records, and of the uppermost folder.
const ALL: u64 = 0;
const ROOT: u64 = 5;
const DATA: u32 = 0x80;
const INDEX_ROOT: u32 = 0x90;
const INDEX_ALLOCATION: u32 = 0xA0;
/// Blocks of a folder's index, and names in it, that are looked at.
const BLOCKS_MAX: u64 = 65_536;
const NAMES_MAX: usize = 200_000;
/// Folders in a path.
const DEPTH_MAX: usize = 32;

/// A volume of NTFS.
pub struct NtfsTree {
    view: Arc<dyn View>,
    cluster: u64,
    record_bytes: usize,
    /// Where records are.
    records: Vec<Run>,
}

/// An entry of a folder.
struct Entry {
    name: String,
    record: u64,
}

/// A file's bytes: in its record, or in runs.
enum Content {
    Inside(Vec<u8>),
    Runs { runs: Vec<Run>, bytes: u64, valid: u64 },
}

impl NtfsTree {
    /// Opens what is in a view.
    pub fn open(view: Arc<dyn View>) -> io::Result<Self> {
        let mut boot = [0; 512];
        view.read_at(0, &mut boot)?;
        let geometry = (|| {
            let sector = u64::from(u16::from_le_bytes([boot[11], boot[12]]));
            let per_cluster = match boot[13] {
                count @ 1..=0x80 => u64::from(count),
                // Beyond, it is a power of two, counted down.
                shift => 1_u64.checked_shl(256 - u32::from(shift))?,
            };
            let cluster = sector.checked_mul(per_cluster)?;
            let start =
                u64::from_le_bytes(boot.get(48..56)?.try_into().ok()?).checked_mul(cluster)?;
            let size = i8::from_le_bytes([boot[64]]);
            let record_bytes = if size > 0 {
                cluster.checked_mul(u64::try_from(size).ok()?)?
            } else {
                1_u64.checked_shl(u32::from(size.unsigned_abs()))?
            };
            let bearable = boot.get(3..11)? == b"NTFS    "
                && sector.is_power_of_two()
                && (512..=4096).contains(&sector)
                && (512..=2 << 20).contains(&cluster)
                && cluster.is_power_of_two()
                && (1024..=4096).contains(&record_bytes);
            bearable.then_some((cluster, start, usize::try_from(record_bytes).ok()?))
        })();
        let Some((cluster, start, record_bytes)) = geometry else {
            return Err(broken("its first sector"));
        };
        let mut tree = Self { view, cluster, record_bytes, records: Vec::new() };
        let mut bytes = vec![0; record_bytes];
        tree.view.read_at(start, &mut bytes)?;
        let all = Record::parse(bytes).ok_or_else(|| broken("the record of records"))?;
        let data =
            all.attributes().find(|attribute| attribute.kind == DATA && attribute.name.is_empty());
        let runs = data.and_then(|data| data.runs(cluster));
        tree.records = runs.ok_or_else(|| broken("the record of records"))?;
        Ok(tree)
    }

    fn record(&self, number: u64) -> io::Result<Record> {
        if number == ALL {
            return Err(broken("a folder"));
        }
        let mut bytes = vec![0; self.record_bytes];
        let at = number.checked_mul(self.record_bytes as u64).ok_or_else(|| broken("a folder"))?;
        self.read_runs(&self.records, at, &mut bytes)?;
        Record::parse(bytes).ok_or_else(|| broken("a record of a file"))
    }

    /// Calls `each` with every piece of a range of runs: its place in the view, none for a hole, and its bytes of the
    /// range.
    fn pieces(
        runs: &[Run],
        offset: u64,
        length: usize,
        each: &mut dyn FnMut(Option<u64>, core::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut begin, mut done) = (0_u64, 0);
        for run in runs {
            if done == length {
                return Ok(());
            }
            let at = offset + done as u64;
            if at < begin + run.bytes {
                let within = at - begin;
                let room = usize::try_from(run.bytes - within).unwrap_or(usize::MAX);
                let end = length.min(done.saturating_add(room));
                each(run.start.map(|start| start + within), done..end)?;
                done = end;
            }
            begin += run.bytes;
        }
        if done == length { Ok(()) } else { Err(broken("the runs of a file")) }
    }

    fn read_runs(&self, runs: &[Run], offset: u64, into: &mut [u8]) -> io::Result<()> {
        let length = into.len();
        Self::pieces(runs, offset, length, &mut |place, range| match place {
            Some(place) => self.view.read_at(place, &mut into[range]),
            None => {
                into[range].fill(0);
                Ok(())
            }
        })
    }

    /// What is in a folder.
    fn entries(&self, folder: &Record) -> io::Result<Vec<Entry>> {
        let named = |kind: u32| {
            folder.attributes().find(|attribute| attribute.kind == kind && attribute.name == "$I30")
        };
        let root = named(INDEX_ROOT).and_then(|root| root.resident().map(<[u8]>::to_vec));
        let root = root.ok_or_else(|| broken("a folder"))?;
        let block =
            record::word(&root, 8).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        let mut found = Vec::new();
        collect(root.get(16..).unwrap_or_default(), &mut found);
        let Some(allocation) = named(INDEX_ALLOCATION) else { return Ok(found) };
        let runs = allocation.runs(self.cluster).ok_or_else(|| broken("a folder"))?;
        if !(512..=65_536).contains(&block) {
            return Err(broken("a folder"));
        }
        let bytes: u64 = runs.iter().map(|run| run.bytes).sum();
        for number in 0..(bytes / block as u64).min(BLOCKS_MAX) {
            let mut index = vec![0; block];
            self.read_runs(&runs, number * block as u64, &mut index)?;
            // Blocks that no longer belong to the index keep their old content or none.
            if index.starts_with(b"INDX") && record::mend(&mut index).is_some() {
                collect(index.get(24..).unwrap_or_default(), &mut found);
            }
            if found.len() > NAMES_MAX {
                return Err(broken("a folder"));
            }
        }
        Ok(found)
    }

    fn find(&self, path: &str) -> io::Result<Option<Record>> {
        let mut record = self.record(ROOT)?;
        for (depth, name) in path.split('/').filter(|name| !name.is_empty()).enumerate() {
            if !record.is_folder() || depth >= DEPTH_MAX {
                return Ok(None);
            }
            let entries = self.entries(&record)?;
            let Some(entry) = entries.iter().find(|entry| same(&entry.name, name)) else {
                return Ok(None);
            };
            record = self.record(entry.record)?;
        }
        Ok(Some(record))
    }

    fn content(&self, path: &str) -> io::Result<Content> {
        let record =
            self.find(path)?.ok_or_else(|| Error::new(ErrorKind::NotFound, path.to_owned()))?;
        let data = record
            .attributes()
            .find(|attribute| attribute.kind == DATA && attribute.name.is_empty());
        let refused = |words: &str| Error::new(ErrorKind::Unsupported, format!("{path} {words}"));
        let Some(data) = data else {
            return Err(refused("has its data elsewhere than in its record"));
        };
        if data.is_changed() {
            return Err(refused("is compressed or encrypted"));
        }
        if let Some(bytes) = data.resident() {
            return Ok(Content::Inside(bytes.to_vec()));
        }
        let (Some(runs), Some((bytes, valid))) = (data.runs(self.cluster), data.sizes()) else {
            return Err(broken(path));
        };
        let have: u64 = runs.iter().map(|run| run.bytes).sum();
        if have < bytes || valid > bytes {
            return Err(refused("has its data elsewhere than in its record"));
        }
        Ok(Content::Runs { runs, bytes, valid })
    }
}

fn broken(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("the file system (NTFS) does not hold together: {what}"),
    )
}

fn same(one: &str, other: &str) -> bool {
    one.chars().flat_map(char::to_uppercase).eq(other.chars().flat_map(char::to_uppercase))
}

/// The entries of one node of an index, behind its header.
fn collect(node: &[u8], found: &mut Vec<Entry>) -> Option<()> {
    const LAST: u16 = 2;
    const SHORT_NAME: u8 = 2;
    let mut at = usize::try_from(record::word(node, 0)?).ok()?;
    loop {
        let entry = node.get(at..)?;
        let length = usize::from(record::half(entry, 8)?);
        if length < 16 || record::half(entry, 12)? & LAST != 0 {
            return Some(());
        }
        let key = entry.get(16..length)?;
        let letters = usize::from(*key.get(64)?);
        let name = key.get(66..66 + letters * 2)?;
        if key[65] != SHORT_NAME {
            let name = name.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
            let name = char::decode_utf16(name)
                .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
            let record = record::long(entry, 0)? & 0xFFFF_FFFF_FFFF;
            found.push(Entry { name: name.collect(), record });
        }
        at += length;
    }
}

impl Tree for NtfsTree {
    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        let Some(record) = self.find(path)? else { return Ok(None) };
        if record.is_folder() {
            return Ok(Some(Kind::Folder));
        }
        match self.content(path) {
            Ok(Content::Inside(bytes)) => Ok(Some(Kind::File(bytes.len() as u64))),
            Ok(Content::Runs { bytes, .. }) => Ok(Some(Kind::File(bytes))),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Some(Kind::Other)),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let Some(record) = self.find(path)?.filter(Record::is_folder) else {
            return Ok(Vec::new());
        };
        let entries = self.entries(&record)?.into_iter().filter(|entry| entry.name != ".");
        let mut names: Vec<String> = entries.map(|entry| entry.name).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        self.open_at(path, 0)
    }

    fn open_at(&self, path: &str, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self.content(path)? {
            Content::Inside(bytes) => {
                let mut inside = io::Cursor::new(bytes);
                inside.set_position(offset);
                Box::new(inside)
            }
            runs @ Content::Runs { .. } => {
                Box::new(Reader { tree: self, content: runs, at: offset })
            }
        })
    }

    fn patch(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Content::Runs { runs, valid, .. } = self.content(path)? else {
            return Err(unsupported("changing a file inside of its record"));
        };
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > valid) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Self::pieces(&runs, offset, bytes.len(), &mut |place, range| match place {
            Some(place) => self.view.write_at(place, &bytes[range]),
            None => Err(unsupported("writing into a hole of a file")),
        })
    }

    fn rights(&self, _: &str) -> io::Result<Option<Rights>> {
        Ok(None)
    }

    fn write(&self, _: &str, _: &[u8], _: Option<Rights>) -> io::Result<()> {
        Err(unsupported("making files"))
    }

    fn append(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(unsupported("making files longer"))
    }

    fn truncate(&self, _: &str, _: u64) -> io::Result<()> {
        Err(unsupported("making files shorter"))
    }

    fn make_folder(&self, _: &str) -> io::Result<()> {
        Err(unsupported("making folders"))
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(unsupported("removing files"))
    }

    fn link(&self, _: &str) -> io::Result<Option<String>> {
        Ok(None)
    }
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} is not done on NTFS"))
}

/// A file's bytes, as they come.
struct Reader<'a> {
    tree: &'a NtfsTree,
    content: Content,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Content::Runs { runs, bytes, valid } = &self.content else { return Ok(0) };
        let length =
            into.len().min(usize::try_from(bytes.saturating_sub(self.at)).unwrap_or(usize::MAX));
        let into = &mut into[..length];
        self.tree.read_runs(runs, self.at, into)?;
        // What was never written reads as zeros, whatever is on the disk.
        let written = usize::try_from(valid.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if written < length {
            into[written..].fill(0);
        }
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests;

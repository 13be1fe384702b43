//! A disk and the replica of it, on another disk, that is built of nothing but what was tracked.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use hal_linux::AlignedBuffer;
use pipeline_agent::blocks::BlockSet;
use pipeline_agent::devices::{Leaf, leaves};

const BLOCK: u64 = 64 * 1024;
const BUFFER: u64 = 16 * BLOCK;
/// Past the page cache, as the agent reads: what the file system has written lies on the disk, not there.
const DIRECT: i32 = 0o40_000;

/// A disk with its replica.
pub(crate) struct Replica {
    /// The disk.
    pub(crate) leaf: Leaf,
    disk: File,
    copy: File,
    buffer: AlignedBuffer,
}

impl Replica {
    /// The disk of this serial number, and its replica on the one whose number has `copy-` in front.
    pub(crate) fn of(serial: &str) -> Result<Self, String> {
        let copy = disk_of(&format!("copy-{serial}"))?;
        let leaf = disk_of(serial)?;
        if copy.bytes < leaf.bytes {
            return Err(format!("{} is smaller than {}", copy.name, leaf.name));
        }
        let buffer =
            AlignedBuffer::zeroed(usize::try_from(BUFFER).map_err(|error| error.to_string())?);
        Ok(Self {
            disk: open(&leaf, false)?,
            copy: open(&copy, true)?,
            buffer: buffer.map_err(|error| error.to_string())?,
            leaf,
        })
    }

    /// How many blocks the disk has.
    pub(crate) fn blocks(&self) -> u64 {
        self.leaf.bytes.div_ceil(BLOCK)
    }

    /// An empty set of them.
    pub(crate) fn set(&self) -> BlockSet {
        BlockSet::new(self.blocks())
    }

    /// Copies everything.
    pub(crate) fn copy_all(&mut self) -> Result<(), String> {
        let mut all = self.set();
        all.insert_range(0, self.blocks());
        self.copy(&all)
    }

    /// Writes blocks of somebody else's reading, whose memory is aligned as the disk wants it.
    pub(crate) fn put(&mut self, first: u64, bytes: &[u8]) -> Result<(), String> {
        let on = |error: std::io::Error| format!("{} at block {first}: {error}", self.leaf.name);
        self.copy.write_all_at(bytes, first * BLOCK).map_err(on)
    }

    /// Copies these blocks as they are now.
    pub(crate) fn copy(&mut self, blocks: &BlockSet) -> Result<(), String> {
        let mut blocks = blocks.iter().peekable();
        while let Some(first) = blocks.next() {
            let mut end = first + 1;
            while end - first < BUFFER / BLOCK && blocks.next_if_eq(&end).is_some() {
                end += 1;
            }
            let bytes = (end * BLOCK).min(self.leaf.bytes).saturating_sub(first * BLOCK);
            let bytes = usize::try_from(bytes).map_err(|error| error.to_string())?;
            let on =
                |error: std::io::Error| format!("{} at block {first}: {error}", self.leaf.name);
            let buffer = self.buffer.as_mut().get_mut(..bytes).unwrap_or_default();
            self.disk.read_exact_at(buffer, first * BLOCK).map_err(on)?;
            self.copy.write_all_at(buffer, first * BLOCK).map_err(on)?;
        }
        Ok(())
    }
}

/// The disk of a serial number.
pub(crate) fn disk_of(serial: &str) -> Result<Leaf, String> {
    let word = format!("serial={serial}");
    let found = leaves().into_iter().find(|leaf| leaf.identity.split(' ').any(|own| own == word));
    found.ok_or_else(|| {
        let all: Vec<String> =
            leaves().iter().map(|leaf| format!("{} {}", leaf.name, leaf.identity)).collect();
        format!("no disk {serial} among {}", all.join(", "))
    })
}

/// A disk past the page cache.
pub(crate) fn open(leaf: &Leaf, write: bool) -> Result<File, String> {
    let opened = OpenOptions::new().read(true).write(write).custom_flags(DIRECT).open(&leaf.path);
    opened.map_err(|error| format!("{}: {error}", leaf.path.display()))
}

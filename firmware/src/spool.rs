//! The spool: what sources sent and the vault does not have yet, on a disk that was given to it.
//!
//! A ring of sealed records over any `Disk` (SPOOL.md has every byte). What was appended is durable once `sync` returned,
//! and not before: only then may a source be told "received". Records are read back in their order and released when the
//! vault has them. A spool that is full says so and takes more once something was released; one that was damaged says which
//! records are lost and goes on behind them; one that is lost altogether costs nothing but sending again.
//!
//! Memory is the requests in flight and one search buffer, whatever the size of the disk. This module refuses to know paths
//! and devices, and never decides what a lost record means.

use core::fmt;

use hal::disk::{Disk, DiskError};
use hal::time::Entropy;
use pipeline::seal::SecretKey;

use checkpoint::Checkpoint;
use device::Device;
use layout::{CHECKPOINTS, RECORD_BYTES_MAX};
use record::{Header, Kind, Record};
use superblock::{Identified, Superblock};

/// The newest state of the ring, in one sector.
pub mod checkpoint;
/// Whole requests to a disk, one after another.
mod device;
/// What is at which byte.
pub mod layout;
/// The same ring in memory, for where there is no disk.
pub mod memory;
/// One record: header, seal.
pub mod record;
/// Where records are kept, whatever it is made of.
pub mod records;
/// Where the log ends, and what lies behind damage.
mod scan;
/// What says that a disk is a spool, and whose.
pub mod superblock;

/// Who an appliance is to its spool, and the key that seals what is on it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// The appliance.
    pub appliance: [u8; 16],
    /// Seals what is on the disk; whoever loses it formats the spool anew.
    pub key: SecretKey,
}

impl Owner {
    /// A new owner with a new key.
    pub fn new(entropy: &dyn Entropy) -> Result<Self, SpoolError> {
        let (mut appliance, mut key) = ([0; 16], [0; 32]);
        entropy.fill(&mut appliance).map_err(|_| SpoolError::Entropy)?;
        entropy.fill(&mut key).map_err(|_| SpoolError::Entropy)?;
        Ok(Self { appliance, key: SecretKey::from_bytes(key) })
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner(…)")
    }
}

/// Why a spool cannot be used, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpoolError {
    /// The disk failed, or was pulled out; after a failed write everything fails until it is opened again.
    Device(DiskError),
    /// The disk is too small to be a spool.
    Small(u64),
    /// The disk's sectors are larger than a page.
    Sectors(u32),
    /// There is no spool on it.
    None,
    /// It is a spool, and what is needed to read it is damaged.
    Damaged(&'static str),
    /// It is a spool of a later version.
    Version(u32),
    /// It is the spool of another appliance.
    Foreign,
    /// It is our spool, sealed with a key that is lost.
    Key,
    /// The disk became smaller than the spool: bytes then and now.
    Shrunk(u64, u64),
    /// There is no room until something is released: bytes wanted and free.
    Full(u64, u64),
    /// A record is larger than any may be.
    Large(usize),
    /// A mark that is not of this spool's present content.
    Mark,
    /// No randomness.
    Entropy,
}

impl SpoolError {
    /// Whether the disk has to be formatted before it can be used.
    #[must_use]
    pub fn wants_format(&self) -> bool {
        matches!(
            self,
            Self::None
                | Self::Damaged(_)
                | Self::Version(_)
                | Self::Foreign
                | Self::Key
                | Self::Shrunk(..)
        )
    }
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ANEW: &str =
            "format it anew to use it; what was on it is sent again by those who sent it";
        match self {
            Self::Device(error) => write!(f, "{error}; nothing is taken until it is opened again"),
            Self::Small(bytes) => write!(
                f,
                "the disk has {bytes} bytes, and a spool needs {}; choose a larger one",
                layout::DISK_BYTES_MIN
            ),
            Self::Sectors(bytes) => {
                write!(f, "its sectors of {bytes} bytes are larger than 4096; choose another disk")
            }
            Self::None => f.write_str("there is no spool on it; format it to make one"),
            Self::Damaged(what) => write!(f, "{what} of the spool are damaged; {ANEW}"),
            Self::Version(version) => write!(
                f,
                "the spool is of version {version}, which a later Lifeboat wrote; start that one, or {ANEW}"
            ),
            Self::Foreign => write!(f, "it is the spool of another appliance; {ANEW}"),
            Self::Key => write!(f, "the key of this spool is lost; {ANEW}"),
            Self::Shrunk(then, now) => {
                write!(f, "the disk has {now} bytes and had {then} as a spool; {ANEW}")
            }
            Self::Full(wanted, free) => write!(
                f,
                "the spool is full: {wanted} bytes are wanted and {free} free; it takes more once the vault has some of it"
            ),
            Self::Large(bytes) => {
                write!(f, "a record of {bytes} bytes is larger than a spool takes at once")
            }
            Self::Mark => f.write_str("that is no place in this spool, or no longer one"),
            Self::Entropy => f.write_str("no randomness for the spool on this machine now"),
        }
    }
}

impl core::error::Error for SpoolError {}

impl From<DiskError> for SpoolError {
    fn from(error: DiskError) -> Self {
        Self::Device(error)
    }
}

/// A place between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Bytes of the log before it, since the spool was made.
    position: u64,
    /// Records before it.
    number: u64,
}

impl Mark {
    /// Records before it since the spool was made.
    #[must_use]
    pub fn number(self) -> u64 {
        self.number
    }
}

/// What is read at a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Read {
    /// A record, as it was appended.
    Record {
        /// What was appended.
        payload: Vec<u8>,
        /// The place behind it.
        after: Mark,
    },
    /// Records that cannot be read: damaged on the disk.
    Lost {
        /// How many.
        records: u64,
        /// Bytes of the log that they took.
        bytes: u64,
        /// The place behind them.
        after: Mark,
    },
    /// Nothing was appended behind this mark.
    End,
}

/// How full a spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that it holds at most.
    pub bytes: u64,
    /// Bytes taken.
    pub used: u64,
    /// Records that were not released.
    pub records: u64,
}

/// What was found when a spool was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What a person should know. Empty where all is well.
    pub troubles: Vec<String>,
}

/// An opened spool.
pub struct Spool<D: Disk> {
    device: Device<D>,
    superblock: Identified,
    /// Names this opening: records that an earlier one left behind the end of the log are not taken for ours.
    opening: [u8; 16],
    seal: SecretKey,
    /// Of the newest checkpoint.
    sequence: u64,
    /// Everything before it was released.
    head: Mark,
    /// What lies before it may be written over: a durable checkpoint says that it was released.
    kept: u64,
    durable: Mark,
    tail: Mark,
    /// Set by the first write that failed: what the disk holds is not known from there on.
    failed: Option<DiskError>,
    discards: bool,
}

/// Reads records beside the spool that writes them.
pub struct Reader<D: Disk> {
    device: Device<D>,
    superblock: Identified,
    spare: Vec<u8>,
}

impl<D: Disk> Reader<D> {
    /// Reads what is behind a mark that was not released, as far as `durable` of its spool.
    pub fn read(&mut self, at: Mark, durable: Mark) -> Result<Read, SpoolError> {
        scan::read(&mut self.device, &self.superblock, at, durable, &mut self.spare)
    }

    /// Takes a payload back that is not needed any more: the next one is read into its memory.
    pub fn give_back(&mut self, payload: Vec<u8>) {
        self.spare = payload;
    }
}

/// Makes a spool of a disk. Everything that was on it is lost, and nothing of that is asked here.
pub fn format<D: Disk>(
    disk: D,
    owner: &Owner,
    entropy: &dyn Entropy,
) -> Result<Superblock, SpoolError> {
    let mut device = Device::new(disk)?;
    let bytes = device.bytes()?;
    let mut spool = [0; 16];
    entropy.fill(&mut spool).map_err(|_| SpoolError::Entropy)?;
    let superblock = Superblock::for_disk(spool, owner.appliance, bytes)?;
    let identified = superblock.identify(owner);
    // First what was there is no more, so that a power cut never leaves two things on one disk.
    device.clear(0, layout::LOG_OFFSET)?;
    device.clear(superblock.log_end(), bytes)?;
    device.flush()?;
    let first = Checkpoint { opening: spool, ..Checkpoint::default() };
    for sequence in 0..CHECKPOINTS {
        let bytes = Checkpoint { sequence, ..first }.write(&identified);
        device.write_page(layout::checkpoint_offset(sequence), &bytes)?;
    }
    device.flush()?;
    let bytes = superblock.write(owner);
    device.write_page(superblock.spare_offset(), &bytes)?;
    device.flush()?;
    device.write_page(layout::SUPERBLOCK_OFFSET, &bytes)?;
    device.flush()?;
    Ok(superblock)
}

/// What a disk says of itself, whoever's spool it is.
pub fn look<D: Disk>(disk: D) -> Result<Superblock, SpoolError> {
    superblock::find(&mut Device::new(disk)?).map(|(superblock, _)| superblock)
}

impl<D: Disk> Spool<D> {
    /// Opens a spool: finds the end of its log, behind everything that was ever durable.
    pub fn open(
        disk: D,
        owner: &Owner,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Found), SpoolError> {
        let mut device = Device::new(disk)?;
        let mut found = Found::default();
        let superblock = superblock::open(&mut device, owner, &mut found.troubles)?;
        let newest = checkpoint::newest(&mut device, &superblock)?;
        let tail = scan::tail(&mut device, &superblock, &newest, &mut found.troubles)?;
        let oldest = tail.position.saturating_sub(superblock.log_bytes());
        let mut head = newest.head;
        head.position = head.position.max(oldest);
        let mut opening = [0; 16];
        entropy.fill(&mut opening).map_err(|_| SpoolError::Entropy)?;
        let seal = superblock.seal_key(&opening);
        let mut spool = Self {
            device,
            superblock,
            opening,
            seal,
            sequence: newest.sequence,
            head,
            kept: head.position,
            durable: tail,
            tail,
            failed: None,
            discards: true,
        };
        // What was read may have been in a cache only.
        spool.device.flush()?;
        for _ in 0..CHECKPOINTS {
            spool.write_checkpoint()?;
            spool.device.flush()?;
        }
        Ok((spool, found))
    }

    /// Appends a record; the place behind it, which is durable once `sync` returned that or more.
    pub fn append(&mut self, payload: &[u8]) -> Result<Mark, SpoolError> {
        self.append_parts(&[payload])
    }

    /// The same of what lies in parts that follow each other: each goes into the sealed record by one copy.
    pub fn append_parts(&mut self, parts: &[&[u8]]) -> Result<Mark, SpoolError> {
        self.alive()?;
        let length = parts.iter().map(|part| part.len()).sum();
        let span = record::span(length).ok_or(SpoolError::Large(length))?;
        let left = self.superblock.left_in_lap(self.tail.position);
        let skip = if span > left { left } else { 0 };
        self.make_room(skip + span)?;
        if self.tail.position - self.durable.position + skip + span > self.superblock.unsynced_max()
        {
            self.sync()?;
        }
        if skip > 0 {
            self.write_record(Kind::Skip, skip, &[])?;
        }
        self.write_record(Kind::Record, span, parts)?;
        Ok(self.tail)
    }

    /// Makes durable what was appended; the place up to which everything is.
    pub fn sync(&mut self) -> Result<Mark, SpoolError> {
        self.alive()?;
        if self.durable == self.tail && self.kept == self.head.position {
            return Ok(self.durable);
        }
        let result = self.settle();
        self.latch(result)?;
        Ok(self.durable)
    }

    /// Reads what is behind a mark.
    pub fn read(&mut self, at: Mark) -> Result<Read, SpoolError> {
        if at < self.head || at > self.tail {
            return Err(SpoolError::Mark);
        }
        if at == self.tail {
            return Ok(Read::End);
        }
        let result = self.device.drain().map_err(SpoolError::from);
        self.latch(result)?;
        scan::read(&mut self.device, &self.superblock, at, self.tail, &mut Vec::new())
    }

    /// A handle of its own that reads what is durable, while this one goes on writing.
    pub fn reader(&self) -> Result<Reader<D>, SpoolError> {
        let device = Device::new(self.device.another()?)?;
        Ok(Reader { device, superblock: self.superblock.clone(), spare: Vec::new() })
    }

    /// Says that nothing before a mark is needed any more; its room is free from the next `sync` on.
    pub fn release(&mut self, up_to: Mark) -> Result<(), SpoolError> {
        if up_to > self.tail {
            return Err(SpoolError::Mark);
        }
        self.head = self.head.max(up_to);
        Ok(())
    }

    /// The oldest place that was not released.
    #[must_use]
    pub fn head(&self) -> Mark {
        self.head
    }

    /// Everything before it survives a power cut.
    #[must_use]
    pub fn durable(&self) -> Mark {
        self.durable
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.superblock.log_bytes(),
            used: self.tail.position - self.kept,
            records: self.tail.number - self.head.number,
        }
    }

    fn alive(&self) -> Result<(), SpoolError> {
        match &self.failed {
            Some(error) => Err(error.clone().into()),
            None => Ok(()),
        }
    }

    /// Remembers the first failure: after it, what the disk holds is anybody's guess.
    fn latch<T>(&mut self, result: Result<T, SpoolError>) -> Result<T, SpoolError> {
        if let Err(SpoolError::Device(error)) = &result {
            self.failed.get_or_insert_with(|| error.clone());
        }
        result
    }

    fn free(&self) -> u64 {
        self.superblock.log_bytes().saturating_sub(self.tail.position - self.kept)
    }

    fn make_room(&mut self, wanted: u64) -> Result<(), SpoolError> {
        if wanted > self.free() && self.head.position > self.kept {
            self.sync()?;
        }
        let free = self.free();
        if wanted > free { Err(SpoolError::Full(wanted, free)) } else { Ok(()) }
    }

    fn write_record(&mut self, kind: Kind, span: u64, parts: &[&[u8]]) -> Result<(), SpoolError> {
        let header = Header {
            kind,
            position: self.tail.position,
            number: self.tail.number,
            durable: self.durable.position,
            opening: self.opening,
        };
        let record = Record { header, span, parts };
        let written = if kind == Kind::Skip { layout::PAGE_BYTES } else { span };
        let offset = self.superblock.offset(self.tail.position);
        let (keys, seal) = (&self.superblock, &self.seal);
        let result = self.device.write_with(offset, written, |room| record.write(keys, seal, room));
        self.latch(result)?;
        self.tail.position += span;
        self.tail.number += u64::from(kind == Kind::Record);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), SpoolError> {
        self.device.flush()?;
        self.durable = self.tail;
        // Every checkpoint has a flush between itself and the one before, so that a power cut harms one of them at most.
        self.write_checkpoint()?;
        // On its way to the medium before anybody is told, though not flushed: it tells damage to the newest records from
        // records that were cut.
        self.device.drain()?;
        if self.head.position > self.kept {
            self.device.flush()?;
            let from = core::mem::replace(&mut self.kept, self.head.position);
            self.discard(from, self.kept);
        }
        Ok(())
    }

    fn write_checkpoint(&mut self) -> Result<(), SpoolError> {
        self.sequence += 1;
        let checkpoint = Checkpoint {
            sequence: self.sequence,
            opening: self.opening,
            head: self.head,
            tail: self.durable,
        };
        let bytes = checkpoint.write(&self.superblock);
        self.device.write_page(layout::checkpoint_offset(self.sequence), &bytes)
    }

    /// Tells the disk what it need not keep. It may refuse, and then is not asked again.
    fn discard(&mut self, from: u64, to: u64) {
        let mut at = from;
        while self.discards && at < to {
            let length = self.superblock.left_in_lap(at).min(to - at).min(layout::DISCARD_BYTES);
            self.discards = self.device.discard(self.superblock.offset(at), length).is_ok();
            at += length;
        }
    }
}

const _: () = assert!(RECORD_BYTES_MAX <= layout::UNSYNCED_BYTES_MAX, "one record may be unsynced");

#[cfg(test)]
mod tests;

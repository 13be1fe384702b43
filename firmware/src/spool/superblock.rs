//! What says that a disk is a spool, whose, and how large; written once, in two places.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | `LBSPOOL1` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | zeros |
//! | 16 | 16 | the spool |
//! | 32 | 16 | the appliance |
//! | 48 | 8 | bytes of the disk |
//! | 56 | 8 | bytes of the log |
//! | 64 | 32 | BLAKE3 of the first 64 bytes, keyed: it tells whether the key is the right one |
//! | 96 | 32 | BLAKE3 of the first 96 bytes: it tells damage from a wrong key |

use hal::disk::Disk;
use pipeline::seal::{SecretKey, derive, digest, keyed_digest};

use super::device::Device;
use super::layout::{
    DISK_BYTES_MIN, END_BYTES, LOG_OFFSET, PAGE_BYTES, SUPERBLOCK_OFFSET, UNSYNCED_BYTES_MAX,
};
use super::{Owner, SpoolError};

/// What a spool's first bytes are.
pub const MAGIC: [u8; 8] = *b"LBSPOOL1";
/// The version that is written.
pub const VERSION: u32 = 1;
/// Bytes that mean something.
pub const BYTES: usize = 128;
const KEYED: usize = 64;
const SUMMED: usize = 96;

/// What a disk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Names the spool, anew with every formatting.
    pub spool: [u8; 16],
    /// Whose it is.
    pub appliance: [u8; 16],
    /// What the disk had when the spool was made.
    pub disk_bytes: u64,
    /// What the log has.
    pub log_bytes: u64,
}

/// A superblock with the keys that fit it.
#[derive(Clone)]
pub struct Identified {
    superblock: Superblock,
    /// Of headers and checkpoints.
    mac: SecretKey,
    /// What the keys of records are made of.
    records: SecretKey,
}

/// What the bytes of a superblock turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Read {
    /// Not a spool's.
    Other,
    /// A spool's, and damaged.
    Damaged,
    /// Of another version.
    Version(u32),
    /// Whole, with the keyed sum that is to be compared.
    Whole(Superblock, [u8; 32]),
}

impl Superblock {
    /// Of a disk of this size.
    pub fn for_disk(
        spool: [u8; 16],
        appliance: [u8; 16],
        disk_bytes: u64,
    ) -> Result<Self, SpoolError> {
        let log_bytes = log_bytes(disk_bytes).ok_or(SpoolError::Small(disk_bytes))?;
        Ok(Self { spool, appliance, disk_bytes, log_bytes })
    }

    /// Where the log ends.
    #[must_use]
    pub fn log_end(&self) -> u64 {
        LOG_OFFSET + self.log_bytes
    }

    /// Where the second copy is.
    #[must_use]
    pub fn spare_offset(&self) -> u64 {
        spare_offset(self.disk_bytes)
    }

    /// With the keys that its owner has for it.
    #[must_use]
    pub fn identify(self, owner: &Owner) -> Identified {
        let key = |purpose: &[u8]| derive(&owner.key, &self.spool, &[purpose]);
        let (mac, records) = (key(b"lifeboat spool headers"), key(b"lifeboat spool records"));
        Identified { superblock: self, mac, records }
    }

    /// Its bytes.
    #[must_use]
    pub fn write(&self, owner: &Owner) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.spool);
        bytes[32..48].copy_from_slice(&self.appliance);
        bytes[48..56].copy_from_slice(&self.disk_bytes.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.log_bytes.to_le_bytes());
        let keyed = check(owner, &self.spool, &bytes[..KEYED]);
        bytes[KEYED..SUMMED].copy_from_slice(&keyed);
        let sum = digest(&[&bytes[..SUMMED]]).0;
        bytes[SUMMED..].copy_from_slice(&sum);
        bytes
    }

    /// Takes any bytes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Read {
        let Some(bytes) = bytes.first_chunk::<BYTES>() else { return Read::Other };
        if !bytes.starts_with(&MAGIC) {
            return Read::Other;
        }
        if digest(&[&bytes[..SUMMED]]).0 != bytes[SUMMED..] {
            return Read::Damaged;
        }
        let version = u32::from_le_bytes(part(bytes, 8));
        if version != VERSION {
            return Read::Version(version);
        }
        let disk_bytes = u64::from_le_bytes(part(bytes, 48));
        let superblock = Self {
            spool: part(bytes, 16),
            appliance: part(bytes, 32),
            disk_bytes,
            log_bytes: u64::from_le_bytes(part(bytes, 56)),
        };
        if log_bytes(disk_bytes) != Some(superblock.log_bytes) {
            return Read::Damaged;
        }
        Read::Whole(superblock, part(bytes, KEYED))
    }
}

impl Identified {
    /// What the log has.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.superblock.log_bytes
    }

    /// Which spool it is.
    #[must_use]
    pub fn spool(&self) -> &[u8; 16] {
        &self.superblock.spool
    }

    /// The keyed sum of a header or checkpoint.
    #[must_use]
    pub fn sum(&self, bytes: &[u8]) -> [u8; 32] {
        keyed_digest(&self.mac, &[bytes])
    }

    /// The key of the records of one opening.
    #[must_use]
    pub fn seal_key(&self, opening: &[u8; 16]) -> SecretKey {
        derive(&self.records, opening, &[b"lifeboat spool opening"])
    }

    /// Where a position of the log is on the disk.
    pub(super) fn offset(&self, position: u64) -> u64 {
        LOG_OFFSET + position % self.log_bytes()
    }

    /// Bytes from a position to where the log begins anew.
    pub(super) fn left_in_lap(&self, position: u64) -> u64 {
        self.log_bytes() - position % self.log_bytes()
    }

    /// What may be appended without a sync.
    pub(super) fn unsynced_max(&self) -> u64 {
        UNSYNCED_BYTES_MAX.min(self.log_bytes() / 4)
    }
}

/// Finds the superblock of a disk, whoever's it is, and its keyed sum.
pub(super) fn find<D: Disk>(device: &mut Device<D>) -> Result<(Superblock, [u8; 32]), SpoolError> {
    let bytes = device.bytes()?;
    if bytes < DISK_BYTES_MIN {
        return Err(SpoolError::None);
    }
    let mut failure = SpoolError::None;
    for offset in [SUPERBLOCK_OFFSET, spare_offset(bytes)] {
        let read = device.read(offset, PAGE_BYTES)?;
        match read.as_ref().map_or(Read::Other, |page| Superblock::read(page.as_ref())) {
            Read::Whole(superblock, keyed) => return Ok((superblock, keyed)),
            Read::Version(version) => failure = SpoolError::Version(version),
            Read::Damaged => failure = SpoolError::Damaged("both copies of the superblock"),
            Read::Other => {}
        }
    }
    Err(failure)
}

/// Finds the superblock and checks that it is the owner's; a copy that is damaged is mended.
pub(super) fn open<D: Disk>(
    device: &mut Device<D>,
    owner: &Owner,
    troubles: &mut Vec<String>,
) -> Result<Identified, SpoolError> {
    let now = device.bytes()?;
    let (superblock, keyed) = find(device)?;
    if superblock.appliance != owner.appliance {
        return Err(SpoolError::Foreign);
    }
    let bytes = superblock.write(owner);
    if bytes[KEYED..SUMMED] != keyed {
        return Err(SpoolError::Key);
    }
    if now < superblock.disk_bytes {
        return Err(SpoolError::Shrunk(superblock.disk_bytes, now));
    }
    for (name, offset) in [("first", SUPERBLOCK_OFFSET), ("second", superblock.spare_offset())] {
        let page = device.read(offset, PAGE_BYTES)?;
        if page.is_none_or(|page| !page.as_ref().starts_with(&bytes)) {
            troubles.push(format!("the {name} copy of the superblock was damaged and is mended"));
            device.write_page(offset, &bytes)?;
            device.flush()?;
        }
    }
    Ok(superblock.identify(owner))
}

/// What a disk of this size has for the log.
fn log_bytes(disk_bytes: u64) -> Option<u64> {
    let room = disk_bytes.checked_sub(LOG_OFFSET + END_BYTES)?;
    (disk_bytes >= DISK_BYTES_MIN).then_some(room / PAGE_BYTES * PAGE_BYTES)
}

/// The last whole page of a disk of this size.
fn spare_offset(disk_bytes: u64) -> u64 {
    (disk_bytes / PAGE_BYTES).saturating_sub(1) * PAGE_BYTES
}

fn check(owner: &Owner, spool: &[u8; 16], bytes: &[u8]) -> [u8; 32] {
    keyed_digest(&derive(&owner.key, spool, &[b"lifeboat spool superblock"]), &[bytes])
}

/// A part of fixed bytes: where it ends beyond them, zeros.
pub(super) fn part<const LENGTH: usize>(bytes: &[u8], at: usize) -> [u8; LENGTH] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; LENGTH])
}

//! What is saved when a start of the machine ends, and whether the next may believe it; pure.
//!
//! It is believed of a disk where all of this is so: it is whole; it is of this server on this machine, of another start;
//! the disk is the same and as large; its face, before its first write in this start, is the one that it had behind its last
//! write in that; and so is the face of the disk that this was saved on, which changes in every start in which an agent
//! could have read it, so that it is believed once. That the vault has no newer points is looked at when an appliance says
//! so.

use pipeline::ids::ServerId;
use serde::{Deserialize, Serialize};

use crate::blocks::BlockSet;
use crate::state::labels::is_same;

/// Of another number nothing is understood.
const VERSION: u32 = 1;
/// Disks of one server.
const DISKS_MAX: usize = 4096;
/// Beside the blocks of each disk.
const DISK_BYTES: u64 = 1024;

/// What is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Whose marks these are.
    pub server: ServerId,
    /// The board that it ran on.
    pub machine: [u8; 16],
    /// The start of the machine that ended.
    pub boot: String,
    /// The disk that this lies on, by its identity.
    pub home: String,
    /// The disks that it is of.
    pub disks: Vec<SavedDisk>,
}

/// What is saved of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDisk {
    identity: String,
    bytes: u64,
    face: [u8; 32],
    epoch: u64,
    blocks: Vec<u8>,
}

/// What is so now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what a verdict is made of, and nothing else")]
pub struct Now {
    /// Whom this server is enrolled as.
    pub server: ServerId,
    /// The board.
    pub machine: [u8; 16],
    /// This start of the machine.
    pub boot: String,
    /// Its disks.
    pub disks: Vec<Disk>,
}

/// A disk now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what a verdict is made of, and nothing else")]
pub struct Disk {
    /// What it is known by.
    pub identity: String,
    /// Its size.
    pub bytes: u64,
    /// Its face before its first write in this start, where all its writes since are marked.
    pub face: Option<[u8; 32]>,
}

/// Room for what is saved of disks of so many bytes.
pub fn bytes_for(disks: impl Iterator<Item = u64>) -> u64 {
    disks.fold(DISK_BYTES, |sum, bytes| {
        sum.saturating_add(DISK_BYTES).saturating_add(blocks_of(bytes).div_ceil(8))
    })
}

fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(pipeline::limits::BLOCK_BYTES as u64)
}

impl SavedDisk {
    /// Of a disk with this face, of which the newest cut was `epoch` and these blocks are to be sent.
    #[must_use]
    pub fn new(
        identity: String,
        bytes: u64,
        face: [u8; 32],
        epoch: u64,
        blocks: &BlockSet,
    ) -> Self {
        let length = usize::try_from(blocks.size().div_ceil(8)).unwrap_or(usize::MAX);
        let mut bits = vec![0_u8; length];
        for block in blocks.iter() {
            let place = usize::try_from(block / 8).ok().and_then(|at| bits.get_mut(at));
            place.into_iter().for_each(|byte| *byte |= 1 << (block % 8));
        }
        Self { identity, bytes, face, epoch, blocks: bits }
    }

    /// The face that it had behind its last write.
    #[must_use]
    pub fn face(&self) -> [u8; 32] {
        self.face
    }

    fn blocks(&self) -> Result<BlockSet, String> {
        let count = blocks_of(self.bytes);
        if u64::try_from(self.blocks.len()) != Ok(count.div_ceil(8)) {
            return Err("what was saved of it is not whole".to_owned());
        }
        let mut set = BlockSet::new(count);
        for (at, byte) in (0_u64..).zip(&self.blocks) {
            (0..8).filter(|bit| byte >> bit & 1 == 1).for_each(|bit| set.insert(at * 8 + bit));
        }
        Ok(set)
    }
}

impl Saved {
    /// As bytes.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_allocvec(&(VERSION, self)).map_err(|error| error.to_string())
    }

    /// From bytes of anybody's.
    ///
    /// # Errors
    /// They are of another version of the agent, or of nobody.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        match postcard::take_from_bytes::<u32>(bytes) {
            Ok((VERSION, _)) => {}
            _ => return Err("it is of another version of the agent".to_owned()),
        }
        match postcard::take_from_bytes::<(u32, Self)>(bytes) {
            Ok(((_, saved), [])) if saved.disks.len() <= DISKS_MAX => Ok(saved),
            _ => Err("it is not whole".to_owned()),
        }
    }

    /// The newest cut that this server made then, whether or not it arrived.
    #[must_use]
    pub fn newest(&self, server: ServerId) -> Option<u64> {
        let epochs = self.disks.iter().map(|disk| disk.epoch);
        epochs.max().filter(|_| self.server == server)
    }

    /// What of a disk is to be sent, and which cut was the newest then.
    ///
    /// # Errors
    /// This says nothing of the disk as it is now, and why: everything of it is compared.
    pub fn verdict(&self, now: &Now, disk: usize) -> Result<(BlockSet, u64), String> {
        let wrong = |why: &str| Err(why.to_owned());
        if self.server != now.server || self.machine != now.machine {
            return wrong("what was saved is of another server");
        }
        if self.boot == now.boot || now.boot.is_empty() {
            return wrong("what was saved is of this start of the machine");
        }
        let Some(is) = now.disks.get(disk) else { return wrong("there is no such disk") };
        let Some(was) = self.of(&is.identity) else { return wrong("nothing was saved of it") };
        if was.bytes != is.bytes {
            return wrong("it was of another size");
        }
        let Some(face) = is.face else {
            return wrong("it was written to before changes were noted");
        };
        if face != was.face {
            return wrong("another system wrote to it while this one was off");
        }
        let mut home = now.disks.iter().filter(|disk| is_same(&disk.identity, &self.home));
        let believed = match (home.next(), home.next(), self.of(&self.home)) {
            (Some(home), None, Some(was)) => home.face == Some(was.face),
            _ => false,
        };
        if !believed {
            return wrong("what was saved may have been read before");
        }
        Ok((was.blocks()?, was.epoch))
    }

    /// What was saved of the one disk of this identity.
    fn of(&self, identity: &str) -> Option<&SavedDisk> {
        let mut found = self.disks.iter().filter(|disk| is_same(&disk.identity, identity));
        found.next().filter(|_| found.next().is_none())
    }
}

#[cfg(test)]
mod tests;

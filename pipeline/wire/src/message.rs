//! Everything that is said, both ways. PROTOCOL.md has the order.

use pipeline::ids::{PointId, ServerId};
use pipeline::limits::BLOCK_BYTES;
use pipeline::seal::SecretKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::runs::Run;

/// Who is who after a failover, and how one is planned.
pub mod failover;

pub use failover::{Demotion, Drained};

/// The newest version of the protocol that this crate speaks.
pub const VERSION: u16 = 3;
/// The oldest.
pub const VERSION_MIN: u16 = 1;
/// The version since which an agent is told that its server was failed over, and may be drained.
pub const VERSION_FORK: u16 = 2;
/// The version since which an agent tells the hardware addresses of its cards.
pub const VERSION_CARDS: u16 = 3;
/// Blocks of data in one message: one payload.
pub const BLOCKS_MAX: usize = 16;
/// Fingerprints in one question: a leaf of a map.
pub const FINGERPRINTS_MAX: usize = 256;
/// Bytes of one of them.
pub const FINGERPRINT_BYTES: usize = 16;

/// Something that is said, and knows which payload belongs to it.
pub trait Said: Serialize + DeserializeOwned {
    /// Whether so many bytes of payload are what the message says.
    fn fits(&self, payload: usize) -> bool;
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FromAgent {
    /// The first message of a connection.
    Hello(Box<Hello>),
    /// Content of blocks; the payload has it where it is data.
    Blocks(Blocks),
    /// The state of all disks at this sequence is a point.
    Cut(Cut),
    /// Which of these blocks are wanted? The payload is their fingerprints, 16 bytes each, zeros for a block of zeros.
    Fingerprints {
        /// Comes back with the answer.
        question: u32,
        /// Which disk of `Hello`.
        disk: u16,
        /// The first block, a multiple of 256.
        first: u64,
    },
    /// All file systems are frozen for this group's cut.
    Frozen {
        /// The cut of `Prepare`.
        token: u64,
    },
    /// How the agent fares: for the page, and so that silence means something.
    Status(Status),
    /// Nothing more will come, for this reason.
    Goodbye {
        /// In words.
        words: String,
    },
    /// The next certificate is wanted, for the key that this request (PKCS #10, DER) has signed. Said a few times a
    /// day; answered only where the present one ends within 60 days by the appliance's clock.
    Renew {
        /// The request.
        request: Vec<u8>,
    },
    /// The answer to `Drain`: everything is in the vault, and nothing is written any more. Since version 2.
    Drained(Drained),
    /// The other answer to `Drain`: it could not be done, and the server goes on as before. Since version 2.
    NotDrained {
        /// The order.
        order: String,
        /// Why, in words.
        words: String,
    },
    /// Hardware addresses of the machine's network cards, by which it can be switched on over the network. Said behind
    /// `Welcome`. Since version 3.
    Cards {
        /// They.
        cards: Vec<[u8; 6]>,
    },
}

impl Said for FromAgent {
    fn fits(&self, payload: usize) -> bool {
        match self {
            Self::Blocks(Blocks { content: Content::Data, runs, .. }) => {
                let sizes =
                    runs.iter().map(|run| usize::try_from(run.blocks).unwrap_or(usize::MAX));
                let blocks = sizes.fold(0_usize, usize::saturating_add);
                (1..=BLOCKS_MAX).contains(&blocks) && payload == blocks * BLOCK_BYTES
            }
            Self::Fingerprints { .. } => {
                let fingerprints = payload / FINGERPRINT_BYTES;
                payload.is_multiple_of(FINGERPRINT_BYTES)
                    && (1..=FINGERPRINTS_MAX).contains(&fingerprints)
            }
            _ => payload == 0,
        }
    }
}

/// What an appliance says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FromAppliance {
    /// The agent may go on.
    Welcome(Box<Welcome>),
    /// It may not; the connection ends.
    Refused(Refused),
    /// So many payload bytes more may be on their way.
    Credit {
        /// Bytes.
        bytes: u64,
    },
    /// Everything up to this sequence survives a power cut.
    Spooled {
        /// The sequence.
        sequence: u64,
    },
    /// The point of this epoch, and everything before it, is in the vault.
    Vaulted {
        /// The epoch of its `Cut`.
        epoch: u64,
        /// The point.
        point: PointId,
    },
    /// The answer to `Fingerprints`: bit n of byte n / 8 for block `first` + n.
    Wanted {
        /// Of the question.
        question: u32,
        /// The bits.
        bits: Vec<u8>,
    },
    /// From now on do this.
    Policy(Policy),
    /// What was spooled and not in the vault is lost: send it again.
    Resend {
        /// Why, in words.
        words: String,
    },
    /// Make a cut together with others.
    Prepare {
        /// This cut's name.
        token: u64,
        /// How long the others may take, milliseconds; then the agent thaws and the cut is void.
        patience_millis: u32,
    },
    /// Everybody is frozen: capture.
    AllFrozen {
        /// The cut.
        token: u64,
    },
    /// What became of it.
    GroupResult {
        /// The cut.
        token: u64,
        /// Whether it is a point.
        valid: bool,
    },
    /// A point is wanted now, whatever the interval says.
    CutNow {
        /// Whether the hooks are to be run.
        application: bool,
    },
    /// The answer to `Renew`, where it is time: the old certificate holds until its end all the same.
    Renewed {
        /// The certificate, DER.
        certificate: Vec<u8>,
    },
    /// The server was failed over: what this agent sends is kept as a branch beside it. Said behind `Welcome` for as
    /// long as that is so, and when it becomes so. Since version 2.
    Demoted(Demotion),
    /// What the vault has of this server is not what it was called to have: everything is compared before the next cut
    /// holds. Said again with the same token until a cut answers it. Since version 2.
    Compare {
        /// The cut of the `Prepare` behind it.
        token: u64,
        /// Why, in words.
        words: String,
    },
    /// Stop the applications, make the last point, keep everything from being written, and say so. Since version 2.
    Drain {
        /// The order.
        order: String,
        /// Whether the machine is to be switched off once `DrainNoted` is heard.
        power_off: bool,
    },
    /// `Drained` was heard and is kept. Since version 2.
    DrainNoted {
        /// The order.
        order: String,
    },
    /// A drain is called off: go on as before. Since version 2.
    Abort {
        /// The order.
        order: String,
    },
}

impl Said for FromAppliance {
    fn fits(&self, payload: usize) -> bool {
        payload == 0
    }
}

/// Who an agent is and what it can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest version that it speaks.
    pub version_min: u16,
    /// The newest.
    pub version_max: u16,
    /// Its own version, for people.
    pub agent: String,
    /// The machine's name, for people.
    pub host: String,
    /// The kernel's release, for people.
    pub kernel: String,
    /// Whom it was enrolled as; the certificate says the same.
    pub server: ServerId,
    /// What machine it runs on: copies of a disk run on another one.
    pub binding: Binding,
    /// Names this life of its tracking.
    pub run: [u8; 16],
    /// 0 for the first connection, from which the rest follows.
    pub connection: u16,
    /// The disks; empty on other connections.
    pub disks: Vec<DiskHello>,
}

/// What a machine is known by, hashed: equal where nothing changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Of the board: its UUID and serial number as firmware tells them.
    pub machine: [u8; 16],
    /// Of each disk: WWN, serial number or the like, ascending.
    pub disks: Vec<[u8; 16]>,
}

/// A disk of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskHello {
    /// Its label: the kernel's name when it was first seen, kept when that changes.
    pub name: String,
    /// What the hardware and its partition table say of it, words `kind=value`.
    pub identity: String,
    /// Its size.
    pub bytes: u64,
    /// Its logical sector.
    pub sector_bytes: u32,
}

/// Content of blocks of one disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// Its place among everything of this run that must be kept.
    pub sequence: u64,
    /// Which disk of `Hello`.
    pub disk: u16,
    /// What the blocks are.
    pub content: Content,
    /// Which blocks. Of data at most 16, in the payload one after another, each padded with zeros to 64 KiB.
    pub runs: Vec<Run>,
}

/// What blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Content {
    /// What the payload has.
    Data,
    /// Zeros.
    Zeros,
    /// Nobody needs them any more: they were discarded, and read as zeros.
    Discarded,
    /// They could not be read.
    Unread,
}

/// A point: the state of all disks with everything up to here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Its place among everything of this run that must be kept.
    pub sequence: u64,
    /// Counts the cuts of a server; one more than the last.
    pub epoch: u64,
    /// How clean the instant is.
    pub instant: Instant,
    /// The server's clock at the instant, milliseconds since 1970.
    pub at_millis: u64,
    /// How long file systems were frozen, microseconds; 0 where nothing was.
    pub frozen_micros: u64,
    /// What a person should know of this point: which file system refused, which hook failed, who wrote under the freeze.
    pub remarks: Vec<String>,
    /// The cut of a group that this is part of, and whether it was still frozen when all were.
    pub group: Option<(u64, bool)>,
}

/// How clean an instant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Instant {
    /// As after a power cut.
    Crash,
    /// Hooks and freeze ran.
    Application,
    /// Something was written while it was taken.
    Fuzzy,
}

/// How an agent fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What it does, in words.
    pub doing: String,
    /// Blocks that changed and were not sent.
    pub changed_blocks: u64,
    /// Of a run through everything: blocks done and in all.
    pub compare_done: u64,
    /// See `compare_done`; 0 where there is none.
    pub compare_blocks: u64,
    /// Bytes that the server wrote since the run began, as the kernel counts them.
    pub written_bytes: u64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Whether changes are tracked, or found by comparing.
    pub tracked: bool,
    /// What a person should know now.
    pub troubles: Vec<String>,
}

/// The agent may go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// What is spoken from here on.
    pub version: u16,
    /// The appliance's own version, for people.
    pub appliance: String,
    /// Makes this server's fingerprints.
    pub fingerprint_key: SecretKey,
    /// What is to be done.
    pub policy: Policy,
    /// Everything of this run up to here is spooled.
    pub spooled: u64,
    /// The newest epoch of this server in the vault; 0 for none.
    pub vaulted_epoch: u64,
    /// The newest epoch that was spooled; cuts go on from there.
    pub spooled_epoch: u64,
    /// For each disk of `Hello`, whether the vault has content of it to compare with.
    pub known_disks: Vec<bool>,
    /// Payload bytes that may be on their way without an acknowledgement.
    pub credit_bytes: u64,
}

/// Why an agent may not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For the program.
    pub why: Why,
    /// For a person: what and why.
    pub words: String,
    /// For a person: what to do now.
    pub remedy: String,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Why {
    /// No version in common.
    Version,
    /// The certificate was revoked, or nobody enrolled this server.
    Unknown,
    /// Another machine than was enrolled: a copy.
    Copy,
    /// Something newer has taken over what this server was.
    Demoted,
    /// Another appliance replicates this server now.
    Elsewhere,
    /// Not now: busy, starting, without a vault.
    Later,
    /// What was said makes no sense.
    Nonsense,
}

#[cfg(test)]
pub(crate) mod tests;

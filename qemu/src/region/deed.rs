//! What an answer wants to be done in the world: in the storage, and with machines. The state machine only asks for it.

use super::address::{Address, Prefix};

/// A deed's number, by which its outcome is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// How a machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// BIOS.
    V1,
    /// UEFI.
    V2,
}

impl Generation {
    /// As Azure writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::V1 => "V1",
            Self::V2 => "V2",
        }
    }
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// An empty disk to be uploaded into: so many bytes and the footer behind them.
    MakeDisk {
        /// Its blob.
        blob: String,
        /// Its size without the footer.
        bytes: u64,
    },
    /// A disk of what another blob of ours holds.
    CopyDisk {
        /// What is copied.
        from: String,
        /// The blob that is made.
        blob: String,
    },
    /// A disk of a page blob somewhere in the storage.
    ImportDisk {
        /// Its address.
        from: String,
        /// The blob that is made.
        blob: String,
    },
    /// Lets whoever has the address that comes of it read or write a blob.
    Grant {
        /// The blob.
        blob: String,
        /// Whether it may be written.
        write: bool,
        /// When that ends, in milliseconds since 1970.
        until_ms: u64,
    },
    /// Ends what was granted.
    Revoke {
        /// The blob.
        blob: String,
    },
    /// Removes a blob and what machines wrote to it.
    RemoveDisk {
        /// The blob.
        blob: String,
    },
    /// Starts a machine.
    Boot(Box<Boot>),
    /// Ends a machine's run.
    Halt {
        /// Its key.
        machine: String,
        /// By cutting the power at once.
        cut: bool,
    },
    /// Forgets machines.
    Forget {
        /// Their keys.
        machines: Vec<String>,
    },
}

/// A machine to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Its key.
    pub machine: String,
    /// UEFI or BIOS.
    pub generation: Generation,
    /// Its blobs, in the order of their numbers, the one to start from first.
    pub disks: Vec<BootDisk>,
    /// Its network interfaces.
    pub wires: Vec<Wire>,
    /// Memory of its size.
    pub memory_mib: u32,
    /// Processors of its size.
    pub processors: u32,
}

/// A disk of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootDisk {
    /// Its blob.
    pub blob: String,
    /// Its size without the footer.
    pub bytes: u64,
    /// Its number among the data disks; none for the one that it starts from.
    pub lun: Option<u32>,
}

/// A machine's wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The address that it is given.
    pub address: Address,
    /// The subnet.
    pub subnet: Prefix,
    /// Its card's address.
    pub mac: [u8; 6],
    /// Whether nothing may go out.
    pub closed: bool,
}

/// What came of a deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is done, and the disk has so many bytes without the footer.
    Sized(u64),
    /// It is done, and this is the address.
    Address(String),
}

//! What an order needs beside Azure and the vault's documents: the point, the disks' content, a look over the network.

use core::net::IpAddr;

use pipeline_azure::Secret;
use pipeline_azure::arm::disk::{Generation, System};
use pipeline_vault::{Error, Retry};
use serde::{Deserialize, Serialize};

use super::here::Ground;
use super::{Holder, Import, Order, PointFacts};
use crate::guest::Change;
use crate::profile::Signal;

/// What is known of a point before anything is made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Which.
    pub point: PointFacts,
    /// Its disks, in their order.
    pub disks: Vec<DiskFacts>,
    /// The disk that starts the server, by its place in `disks`.
    pub starts_from: usize,
    /// Firmware that it wants.
    pub generation: Generation,
    /// What is on it.
    pub system: System,
    /// The addresses that its own settings fix.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// What keeps it from starting in Azure and cannot be repaired there, each with its remedy.
    pub obstacles: Vec<String>,
    /// What will be changed on the copy so that it starts.
    pub repairs: Vec<String>,
}

/// A disk of a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// The name that it was protected under.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its logical sector.
    pub sector_bytes: u32,
}

/// What goes on top of a point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The blocks of each disk, in their order, that will differ from the point.
    pub on_top: Vec<Vec<u64>>,
    /// What they change for the server, in the order in which it was done.
    pub changes: Vec<Change>,
}

/// What was written to a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Bytes that went out.
    pub written_bytes: u64,
}

/// How the warm seed of a disk stands before an order uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeded {
    /// The copy that the disk would be made of; none where the seed is of no use.
    pub import: Option<Import>,
    /// How it stands, in words.
    pub words: String,
}

/// Why a disk was not filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfilled {
    /// The signature that lets it be written to counts no more: another one, and it goes on.
    Expired,
    /// A signature that was just given did not count even once: another one may, after a while.
    Unusable(Error),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Unfilled {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What is asked of the server itself in a planned failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceAct {
    /// Hooks stop the applications.
    Stop,
    /// A last point, which is in the vault when this returns.
    LastPoint,
    /// It goes down, and proves that nothing was written after the last point.
    PowerDown,
    /// It goes on as before: the failover was taken back. One that was switched off is woken.
    Return,
}

/// What the program around an order does for it.
pub trait Hands: Send + Sync {
    /// Finds the point that is wanted and looks at it; with `reads_first` every byte is held against its seal.
    ///
    /// Errors: there is none, or it is not whole.
    fn survey(&self, order: &Order) -> Result<Survey, Error>;

    /// Makes ready what goes on top of the point so that it starts in Azure and does not take itself for the original. Asked
    /// again, it may name other blocks.
    fn prepare(&self, order: &Order) -> Result<Prepared, Error>;

    /// Brings the content of one disk, with what goes on top of it, by its place in the order, to where the signature leads. What is there
    /// already is not sent again.
    fn fill(&self, order: &Order, disk: usize, to: &Secret) -> Result<Filled, Unfilled>;

    /// How the warm seed of a disk stands, by its place in the order; `None` where nobody wants one.
    ///
    /// Errors: it cannot be looked at.
    fn seeded(&self, order: &Order, disk: usize) -> Result<Option<Seeded>, Error>;

    /// Makes the copy of a disk's seed what the disk shall be: the point, with what goes on top of it. The seed itself stays
    /// as it is and goes on. What is there already is not done again.
    fn dress(&self, order: &Order, disk: usize) -> Result<Filled, Error>;

    /// Takes that copy away; one that is not there is gone.
    fn undress(&self, order: &Order, disk: usize) -> Result<(), Error>;

    /// Whether a server's signal of the network comes from an address. Console lines are not asked for here.
    fn answers(&self, address: IpAddr, signal: &Signal) -> bool;

    /// Publishes the fork of a failover in the server's chain: from its point on the original is demoted.
    fn fork(&self, order: &Order) -> Result<(), Error>;

    /// Takes that back: the failover was cancelled.
    fn unfork(&self, order: &Order) -> Result<(), Error>;

    /// Asks something of the server itself; its last point's identity is the answer to that act, and what became of the server
    /// that to its return.
    ///
    /// Errors: nobody can ask it, or it did not do it.
    fn source(&self, order: &Order, act: SourceAct) -> Result<Option<String>, Error>;

    /// This computer as the place of a drill, where it is the one of this order.
    fn ground(&self) -> Option<&dyn Ground> {
        None
    }

    /// Who this is; `until_millis` does not matter.
    fn holder(&self) -> Holder;

    /// Whether a process of this machine still runs, as `Holder::process` has it.
    fn runs_here(&self, process: &str) -> bool;

    /// The vault's own clock, in milliseconds since 1970.
    fn vault_millis(&self) -> Result<u64, Error>;

    /// This machine's wall clock: for people.
    fn wall_millis(&self) -> u64;

    /// A clock that only runs forwards, in milliseconds.
    fn moment_millis(&self) -> u64;
}

/// The refusal of whoever cannot ask a server anything.
#[must_use]
pub fn no_source(order: &Order) -> Error {
    Error::refused(
        format!("server {}", order.server_name),
        "cannot be asked to stop: no agent of it is enrolled",
    )
    .retry(Retry::Never)
    .remedy("stop it by hand, let its last point reach the vault, and order a failover without --planned")
}

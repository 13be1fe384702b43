#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// What every operation is handed: store, keys, clocks, randomness.
pub mod access;
/// One chain of records per server: slots created once, linked by hash.
pub mod chain;
/// What appliances and operators keep in a vault, sealed: documents, each replaced whole.
pub mod document;
/// What can go wrong, sorted by whose fault it is and whether trying again helps.
pub mod error;
/// What somebody knows of a chain from elsewhere, held against the chain.
pub mod expect;
/// Who is who after a failover: the fork in a server's chain, and the branch beside it.
pub mod fork;
/// Frames by their logical address: relocations, tables, seals, codecs.
pub mod frames;
/// What a day's or an hour's slots hold, so that points are found by few calls.
pub mod index;
/// What a vault holds and about what it costs.
pub mod info;
/// Keys: what a person keeps, what a vault keeps sealed, and what opens what.
pub mod keys;
/// What kept points reach.
pub mod live;
/// A point's map of a disk: a copy-on-write radix tree of sealed pages.
pub mod map;
/// Names of objects.
pub mod names;
/// Readers' sealed, expiring words that keep a point from being deleted under them.
pub mod pins;
/// The points of a server, and the one that a person means.
pub mod points;
/// Any bytes of a disk of a point, at any alignment, from a bounded cache.
pub mod reader;
/// What a chain is made of: points, checkpoints, epochs, upkeep.
pub mod record;
/// Brings a disk of a point back, writing only what differs.
pub mod restore;
/// Which points a retention policy keeps, and why.
pub mod retain;
/// What slots a chain has and what is in them, found by few calls.
pub mod roster;
/// Small sealed objects: key ring, records, indexes, pins.
pub mod sealed;
/// The newest point that a secondary copy of a vault can give back.
pub mod secondary;
/// Where objects are kept: the trait, the directory and memory stores, the conformance suite.
pub mod store;
/// Recovery tickets: filled for one point, and that point read with the ticket alone.
pub mod tickets;
/// Upkeep of a server's part of a vault: prune, condemn, collect, compact.
pub mod upkeep;
/// A vault as a whole: making one, opening one, its servers and their keys.
pub mod vault;

/// Proves that what a vault says it holds is there.
pub mod verify;
/// Makes recovery points.
pub mod writer;

mod cache;
mod named;
mod parallel;
#[cfg(test)]
mod scratch;
#[cfg(test)]
mod test_bed;

pub use error::{Blame, Error, Retry};

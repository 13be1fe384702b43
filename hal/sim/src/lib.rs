#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// A clock that tests set and let jump.
pub mod clock;
/// The one suite that every implementation of `hal::disk::Disk` passes.
pub mod conformance;
/// A disk in memory: sparse, shared, seeded, breakable.
pub mod disk;
/// Seeded bytes behind the trait of the real generator.
pub mod entropy;
/// What can go wrong with a disk, as named probabilities and exact ranges.
pub mod fault;
/// NICs on a simulated wire, and a server of DHCP.
pub mod nic;
/// Seeded numbers for everything above.
pub mod random;

pub use clock::SimClock;
pub use disk::SimDisk;
pub use entropy::SimEntropy;
pub use fault::{Faults, Shrink};
pub use hal::buffer::HeapBuffer;
pub use nic::{SimNic, Wire, WireFaults};

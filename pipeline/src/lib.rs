#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(test)]
extern crate std;

/// Smaller frames: zstd, deflate, stored; the probe that recognises noise.
pub mod compress;
/// What can go wrong, sorted by whose fault it is.
pub mod error;
/// Which blocks of an extent go into a frame, as the fewest contiguous runs.
pub mod extent;
/// What identifies a block's content within one server.
pub mod fingerprint;
/// The compression level follows the bottleneck.
pub mod flow;
/// Names of things that never change: vault, server, disk, point, segment, frame address, fingerprint, digest.
pub mod ids;
/// Every limit of the format, with its unit and its reason.
pub mod limits;
/// A fixed pool of buffers that never grows.
pub mod pool;
/// Keys, digests and seals.
pub mod seal;
/// The segment: many sealed frames, a header in front, a sealed table behind.
pub mod segment;
/// Whether a block holds nothing but zeros.
pub mod zero;

/// Addresses that bytes were compressed and sealed from and to, for the test of DESIGN's invariant 10.
#[cfg(test)]
mod touched;

pub use error::Error;

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// What can go wrong, sorted by whose fault it is and whether trying again helps.
pub mod error;
/// Where objects are kept: the trait, the directory and memory stores, the conformance suite.
pub mod store;

#[cfg(test)]
mod scratch;

pub use error::{Blame, Error, Retry};

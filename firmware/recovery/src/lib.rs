#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// What an order needs of Azure.
pub mod region;

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Disks made of points.
pub mod hydrate;
/// What an order needs of Azure.
pub mod region;

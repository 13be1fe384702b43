#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Whether a server's disks boot on a platform, and what makes them.
pub mod guest;
/// Disks made of points.
pub mod hydrate;
/// What an order needs of Azure.
pub mod region;

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// What recovery keeps in a vault.
pub mod documents;
/// Whether a server's disks boot on a platform, and what makes them.
pub mod guest;
/// Disks made of points.
pub mod hydrate;
/// One server's drill or failover, step by step.
pub mod order;
/// Several servers, in groups that wait for each other.
pub mod plan;
/// Where a server is recovered to.
pub mod profile;
/// Whether a server could be recovered now.
pub mod ready;
/// What an order needs of Azure.
pub mod region;
/// Pages to print, and the same as values.
pub mod report;
/// What is kept of a server's recovery.
pub mod target;
#[cfg(test)]
mod test_world;
mod text;

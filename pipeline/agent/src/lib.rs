#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Blocks of a disk, a bit each.
pub mod blocks;
/// Blocks read from whole disks, many at a time.
pub mod capture;
/// One consistent point of all disks, step by step.
pub mod cut;
/// Which disks a server has and what lies on them.
pub mod devices;
/// All file systems still for an instant.
pub mod freeze;
/// What applications want run around a freeze.
pub mod hooks;
/// How little this program takes from the server that it runs on.
pub mod manners;
/// Parts of disks whose content is nobody's: swap.
pub mod swap;
/// Which blocks changed.
pub mod tracker;

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Blocks of a disk, a bit each.
pub mod blocks;
/// Which disks a server has and what lies on them.
pub mod devices;
/// All file systems still for an instant.
pub mod freeze;
/// What was said and is not yet spooled.
pub mod outbox;
/// So many bytes a second and no more.
pub mod pace;
/// Sessions with an appliance.
pub mod session;
/// Which blocks changed.
pub mod tracker;

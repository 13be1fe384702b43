#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// Buffers of disks that are no hardware.
pub mod buffer;
/// Block devices and image files: geometry, queues of owned buffers, sparse ranges.
pub mod disk;
/// What a disk says of itself: model, serial, WWN, partitions, mounts.
pub mod inventory;
/// Links, addresses and routes; DHCP, ARP and router advice as pure values.
pub mod net;
/// A disk as a stream of bytes, for what reads a few of them here and there.
pub mod stream;
/// The GUID of a partition table, from one sector.
pub mod table;
/// Time and randomness as parameters.
pub mod time;

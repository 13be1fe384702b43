#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// Block devices and image files: geometry, queues of owned buffers, sparse ranges.
pub mod disk;
/// What a disk says of itself: model, serial, WWN, partitions, mounts.
pub mod inventory;
/// Time and randomness as parameters.
pub mod time;

#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// Names of things that never change: vault, server, disk, point, segment, frame address, fingerprint, digest.
pub mod ids;
/// Every limit of the format, with its unit and its reason.
pub mod limits;

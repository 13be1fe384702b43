#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Head, body and payload: bytes to messages and back.
pub mod frame;
/// Everything that is said, both ways.
pub mod message;
/// What an appliance tells an agent to do.
pub mod policy;
/// Blocks as runs.
pub mod runs;

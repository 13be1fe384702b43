#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Who issues the certificates of agents and appliances.
pub mod authority;
/// What a machine is known by, and whether it is still the same.
pub mod binding;
/// What a certificate says of its holder.
pub mod certificate;
/// Messages over whatever carries bytes.
pub mod connection;
/// How a server comes to have a certificate.
pub mod enrol;
/// Head, body and payload: bytes to messages and back.
pub mod frame;
/// Everything that is said, both ways.
pub mod message;
/// What an appliance tells an agent to do.
pub mod policy;
/// Blocks as runs.
pub mod runs;
/// TLS between agent and appliance.
pub mod tls;
/// Which version two sides speak.
pub mod version;

//! Each claim of the README's security table is attacked: the act itself, from inside of a service or of the machine.
//!
//! How each was seen to fail with its protection taken away stands beside it.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

/// What faces agents.
#[path = "hardening/agents.rs"]
mod agents;

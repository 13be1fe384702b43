//! Each claim of the README's security table is attacked: the act itself, from inside of a service or of the machine.
//!
//! Where a protection was taken away to see its test fail, that stands beside the test.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

/// Services in their jails, and the machine around them.
#[path = "hardening/jail.rs"]
mod jail;

//! Promise: the claims of the README's section on security hold: each is attacked here, from inside the service or the machine.
//!
//! Where a protection was taken away to see its test fail, that stands beside the test.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

/// The door of the agents, and what it cannot reach.
#[path = "hardening/agents.rs"]
mod agents;
/// Who asks Azure, and what it cannot reach.
#[path = "hardening/courier.rs"]
mod courier;
/// Services in their jails, and the machine around them.
#[path = "hardening/jail.rs"]
mod jail;
/// No secret is ever where it could be read.
#[path = "hardening/secrets.rs"]
mod secrets;
/// What the machine remembers is the machine's alone.
#[path = "hardening/tpm.rs"]
mod tpm;

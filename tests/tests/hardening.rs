//! Promise: the claims of the README's section on security hold: each is attacked here, from inside the service or the machine.

/// No secret is ever where it could be read.
#[path = "hardening/secrets.rs"]
mod secrets;
/// What the machine remembers is the machine's alone.
#[path = "hardening/tpm.rs"]
mod tpm;

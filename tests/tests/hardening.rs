//! Promise: the claims of the README's section on security hold: each is attacked here, from inside the service or the machine.

/// No secret is ever where it could be read.
#[path = "hardening/secrets.rs"]
mod secrets;

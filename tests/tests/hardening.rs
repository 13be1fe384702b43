//! Nobody gets in, and nothing unsigned runs: each test tries the act itself.

#[path = "hardening/tpm.rs"]
mod tpm;

//! What only a Linux disk does; the conformance suite is in `tests/conformance.rs`.

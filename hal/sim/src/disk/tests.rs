//! Faults, power cuts and books of the simulated disk; the conformance suite is in `tests/conformance.rs`.

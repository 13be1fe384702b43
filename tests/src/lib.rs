//! Shared helpers of the end-to-end tests.

/// Azurite, installed once and started per test.
pub mod azurite;
/// A TCP proxy that is only far away.
pub mod delay_line;
/// A proxy that makes requests fail by rules.
pub mod fault_proxy;

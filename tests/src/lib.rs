//! Shared helpers of the end-to-end tests.

/// Azurite, installed once and started per test.
pub mod azurite;

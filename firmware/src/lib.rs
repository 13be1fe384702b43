#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// The file of `--changed`: which ranges may differ from the last point.
pub mod changed;
/// The command line.
pub mod cli;
/// A disk as the command line names it.
pub mod disk_argument;
/// Ctrl-C and its relatives.
pub mod interrupt;
/// The log crate onto standard error.
pub mod logging;
/// A recovery point's disk as a read-only NBD export.
pub mod nbd;
/// How far a long verb is.
pub mod progress;
/// What the program says at its end.
pub mod report;
/// Where a vault is, as a person writes it.
pub mod vault_uri;

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// The API for the page, scripts and command lines elsewhere.
pub mod api;
/// The page for people.
mod page;
/// Which answer a request gets.
mod respond;
/// What there is to tell.
mod status;

pub use respond::{ALWAYS, Request, Response, respond};
pub use status::{Job, Replication, Status, Vault, VaultState};

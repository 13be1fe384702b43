//! `lifeboat serve`: what the appliance does for others over the network. By now that is the machine's page over HTTPS,
//! and its vault watched.
//!
//! Clients are strangers: few at once, each with little memory and little time, and none can keep others out for long.

/// How servers fare, for whom it may concern.
pub mod figures;
/// The certificate that the machine shows.
pub mod identity;
/// Connections.
pub mod listen;
/// Ingest beside the page.
pub mod replication;
/// How the vault fares.
pub mod watch;

//! The appliance's side of replication: what agents send goes into the spool, and out of it into the vault.
//!
//! `hub` has what everybody shares; `listen` speaks with agents, `keeper` writes the spool, `drain` makes points. The order
//! in which things become durable is SPOOL.md's and the vault's; here nothing is acknowledged before it is so.

/// What the journal still has for the vault, as pieces.
pub mod backlog;
/// What a server's pieces go on from in the vault.
pub mod base;
/// How much memory there is for it.
pub mod budget;
/// How fast something may go, by the hour of the week.
pub mod calendar;
/// Which blocks of an agent are wanted.
pub mod compare;
/// Out of the spool into the vault.
pub mod drain;
/// Runs of blocks and what is said of them.
pub mod extents;
/// Servers that were failed over.
pub mod forks;
/// Cuts of several servers at one instant.
pub mod group;
/// What everybody shares.
pub mod hub;
/// What is kept in the spool.
pub mod journal;
/// Writes the spool.
pub mod keeper;
/// Where every server stands.
pub mod ledger;
/// Connections of agents.
pub mod listen;
/// How servers fare.
pub mod measures;
/// A store behind limits.
pub mod pace;
/// Points that are no longer kept go.
pub mod retention;
/// Which servers are enrolled, and how each is protected.
pub mod roll;
/// Everything, running.
pub mod service;
/// What one run of an agent said, and what it is owed.
pub mod session;
/// A server's disk as the spool has it.
pub mod spooled_disk;
/// Wake-on-LAN.
mod wake;

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Users, sessions, tokens, approvals, the audit log.
pub mod admin;
/// What is wrong is told to whoever is to know.
pub mod alerts;
/// The program as the first process of a machine: boot, services, console, roles.
pub mod appliance;
/// A point as it was before a failover changed it.
pub mod as_before;
/// The file of `--changed`: which ranges may differ from the last point.
pub mod changed;
/// The program's own verbs as processes of their own.
mod child;
/// The machine's security chip.
pub mod chip;
/// The command line.
pub mod cli;
/// Requests carried, and answers read, by a service of its own.
pub mod courier;
/// A disk as the command line names it.
pub mod disk_argument;
/// What is on a disk, by its first and last bytes.
pub mod disk_contents;
/// What the system says of a disk, as verbs use it.
pub mod disk_facts;
/// Servers enrolled, and the agent given to them.
pub mod enrol;
/// Which files differ between two points.
pub mod files;
/// The disks of a server at a point: judged and repaired.
pub mod guest_disks;
/// A drill on this machine.
pub mod here;
/// What agents send, into the spool and out of it into the vault.
pub mod ingest;
/// Ctrl-C and its relatives.
pub mod interrupt;
/// The log crate onto standard error.
pub mod logging;
/// A recovery point's disk as an NBD export.
pub mod nbd;
/// The machine's network, and the way to Azure tested.
pub mod net;
/// From the command line to the exit code.
pub mod program;
/// How far a long verb is.
pub mod progress;
/// Recovery into Azure: drills, failovers, plans.
pub mod recovery;
/// The command line against an appliance elsewhere.
pub mod remote;
/// What the program says at its end.
pub mod report;
/// The pace of new starts.
mod restart;
/// Warm seeds: page blobs in Azure that follow the vault.
pub mod seeds;
/// What the appliance does for others over the network.
pub mod serve;
/// What reads what strangers send, in processes of their own.
mod services;
/// An opened vault as the verbs need it.
pub mod session;
/// First run.
pub mod setup;
/// Where a point becomes a disk, as a person writes it.
pub mod sink;
/// The appliance behind the API.
pub mod site;
/// What sources sent and the vault does not have yet, on a disk.
pub mod spool;
/// The disk of a spool: which, whether, and how it becomes one.
pub mod spool_disk;
/// What the appliance remembers across restarts.
pub mod state;
/// Where a disk is restored to.
pub mod target;
/// A new version into the other slot of a medium.
pub mod update;
/// Where a vault is, as a person writes it.
pub mod vault_uri;
/// The verbs.
pub mod verbs;

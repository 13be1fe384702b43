#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// What this machine is known by.
pub mod binding;
/// Blocks of a disk, a bit each.
pub mod blocks;
/// Blocks read from whole disks, many at a time.
pub mod capture;
/// Hardware addresses of network cards.
mod cards;
/// Whether a server can be protected.
pub mod check;
/// A run through a whole disk.
pub mod compare;
/// What blocks of a disk hold.
pub mod content;
/// One consistent point of all disks, step by step.
pub mod cut;
/// Which disks a server has and what lies on them.
pub mod devices;
/// A token becomes a certificate.
pub mod enrol;
/// All file systems still for an instant.
pub mod freeze;
/// What applications want run around a freeze.
pub mod hooks;
/// A copy of a server knows that it is one.
pub mod lineage;
/// Logging for the journal.
pub mod logging;
/// How little this program takes from the server that it runs on.
pub mod manners;
/// What protection would need and cost.
pub mod measure;
/// Paths that are noted for the next start.
mod note;
/// What was said and is not yet spooled.
pub mod outbox;
/// So many bytes a second and no more.
pub mod pace;
/// The command line.
pub mod program;
/// An ordinary start of the machine costs no compare.
pub mod reboot;
/// The loop of a protected server.
pub mod replicate;
/// How the agent fares.
pub mod report;
/// The running agent.
pub mod service;
/// Sessions with an appliance.
pub mod session;
/// Writers paused in turns.
pub mod slow;
/// A server that stands still for good.
pub mod standstill;
/// What is remembered across restarts.
pub mod state;
/// One point of disks that nobody writes to.
pub mod still;
/// Parts of disks whose content is nobody's: swap.
pub mod swap;
/// Which blocks changed.
pub mod tracker;
/// Logical volumes and their snapshots.
pub mod volumes;

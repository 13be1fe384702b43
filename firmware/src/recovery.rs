//! Recovery into Azure as this program does it: the vault's documents, Azure over HTTP, the content of disks, hooks.

/// Hooks of plans.
pub mod acts;
/// What an order needs of this program.
pub mod hands;
/// Azure's control plane.
pub mod region;
/// What is read of a point before it is trusted.
mod source;
/// The vault's documents.
pub mod vault;
/// Who this is, to others who look at the same order.
mod who;

pub use who::person;

//! Recovery into Azure as this program does it: the vault's documents, Azure over HTTP, the content of disks, hooks.

/// Hooks of plans.
pub mod acts;
/// What a planned failover asks of the server itself.
mod drained;
/// This machine as the place of a drill.
mod ground;
/// What is on a point's disks.
pub(crate) mod guest;
/// What an order needs of this program.
pub mod hands;
/// Azure's control plane.
pub mod region;
/// Disks by way of their warm seeds.
mod seeded;
/// Every byte of a point, read before it is trusted.
pub(crate) mod source;
/// The vault's documents.
pub mod vault;
/// Who this is, to others who look at the same order.
mod who;

pub use who::person;

//! The vault's protocol as an abstract machine small enough to try every interleaving of it.
//!
//! One server's chain: slots created once, segments, condemning, pins, grace, salvage, relocation. Every actor is a
//! small program whose steps are single calls to the store; `explore` tries them in every order. What an actor does
//! between two calls is not a step: nobody else can see it. Each rule of FORMAT.md "Write order" can be switched off,
//! and the check must then find a history that breaks a promise.
//!
//! Faults need no steps of their own where they are histories already: an actor that is killed is one that never
//! takes another step, a machine that sleeps is one that takes it late, a request that lands late is a step of an
//! actor that does nothing after it. A reply that is lost is a step that changes the store and not the actor.

/// One step in words.
pub mod act;
/// Which rules hold, and how large the world is.
pub mod bounds;
/// What every state must satisfy.
pub mod check;
/// Pruners, collectors, relocators.
pub mod collector;
/// Tries every order, shortest histories first.
pub mod explore;
/// A fork in the chain, and its end.
pub mod failover;
/// A reader that pins a point.
pub mod reader;
/// Records, and what a chain says as of one of them.
pub mod record;
/// The store and its actors at one instant.
pub mod state;
/// What upkeep computes from a chain: what may go, what must stay.
pub mod upkeep;
/// A run of a writer.
pub mod writer;

pub use bounds::{Bounds, Rule, Rules};
pub use explore::{Found, explore, explore_after};

//! First run: from a machine that nobody owns to one that takes agents.
//!
//! How far it is follows from what was kept, so that no stage is ever half passed: each answers one question, and its
//! answer is one document, written whole. What differs between the appliance and `lifeboat serve` is behind [`ground`].

/// Limits by the hours of a zone, as replication takes them.
mod calendar;
/// The one-time code that whoever reads the console knows.
pub mod code;
/// What opens a storage account, as it is asked for and as requests want it.
mod credential;
/// What is kept of the answers.
mod documents;
/// The stages.
pub mod first_run;
/// What the machine is that is set up.
pub mod ground;
/// The vault that was chosen, for whoever waits for one.
pub mod in_use;
/// The users of the API as those who manage the machine.
mod managers;
/// Settings of the network, as a form and as a text give them.
pub mod network;
/// The way to a vault, walked live.
mod probe;
/// `lifeboat serve` as the machine that is set up.
pub mod program;
/// Failures for a person in front of a form.
pub mod refused;
/// A vault made, or taken over.
mod vault;

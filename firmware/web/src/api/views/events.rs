//! What happened.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::servers::Health;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventFilter {
    /// In any of its words, whatever the case.
    pub text: Option<String>,
    /// No better than this.
    pub at_least: Option<Health>,
    /// Of which object: `server web1`.
    pub object: Option<String>,
    /// Older than this number.
    pub before: Option<u64>,
    /// At most so many; 100 where nothing is said, 500 at most.
    pub limit: Option<usize>,
}

/// A page of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventPage {
    /// The newest first.
    pub events: Vec<EventView>,
    /// There are older ones.
    pub more: bool,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// Counts up, never twice.
    pub number: u64,
    /// When.
    pub at_millis: u64,
    /// How bad it is.
    pub health: Health,
    /// What it is, for machines: `rpo_missed`, `order_step`, `logged_in`.
    pub kind: String,
    /// On which object.
    pub object: String,
    /// In a sentence.
    pub words: String,
    /// Who did it, where somebody did.
    pub by: Option<String>,
}

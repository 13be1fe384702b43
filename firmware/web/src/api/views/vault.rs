//! The vault, and work that takes long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::servers::{Health, Progress};

/// The vault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VaultView {
    /// Where it is, without a credential.
    pub place: String,
    /// Its identity.
    pub vault: String,
    /// In one word.
    pub health: Health,
    /// Why.
    pub cause: String,
    /// Bytes of all objects, as of the last count.
    pub bytes: u64,
    /// Objects.
    pub objects: u64,
    /// When they were counted.
    pub counted_millis: Option<u64>,
    /// What a month costs, in thousandths of a dollar at the list price that `cost_says` names; null for a folder.
    pub month_millidollars: Option<u64>,
    /// What the cost is reckoned from.
    pub cost_says: String,
    /// Bytes by day, the oldest first, a year at most.
    pub growth: Vec<DayBytes>,
    /// How long points are kept.
    pub retention: Vec<Retention>,
    /// The last check.
    pub verified: Option<JobView>,
    /// When somebody showed that the recovery key is at hand.
    pub key_confirmed_millis: Option<u64>,
}

/// How large the vault was on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayBytes {
    /// The instant of counting.
    pub at_millis: u64,
    /// Bytes of all objects.
    pub bytes: u64,
}

/// How long points are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Of which server; null for all that say nothing themselves.
    pub server: Option<String>,
    /// As `prune --keep` has it, `72h,hourly=7d,daily=30d`; null for ever.
    pub keep: Option<String>,
}

/// A page to print.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KitPage {
    /// Plain text.
    pub text: String,
}

/// Work that takes long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Its identity.
    pub id: String,
    /// `verify`, `prune`, `drill`, `failover`, `restore` and the like.
    pub kind: String,
    /// On which object.
    pub object: String,
    /// Who began it.
    pub by: String,
    /// How it stands.
    pub state: JobState,
    /// When it began.
    pub began_millis: u64,
    /// How long it took, or has taken.
    pub took_millis: u64,
    /// How far it is.
    pub progress: Progress,
    /// What it does just now, or how it ended, in a sentence.
    pub words: String,
    /// What its verb printed as JSON, once it is over.
    pub result: Option<serde_json::Value>,
}

/// How long work stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a word for each")]
pub enum JobState {
    /// At it.
    #[default]
    Running,
    /// All of it was done.
    Done,
    /// It failed: `words` say why and what to do.
    Failed,
}

//! Users, sessions, tokens, approvals, the audit log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::setup::Secret;
use crate::api::site::Role;

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserView {
    /// What they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Since when.
    pub made_millis: u64,
    /// Who let them in.
    pub by: String,
}

/// Somebody who is to be let in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserAsked {
    /// 1 to 64 letters, digits, `-`, `_`, `.` and `@`.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// At least 10 letters.
    pub password: Secret,
}

/// What somebody is to do from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleAsked {
    /// What they may do.
    pub role: Role,
}

/// A password that changes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordAsked {
    /// The new one, at least 10 letters.
    pub password: Secret,
    /// The old one, where it is one's own.
    #[serde(default)]
    pub old: Option<Secret>,
}

/// Who comes in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// Who one is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// The user's or the token's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What every changing request of this session carries as `x-csrf`; empty for a token.
    pub csrf: String,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionRow {
    /// By which it is ended.
    pub id: String,
    /// Whose.
    pub name: String,
    /// When it began.
    pub began_millis: u64,
    /// When it was last used.
    pub used_millis: u64,
    /// From where it began.
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
    /// The one that asks.
    pub own: bool,
}

/// A token, without what it is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// By which it is ended.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Since when.
    pub made_millis: u64,
    /// Whose it is: who made it.
    pub by: String,
    /// When it was last used; remembered to the hour across a restart.
    pub used_millis: Option<u64>,
    /// When it ends by itself.
    pub ends_millis: Option<u64>,
}

/// A token that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenAsked {
    /// 1 to 64 letters, digits, `-`, `_`, `.` and `@`.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// After how many days it ends by itself, 1 to 3650; null for not at all.
    #[serde(default)]
    pub days: Option<u32>,
}

/// A token that was made. It is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenMade {
    /// What goes behind `Authorization: Bearer`.
    pub token: String,
    /// The rest.
    pub made: TokenView,
}

impl core::fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TokenMade").field("made", &self.made).finish_non_exhaustive()
    }
}

/// Something that a second person has to agree to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalView {
    /// Its identity.
    pub id: String,
    /// What is to be done, for machines: the operation's ID.
    pub operation: String,
    /// On which object.
    pub object: String,
    /// What is to be done, in a sentence.
    pub words: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub asked_millis: u64,
    /// When it is too late.
    pub ends_millis: u64,
    /// How it stands.
    pub state: ApprovalState,
    /// Who agreed or refused.
    pub settled_by: Option<String>,
    /// What came of it: HTTP's status.
    pub outcome: Option<u16>,
}

/// How an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a word for each")]
pub enum ApprovalState {
    /// Nobody has said anything yet.
    Waits,
    /// A second person agreed.
    Granted,
    /// A second person refused.
    Refused,
    /// Nobody said anything in time.
    Over,
}

/// What a second person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalAnswer {
    /// Agrees.
    pub grant: bool,
}

/// What came of that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settled {
    /// The approval.
    pub approval: ApprovalView,
    /// What was done answered this; null where nothing was done now.
    pub answer: Option<serde_json::Value>,
}

/// Something that somebody did, or tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Counts up without a gap.
    pub number: u64,
    /// When.
    pub at_millis: u64,
    /// Who: a user's or a token's name; a token's with the user's who made it.
    pub by: String,
    /// What: the operation's ID.
    pub what: String,
    /// On which object.
    pub object: String,
    /// How it ended: HTTP's status.
    pub outcome: u16,
    /// From where.
    pub address: String,
}

/// A page of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// The newest first.
    pub entries: Vec<AuditEntry>,
    /// There are older ones.
    pub more: bool,
    /// The oldest entry that is still kept.
    pub first: u64,
    /// BLAKE3 of the newest entry and, through it, of all before: whoever notes it elsewhere can tell later that none was changed.
    pub head: String,
    /// Where the chain does not hold: somebody changed or removed entries.
    pub broken: Option<AuditBreak>,
}

/// Where the chain of the audit log does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditBreak {
    /// The first entry that is not as it was written, or would come behind what is missing.
    pub number: u64,
    /// What is wrong, in a sentence.
    pub words: String,
}

/// Names by which browsers may ask for the appliance, beside its addresses and its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostNames {
    /// At most 16.
    pub names: Vec<String>,
}

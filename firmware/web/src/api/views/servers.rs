//! Servers, their points and figures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::recovery::LastDrill;
use super::vault::JobView;

/// How something fares, in one word; the cause stands beside it in a sentence.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a word for each")]
pub enum Health {
    /// As it should be.
    #[default]
    Good,
    /// Begun, and not there yet: the first copy, a drill.
    Working,
    /// Somebody should look.
    Attention,
    /// It does not do what it is for.
    Bad,
    /// Put to rest by a person.
    Off,
}

/// Everything at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overview {
    /// What the appliance is called.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its clock.
    pub now_millis: u64,
    /// How the vault fares.
    pub vault: Health,
    /// Why.
    pub vault_cause: String,
    /// Bytes that the spool holds at most; 0 where there is none.
    pub spool_bytes: u64,
    /// Bytes taken.
    pub spool_used_bytes: u64,
    /// At the pace of the last hour, how long the spool lasts without the vault.
    pub spool_left_seconds: Option<u64>,
    /// Every server, by name.
    pub servers: Vec<ServerRow>,
    /// Long work that is not over.
    pub jobs: Vec<JobView>,
}

/// A server at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerRow {
    /// Its identity.
    pub server: String,
    /// Its name.
    pub name: String,
    /// In one word.
    pub health: Health,
    /// Why, in a sentence.
    pub cause: String,
    /// Whether its agent is connected.
    pub connected: bool,
    /// Age of the newest point in the vault.
    pub rpo_seconds: Option<u64>,
    /// What the policy asks for.
    pub rpo_target_seconds: u64,
    /// The worst of each minute of the last hour, the newest last; null where nothing was measured.
    pub rpo_recent_seconds: Vec<Option<u32>>,
    /// When its newest point began.
    pub newest_point_millis: Option<u64>,
    /// Bytes that wait for the vault.
    pub backlog_bytes: u64,
    /// Its last drill.
    pub last_drill: Option<LastDrill>,
    /// The first copy, while it goes on.
    pub first_copy: Option<Progress>,
}

/// How far something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Bytes dealt with.
    pub done_bytes: u64,
    /// Bytes to deal with; 0 while unknown.
    pub total_bytes: u64,
    /// At the pace so far.
    pub left_seconds: Option<u64>,
}

/// A server whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerView {
    /// At a glance.
    #[serde(flatten)]
    pub row: ServerRow,
    /// Its disks.
    pub disks: Vec<DiskView>,
    /// How it is protected.
    pub policy: PolicyView,
    /// What its agent says that it does.
    pub doing: String,
    /// What a person should know.
    pub troubles: Vec<String>,
    /// No agent comes in as it any more.
    pub revoked: bool,
    /// The next machine that shows up as it is taken for it.
    pub accepts_another_machine: bool,
    /// A failover of it stands: the order's identity.
    pub failed_over: Option<String>,
    /// Longest freeze that is remembered.
    pub frozen_micros_max: Option<u64>,
    /// The middle one.
    pub frozen_micros_median: Option<u64>,
    /// Bytes stored for each hundred that were sent.
    pub stored_percent: Option<u64>,
    /// Points in the vault.
    pub points: u64,
    /// How its warm seed stands; null where none is wanted, or nothing was done for it yet.
    pub seed: Option<SeedView>,
}

/// A warm seed: what follows the vault in Azure, so that disks are there in minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeedView {
    /// As of when.
    pub at_millis: u64,
    /// How it stands, in a sentence.
    pub words: String,
    /// What keeps it from following the vault.
    pub trouble: Option<String>,
}

/// A protected disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskView {
    /// Its name.
    pub name: String,
    /// Its serial number, WWN or GUID.
    pub identity: String,
    /// How large it is.
    pub bytes: u64,
    /// The policy leaves it out.
    pub left_out: bool,
    /// Bytes that changed within the last hour.
    pub hour_bytes: u64,
    /// Blocks of the newest point that could not be read.
    pub unread_blocks: u64,
}

/// How a server is protected. All of it is changed live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyView {
    /// 10 to 86 400.
    pub interval_seconds: u32,
    /// How long file systems may be frozen for a point.
    pub freeze_budget_millis: u32,
    /// How long at the very most, 30 000 at most.
    pub freeze_limit_millis: u32,
    /// Every so many-th point runs the hooks; 0 never.
    pub application_every: u32,
    /// Names of disks that are left out.
    pub left_out: Vec<String>,
    /// Pace of reading everything; 0 for no limit.
    pub compare_bytes_per_second: u64,
    /// Pace of sending; 0 for no limit.
    pub send_bytes_per_second: u64,
    /// No points are made.
    pub paused: bool,
    /// How long its points are kept, as `prune --keep` has it; null as the vault's retention says.
    pub keep: Option<String>,
    /// The group that it is cut with.
    pub group: Option<String>,
    /// Failover and deletion of it need a second person.
    pub second_person: bool,
}

/// A recovery point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PointView {
    /// Its identity.
    pub id: String,
    /// The instant.
    pub at_millis: u64,
    /// `crash`, `application` or `fuzzy`.
    pub consistency: String,
    /// Bytes read for it.
    pub read_bytes: u64,
    /// Bytes stored for it.
    pub stored_bytes: u64,
    /// Blocks that were new to the server: what was compressed and sealed.
    #[serde(default)]
    pub new_blocks: u64,
    /// Blocks that changed into something that the vault had already.
    #[serde(default)]
    pub known_blocks: u64,
    /// How long file systems were frozen; null where none was.
    pub frozen_micros: Option<u64>,
    /// Blocks that could not be read.
    pub unread_blocks: u64,
    /// What a person should know.
    pub remarks: Vec<String>,
    /// It is kept, whatever the retention says, and why.
    pub pinned: Option<String>,
}

/// What is asked of a figure. Over a month at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeriesAsked {
    /// Which.
    pub figure: Figure,
    /// How far back.
    pub span_seconds: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a word for each")]
pub enum Figure {
    /// Age of the newest point in the vault, seconds: the worst of each step.
    Rpo,
    /// Changed bytes a second.
    Churn,
    /// Bytes stored for each hundred sent.
    StoredPercent,
    /// Bytes that wait for the vault.
    Backlog,
    /// Longest freeze, microseconds.
    Frozen,
}

/// A figure over time; at most 400 values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// The instant of the first value.
    pub began_millis: u64,
    /// Between two values.
    pub step_seconds: u64,
    /// The oldest first; null where nothing was measured.
    pub values: Vec<Option<f64>>,
}

/// Whether a server is ready to be recovered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Nothing is in the way.
    pub ready: bool,
    /// What is in the way, each with its remedy.
    pub problems: Vec<String>,
    /// What should be known.
    pub warnings: Vec<String>,
    /// What is repaired on the copy.
    pub repairs: Vec<String>,
    /// When it was judged.
    pub judged_millis: Option<u64>,
    /// The subscription was asked too.
    pub asked_azure: bool,
    /// How long a failover takes, about.
    pub about_millis: Option<u64>,
    /// It has a target profile.
    pub has_profile: bool,
}

/// How a server comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Install {
    /// What is run on it, as root.
    pub line: String,
    /// How long the token in it is good.
    pub ends_millis: u64,
}

/// A machine that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeenServer {
    /// Its address.
    pub address: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// What its SSH says of itself.
    pub says: String,
    /// It is protected: as which server.
    pub server: Option<String>,
}

//! Drills, failovers, plans.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A server's last drill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastDrill {
    /// The order.
    pub order: String,
    /// When.
    pub at_millis: u64,
    /// The server came up.
    pub up: bool,
    /// From the order to a running server.
    pub rto_millis: u64,
}

/// What is ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderAsked {
    /// Which server.
    pub server: String,
    /// `drill`, `failover` or `planned`.
    pub kind: String,
    /// `latest`, `latest-app` or a point's identity.
    pub point: Option<String>,
    /// A drill stays up until it is cancelled.
    #[serde(default)]
    pub keep: bool,
    /// For a failover, the server's name once more.
    #[serde(default)]
    pub confirm: String,
}

/// An order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderView {
    /// Its identity.
    pub order: String,
    /// Which server.
    pub server: String,
    /// `drill`, `failover`, `planned`.
    pub kind: String,
    /// `open`, `up`, `changing`, `cancelling`, `committed`, `cancelled`, `drilled`, `drilled_badly`.
    pub state: String,
    /// Who gave it.
    pub by: String,
    /// When.
    pub ordered_millis: u64,
    /// The point's identity.
    pub point: Option<String>,
    /// The point's instant.
    pub point_millis: Option<u64>,
    /// Steps in order.
    pub steps: Vec<StepView>,
    /// The server came up; null before that is known.
    pub up: Option<bool>,
    /// From the order to a running server.
    pub rto_millis: u64,
    /// The end of its console log.
    pub console: String,
    /// Its screen: a data URI.
    pub screenshot: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// What it stopped at, with the remedy.
    pub trouble: Option<String>,
    /// Somebody is at it just now.
    pub running: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// A step of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Which.
    pub step: String,
    /// `waits`, `begun`, `done`, `failed`.
    pub standing: String,
    /// How long it took.
    pub took_millis: u64,
}

/// What stands in Azure by our tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// Each: identity, and whether it is `needed`, an `orphan`, or `unknown`.
    pub found: Vec<Found>,
    /// What was taken away.
    pub removed: Vec<String>,
}

/// Something that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// Azure's identity of it.
    pub id: String,
    /// The order by its tag.
    pub order: String,
    /// `needed`, `orphan`, `unknown`.
    pub belongs: String,
}

/// A recovery plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanView {
    /// Its name.
    pub name: String,
    /// As TOML of `lifeboat plan create`.
    pub text: String,
    /// Servers of each group, in order.
    pub groups: Vec<Vec<String>>,
    /// Its last run.
    pub last_run: Option<PlanRunView>,
}

/// A run of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRunView {
    /// The plan's name.
    pub plan: String,
    /// The run's identity.
    pub run: String,
    /// A drill of all of it.
    pub drill: bool,
    /// `open`, `waits`, `failed`, `clearing`, `done`, `done_badly`.
    pub state: String,
    /// Who began it.
    pub by: String,
    /// When.
    pub began_millis: u64,
    /// What a person is to do before it goes on.
    pub waits_for: Option<String>,
    /// What it stopped at.
    pub trouble: Option<String>,
    /// What was done.
    pub entries: Vec<PlanEntry>,
    /// Its orders.
    pub orders: Vec<OrderView>,
}

/// Something that a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanEntry {
    /// What.
    pub what: String,
    /// When it began.
    pub began_millis: u64,
    /// How long it took.
    pub took_millis: u64,
    /// Why it failed.
    pub failed: Option<String>,
}

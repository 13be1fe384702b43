//! Azure's control plane, as pure values: a call goes out, an answer comes back, and what takes long is an operation
//! that can be stored. Source: azure-resource-manager-rpc v1.0, async-api-reference.

/// What the calls need leave for.
pub mod action;
/// The client that sends calls.
pub mod client;
/// Managed disks and their snapshots.
pub mod disk;
/// What an answer begins, and how what it began is followed.
mod follow;
/// Resource groups, and what is in them.
pub mod group;
/// Ids of resources, taken apart and put together; names by Azure's rules.
pub mod id;
/// Network interfaces and public addresses.
pub mod interface;
/// Virtual machines.
pub mod machine;
/// Networks, subnets and what may pass in them.
pub mod network;
/// Asking beforehand what will be denied.
pub mod permission;
/// Refusals in words for a person.
mod refusal;
/// The least role that recovery needs, as Azure reads it.
pub mod role;
/// Sizes of machines, where they are offered, and what is left of a quota.
pub mod size;
/// Tags, by which one finds again what one made.
pub mod tags;

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request::Method;

use action::Action;

/// One call of the control plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Verb.
    pub method: Method,
    /// Path, from `/subscriptions/` on.
    pub path: String,
    /// Names and values of the query besides the version, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// The provider's version that the call is written for.
    pub api_version: &'static str,
    /// Body, JSON.
    pub body: Option<Value>,
    /// What the identity needs leave for: the call itself first, then what Azure checks of the resources it names.
    pub actions: &'static [Action],
    /// What is asked of which resource, for a person: «creating disk «a»».
    pub act: String,
}

impl Call {
    /// A call without query and body.
    pub(crate) fn new(
        method: Method,
        path: impl Into<String>,
        api_version: &'static str,
        actions: &'static [Action],
        act: impl Into<String>,
    ) -> Self {
        let (path, act) = (path.into(), act.into());
        Self { method, path, query: Vec::new(), api_version, body: None, actions, act }
    }

    /// The same with a body.
    #[must_use]
    pub(crate) fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The same with one more name and value in the query.
    #[must_use]
    pub(crate) fn with_query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done; the resource or result, `Null` where there is none.
    Done(Value),
    /// It goes on behind the answer.
    Begun(Operation),
}

/// Something that Azure does behind its answer. It may be stored: whoever asks later learns how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Where its state is asked for: a whole URL of Azure's, or the path of the resource itself; where that is to
    /// go away and has no `result`, with its version behind it.
    pub address: String,
    /// What the answers at that address look like.
    pub follows: Follows,
    /// The path whose GET is the result, where the result is a resource.
    pub result: Option<ResultAt>,
    /// Seconds that Azure asked to wait before the next look.
    pub retry_after_s: u32,
}

/// Where a finished operation's resource is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultAt {
    /// Its path; or a whole URL of Azure's, which brings its own version.
    pub path: String,
    /// The version it is asked with.
    pub api_version: String,
}

/// The ways by which operations are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Follows {
    /// `Azure-AsyncOperation`: 200 with a `status` until it is a final one.
    Status,
    /// `Location`: 202 while it runs.
    Location,
    /// Neither header: the resource's `provisioningState`.
    Resource,
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Not at its end; look again after so long.
    Running(Duration),
    /// Done; the resource or result.
    Done(Value),
    /// It ended, and badly: looking again tells nothing new, whatever kind of refusal it is.
    Failed(Refused),
}

/// Azure said no, or could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What kind of no.
    pub why: Why,
    /// Azure's own code, empty where none came.
    pub code: String,
    /// What was asked of which resource.
    pub act: String,
    /// What is wrong and what to change, for a person.
    pub words: String,
    /// How long Azure wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// Kinds of refusal, by what a program can do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The resource is not there.
    Missing,
    /// Something else has that name, or changes it just now.
    Conflict,
    /// This identity may not.
    Denied,
    /// A quota is used up.
    Quota,
    /// The size is not offered there, or Azure has no room for it just now: another size may do.
    NoRoom,
    /// A policy of the subscription forbids it.
    Policy,
    /// The address is taken, or the subnet has none left.
    Address,
    /// The request is wrong in itself.
    Invalid,
    /// Too many requests, or a passing fault: the same again later.
    Later,
    /// The way to Azure is broken.
    Way,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.act, self.words)
    }
}

impl core::error::Error for Refused {}

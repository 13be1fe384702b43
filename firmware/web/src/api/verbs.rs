//! Verbs of the command line, run on the appliance for somebody elsewhere: what is asked, what is told while they run.
//!
//! `POST /api/v1/verbs` takes a [`VerbAsked`] and answers lines of JSON (`application/x-ndjson`), each a [`VerbTold`], the
//! last of them [`VerbTold::Ended`]. Without that last line the connection was cut, and nobody knows how the verb ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::site::{Answer, Caller, Role};

/// Largest file that is sent along, and largest that is sent back.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A verb of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerbAsked {
    /// Its words: `["server", "list"]`.
    pub verb: Vec<String>,
    /// Options and arguments, without those that name the vault, its key or files.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// The content of the file that an input option names (`--file`, `--changed`), in base64.
    #[serde(default)]
    pub input: Option<String>,
    /// An output option (`--report`, `--html`, `--out`): its file is sent back instead of written.
    #[serde(default)]
    pub output: Option<String>,
}

/// What is told while a verb runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the other side must know each")]
pub enum VerbTold {
    /// Bytes of its standard output, in base64.
    Out(String),
    /// Bytes of its standard error, in base64.
    Err(String),
    /// It still runs.
    Beat(u64),
    /// Bytes of the file that was asked for, in base64.
    File(String),
    /// It ended with this exit code.
    Ended(u8),
}

/// A verb that runs. Dropping it asks the verb to end in order.
pub trait Running: Send {
    /// What it tells next; nothing after its end. Waits, at most ten seconds, after which it beats.
    fn next(&mut self) -> Option<VerbTold>;
}

/// Who runs verbs.
pub trait Verbs: Send + Sync {
    /// What somebody must be allowed to do, whether a second person must agree, and the server that is meant.
    ///
    /// Errors: there is no such verb, or it cannot be run from elsewhere.
    fn weigh(&self, asked: &VerbAsked) -> Answer<Weight>;
    /// Begins it. Roles and approvals are looked at before.
    fn begin(&self, by: &Caller, asked: &VerbAsked) -> Answer<Box<dyn Running>>;
}

/// What a verb weighs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The least role.
    pub role: Role,
    /// It fails over, takes back, or deletes: a server's `second_person` holds for it.
    pub second_person: bool,
    /// The server that it names; nothing where it names none, and so means all of them.
    pub server: Option<String>,
    /// The verb with its arguments in one line, for the audit log: it holds no secret.
    pub words: String,
}

//! What there is to tell of a machine: plain facts, taken at one moment.

use serde::Serialize;

/// A machine as everybody may know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Always `lifeboat`.
    pub product: &'static str,
    /// What the machine is called.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// `appliance`, or `program` where it runs beside others.
    pub role: String,
    /// What it is at, in a few words.
    pub status: String,
    /// Whether it came up whole.
    pub ready: bool,
    /// Since it started.
    pub uptime_seconds: u64,
    /// SHA-256 of the certificate that it shows, as browsers write it.
    pub certificate_sha256: String,
    /// How the vault fares.
    pub vault: Vault,
    /// How replication fares, where agents are taken.
    pub replication: Option<Replication>,
    /// What takes long just now.
    pub job: Option<Job>,
}

/// How replication fares, without a name of anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replication {
    /// Servers that were heard of.
    pub servers: u64,
    /// Servers whose agents are connected.
    pub connected: u64,
    /// Age of the oldest among the newest points of all servers.
    pub oldest_point_age_seconds: Option<u64>,
    /// Bytes that wait for the vault.
    pub backlog_bytes: u64,
    /// Bytes that the spool holds at most, and bytes taken.
    pub spool_bytes: u64,
    /// See `spool_bytes`.
    pub spool_used_bytes: u64,
}

/// How the vault fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Vault {
    /// In a word.
    pub state: VaultState,
    /// Servers in it.
    pub servers: u64,
    /// Recovery points in it.
    pub points: u64,
    /// How old the newest point is.
    pub newest_age_seconds: Option<u64>,
    /// How long ago it was looked at.
    pub looked_age_seconds: Option<u64>,
}

/// How the vault fares, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a word for each")]
pub enum VaultState {
    /// None is named.
    #[default]
    None,
    /// It was not looked at yet.
    Unknown,
    /// It can be read.
    Readable,
    /// It cannot be read: the console says why.
    Trouble,
}

/// A long piece of work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Bytes dealt with.
    pub done_bytes: u64,
    /// Bytes to deal with, 0 while unknown.
    pub total_bytes: u64,
}

impl Status {
    /// Why somebody should look at the machine, where somebody should.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        if !self.ready {
            return Some("not ready: see its console");
        }
        (self.vault.state == VaultState::Trouble)
            .then_some("the vault cannot be read: see its console")
    }
}

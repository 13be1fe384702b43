//! A recovery order: a drill or a failover of one server as a list of steps, kept in the vault before and after each.

use core::fmt;

use pipeline::ids::{OrderId, ServerId};
use pipeline_azure::arm::Operation;
use pipeline_azure::arm::disk::{Generation, System};
use serde::{Deserialize, Serialize};

use crate::documents::Kept;
use crate::guest::Change;
use crate::profile::Profile;

/// The address that a server has there.
mod address;
/// What is asked of Azure about each thing.
pub mod calls;
/// Before anything is made: what would stop it.
mod check;
/// The content of its disks.
mod disks;
/// What is to be made, in words, before anything is.
pub mod estimate;
/// What an order needs beside Azure and the vault's documents.
pub mod hands;
/// A drill on the machine that orders it.
pub mod here;
/// Who carries an order out at the moment.
pub mod holder;
/// Group, network, machine.
mod machine;
/// What can be forgotten.
pub mod old;
/// Giving an order, finding it again, ending it.
pub mod orders;
/// Carries an order out, step by step.
pub mod run;
/// Disks that are made of warm seeds.
mod seeds;
/// Waiting for the server to say that it is up, and what it said.
mod signal;
/// Finds what orders made and nobody needs.
pub mod sweep;
/// One thing in Azure: made, waited for, taken away.
mod thing;
/// Takes back what an order made.
mod undo;

pub use calls::Thing;
pub use here::Here;
pub use holder::Holder;

/// Notes that are kept of one order.
const NOTES_MAX: usize = 200;
/// So much is kept of one note, in bytes: a document has room for a mebibyte, picture and console log included.
const NOTE_BYTES_MAX: usize = 800;

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A test in a network that reaches nothing; taken back at its end.
    Drill,
    /// Recovery of a server that is lost.
    Failover,
    /// The same of a server that runs, without losing anything.
    Planned,
}

impl Kind {
    /// The verb that orders it.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Drill => "drill",
            Self::Failover | Self::Planned => "failover",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drill => "drill",
            Self::Failover => "failover",
            Self::Planned => "planned failover",
        })
    }
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Planned: the applications stop.
    Stop,
    /// Planned: the last point, waited for until it is in the vault.
    LastPoint,
    /// Planned: the source goes down, with proof that nothing was written after that point.
    PowerDown,
    /// What would stop the order is told before anything is made.
    Check,
    /// The resource group of a drill.
    Group,
    /// A disk to upload into for each disk of the point.
    Disks,
    /// The point into the disks.
    Hydrate,
    /// Network, rules, addresses, interface.
    Network,
    /// The fork in the server's chain: from here on the original is demoted.
    Fork,
    /// The virtual machine.
    Machine,
    /// It says that it is up.
    Signal,
    /// Console log and screenshot.
    Evidence,
    /// Drill: everything is taken back.
    Cleanup,
}

impl Step {
    /// Its name, as it is in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::LastPoint => "last_point",
            Self::PowerDown => "power_down",
            Self::Check => "check",
            Self::Group => "group",
            Self::Disks => "disks",
            Self::Hydrate => "hydrate",
            Self::Network => "network",
            Self::Fork => "fork",
            Self::Machine => "machine",
            Self::Signal => "signal",
            Self::Evidence => "evidence",
            Self::Cleanup => "cleanup",
        }
    }

    /// The steps of a kind of order.
    #[must_use]
    pub fn of(kind: Kind) -> Vec<Self> {
        let source: &[Self] = match kind {
            Kind::Planned => &[Self::Stop, Self::LastPoint, Self::PowerDown],
            Kind::Drill | Kind::Failover => &[],
        };
        let made = [Self::Check, Self::Group, Self::Disks, Self::Hydrate, Self::Network];
        let fork: &[Self] = if kind == Kind::Drill { &[] } else { &[Self::Fork] };
        let runs = [Self::Machine, Self::Signal, Self::Evidence];
        let end: &[Self] = if kind == Kind::Drill { &[Self::Cleanup] } else { &[] };
        [source, &made, fork, &runs, end].concat()
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Not begun.
    Waits,
    /// Begun, or begun again.
    Begun,
    /// Done.
    Done,
    /// It failed, as the order's trouble says; it may be tried again.
    Failed,
}

/// One step of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Which.
    pub step: Step,
    /// How far it is.
    pub standing: Standing,
    /// When it was begun first, by the wall clock of who did; for people.
    pub began_millis: Option<u64>,
    /// How long it took, by clocks that only run forwards, all tries together.
    pub took_millis: u64,
    /// How often it was begun.
    pub tries: u32,
}

/// Where the whole order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its steps are being done, or wait for somebody to go on.
    Open,
    /// A failover whose server runs: to be committed, changed to another point, or cancelled.
    Up,
    /// It goes back to the step `disks` with another point: what the last one made is being taken away.
    Changing,
    /// It is being taken back.
    Cancelling,
    /// A failover that was kept.
    Committed,
    /// Everything that it made is gone.
    Cancelled,
    /// A drill that is over; everything that it made is gone.
    Drilled,
}

/// A point as an order knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointFacts {
    /// Its identity.
    pub id: String,
    /// Its instant.
    pub time_millis: u64,
    /// `crash`, `application` or `fuzzy`.
    pub consistency: String,
}

/// A disk of the point, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPlan {
    /// The name that it was protected under.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether the machine starts from it.
    pub starts: bool,
    /// Its type in Azure.
    pub kind: String,
    /// Blocks that differ from the point, or may have differed in an earlier try: what a repair changed.
    #[serde(default)]
    pub on_top: Vec<u64>,
    /// Its content is in it.
    pub filled: bool,
    /// Bytes that were written to it.
    pub filled_bytes: u64,
    /// It is ready to be attached: nobody can write to it by a signature any more.
    pub closed: bool,
    /// The copy of its warm seed that it is made of; none where it is uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<Import>,
    /// How its warm seed stood at the check, where it is to have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// That copy may be there: it is taken away when the disk is made, or with everything else.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub copied: bool,
}

/// A page blob that Azure makes a disk of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Its address, without a signature.
    pub uri: String,
    /// The account that it is in, as the control plane names it.
    pub account: String,
}

/// What Azure does at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// What.
    pub thing: Thing,
    /// What is done to it.
    pub doing: Doing,
    /// Azure's operation.
    pub operation: Operation,
}

/// What an operation does to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// It is made.
    Making,
    /// It is taken away.
    Removing,
    /// A way to write to it is asked for or given back.
    Granting,
}

/// What the machine said and showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The end of its console log.
    pub console: String,
    /// Its screen, an image in base64, where there is one.
    pub screenshot: Option<String>,
    /// The signals that came, in words.
    pub signals: Vec<String>,
    /// The address that it has.
    pub address: Option<String>,
    /// The size that it runs on.
    pub size: Option<String>,
    /// Whether all of its signals came; none before that is known.
    pub up: Option<bool>,
}

/// A line of an order's diary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When, by the wall clock of who wrote it.
    pub at_millis: u64,
    /// What happened.
    pub text: String,
}

/// A place that the orders of a plan's drill share, made and taken away by the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// The plan's run: what its group and network are tagged with.
    #[serde(with = "crate::text")]
    pub run: OrderId,
}

/// The order, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub(crate) format: u16,
    /// Which.
    #[serde(with = "crate::text")]
    pub id: OrderId,
    /// The vault, so that a sweep tells its things from another vault's.
    pub vault: String,
    /// The server.
    #[serde(with = "crate::text")]
    pub server: ServerId,
    /// Its name.
    pub server_name: String,
    /// What is ordered.
    pub kind: Kind,
    /// By whom, as `USER@HOST`.
    pub ordered_by: String,
    /// When, by that machine's clock.
    pub ordered_millis: u64,
    /// Where to; the profile as it was when this was ordered.
    pub profile: Profile,
    /// The point that was asked for: `latest`, `latest-app` or an identity.
    pub wanted_point: String,
    /// The point that it is; none before the check.
    pub point: Option<PointFacts>,
    /// Its disks.
    pub disks: Vec<DiskPlan>,
    /// What was changed on them so that they start there, in the order in which it was done: by this it is taken back where no
    /// list is on the disks, as on a Windows.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Firmware.
    pub generation: Generation,
    /// What is on them.
    pub system: System,
    /// Whether every byte of the point is read and held against its seal before anything is made.
    pub reads_first: bool,
    /// Whether it goes on although something would keep the server from starting in Azure.
    pub despite_obstacles: bool,
    /// Whether what a drill made stays until somebody takes it back.
    pub keeps: bool,
    /// Where it stands.
    pub state: State,
    /// Which point it is on: it begins again with each change of point.
    pub round: u32,
    /// Sizes that may be tried, by the check, and the one that is at turn.
    pub sizes: Vec<String>,
    /// Its place in them.
    pub size: usize,
    /// Its steps.
    pub steps: Vec<StepRecord>,
    /// What it made or was about to make, in that order.
    pub made: Vec<Thing>,
    /// What Azure does for it at the moment.
    pub pending: Option<Pending>,
    /// What was learned.
    pub evidence: Evidence,
    /// Its diary.
    pub notes: Vec<Note>,
    /// Why it stands, where it failed.
    pub trouble: Option<String>,
    /// Who carries it out.
    pub holder: Option<Holder>,
    /// Its plan's place, where it is part of a plan's drill.
    pub shared: Option<Shared>,
    /// A drill that is not in Azure but on the machine that ordered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<Here>,
}

impl Kept for Order {
    const FORMAT: u16 = 1;
}

impl Order {
    /// The step that is at turn; `None` where all are done.
    #[must_use]
    pub fn next_step(&self) -> Option<Step> {
        self.steps.iter().find(|step| step.standing != Standing::Done).map(|record| record.step)
    }

    /// The record of a step.
    #[must_use]
    pub fn step(&self, step: Step) -> Option<&StepRecord> {
        self.steps.iter().find(|record| record.step == step)
    }

    pub(crate) fn step_mut(&mut self, step: Step) -> Option<&mut StepRecord> {
        self.steps.iter_mut().find(|record| record.step == step)
    }

    /// Writes a line into its diary; the first lines go where there are too many.
    pub(crate) fn note(&mut self, at_millis: u64, text: impl Into<String>) {
        self.notes.push(Note { at_millis, text: shortened(text.into()) });
        let too_many = self.notes.len().saturating_sub(NOTES_MAX);
        self.notes.drain(..too_many);
    }

    /// Why it stands, as much as there is room for.
    pub(crate) fn stands(&mut self, why: &pipeline_vault::Error) {
        self.trouble = Some(shortened(why.to_string()));
    }

    /// Whether nothing is left to be done for it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Committed | State::Cancelled | State::Drilled)
    }

    /// Whether it is a failover that was kept.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.state == State::Committed
    }

    /// Of a drill that is over, or whose things are kept: whether its server came up.
    #[must_use]
    pub fn drilled(&self) -> Option<bool> {
        if self.kind == Kind::Drill { self.evidence.up } else { None }
    }

    /// Time from the order's beginning to the last signal, without the time in which nobody carried it out.
    #[must_use]
    pub fn rto_millis(&self) -> u64 {
        // Here the machine does not wait for hydration.
        let waits_for = |step: Step| self.here.is_none() || step != Step::Hydrate;
        let counts = |record: &&StepRecord| record.step <= Step::Signal && waits_for(record.step);
        self.steps.iter().filter(counts).map(|record| record.took_millis).sum()
    }

    /// Bytes that were written to its disks.
    #[must_use]
    pub fn filled_bytes(&self) -> u64 {
        self.disks.iter().map(|disk| disk.filled_bytes).sum()
    }

    /// Whether any of its disks is made of a warm seed.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.disks.iter().any(|disk| disk.import.is_some())
    }

    /// Time that took.
    #[must_use]
    pub fn fill_millis(&self) -> u64 {
        self.step(Step::Hydrate).map_or(0, |record| record.took_millis)
    }

    /// The firmware that its machine gets.
    #[must_use]
    pub fn begins_by(&self) -> &'static str {
        match self.generation {
            Generation::V1 => "BIOS",
            Generation::V2 => "UEFI",
        }
    }

    /// The size that is at turn.
    #[must_use]
    pub fn size_at_turn(&self) -> Option<&str> {
        self.sizes.get(self.size).map(String::as_str)
    }
}

/// What may be of any length, such as a line of a console, as it is kept: its beginning and its end, where the remedy is.
pub(crate) fn shortened(text: String) -> String {
    let half = NOTE_BYTES_MAX / 2;
    if text.len() <= NOTE_BYTES_MAX {
        return text;
    }
    let is_cut = |at: &usize| text.is_char_boundary(*at);
    let begin = (0..=half).rev().find(is_cut).unwrap_or(0);
    let end = (text.len() - half..text.len()).find(is_cut).unwrap_or(text.len());
    format!("{} … {}", &text[..begin], &text[end..])
}

#[cfg(test)]
mod tests;

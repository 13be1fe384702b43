//! A recovery plan: servers in groups that wait for each other, with waits, steps for people and hooks between them.

use pipeline::ids::{OrderId, PlanId};
use pipeline_vault::Error;
use serde::{Deserialize, Serialize};

use crate::documents::Kept;
use crate::order::Holder;
use crate::profile::{Address, Profile};

/// Keeping what a run made.
pub mod commit;
/// Runs of plans.
pub mod runs;

/// Runs that are kept of one plan.
const RUNS_MAX: usize = 10;
const GROUPS_MAX: usize = 50;
const SERVERS_MAX: usize = 500;
const ACTIONS_MAX: usize = 100;

/// A plan as a person writes it, in TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Its name.
    pub name: String,
    /// Its groups, in their order.
    #[serde(rename = "group")]
    pub groups: Vec<Group>,
}

/// Servers that are recovered at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What is done before, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Action>,
    /// Its servers.
    #[serde(default, rename = "server", skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Member>,
    /// What is done when all of them are up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Action>,
}

/// A server of a plan, and what is other there than in its target profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name in the vault.
    pub name: String,
    /// Other sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Vec<String>>,
    /// Another network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Another subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// Another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
}

/// Something between servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// So many seconds.
    Wait(u32),
    /// A person does something, and says so by `lifeboat plan continue`.
    Manual(String),
    /// A POST to this URL; an answer of the 200s is success.
    Webhook {
        /// Where to.
        url: String,
        /// What is sent, JSON by the receiver's wish; empty: the run's state.
        #[serde(default)]
        body: String,
        /// Seconds until it counts as failed.
        #[serde(default = "a_minute")]
        within_s: u32,
    },
    /// A program on this machine; exit code 0 is success.
    Command {
        /// The program and its arguments; no shell.
        run: Vec<String>,
        /// Seconds until it is ended and counts as failed.
        #[serde(default = "a_minute")]
        within_s: u32,
    },
}

fn a_minute() -> u32 {
    60
}

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    format: u16,
    /// Which.
    #[serde(with = "crate::text")]
    pub id: PlanId,
    /// What the person wrote.
    pub text: Text,
    /// Its runs, the newest last.
    pub runs: Vec<Run>,
}

impl Kept for Plan {
    const FORMAT: u16 = 1;
}

/// Where in a plan a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The group.
    pub group: usize,
    /// What of it.
    pub part: Part,
    /// Which action of that part.
    pub action: usize,
}

/// Parts of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Its actions before.
    #[default]
    Before,
    /// Its servers.
    Servers,
    /// Its actions after.
    After,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It goes on, or waits for somebody to go on with it.
    Open,
    /// It waits for a person's word.
    Waits,
    /// Something failed; it can be gone on with.
    Failed,
    /// A drill: what was made is being taken back.
    Clearing,
    /// All of it was done.
    Done,
    /// A drill in which something failed; all is taken back.
    DoneBadly,
}

/// A server's order in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOrder {
    /// The server's name.
    pub server: String,
    /// Its order.
    #[serde(with = "crate::text")]
    pub order: OrderId,
}

/// A line of a run's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What was done.
    pub what: String,
    /// When it was begun, by the wall clock.
    pub began_millis: u64,
    /// How long it took, by a clock that only runs forwards.
    pub took_millis: u64,
    /// How it failed, where it did.
    pub failed: Option<String>,
}

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which.
    #[serde(with = "crate::text")]
    pub id: OrderId,
    /// Whether it is a drill.
    pub drill: bool,
    /// By whom.
    pub by: String,
    /// When it was ordered.
    pub began_millis: u64,
    /// The point of every server: `latest`, `latest-app`.
    pub point: String,
    /// Whether obstacles that are found on a server's disks are passed over.
    #[serde(default)]
    pub despite_obstacles: bool,
    /// How it stands.
    pub state: RunState,
    /// Where it is.
    pub place: Place,
    /// Whether the person's word for that place was given.
    pub answered: bool,
    /// Orders that were given, in that order.
    pub orders: Vec<RunOrder>,
    /// What was done.
    pub entries: Vec<Entry>,
    /// Why it stands.
    pub trouble: Option<String>,
    /// A drill: something failed in it, so that it ends badly however well it is taken back.
    #[serde(default)]
    pub failed: bool,
    /// Who carries it out.
    pub holder: Option<Holder>,
}

impl Plan {
    /// A plan that was never run.
    #[must_use]
    pub fn new(id: PlanId, text: Text) -> Self {
        Self { format: Self::FORMAT, id, text, runs: Vec::new() }
    }

    /// The run that is not over.
    #[must_use]
    pub fn open_run(&self) -> Option<&Run> {
        self.runs.last().filter(|run| !run.is_over())
    }

    /// Takes another text. While a run is open only what is still before it may be other, and only while nobody is at it:
    /// so a server that is no more, or a hook that is wrong, keeps no run from its end.
    ///
    /// Errors: what the run has done already would be other; nothing was changed.
    pub fn become_text(&mut self, text: &Text) -> Result<(), Error> {
        let about = format!("plan {}", text.name);
        if let Some(run) = self.open_run() {
            if let Some(holder) = &run.holder {
                let what = format!("has an open run, carried out by {}", holder.who);
                return Err(Error::refused(about, what).remedy("let it come to its end"));
            }
            if !text.begins_like(&self.text, run.place) {
                let what = "has an open run, and what that has done already would be other";
                return Err(Error::misuse(about, what).remedy(
                    "change only what still comes, or let it come to its end: lifeboat plan continue",
                ));
            }
        }
        self.text = text.clone();
        Ok(())
    }

    pub(crate) fn begin(&mut self, run: Run) {
        self.runs.push(run);
        let too_many = self.runs.len().saturating_sub(RUNS_MAX);
        self.runs.drain(..too_many);
    }
}

impl Run {
    /// Whether nothing is left to be done for it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, RunState::Done | RunState::DoneBadly)
    }
}

impl Text {
    /// Whether all that comes before a place is as in another text.
    fn begins_like(&self, other: &Self, place: Place) -> bool {
        let groups = (self.groups.get(..place.group), other.groups.get(..place.group));
        let (Some(group), Some(known)) =
            (self.groups.get(place.group), other.groups.get(place.group))
        else {
            return self.groups == other.groups;
        };
        let actions = |part: Part, of: &Group| match (place.part.cmp(&part), part) {
            (core::cmp::Ordering::Less, _) => Some(Vec::new()),
            (core::cmp::Ordering::Equal, Part::Before) => {
                Some(of.before.get(..place.action)?.to_vec())
            }
            (core::cmp::Ordering::Equal, _) => Some(of.after.get(..place.action)?.to_vec()),
            (core::cmp::Ordering::Greater, _) => Some(of.before.clone()),
        };
        let same = |part: Part| {
            actions(part, group).is_some_and(|ours| Some(ours) == actions(part, known))
        };
        groups.0 == groups.1
            && group.name == known.name
            && same(Part::Before)
            && (place.part < Part::After || (group.servers == known.servers && same(Part::After)))
    }

    /// What is wrong with it, in words.
    #[must_use]
    pub fn problems(&self, knows: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut problems = Vec::new();
        let mut no = |wrong: bool, text: String| {
            if wrong {
                problems.push(text);
            }
        };
        no(self.name.is_empty() || self.name.len() > 100, "name has 1 to 100 letters".to_owned());
        no(self.groups.is_empty(), "there is no group".to_owned());
        no(self.groups.len() > GROUPS_MAX, format!("there are more than {GROUPS_MAX} groups"));
        let servers: Vec<&str> = self
            .groups
            .iter()
            .flat_map(|group| &group.servers)
            .map(|one| one.name.as_str())
            .collect();
        no(servers.is_empty(), "there is no server in any group".to_owned());
        no(servers.len() > SERVERS_MAX, format!("there are more than {SERVERS_MAX} servers"));
        for (place, server) in servers.iter().enumerate() {
            no(servers[..place].contains(server), format!("server {server} is in it twice"));
            no(!knows(server), format!("server {server} is not in the vault"));
        }
        for group in &self.groups {
            let actions = || group.before.iter().chain(&group.after);
            no(actions().count() > ACTIONS_MAX, format!("group {}: too many actions", group.name));
            for action in actions() {
                if let Some(problem) = action.problem() {
                    no(true, format!("group {}: {problem}", group.name));
                }
            }
        }
        problems
    }
}

impl Action {
    fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Wait(seconds) if *seconds > 86_400 => Some("a wait is longer than a day"),
            Self::Manual(text) if text.trim().is_empty() => Some("a manual step says nothing"),
            Self::Webhook { url, .. }
                if !url.starts_with("https://") && !url.starts_with("http://") =>
            {
                Some("a webhook's url does not begin with https:// or http://")
            }
            Self::Command { run, .. } if run.first().is_none_or(String::is_empty) => {
                Some("a command names no program")
            }
            Self::Webhook { within_s, .. } | Self::Command { within_s, .. }
                if *within_s == 0 || *within_s > 86_400 =>
            {
                Some("a hook's within_s is not from 1 to 86400")
            }
            _ => None,
        }
    }

    /// It in words, which go into reports and logs: a webhook's address behind its host is often its secret, and so may
    /// be what a program is called with.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Wait(seconds) => format!("waits {seconds} s"),
            Self::Manual(text) => format!("a person: {text}"),
            Self::Webhook { url, .. } => format!("calls {}", place_of(url)),
            Self::Command { run, .. } => {
                format!("runs {}", run.first().map_or("nothing", String::as_str))
            }
        }
    }
}

/// What of a URL may be shown: how and whom, without names, paths and signatures.
fn place_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

impl Member {
    /// The server's profile with what is other in this plan.
    #[must_use]
    pub fn over(&self, mut profile: Profile) -> Profile {
        if let Some(sizes) = &self.sizes {
            profile.sizes.clone_from(sizes);
        }
        if let Some(network) = &self.network {
            profile.network.clone_from(network);
        }
        if let Some(subnet) = &self.subnet {
            profile.subnet.clone_from(subnet);
        }
        if let Some(address) = self.address {
            profile.address = address;
        }
        profile
    }
}

#[cfg(test)]
mod tests;

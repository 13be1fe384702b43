//! What a run found, as plain values: printed for people, written as JSON for programs.

use core::fmt;

use serde::Serialize;

use super::chain::ChainState;
use super::concerns::Costs;
use super::findings::{Finding, Findings};
use super::maps::Found;
use super::objects::{Inventory, VaultInventory};
use super::segments::Checked;
use super::{Depth, Options};
use crate::access::Access;
use crate::names;

/// The report of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing is wrong, and everything that was asked for was looked at.
    pub ok: bool,
    /// `shallow` or `deep`.
    pub depth: &'static str,
    /// The vault's identity.
    pub vault: String,
    /// Where it is.
    pub place: String,
    /// Each server.
    pub servers: Vec<ServerReport>,
    /// What is wrong with the vault itself.
    pub problems: Vec<Problem>,
    /// What is worth knowing and costs nothing.
    pub notices: Vec<Notice>,
    /// Objects in the vault.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Objects that Lifeboat does not write.
    pub unknown_objects: u64,
    /// Objects of servers that were not looked at.
    pub other_objects: u64,
    /// How long it took, milliseconds.
    pub took_millis: u64,
}

/// One server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// Its identity.
    pub server: String,
    /// Points that are kept.
    pub points: u64,
    /// Points among them that nothing is wrong with.
    pub whole_points: u64,
    /// Records of the chain, of every kind.
    pub records: u64,
    /// The newest slot.
    pub newest_slot: Option<u64>,
    /// Distinct map pages read.
    pub pages: u64,
    /// Segments that points need.
    pub segments: u64,
    /// Objects of the server.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of segments that were read whole and proved.
    pub read_bytes: u64,
    /// Segments that nothing names: an interrupted run's, or a running one's. Prune collects them in the end.
    pub orphans: Group,
    /// Segments that wait for their deletion.
    pub condemned: Group,
    /// Segments that points need and that cannot be read before they are brought back from the archive.
    pub archived: Group,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is worth knowing and costs nothing.
    pub notices: Vec<Notice>,
}

/// Some objects.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Group {
    /// How many.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The first hundred, where they are worth naming.
    pub names: Vec<String>,
}

/// One object that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its name.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// What it costs; empty where no point needs what is wrong.
    pub concerns: Vec<Concern>,
}

/// What a problem costs one disk of one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Concern {
    /// The point.
    pub point: String,
    /// When it was made, milliseconds since 1970.
    pub started: u64,
    /// The disk.
    pub disk: String,
    /// Bytes of the disk that cannot be restored.
    pub bytes: u64,
    /// The first ranges of them: first byte, one past the last.
    pub ranges: Vec<(u64, u64)>,
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The object.
    pub object: String,
    /// What.
    pub what: String,
}

impl Report {
    pub(super) fn new(access: &Access, options: &Options, vault: &VaultInventory) -> Self {
        let what = "is no object that Lifeboat writes: find out who put it into the vault";
        let unknown = |name: &String| Notice { object: name.clone(), what: what.to_owned() };
        Self {
            ok: true,
            depth: if options.depth == Depth::Deep { "deep" } else { "shallow" },
            vault: access.vault.to_string(),
            place: access.store.place(),
            servers: Vec::new(),
            problems: options.troubles.iter().map(Problem::of).collect(),
            notices: vault.unknown.iter().map(unknown).collect(),
            objects: vault.objects,
            bytes: vault.bytes,
            unknown_objects: vault.unknown_count,
            other_objects: vault.foreign_count,
            took_millis: 0,
        }
    }

    /// Adds something that is wrong with the vault itself.
    pub(super) fn trouble(&mut self, error: &crate::Error) {
        self.problems.push(Problem::of(error));
    }

    pub(super) fn add(&mut self, server: ServerReport) {
        self.servers.push(server);
    }

    pub(super) fn finish(&mut self, took_millis: u64) {
        self.took_millis = took_millis;
        let unread =
            self.depth == "deep" && self.servers.iter().any(|one| one.archived.objects > 0);
        self.ok = !unread && self.all_problems().next().is_none();
    }

    /// Everything that is wrong anywhere.
    pub fn all_problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().chain(self.servers.iter().flat_map(|server| &server.problems))
    }

    /// Everything worth knowing anywhere.
    pub fn all_notices(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter().chain(self.servers.iter().flat_map(|server| &server.notices))
    }
}

impl Problem {
    fn of(error: &crate::Error) -> Self {
        Self {
            object: error.object.clone(),
            what: error.what.clone(),
            remedy: error.remedy.clone(),
            concerns: Vec::new(),
        }
    }
}

impl fmt::Display for Problem {
    /// One line: object, what, what it costs, what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)?;
        for concern in self.concerns.iter().take(3) {
            write!(f, "; costs {concern}")?;
        }
        if self.concerns.len() > 3 {
            write!(f, " and {} more", self.concerns.len() - 3)?;
        }
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "point {} {} bytes of disk {}", self.point, self.bytes, self.disk)?;
        if let Some((start, end)) = self.ranges.first() {
            write!(f, " (from {start} to {end}")?;
            f.write_str(if self.ranges.len() > 1 { " and elsewhere)" } else { ")" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// Puts a server's report together.
pub(super) fn server(
    inventory: &Inventory,
    chain: &ChainState,
    found: &Found,
    checked: &Checked,
    findings: Findings,
    mut costs: Costs,
) -> ServerReport {
    let (segments, others, told) = findings.into_parts();
    let mut notices: Vec<Notice> =
        told.into_iter().map(|(object, what)| Notice { object, what }).collect();
    let mut problems: Vec<Problem> =
        others.iter().map(|(name, finding)| problem(name.clone(), finding, Vec::new())).collect();
    let mut hurt: Vec<String> = Vec::new();
    for (segment, finding) in &segments {
        let name = names::segment(&inventory.server, segment);
        let concerns = costs.remove(segment).unwrap_or_default();
        hurt.extend(concerns.iter().map(|concern| concern.point.clone()));
        if finding.missing && concerns.is_empty() {
            let what = "went away while this ran, and no point needs it now".to_owned();
            notices.push(Notice { object: name, what });
        } else {
            problems.push(problem(name, finding, concerns));
        }
    }
    hurt.sort_unstable();
    hurt.dedup();
    let points: Vec<String> = chain
        .links
        .iter()
        .filter_map(|link| link.record.point().map(|point| point.id.to_string()))
        .collect();
    let whole = points.iter().filter(|point| hurt.binary_search(point).is_err()).count();
    if checked.archived > 0 {
        let what = format!(
            "{} segments that points need ({} bytes) are archived: bring them back, which takes hours, before they can be restored or verified deep",
            checked.archived, checked.archived_bytes
        );
        notices.push(Notice { object: format!("server {}", inventory.server), what });
    }
    if found.archived_pages > 0 {
        let what = format!(
            "{} map pages are archived: what lies below was not seen",
            found.archived_pages
        );
        notices.push(Notice { object: format!("server {}", inventory.server), what });
    }
    ServerReport {
        server: inventory.server.to_string(),
        points: points.len() as u64,
        whole_points: whole as u64,
        records: chain.links.len() as u64,
        newest_slot: chain.newest,
        pages: found.pages,
        segments: checked.live,
        objects: inventory.objects,
        bytes: inventory.bytes,
        read_bytes: checked.read_bytes,
        orphans: Group {
            objects: checked.orphans,
            bytes: checked.orphan_bytes,
            names: checked.orphan_names.clone(),
        },
        condemned: group(checked.condemned, checked.condemned_bytes),
        archived: group(checked.archived, checked.archived_bytes),
        problems,
        notices,
    }
}

fn group(objects: u64, bytes: u64) -> Group {
    Group { objects, bytes, names: Vec::new() }
}

fn problem(object: String, finding: &Finding, concerns: Vec<Concern>) -> Problem {
    let what = match finding.more {
        0 => finding.what.clone(),
        more => format!("{} (and {more} more)", finding.what),
    };
    Problem { object, what, remedy: finding.remedy.clone(), concerns }
}

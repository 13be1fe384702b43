//! `prune`: points go by a policy, and what only they used goes after a grace.

use firmware_recovery::order::old;
use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_vault::retain::Policy;
use pipeline_vault::upkeep::{self, Options, Planned, Report};
use serde::Serialize;

use crate::cli::Prune;
use crate::ingest::roll::Roll;
use crate::recovery::vault::Shared;
use crate::report::{Ending, Failure, Outcome, Size, Utc, print, print_json, printable};
use crate::session::Session;
use crate::verbs::Context;
use crate::verbs::choose::name_server;

/// One server's part of the answer as JSON.
#[derive(Serialize)]
struct Pruned {
    server: String,
    #[serde(flatten)]
    report: Report,
    /// With `--dry-run`: the points that would go.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Vec<Removed>>,
}

/// A point that would go, as JSON.
#[derive(Serialize)]
struct Removed {
    id: String,
    time: String,
    time_millis: u64,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    dry_run: bool,
    servers: &'a [Pruned],
    /// Recovery orders that nobody needs any more, and that went; with `--dry-run` those that would go.
    orders_removed: usize,
    problems: Vec<String>,
}

pub(super) fn run(prune: &Prune, context: &Context) -> Ending {
    let mut session = Session::open(&prune.opening, &context.machine)?;
    let vault = session.vault()?;
    let mut problems: Vec<Error> = Vec::new();
    if !prune.dry_run {
        problems.extend(vault.forget_outdated_rings()?.kept);
    }
    let servers = match &prune.server {
        Some(name) => vec![(name.clone(), session.server(name)?)],
        None => session.servers(),
    };
    let roll = if prune.as_kept { Roll::of(session.vault()?)? } else { None };
    let mut done = Vec::new();
    for (name, id) in servers {
        // One server's trouble keeps no other from being pruned.
        let own = roll.as_ref().and_then(|roll| roll.keep_of(id));
        let own = own.and_then(|keep| Policy::parse(keep).ok());
        let Some(policy) = prune.keep.clone().or(own) else { continue };
        match one(prune, &policy, &mut session, &name, id) {
            Ok(pruned) => done.push(pruned),
            Err(error) => problems.push(name_server(error, &name)),
        }
    }
    let orders_removed = match forget_orders(prune, session) {
        Ok(count) => count,
        Err(error) => {
            problems.push(error);
            0
        }
    };
    if prune.json {
        let problems = problems.iter().map(ToString::to_string).collect();
        let dry_run = prune.dry_run;
        print_json(&Answer { dry_run, servers: &done, orders_removed, problems })?;
    } else {
        let mut said: String = done.iter().map(|pruned| text(pruned, prune.dry_run)).collect();
        if orders_removed > 0 {
            let would = if prune.dry_run { "would be " } else { "" };
            said += &format!("{orders_removed} old recovery orders {would}removed.\n");
        }
        print(&said)?;
    }
    problems.iter().skip(1).for_each(|problem| log::warn!("{problem}"));
    match problems.into_iter().next() {
        Some(problem) => Err(Failure::Failed(problem)),
        None => Ok(outcome(&done)),
    }
}

/// Orders of recovery that are over and old; not where only one server is pruned.
fn forget_orders(prune: &Prune, session: Session) -> Result<usize, Error> {
    if prune.server.is_some() {
        return Ok(0);
    }
    let vault = Shared::new(session);
    if prune.dry_run {
        return old::outdated(&vault).map(|orders| orders.len());
    }
    old::forget(&vault)
}

fn one(
    prune: &Prune,
    policy: &Policy,
    session: &mut Session,
    name: &str,
    server: ServerId,
) -> Result<Pruned, Error> {
    // Nothing is removed from a vault that was put back to an older state.
    session.chain(server)?;
    let access = session.access();
    let options = Options {
        grace: u64::try_from(prune.grace.as_millis()).unwrap_or(u64::MAX),
        dry_run: prune.dry_run,
        confirmed: prune.confirm,
        ..Options::default()
    };
    let removed = if prune.dry_run {
        let plan = upkeep::plan(&access, server, policy)?;
        if let Some(refusal) = plan.refusal.as_ref().filter(|_| !prune.confirm) {
            log::warn!("without --confirm this would be refused: {refusal}");
        }
        Some(plan.removed().map(removed).collect())
    } else {
        None
    };
    // What would be refused is told above; a dry run changes nothing and may look on.
    let options = Options { confirmed: options.confirmed || prune.dry_run, ..options };
    let report = upkeep::run(&access, server, policy, &options)?;
    if !prune.dry_run {
        session.chain(server)?;
    }
    Ok(Pruned { server: name.to_owned(), report, removed })
}

fn removed(point: &Planned) -> Removed {
    let time = Utc(point.time).to_string();
    Removed { id: point.id.to_string(), time, time_millis: point.time }
}

fn text(pruned: &Pruned, dry_run: bool) -> String {
    let report = &pruned.report;
    let would = if dry_run { "would be " } else { "" };
    let mut text = format!(
        "{}: {} points kept, {} {would}removed; {} in {} segments {would}condemned; {} objects with {} deleted.\n",
        printable(&pruned.server),
        report.points_kept,
        report.points_removed,
        Size(report.condemned_bytes),
        report.segments_condemned,
        report.objects_deleted,
        Size(report.deleted_bytes),
    );
    if report.segments_moved > 0 {
        text += &format!(
            "  {} sparse or small segments were carried into {}.\n",
            report.segments_moved, report.segments_written
        );
    }
    for point in pruned.removed.iter().flatten() {
        text += &format!("  would remove {} of {}\n", point.id, point.time);
    }
    text
}

/// Done, unless something was left undone that was asked for.
fn outcome(done: &[Pruned]) -> Outcome {
    let refused: u64 = done.iter().map(|pruned| pruned.report.deletes_refused).sum();
    let damaged: u64 = done.iter().map(|pruned| pruned.report.segments_damaged).sum();
    let trouble = done.iter().flat_map(|pruned| &pruned.report.troubles).next();
    match trouble {
        Some(trouble) if refused > 0 => Outcome::Incomplete(format!(
            "{refused} objects could not be deleted, the first: {trouble}; prune with an identity that may delete, or \
             when they are no longer immutable"
        )),
        Some(trouble) if damaged > 0 => Outcome::Incomplete(format!(
            "{damaged} damaged segments were left where they are, the first: {trouble}; lifeboat verify --deep tells more"
        )),
        _ => Outcome::Done,
    }
}

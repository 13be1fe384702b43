//! `server`: who is on the vault's roll, and how each is protected.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline_vault::Error;
use pipeline_vault::fork::{self, End, branch};
use pipeline_wire::policy::Policy;
use serde::Serialize;

use crate::cli::{Opening, ServerAccept, ServerList, ServerName, ServerPolicy, ServerToken};
use crate::enrol::Grant;
use crate::enrol::issue::{Issued, Wanted, issue};
use crate::ingest::calendar::Pace;
use crate::ingest::measures::Told;
use crate::ingest::roll::Listed;
use crate::ingest::roll::kept::KeptRoll;
use crate::report::{Ending, Outcome, Size, Utc, print, print_json, table};
use crate::serve::figures;
use crate::serve::identity::{Identity, default_folder};
use crate::session::Session;
use crate::verbs::{Context, host_name};

/// `server drain`.
pub(super) mod drain;

/// A server as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    server: String,
    name: &'a str,
    revoked: bool,
    accepts_another_machine: bool,
    group: Option<&'a str>,
    keep: Option<&'a str>,
    policy: &'a Policy,
    vault_pace: &'a Pace,
    newest_point_millis: Option<u64>,
    measured: Option<&'a Told>,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    servers: Vec<Shown<'a>>,
}

fn open(opening: &Opening, context: &Context) -> Result<KeptRoll, Error> {
    let session = Session::open(opening, &context.machine)?;
    KeptRoll::open(session, Arc::clone(&context.machine.clock))
}

pub(super) fn list(list: &ServerList, context: &Context) -> Ending {
    let kept = open(&list.opening, context)?;
    let roll = kept.roll();
    let folder = list.state.clone().or_else(default_folder);
    let measured: BTreeMap<String, Told> =
        folder.map(|folder| figures::read(&folder)).unwrap_or_default().into_iter().collect();
    let mut newest = BTreeMap::new();
    for listed in &roll.servers {
        // One server's trouble hides no other.
        match kept.session().chain(listed.server) {
            Ok(view) => {
                let points = view.points().filter_map(|link| link.record.point());
                newest.insert(listed.server, points.map(|point| point.started).max());
            }
            Err(error) => log::warn!("{}: {error}", listed.name),
        }
    }
    let shown = |listed: &'_ Listed| newest.get(&listed.server).copied().flatten();
    if list.json {
        let servers = roll.servers.iter().map(|listed| Shown {
            server: listed.server.to_string(),
            name: &listed.name,
            revoked: listed.revoked,
            accepts_another_machine: listed.accepts,
            group: listed.group.as_deref(),
            keep: listed.keep.as_deref(),
            policy: &listed.policy,
            vault_pace: &listed.pace,
            newest_point_millis: shown(listed),
            measured: measured.get(&listed.name),
        });
        print_json(&Answer { servers: servers.collect() })?;
    } else {
        let rows: Vec<Vec<String>> = roll
            .servers
            .iter()
            .map(|listed| row(listed, shown(listed), measured.get(&listed.name)))
            .collect();
        let headings = ["server", "state", "interval", "newest point", "backlog", "last hour"];
        print(&table(&headings, &[false, false, true, false, true, true], &rows))?;
    }
    Ok(Outcome::Done)
}

fn row(listed: &Listed, newest: Option<u64>, told: Option<&Told>) -> Vec<String> {
    let state = match told {
        _ if listed.revoked => "revoked",
        _ if listed.policy.paused => "paused",
        Some(told) if told.connected => "connected",
        Some(_) => "away",
        None => "",
    };
    let size = |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| Size(bytes).to_string());
    vec![
        listed.name.clone(),
        state.to_owned(),
        format!("{} s", listed.policy.interval_seconds),
        newest.map_or_else(|| "none".to_owned(), |at| Utc(at).to_string()),
        size(told.map(|told| told.backlog_bytes)),
        size(told.map(|told| told.hour_bytes)),
    ]
}

/// A token as JSON.
#[derive(Serialize)]
struct Made<'a> {
    token: String,
    server: Option<&'a str>,
    ends_millis: u64,
    line: String,
}

pub(super) fn token(asked: &ServerToken, context: &Context) -> Ending {
    let kept = open(&asked.opening, context)?;
    let folder = asked.state.clone().or_else(default_folder).ok_or_else(|| {
        Error::misuse("server token", "has no folder with the page's certificate")
            .remedy("name the one of serve with --state")
    })?;
    let identity = Identity::of_folder(&folder, &host_name())?;
    let now = context.machine.clock.now().0 / 1000;
    let ends_at = now.saturating_add(asked.expires.as_secs());
    let again = match &asked.server {
        Some(name) => {
            let mut session = kept.session();
            let server = session.vault()?.enrol(name)?.id;
            session.note_ring();
            Some(Grant { server, name: name.clone() })
        }
        None => None,
    };
    let addresses: Vec<String> = asked.page.iter().map(ToString::to_string).collect();
    let Issued { token, line } = issue(
        &kept,
        &identity,
        &Wanted { addresses, now, ends_at, again, readmit: asked.readmit },
    )?;
    if asked.json {
        let server = asked.server.as_deref();
        print_json(&Made { token, server, ends_millis: ends_at.saturating_mul(1000), line })?;
    } else {
        let ends = Utc(ends_at.saturating_mul(1000));
        print(&format!("{token}\nGood for one server until {ends}. On that server:\n  {line}\n"))?;
    }
    Ok(Outcome::Done)
}

pub(super) fn policy(asked: &ServerPolicy, context: &Context) -> Ending {
    let kept = open(&asked.opening, context)?;
    let listed = kept.change(&mut |roll| {
        let listed = roll.named(&asked.name)?;
        apply(asked, listed);
        Ok(listed.clone())
    })?;
    if asked.json {
        print_json(&listed.policy)?;
        return Ok(Outcome::Done);
    }
    let policy = &listed.policy;
    let group = listed.group.as_ref().map(|group| format!(", with group {group}"));
    let paused = if policy.paused { "; paused" } else { "" };
    print(&format!(
        "{}: a point every {} s{}, frozen for at most {} ms, kept {}{paused}.\n",
        listed.name,
        policy.interval_seconds,
        group.unwrap_or_default(),
        policy.freeze_budget_millis,
        listed.keep.as_deref().unwrap_or("for ever"),
    ))?;
    Ok(Outcome::Done)
}

fn apply(asked: &ServerPolicy, listed: &mut Listed) {
    let bytes = |mebibytes: u32| u64::from(mebibytes) << 20;
    let policy = &mut listed.policy;
    if let Some(interval) = asked.interval {
        policy.interval_seconds = u32::try_from(interval.as_secs()).unwrap_or(86_400);
    }
    policy.freeze_budget_millis = asked.freeze_budget.unwrap_or(policy.freeze_budget_millis);
    policy.freeze_limit_millis = policy.freeze_limit_millis.max(policy.freeze_budget_millis);
    policy.application_every = asked.application_every.unwrap_or(policy.application_every);
    policy.send_bytes_per_second = asked.send_rate.map_or(policy.send_bytes_per_second, bytes);
    policy.compare_bytes_per_second =
        asked.compare_rate.map_or(policy.compare_bytes_per_second, bytes);
    policy.paused = asked.pause || (policy.paused && !asked.resume);
    if !asked.leave_out.is_empty() {
        policy.left_out = asked.leave_out.iter().filter(|disk| *disk != "none").cloned().collect();
    }
    if let Some(keep) = &asked.keep {
        listed.keep = Some(keep.clone()).filter(|keep| keep != "forever");
    }
    if let Some(group) = &asked.group {
        listed.group = Some(group.clone()).filter(|group| group != "none");
    }
    listed.pace.bytes_per_second = asked.vault_rate.map_or(listed.pace.bytes_per_second, bytes);
    if !asked.vault_rate_at.is_empty() {
        listed.pace.spans.clone_from(&asked.vault_rate_at);
    }
}

pub(super) fn revoke(asked: &ServerName, context: &Context) -> Ending {
    let kept = open(&asked.opening, context)?;
    kept.change(&mut |roll| roll.revoke(&asked.name))?;
    print(&format!(
        "{} is revoked: its agent is turned away within seconds, and its points stay.\n",
        asked.name
    ))?;
    Ok(Outcome::Done)
}

pub(super) fn accept(asked: &ServerAccept, context: &Context) -> Ending {
    if asked.after_failover {
        return accept_after_failover(asked, context);
    }
    let kept = open(&asked.opening, context)?;
    kept.change(&mut |roll| {
        roll.named(&asked.name)?.accepts = true;
        Ok(())
    })?;
    print(&format!("The next machine that shows up as {} is accepted as it.\n", asked.name))?;
    Ok(Outcome::Done)
}

/// The original is the server again: what it sends goes into its own chain from now on, and its branch stays.
fn accept_after_failover(asked: &ServerAccept, context: &Context) -> Ending {
    let mut session = Session::open(&asked.opening, &context.machine)?;
    let server = session.server(&asked.name)?;
    let view = session.chain(server)?;
    let standing = fork::standing(&view).ok_or_else(|| {
        Error::misuse(format!("server {}", asked.name), "was not failed over, or that has ended")
            .remedy("without --after-failover it accepts another machine")
    })?;
    // Of a planned failover; before its end, so that a cut between is mended by saying this again.
    open(&asked.opening, context)?.change(&mut |roll| {
        roll.end_drain(server, &standing.order);
        roll.end_wake(server);
        Ok(())
    })?;
    fork::end(&session.access(), server, &standing.order, End::Accepted)?;
    // What this machine has just made is what a later rollback is measured by.
    session.chain(server)?;
    let beside = branch::name(&asked.name, &standing.order);
    let beside = match session.server(&beside) {
        Ok(_) => format!(" What it wrote meanwhile stays as {beside}."),
        Err(_) => String::new(),
    };
    print(&format!(
        "The failover of {} by order {} has ended: its agent compares everything, and goes on.{beside}\n",
        asked.name, standing.order
    ))?;
    Ok(Outcome::Done)
}

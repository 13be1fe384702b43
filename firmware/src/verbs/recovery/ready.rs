//! `ready`: whether each server could be recovered now.

use core::time::Duration;

use firmware_recovery::order::Kind;
use firmware_recovery::order::orders::Wanted;
use firmware_recovery::ready::{Readiness, judge};
use pipeline::ids::ServerId;
use pipeline_vault::Error;
use serde::Serialize;

use super::Opened;
use crate::cli::Ready;
use crate::recovery::person;
use crate::report::{Ending, Failure, Outcome, Span, Utc, print, print_json};
use crate::verbs::Context;

/// The answer as JSON.
#[derive(Serialize)]
struct Answer {
    servers: Vec<Readiness>,
}

/// What of a point is looked at.
#[derive(Clone, Copy)]
struct Depth {
    azure: bool,
    deep: bool,
}

pub(in crate::verbs) fn run(asked: &Ready, context: &Context) -> Ending {
    let opened = Opened::open(&asked.opening, context, asked.json)?;
    let servers = match &asked.server {
        Some(name) => vec![(name.clone(), opened.vault.session().server(name)?)],
        None => opened.vault.session().servers(),
    };
    let depth = Depth { azure: asked.azure, deep: asked.deep };
    let mut judged = Vec::new();
    for (server_name, server) in servers {
        judged.push(judge_one(&opened, server_name, server, depth, context)?);
    }
    let bad: Vec<String> =
        judged.iter().filter(|one| !one.ready).map(|one| one.server.clone()).collect();
    let answer = Answer { servers: judged };
    if asked.json {
        print_json(&answer)?;
    } else {
        print(&answer.servers.iter().map(words).collect::<String>())?;
    }
    if bad.is_empty() {
        return Ok(Outcome::Done);
    }
    let error = Error::refused("readiness", format!("is not given for {}", bad.join(", ")));
    Err(Failure::Failed(error.remedy("the list says what to do")))
}

fn judge_one(
    opened: &Opened,
    server_name: String,
    server: ServerId,
    depth: Depth,
    context: &Context,
) -> Result<Readiness, Error> {
    let wanted = Wanted {
        server,
        server_name,
        kind: Kind::Failover,
        point: "latest".to_owned(),
        by: person(&context.machine.settings),
        at_millis: context.machine.clock.now().0,
        reads_first: depth.deep,
        despite_obstacles: false,
        keeps: false,
        shared: None,
    };
    judge(opened.world(&|_| {}), &wanted, &opened.vault_id, depth.azure)
}

fn words(one: &Readiness) -> String {
    let mut text = format!("{}: {}\n", one.server, if one.ready { "ready" } else { "not ready" });
    if let (Some(id), Some(at)) = (&one.point, one.point_millis) {
        text += &format!("  newest point {id} of {}\n", Utc(at));
    }
    if let Some(starts) = &one.starts {
        text += &format!("  {starts}\n");
    }
    if let Some(drill) = &one.last_drill_here {
        let rto = Span(Duration::from_millis(drill.rto_millis));
        let how = if drill.up { format!("up in {rto}") } else { "did not come up".to_owned() };
        text += &format!("  last drill here, not in Azure, {}: {how}\n", Utc(drill.at_millis));
    }
    if let Some(drill) = &one.last_drill {
        let rto = Span(Duration::from_millis(drill.rto_millis));
        let how = if drill.up { format!("up in {rto}") } else { "did not come up".to_owned() };
        text += &format!("  last drill {}: {how}\n", Utc(drill.at_millis));
    }
    if let Some(about) = one.about_millis {
        let about = Span(Duration::from_millis(about));
        text += &format!("  a failover would take about {about}\n");
    }
    let lists = [
        ("problem", &one.problems),
        ("warning", &one.warnings),
        ("repair", &one.repairs),
        ("seed", &one.seeds),
    ];
    for (word, list) in lists {
        for line in list {
            text += &format!("  {word}: {line}\n");
        }
    }
    text
}

//! `points`: what can be restored.

use pipeline_vault::Error;
use pipeline_vault::chain::Link;
use pipeline_vault::record::{Consistency, Manifest};
use serde::Serialize;

use crate::cli;
use crate::report::{Ending, Failure, Outcome, Size, Utc, print, print_json, printable, table};
use crate::session::Session;
use crate::verbs::Context;

/// A point as JSON.
#[derive(Serialize)]
struct Point {
    id: String,
    server: String,
    time: String,
    time_millis: u64,
    consistency: &'static str,
    disks: Vec<Disk>,
    read_bytes: u64,
    stored_bytes: u64,
    took_millis: u64,
    unread_blocks: u64,
}

/// A disk of a point as JSON.
#[derive(Serialize)]
struct Disk {
    name: String,
    identity: String,
    bytes: u64,
    unread_blocks: u64,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer {
    points: Vec<Point>,
    problems: Vec<String>,
}

pub(super) fn run(points: &cli::Points, context: &Context) -> Ending {
    let mut session = Session::open(&points.opening, &context.machine)?;
    let servers = match &points.server {
        Some(name) => vec![(name.clone(), session.server(name)?)],
        None => session.servers(),
    };
    let mut found = Vec::new();
    let mut problems: Vec<Error> = Vec::new();
    for (name, id) in servers {
        match session.chain_leniently(id) {
            Ok((view, problem)) => {
                found.extend(view.points().filter_map(|link| point(&name, link)));
                problems.extend(problem);
            }
            Err(error) => problems.push(error),
        }
    }
    found.sort_by_key(|point| point.time_millis);
    if points.json {
        let problems = problems.iter().map(ToString::to_string).collect();
        print_json(&Answer { points: found, problems })?;
    } else {
        print(&list(&found))?;
    }
    // Several servers may have trouble; the first line says the first, the others are warned of.
    problems.iter().skip(1).for_each(|problem| log::warn!("{problem}"));
    match problems.into_iter().next() {
        Some(problem) => Err(Failure::Failed(problem)),
        None => Ok(Outcome::Done),
    }
}

fn point(server: &str, link: &Link) -> Option<Point> {
    let manifest = link.record.point()?;
    Some(Point {
        id: manifest.id.to_string(),
        server: server.to_owned(),
        time: Utc(manifest.started).to_string(),
        time_millis: manifest.started,
        consistency: word(manifest.consistency),
        disks: disks(manifest),
        read_bytes: manifest.work.read_bytes,
        stored_bytes: manifest.work.stored_bytes,
        took_millis: manifest.work.took_millis,
        unread_blocks: manifest.disks.iter().map(|disk| disk.unread_blocks).sum(),
    })
}

fn disks(manifest: &Manifest) -> Vec<Disk> {
    let disk = |disk: &pipeline_vault::record::DiskState| Disk {
        name: disk.name.clone(),
        identity: disk.identity.clone(),
        bytes: disk.bytes,
        unread_blocks: disk.unread_blocks,
    };
    manifest.disks.iter().map(disk).collect()
}

fn word(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Crash => "crash",
        Consistency::Application => "application",
        Consistency::Fuzzy => "fuzzy",
        _ => "unknown",
    }
}

fn list(points: &[Point]) -> String {
    if points.is_empty() {
        return "no recovery points yet\n".to_owned();
    }
    let headings =
        ["POINT", "SERVER", "TIME", "CONSISTENCY", "DISKS", "SIZE", "READ", "STORED", "UNREAD"];
    let right = [false, false, false, false, false, true, true, true, true];
    let row = |point: &Point| {
        let names: Vec<String> = point.disks.iter().map(|disk| printable(&disk.name)).collect();
        vec![
            point.id.clone(),
            printable(&point.server),
            point.time.clone(),
            point.consistency.to_owned(),
            names.join(" "),
            Size(point.disks.iter().map(|disk| disk.bytes).sum()).to_string(),
            Size(point.read_bytes).to_string(),
            Size(point.stored_bytes).to_string(),
            if point.unread_blocks == 0 { "-".to_owned() } else { point.unread_blocks.to_string() },
        ]
    };
    table(&headings, &right, &points.iter().map(row).collect::<Vec<_>>())
}

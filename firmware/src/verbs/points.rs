//! `points`: what can be restored.

use pipeline_vault::Error;
use pipeline_vault::chain::Link;
use pipeline_vault::fork::{self, Fork};
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
    frozen_micros: Option<u64>,
    source_time: Option<String>,
    source_time_millis: Option<u64>,
    remarks: Vec<String>,
}

/// A disk of a point as JSON.
#[derive(Serialize)]
struct Disk {
    name: String,
    identity: String,
    bytes: u64,
    unread_blocks: u64,
}

/// A server that was failed over, as JSON.
#[derive(Serialize)]
struct Failover {
    server: String,
    order: String,
    point: String,
    time: String,
    time_millis: u64,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer {
    points: Vec<Point>,
    failovers: Vec<Failover>,
    problems: Vec<String>,
}

pub(super) fn run(points: &cli::Points, context: &Context) -> Ending {
    let mut session = Session::open(&points.opening, &context.machine)?;
    let servers = match &points.server {
        Some(name) => vec![(name.clone(), session.server(name)?)],
        None => session.servers(),
    };
    let (mut found, mut failovers) = (Vec::new(), Vec::new());
    let mut problems: Vec<Error> = Vec::new();
    for (name, id) in servers {
        match session.chain_leniently(id) {
            Ok((view, problem)) => {
                found.extend(view.points().filter_map(|link| point(&name, link)));
                failovers.extend(fork::standing(&view).map(|fork| failover(&name, &fork)));
                problems.extend(problem);
            }
            Err(error) => problems.push(error),
        }
    }
    found.sort_by_key(|point| point.time_millis);
    if points.json {
        let problems = problems.iter().map(ToString::to_string).collect();
        print_json(&Answer { points: found, failovers, problems })?;
    } else {
        print(&list(&found))?;
        print(&failovers.iter().map(line).collect::<String>())?;
    }
    // Several servers may have trouble; the first line says the first, the others are warned of.
    problems.iter().skip(1).for_each(|problem| log::warn!("{problem}"));
    match problems.into_iter().next() {
        Some(problem) => Err(Failure::Failed(problem)),
        None => Ok(Outcome::Done),
    }
}

fn failover(server: &str, fork: &Fork) -> Failover {
    Failover {
        server: server.to_owned(),
        order: fork.order.clone(),
        point: fork.point.to_string(),
        time: Utc(fork.time).to_string(),
        time_millis: fork.time,
    }
}

/// A failover that stands, for a person.
fn line(failover: &Failover) -> String {
    format!(
        "{} was failed over to {} by order {} at {}: it gets no points until that has ended\n",
        printable(&failover.server),
        failover.point,
        failover.order,
        failover.time
    )
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
        frozen_micros: manifest.told.frozen_micros,
        source_time: manifest.told.source_time.map(|millis| Utc(millis).to_string()),
        source_time_millis: manifest.told.source_time,
        remarks: manifest.told.remarks().to_vec(),
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

/// One line per point, and below the table what sources remarked.
fn list(points: &[Point]) -> String {
    if points.is_empty() {
        return "no recovery points yet\n".to_owned();
    }
    let mut headings =
        vec!["POINT", "SERVER", "TIME", "CONSISTENCY", "DISKS", "SIZE", "READ", "STORED", "UNREAD"];
    let mut right = vec![false, false, false, false, false, true, true, true, true];
    // Only points that agents made were frozen.
    let frozen = points.iter().any(|point| point.frozen_micros.is_some());
    if frozen {
        headings.push("FROZEN");
        right.push(true);
    }
    let row = |point: &Point| {
        let names: Vec<String> = point.disks.iter().map(|disk| printable(&disk.name)).collect();
        let mut row = vec![
            point.id.clone(),
            printable(&point.server),
            point.time.clone(),
            point.consistency.to_owned(),
            names.join(" "),
            Size(point.disks.iter().map(|disk| disk.bytes).sum()).to_string(),
            Size(point.read_bytes).to_string(),
            Size(point.stored_bytes).to_string(),
            if point.unread_blocks == 0 { "-".to_owned() } else { point.unread_blocks.to_string() },
        ];
        if frozen {
            row.push(point.frozen_micros.map_or_else(|| "-".to_owned(), millis));
        }
        row
    };
    let rows = table(&headings, &right, &points.iter().map(row).collect::<Vec<_>>());
    let remarks = points.iter().flat_map(|point| {
        point.remarks.iter().map(|remark| format!("{}: {}\n", point.id, printable(remark)))
    });
    remarks.fold(rows, |told, remark| told + &remark)
}

/// Microseconds as milliseconds with one digit behind the point.
fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(frozen_micros: Option<u64>, remarks: &[&str]) -> Point {
        Point {
            id: "0".repeat(32),
            server: "web1".to_owned(),
            time: Utc(0).to_string(),
            time_millis: 0,
            consistency: "application",
            disks: vec![],
            read_bytes: 0,
            stored_bytes: 0,
            took_millis: 0,
            unread_blocks: 0,
            frozen_micros,
            source_time: None,
            source_time_millis: None,
            remarks: remarks.iter().map(|&remark| remark.to_owned()).collect(),
        }
    }

    #[test]
    fn how_long_sources_were_frozen_and_what_they_remarked_is_shown_where_there_is_any() {
        let plain = list(&[point(None, &[])]);
        assert!(!plain.contains("FROZEN") && plain.lines().count() == 2, "{plain}");
        let told = list(&[point(Some(15_260), &["a hook\u{1b}[2J failed"]), point(None, &[])]);
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].ends_with("FROZEN") && lines[1].ends_with("15.2 ms"), "{told}");
        assert!(lines[2].ends_with('-') && lines[3].contains("a hook"), "{told}");
        assert!(!told.contains('\u{1b}'), "{told}");
    }
}

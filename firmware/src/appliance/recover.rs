//! The role *recover*: a server of the vault comes back onto the machine that it was booted on.
//!
//! Nothing is written before a person has seen which disk goes where and typed the server's name. Only blocks that differ
//! are written, so that the same run again, after a cut or a failure, goes on where it was.

use core::time::Duration;

use firmware_web::VaultState;
use hal::inventory::DiskFacts;
use hal::time::Clock;
use hal_linux::SystemClock;
use serde::Deserialize;

use super::board::{Answer, Kind, Question};
use super::capture::{of_this_machine, what_now, work};
use super::vault_place::{VaultPlace, Wanted as Opening, ask};
use super::{Appliance, child};
use crate::disk_facts::identity;
use crate::report::{Size, Span};
use crate::serve::watch::Sight;
use matching::{Pair, Present, Wanted, pair};

/// Which disk goes onto which.
pub(crate) mod matching;

/// The verb's answer, as far as it is of use here.
#[derive(Deserialize)]
struct Listed {
    points: Vec<Point>,
}

/// A recovery point.
#[derive(Clone, Deserialize)]
pub(crate) struct Point {
    id: String,
    server: String,
    time: String,
    #[serde(default)]
    time_millis: u64,
    disks: Vec<Disk>,
    unread_blocks: u64,
}

/// A disk of it.
#[derive(Clone, Deserialize)]
pub(crate) struct Disk {
    name: String,
    identity: String,
    bytes: u64,
}

/// Takes the role to its end; a person may go back at every step.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    let board = &appliance.board;
    let Some(wanted) = Opening::of(appliance).complete(board) else { return Ok(()) };
    let place = VaultPlace::prepare(appliance, &wanted)?;
    board.update(|view| {
        view.vault.clone_from(&place.shown);
        view.status = "reading the vault".to_owned();
    });
    let points = points(appliance, &place)?;
    if points.is_empty() {
        return Err(format!("the vault {} holds no recovery point yet", place.shown));
    }
    let Some(point) = choose(appliance, points, wanted.server.as_deref())? else { return Ok(()) };
    let (present, disks) = present(appliance, &place);
    if disks.is_empty() {
        return Err(
            "this machine shows no disk to write to: check its controller's settings and cables"
                .to_owned(),
        );
    }
    let wanted: Vec<Wanted> = point.disks.iter().map(Wanted::from).collect();
    let pairs = pair(&wanted, &present)?;
    if !confirmed(appliance, &point, &pairs, &disks) {
        return Ok(());
    }
    let report = bring_back(appliance, &place, &point, &pairs, &disks)?;
    let words = format!("{} is back as it was at {}: {report}", point.server, point.time);
    log::info!("{words}");
    board.update(|view| view.status = format!("{} is back", point.server));
    appliance.events.say("recover", &[("state", &"done"), ("point", &point.id)]);
    what_now(appliance, &words);
    Ok(())
}

impl From<&Disk> for Wanted {
    fn from(disk: &Disk) -> Self {
        Self { name: disk.name.clone(), identity: disk.identity.clone(), bytes: disk.bytes }
    }
}

/// The points of a vault, oldest first; an empty vault is an error of whoever wants one.
pub(crate) fn points(appliance: &Appliance, place: &VaultPlace) -> Result<Vec<Point>, String> {
    let answer = child::run(&place.verb(&["points"]), &appliance.stop, &mut |_| {})?;
    let listed: Listed = serde_json::from_value(answer.value)
        .map_err(|error| format!("the list of points cannot be read: {error}"))?;
    Ok(listed.points)
}

/// The same for the page.
pub(crate) fn sight(points: &[Point]) -> Sight {
    let mut servers: Vec<&str> = points.iter().map(|point| point.server.as_str()).collect();
    servers.sort_unstable();
    servers.dedup();
    Sight {
        state: VaultState::Readable,
        servers: servers.len() as u64,
        points: points.len() as u64,
        newest: points.iter().map(|point| point.time_millis).max(),
        looked: SystemClock.monotonic_nanos(),
    }
}

/// How many points of how many servers, and when the newest was made.
pub(crate) fn in_words(points: &[Point]) -> String {
    let Some(newest) = points.last() else { return "no recovery point yet".to_owned() };
    let mut servers: Vec<&str> = points.iter().map(|point| point.server.as_str()).collect();
    servers.sort_unstable();
    servers.dedup();
    let (points, servers) = (points.len(), servers.len());
    format!(
        "{points} points of {servers} servers, the newest of {} at {}",
        newest.server, newest.time
    )
}

/// The server and the point, the newest first.
fn choose(
    appliance: &Appliance,
    points: Vec<Point>,
    named: Option<&str>,
) -> Result<Option<Point>, String> {
    let mut servers: Vec<String> = points.iter().map(|point| point.server.clone()).collect();
    servers.sort();
    servers.dedup();
    let server = match named {
        Some(name) if servers.iter().any(|server| server == name) => name.to_owned(),
        Some(name) => {
            return Err(format!(
                "the vault has no point of server {name}; it has {}",
                servers.join(", ")
            ));
        }
        None => match pick(appliance, "Which server?", servers.clone()) {
            Some(place) => servers.swap_remove(place),
            None => return Ok(None),
        },
    };
    let mut own: Vec<Point> = points.into_iter().filter(|point| point.server == server).collect();
    own.reverse();
    let lines = own.iter().map(|point| {
        let bytes = point.disks.iter().map(|disk| disk.bytes).sum();
        let unread = if point.unread_blocks > 0 { "  incomplete" } else { "" };
        format!("{}  {} disks  {}{unread}", point.time, point.disks.len(), Size(bytes))
    });
    let lines = lines.collect();
    let chosen = pick(appliance, &format!("Which point of {server}? The newest is first."), lines);
    Ok(chosen.map(|place| own.swap_remove(place)))
}

fn pick(appliance: &Appliance, title: &str, choices: Vec<String>) -> Option<usize> {
    let count = choices.len();
    let kind = Kind::Choice(choices);
    match appliance.board.ask(Question { title: title.to_owned(), words: Vec::new(), kind }) {
        Answer::Chosen(place) if place < count => Some(place),
        _ => None,
    }
}

/// The disks of this machine that may be written to, twice: as matching wants them, and whole.
fn present(appliance: &Appliance, place: &VaultPlace) -> (Vec<Present>, Vec<DiskFacts>) {
    let own = [appliance.medium().disk().map(str::to_owned), place.disk.clone()];
    let disks = of_this_machine(hal_linux::inventory(), &own);
    let present = disks.iter().map(|disk| Present {
        path: disk.path.clone(),
        identity: identity(disk),
        bytes: disk.geometry.bytes,
        unusable: match (disk.geometry.read_only, disk.mounted_at.is_empty()) {
            (true, _) => Some("is write-protected".to_owned()),
            (_, false) => Some("is in use".to_owned()),
            _ => None,
        },
    });
    (present.collect(), disks)
}

/// Shows what goes where, and has the server's name typed.
fn confirmed(appliance: &Appliance, point: &Point, pairs: &[Pair], disks: &[DiskFacts]) -> bool {
    let mut words = vec![format!("{} as it was at {}:", point.server, point.time)];
    for pair in pairs {
        let (from, onto) = (&point.disks[pair.from], &disks[pair.onto]);
        words.push(format!(
            "  {} ({})  onto  {}  ({})",
            from.name,
            Size(from.bytes),
            super::devices::disk_line(onto, false),
            pair.reason.words()
        ));
    }
    words.push("What is on these disks now is overwritten.".to_owned());
    if point.unread_blocks > 0 {
        words.push(format!(
            "{} blocks are missing from this point: they could not be read.",
            point.unread_blocks
        ));
    }
    words.push(format!("Type {} to go on.", point.server));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let kind = Kind::Text(String::new());
    let typed = ask(&appliance.board, "Overwrite these disks?", &words, kind);
    if typed.as_deref() == Some(point.server.as_str()) {
        return true;
    }
    log::warn!("nothing was written: the name typed is not {}", point.server);
    appliance.board.update(|view| view.status = "ready".to_owned());
    false
}

/// Disk by disk; the words of the report.
fn bring_back(
    appliance: &Appliance,
    place: &VaultPlace,
    point: &Point,
    pairs: &[Pair],
    disks: &[DiskFacts],
) -> Result<String, String> {
    let mut report = Vec::new();
    for pair in pairs {
        let (from, onto) = (&point.disks[pair.from], &disks[pair.onto]);
        let title = format!("recover {} onto {}", from.name, onto.path);
        appliance.board.update(|view| view.status.clone_from(&title));
        let mut words = vec!["restore", "--server", &point.server, "--point", &point.id];
        words.extend(["--disk", &from.name, "--to", &onto.path, "--confirm", &onto.path]);
        if point.unread_blocks > 0 {
            // Shown, and confirmed with everything else.
            words.push("--accept-unread");
        }
        let answer = work(appliance, "recover", &title, &place.verb(&words));
        let answer = answer.inspect_err(|words| {
            appliance.board.update(|view| view.status = format!("{title} failed"));
            appliance.events.say("recover", &[("state", &"failed"), ("words", words)]);
        })?;
        let number = |name: &str| answer.value[name].as_u64().unwrap_or(0);
        appliance.events.say(
            "recover",
            &[
                ("state", &"disk"),
                ("disk", &from.name),
                ("onto", &onto.path),
                ("written", &number("written_bytes")),
                ("bytes", &number("disk_bytes")),
            ],
        );
        report.push(format!(
            "{} onto {}, {} of {} written in {}",
            from.name,
            onto.path,
            Size(number("written_bytes")),
            Size(number("disk_bytes")),
            Span(Duration::from_millis(number("took_millis"))),
        ));
    }
    Ok(report.join("; "))
}

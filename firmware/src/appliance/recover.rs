//! The role *recover*: a server of the vault comes back onto the machine that it was booted on.
//!
//! Nothing is written before a person has seen which disk goes where and typed the server's name. Only blocks that differ
//! are written, so that the same run again, after a cut or a failure, goes on where it was.

use core::time::Duration;
use std::collections::BTreeSet;
use std::path::Path;

use firmware_web::VaultState;
use hal::inventory::DiskFacts;
use hal::time::Clock;
use hal_linux::SystemClock;
use serde::Deserialize;
use serde_json::Value;

use super::Appliance;
use super::board::{Answer, Kind, Question};
use super::capture::{of_this_machine, what_now, work};
use super::vault_place::{VaultPlace, Wanted as Opening, ask};
use crate::child;
use crate::disk_facts::identity;
use crate::guest_disks::load_all_drivers;
use crate::report::{Size, Span};
use crate::serve::watch::Sight;
use matching::{Pair, Present, Wanted, pair};
use spare_table::{Moved, move_to_end};

/// Which disk goes onto which.
pub(crate) mod matching;
/// The spare partition table of a disk that grew.
pub(crate) mod spare_table;

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
    let Some((pairs, disks)) = matched(appliance, &place, &point) else { return Ok(()) };
    if !confirmed(appliance, &point, &pairs, &disks) {
        return Ok(());
    }
    let mut report = vec![format!("{} is back as it was at {}.", point.server, point.time)];
    report.extend(bring_back(appliance, &place, &point, &pairs, &disks)?);
    report.extend(what_differs(&point, &pairs, &disks));
    for line in &report {
        log::info!("{line}");
    }
    board.update(|view| view.status = format!("{} is back", point.server));
    appliance.events.say("recover", &[("state", &"done"), ("point", &point.id)]);
    what_now(appliance, &report);
    Ok(())
}

/// A disk of this machine for each disk of the point. Where one has none the person is told, and may put one in; nothing
/// has been written by then. `None` when the person goes back.
fn matched(
    appliance: &Appliance,
    place: &VaultPlace,
    point: &Point,
) -> Option<(Vec<Pair>, Vec<DiskFacts>)> {
    let wanted: Vec<Wanted> = point.disks.iter().map(Wanted::from).collect();
    loop {
        let (present, disks) = present(appliance, place);
        let why = match pair(&wanted, &present) {
            Ok(pairs) => return Some((pairs, disks)),
            Err(why) => why,
        };
        log::warn!("nothing was written: {why}");
        appliance.events.say("recover", &[("state", &"refused"), ("words", &why)]);
        let mut words = vec![format!("{why}."), format!("{} has:", point.server)];
        let line = |disk: &Disk| format!("  {} ({})", disk.name, Size(disk.bytes));
        words.extend(point.disks.iter().map(line));
        words.push("This machine has:".to_owned());
        words.extend(
            disks.iter().map(|disk| format!("  {}", super::devices::disk_line(disk, false))),
        );
        if disks.is_empty() {
            words.push(
                "  no disk to write to: check its controller's settings and cables".to_owned(),
            );
        }
        words.push("Nothing has been written.".to_owned());
        let kind = Kind::Choice(vec!["look again".to_owned(), "back".to_owned()]);
        let title = "A disk has no place".to_owned();
        if appliance.board.ask(Question { title, words, kind }) != Answer::Chosen(0) {
            return None;
        }
    }
}

/// What of the machine is not as the server was used to, and what is to be done about it.
fn what_differs(point: &Point, pairs: &[Pair], disks: &[DiskFacts]) -> Vec<String> {
    let mut lines = Vec::new();
    if point.unread_blocks > 0 {
        lines.push(format!(
            "{} blocks could not be read when the point was made; there is on the disks what was there before.",
            point.unread_blocks
        ));
    }
    let renamed =
        pairs.iter().any(|pair| point.disks[pair.from].name != disks[pair.onto].kernel_name());
    if renamed {
        lines.push("Disks have other names here: what is mounted by /dev/... instead of UUID or label is not found.".to_owned());
    }
    lines.push(
        "Next: pull the stick out, have the firmware start the first disk (\\EFI\\BOOT\\BOOTX64.EFI where it knows no other entry), and give the network cards their addresses again: their MACs are new."
            .to_owned(),
    );
    lines
}

impl From<&Disk> for Wanted {
    fn from(disk: &Disk) -> Self {
        Self { name: disk.name.clone(), identity: disk.identity.clone(), bytes: disk.bytes }
    }
}

/// The points of a vault, oldest first; an empty vault is an error of whoever wants one.
pub(crate) fn points(appliance: &Appliance, place: &VaultPlace) -> Result<Vec<Point>, String> {
    let answer = child::run(&place.verb(&["points"]), &|| appliance.stop.asked(), &mut |_| {})?;
    let listed: Listed = serde_json::from_value(answer.value)
        .map_err(|error| format!("the list of points cannot be read: {error}"))?;
    Ok(listed.points)
}

/// The same for the page.
pub(crate) fn sight(points: &[Point]) -> Sight {
    Sight {
        state: VaultState::Readable,
        servers: servers(points).len() as u64,
        points: points.len() as u64,
        newest: points.iter().map(|point| point.time_millis).max(),
        looked: SystemClock.monotonic_nanos(),
    }
}

/// Whose points they are, each server once.
fn servers(points: &[Point]) -> Vec<String> {
    let servers: BTreeSet<&str> = points.iter().map(|point| point.server.as_str()).collect();
    servers.into_iter().map(str::to_owned).collect()
}

/// How many points of how many servers, and when the newest was made.
pub(crate) fn in_words(points: &[Point]) -> String {
    let Some(newest) = points.last() else { return "no recovery point yet".to_owned() };
    let (points, servers) = (points.len(), servers(points).len());
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
    let mut servers = servers(&points);
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
    let booted = appliance.medium().disk().map(str::to_owned);
    let own = [booted, place.disk.clone(), appliance.spool.disk()];
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
) -> Result<Vec<String>, String> {
    let mut report = Vec::new();
    // A server that was failed over is looked into, so that it starts here again.
    load_all_drivers();
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
            log::warn!("{title}: {words}");
            appliance.board.update(|view| view.status = format!("{title} failed"));
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
            "{} onto {}: {} of {} written in {}.",
            from.name,
            onto.path,
            Size(number("written_bytes")),
            Size(number("disk_bytes")),
            Span(Duration::from_millis(number("took_millis"))),
        ));
        report.extend(taken_back(&answer.value));
        report.extend(fit_table(from, onto));
    }
    Ok(report)
}

/// What a failover had changed is as it was before; the line of the report, where there is one.
fn taken_back(answer: &Value) -> Option<String> {
    let count = |name: &str| answer[name].as_array().map_or(0, Vec::len);
    let (taken, left) = (count("taken_back"), count("left"));
    if taken + left == 0 {
        return None;
    }
    let left = if left == 0 {
        String::new()
    } else {
        format!("; {left} were changed since, and are left")
    };
    Some(format!(
        "It had run in Azure: {taken} changes that were made for that are taken back{left}."
    ))
}

/// A larger disk has its spare partition table moved to its end; the line of the report, where there is one.
fn fit_table(from: &Disk, onto: &DiskFacts) -> Option<String> {
    let (bytes, sector) = (onto.geometry.bytes, onto.geometry.logical_sector_bytes);
    if bytes <= from.bytes {
        return None;
    }
    let more = Size(bytes - from.bytes);
    Some(match move_to_end(Path::new(&onto.path), from.bytes, bytes, sector) {
        Ok(Moved::Yes) => format!(
            "{} is larger by {more}: its spare partition table was moved to its end; the room behind the last partition is free.",
            onto.path
        ),
        Ok(Moved::No) => format!("{} is larger by {more}, which nothing uses yet.", onto.path),
        Err(error) => format!(
            "{} is larger by {more}, and its spare partition table could not be moved to its end ({error}): it starts all the same; mend it there with sgdisk -e",
            onto.path
        ),
    })
}

//! The role *capture*: the disks of the machine that it was booted on go into the vault, while nothing else runs on it;
//! straight, or through an appliance that has the vault.
//!
//! What is known is not asked. Without a person it goes on by itself; what fails is tried again at the services' pace, and
//! goes on where it was.

use core::time::Duration;
use std::ffi::OsString;

use hal::inventory::DiskFacts;

use super::board::{Answer, Board, Job, Kind, Question};
use super::enrolment::{self, Enrolled, Ticket};
use super::orders::{Ending, Order};
use super::vault_place::{VaultPlace, Wanted, ask, ask_where};
use super::{Appliance, devices, memory};
use crate::child::{self, Heard, Progress};
use crate::disk_argument::check_name;
use crate::report::{Size, Span};

/// Places of unreadable blocks that the console names.
const PLACES_SHOWN: usize = 6;

/// Where the disks go.
enum Way {
    /// Straight into the vault, under this name.
    Vault(VaultPlace, String),
    /// Through an appliance, which has the vault.
    Appliance(Enrolled),
}

impl Way {
    fn server(&self) -> &str {
        match self {
            Self::Vault(_, server) => server,
            Self::Appliance(enrolled) => &enrolled.name,
        }
    }

    fn shown(&self) -> &str {
        match self {
            Self::Vault(place, _) => &place.shown,
            Self::Appliance(enrolled) => &enrolled.shown,
        }
    }

    fn verb(&self, disks: &[DiskFacts]) -> child::Verb {
        match self {
            Self::Vault(place, server) => {
                let mut verb = place.verb(&["protect", "--server", server]);
                verb.words.extend(disks.iter().map(|disk| OsString::from(&disk.path)));
                verb
            }
            Self::Appliance(enrolled) => enrolled.verb(disks),
        }
    }
}

/// What was decided before anything was done.
enum Plan {
    Vault(Wanted),
    Appliance(Ticket),
}

/// Takes the role to its end.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    let board = &appliance.board;
    let Some((plan, attended)) = plan(appliance) else { return Ok(()) };
    let (way, disks) = match plan {
        Plan::Vault(wanted) => {
            let Some(server) = server_name(appliance, &wanted)? else { return Ok(()) };
            let place = VaultPlace::prepare(appliance, &wanted)?;
            let disks = disks(appliance, place.disk.clone())?;
            (Way::Vault(place, server), disks)
        }
        Plan::Appliance(ticket) => {
            let disks = disks(appliance, None)?;
            (Way::Appliance(Enrolled::prepare(appliance, &ticket, &disks)?), disks)
        }
    };
    board.update(|view| way.shown().clone_into(&mut view.vault));
    if attended && !agreed(appliance, &way, &disks) {
        return Ok(());
    }
    let made = protect(appliance, &way, &disks)?;
    report(appliance, way.server(), &made);
    Ok(())
}

/// What `lifeboat.toml` says, or the person; and whether there is one. `None` when the person goes back.
fn plan(appliance: &Appliance) -> Option<(Plan, bool)> {
    let board = &appliance.board;
    if let Some(told) = appliance.settings.get().and_then(|settings| settings.appliance.as_ref()) {
        let name = told.server.clone().unwrap_or_else(machine_name);
        let ticket = Ticket { token: Some(told.token.clone()), name };
        return Some((Plan::Appliance(ticket), false));
    }
    let mut wanted = Wanted::of(appliance);
    if wanted.is_complete() {
        return Some((Plan::Vault(wanted), false));
    }
    if wanted.address.is_none() {
        if let Some(ticket) = before(appliance)? {
            return Some((Plan::Appliance(ticket), true));
        }
        let typed = ask_where(board)?;
        if enrolment::is_token(&typed) {
            let name = ask_name(board)?;
            return Some((Plan::Appliance(Ticket { token: Some(typed), name }), true));
        }
        wanted.address = Some(typed);
    }
    Some((Plan::Vault(wanted.complete(board)?), true))
}

/// Whether the person wants what was done before; `None` when they go back.
fn before(appliance: &Appliance) -> Option<Option<Ticket>> {
    let disks = of_this_machine(hal_linux::inventory(), &own(appliance, None));
    let Some((name, shown)) = enrolment::remembered(appliance, &disks) else { return Some(None) };
    let choices = [format!("as {name}, through {shown}"), "another way".to_owned()].to_vec();
    let words = vec!["This machine was captured from this medium before.".to_owned()];
    let title = "Where do its disks go?".to_owned();
    match appliance.board.ask(Question { title, words, kind: Kind::Choice(choices) }) {
        Answer::Chosen(0) => Some(Some(Ticket { token: None, name })),
        Answer::Chosen(_) => Some(None),
        _ => None,
    }
}

fn ask_name(board: &Board) -> Option<String> {
    let words = ["The name that its recovery points are listed under; one word."];
    ask(board, "What is this server called?", &words, Kind::Text(machine_name()))
}

/// The disks that Lifeboat itself stands on.
fn own(appliance: &Appliance, vault: Option<String>) -> [Option<String>; 3] {
    [appliance.medium().disk().map(str::to_owned), vault, appliance.spool.disk()]
}

/// The machine's disks; `vault` is the one that holds the vault.
fn disks(appliance: &Appliance, vault: Option<String>) -> Result<Vec<DiskFacts>, String> {
    let disks = of_this_machine(hal_linux::inventory(), &own(appliance, vault));
    if disks.is_empty() {
        return Err("this machine shows no disk to protect: check its controller's settings and cables; a controller without a driver here cannot be seen".to_owned());
    }
    Ok(disks)
}

/// What the machine's disks are protected as.
fn server_name(appliance: &Appliance, wanted: &Wanted) -> Result<Option<String>, String> {
    let name = match &wanted.server {
        Some(name) => name.clone(),
        None => {
            let Some(name) = ask_name(&appliance.board) else { return Ok(None) };
            name
        }
    };
    check_name(&name).map_err(|problem| format!("server: {problem}"))?;
    Ok(Some(name))
}

/// A guess at the server's name, from what its firmware says.
fn machine_name() -> String {
    let text = std::fs::read_to_string("/sys/class/dmi/id/product_serial").unwrap_or_default();
    let kept: String = text.trim().chars().filter(char::is_ascii_alphanumeric).collect();
    if kept.is_empty() { "server".to_owned() } else { kept.to_ascii_lowercase() }
}

/// All disks but those that Lifeboat itself stands on. Names are the kernel's.
pub(crate) fn of_this_machine(disks: Vec<DiskFacts>, own: &[Option<String>]) -> Vec<DiskFacts> {
    let is_own = |disk: &DiskFacts| own.iter().flatten().any(|own| own == disk.kernel_name());
    disks.into_iter().filter(|disk| !is_own(disk) && disk.geometry.bytes > 0).collect()
}

fn agreed(appliance: &Appliance, way: &Way, disks: &[DiskFacts]) -> bool {
    let how = if matches!(way, Way::Vault(..)) { "into" } else { "through" };
    let mut words = vec![format!("As {}, {how} {}:", way.server(), way.shown())];
    words.extend(disks.iter().map(|disk| format!("  {}", devices::disk_line(disk, false))));
    words.push("They are only read.".to_owned());
    let kind = Kind::Choice(vec!["protect them now".to_owned(), "back".to_owned()]);
    let title = "Protect these disks?".to_owned();
    appliance.board.ask(Question { title, words, kind }) == Answer::Chosen(0)
}

fn protect(appliance: &Appliance, way: &Way, disks: &[DiskFacts]) -> Result<child::Answer, String> {
    let server = way.server();
    let title = format!("capture {server}");
    appliance.board.update(|view| view.status = format!("capturing {server}"));
    appliance.events.say("capture", &[("state", &"started"), ("disks", &disks.len())]);
    let made = work(appliance, "capture", &title, &way.verb(disks));
    if let Way::Appliance(enrolled) = way {
        enrolled.keep(appliance);
    }
    made.inspect_err(|_| board_failed(appliance, server))
}

fn board_failed(appliance: &Appliance, server: &str) {
    appliance.board.update(|view| view.status = format!("capture of {server} failed"));
}

/// Runs a verb and shows how far it is.
pub(crate) fn work(
    appliance: &Appliance,
    event: &str,
    title: &str,
    verb: &child::Verb,
) -> Result<child::Answer, String> {
    let board = &appliance.board;
    board.update(|view| view.job = Some(Job { title: title.to_owned(), ..Job::default() }));
    let result = child::run(verb, &|| appliance.stop.asked(), &mut |heard| {
        let Heard::Progress(progress) = heard else { return };
        board.update(|view| view.job = Some(job(title, progress)));
        appliance.events.say(
            event,
            &[
                ("state", &"progress"),
                ("done", &progress.done_bytes),
                ("total", &progress.total_bytes),
                ("stored", &progress.stored_bytes),
            ],
        );
    });
    board.update(|view| view.job = None);
    memory::take_notes(appliance);
    Ok(result?)
}

fn job(title: &str, progress: &Progress) -> Job {
    let left = progress.total_bytes.saturating_sub(progress.done_bytes);
    let words = match left.checked_div(progress.bytes_per_second) {
        Some(seconds) if progress.total_bytes > 0 => {
            let span = Span(Duration::from_secs(seconds));
            format!("{}/s  {span} left", Size(progress.bytes_per_second))
        }
        _ => String::new(),
    };
    let (done, total) = (progress.done_bytes, progress.total_bytes);
    Job { title: title.to_owned(), done, total, words }
}

/// The end, and what to do with the machine now.
fn report(appliance: &Appliance, server: &str, made: &child::Answer) {
    let number = |name: &str| made.value[name].as_u64().unwrap_or(0);
    let point = made.value["point"].as_str().unwrap_or_default().to_owned();
    let took = Span(Duration::from_millis(number("took_millis")));
    // An appliance tells what it took, not what it stores.
    let (went, bytes) = match made.value["sent_bytes"].as_u64() {
        Some(bytes) => ("sent", bytes),
        None => ("stored", number("stored_bytes")),
    };
    let mut words = vec![format!(
        "{server} is protected: point {point}, {} read, {} {went}, {took}.",
        Size(number("read_bytes")),
        Size(bytes),
    )];
    log::info!("{}", words[0]);
    let mut status = format!("{server} is protected");
    if let Some(missing) = &made.incomplete {
        log::warn!("{missing}");
        status.push_str(", but incomplete");
        words.push(format!("Incomplete: {missing}."));
        words.push(unread_places(&made.value));
    }
    appliance.board.update(|view| view.status = status);
    let state = if made.incomplete.is_some() { "incomplete" } else { "done" };
    appliance.events.say(
        "capture",
        &[
            ("state", &state),
            ("point", &point),
            ("read", &number("read_bytes")),
            ("stored", &number("stored_bytes")),
            ("sent", &number("sent_bytes")),
            ("resumed", &made.value["resumed"].as_bool().unwrap_or(false)),
            ("words", &made.incomplete.as_deref().unwrap_or_default()),
        ],
    );
    what_now(appliance, &words);
}

/// Where the first blocks are that could not be read, for whoever judges the disk.
fn unread_places(answer: &serde_json::Value) -> String {
    let all = answer["unread"].as_array().map(Vec::as_slice).unwrap_or_default();
    let place = |one: &serde_json::Value| {
        let disk = one["disk"].as_str().unwrap_or_default();
        format!("{disk} at byte {}", one["offset"].as_u64().unwrap_or(0))
    };
    let first: Vec<String> = all.iter().take(PLACES_SHOWN).map(place).collect();
    let more = if all.len() > PLACES_SHOWN { " and more" } else { "" };
    format!("Blocks of 64 KiB that are missing: {}{more}.", first.join(", "))
}

/// Asks what the machine is to do after its job is done; nobody there means that it waits.
pub(crate) fn what_now(appliance: &Appliance, words: &[String]) {
    let choices = ["switch the machine off", "restart it", "back to the overview"];
    let kind = Kind::Choice(choices.map(str::to_owned).to_vec());
    let question = Question { title: "Done".to_owned(), words: words.to_vec(), kind };
    let ending = match appliance.board.ask(question) {
        Answer::Chosen(0) => Ending::PowerOff,
        Answer::Chosen(1) => Ending::Restart,
        _ => return,
    };
    appliance.orders.give(Order::End(ending, "its job is done".to_owned()));
}

#[cfg(test)]
mod tests {
    use hal::disk::Geometry;

    use super::*;

    fn disk(path: &str, bytes: u64) -> DiskFacts {
        let geometry = Geometry {
            bytes,
            logical_sector_bytes: 512,
            physical_sector_bytes: 512,
            request_align_bytes: 512,
            discard_bytes: 0,
            read_only: false,
        };
        DiskFacts::of(path, geometry)
    }

    #[test]
    fn the_stick_and_the_vaults_disk_are_left_out() {
        let all = vec![
            disk("/dev/sda", 9),
            disk("/dev/sdb", 9),
            disk("/dev/sdc", 0),
            disk("/dev/sdd", 9),
        ];
        let kept = of_this_machine(all, &[Some("sda".into()), None, Some("sdd".into())]);
        let names: Vec<&str> = kept.iter().map(|disk| disk.path.as_str()).collect();
        assert_eq!(names, ["/dev/sdb"]);
    }

    #[test]
    fn progress_has_its_rate_and_the_time_left() {
        let progress = Progress {
            done_bytes: 1 << 30,
            total_bytes: 3 << 30,
            stored_bytes: 1,
            bytes_per_second: 1 << 20,
        };
        assert_eq!(job("x", &progress).words, "1.00 MiB/s  34 min 08 s left");
        assert_eq!(job("x", &Progress::default()).words, "");
    }
}

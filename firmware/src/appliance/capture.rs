//! The role *capture*: the disks of the machine that it was booted on go into the vault, while nothing else runs on it.
//!
//! What is known is not asked. Without a person it goes on by itself; what fails is tried again at the services' pace, and
//! goes on where it was.

use core::time::Duration;
use std::ffi::OsString;

use hal::inventory::DiskFacts;

use super::board::{Answer, Job, Kind, Question};
use super::child::{self, Progress};
use super::orders::{Ending, Order};
use super::vault_place::{VaultPlace, Wanted, ask};
use super::{Appliance, devices, memory};
use crate::disk_argument::check_name;
use crate::report::{Size, Span};

/// Places of unreadable blocks that the console names.
const PLACES_SHOWN: usize = 6;

/// Takes the role to its end.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    let board = &appliance.board;
    let wanted = Wanted::of(appliance);
    let attended = !wanted.is_complete();
    let Some(wanted) = wanted.complete(board) else { return Ok(()) };
    let Some(server) = server_name(appliance, &wanted)? else { return Ok(()) };
    let place = VaultPlace::prepare(appliance, &wanted)?;
    board.update(|view| view.vault.clone_from(&place.shown));
    let booted = appliance.medium().disk().map(str::to_owned);
    let own = [booted, place.disk.clone(), appliance.spool.disk()];
    let disks = of_this_machine(hal_linux::inventory(), &own);
    if disks.is_empty() {
        return Err("this machine shows no disk to protect: check its controller's settings and cables; a controller without a driver here cannot be seen".to_owned());
    }
    if attended && !agreed(appliance, &server, &place, &disks) {
        return Ok(());
    }
    let made = protect(appliance, &server, &place, &disks)?;
    report(appliance, &server, &made);
    Ok(())
}

/// What the machine's disks are protected as.
fn server_name(appliance: &Appliance, wanted: &Wanted) -> Result<Option<String>, String> {
    let name = match &wanted.server {
        Some(name) => name.clone(),
        None => {
            let words = ["The name that its recovery points are listed under; one word."];
            let kind = Kind::Text(machine_name());
            let Some(name) = ask(&appliance.board, "What is this server called?", &words, kind)
            else {
                return Ok(None);
            };
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

fn agreed(appliance: &Appliance, server: &str, place: &VaultPlace, disks: &[DiskFacts]) -> bool {
    let mut words = vec![format!("As {server}, into {}:", place.shown)];
    words.extend(disks.iter().map(|disk| format!("  {}", devices::disk_line(disk, false))));
    words.push("They are only read.".to_owned());
    let kind = Kind::Choice(vec!["protect them now".to_owned(), "back".to_owned()]);
    let title = "Protect these disks?".to_owned();
    appliance.board.ask(Question { title, words, kind }) == Answer::Chosen(0)
}

fn protect(
    appliance: &Appliance,
    server: &str,
    place: &VaultPlace,
    disks: &[DiskFacts],
) -> Result<child::Answer, String> {
    let title = format!("capture {server}");
    let mut verb = place.verb(&["protect", "--server", server]);
    verb.words.extend(disks.iter().map(|disk| OsString::from(&disk.path)));
    appliance.board.update(|view| view.status = format!("capturing {server}"));
    appliance.events.say("capture", &[("state", &"started"), ("disks", &disks.len())]);
    work(appliance, "capture", &title, &verb).inspect_err(|_| board_failed(appliance, server))
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
    let result = child::run(verb, &appliance.stop, &mut |progress| {
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
    result
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
    let mut words = vec![format!(
        "{server} is protected: point {point}, {} read, {} stored, {took}.",
        Size(number("read_bytes")),
        Size(number("stored_bytes")),
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

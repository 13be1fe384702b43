//! The appliance in a virtual machine, for end-to-end tests: started, waited for, and asked.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use image_layout::disk::ESP_OFFSET;
use qemu::{Disk, Event, Machine, PATIENT, Running};

use crate::azurite::{Scratch, run};
use crate::guest::{BOOT, Files, appliance, image};
use crate::media::stick as stick_of;
use crate::program::Place;

/// Longest wait for what a running appliance does at once: a translated processor beside others is slow.
pub const ANSWER: Duration = Duration::from_secs(120);

/// A job on a whole disk beside other machines takes its time; a test that hangs is ended by others.
const LIFETIME: Duration = Duration::from_secs(540);
/// Longest wait for the screen to show what it is to show.
const DRAWN: Duration = Duration::from_secs(30);

/// A machine that starts the appliance without firmware; `words` are for its command line, `dressed` plugs things in. It has
/// one processor, where `dressed` says no other: two machines side by side do more than one with two, translated.
///
/// # Panics
/// Where there is no image to be had, or the machine does not start: nothing can be tested then.
#[track_caller]
pub fn start(words: &str, dressed: impl FnOnce(Machine) -> Machine) -> Running {
    let Files { kernel, initrd } = appliance().unwrap_or_else(|error| panic!("{error}"));
    // As the image has it: a tmpfs takes half of the memory, and a machine of 192 MiB has no room for the program there.
    let line = format!("console=ttyS0 rootfstype=ramfs lifeboat.test=1 panic=-1 {words}");
    let machine = Machine::kernel(&kernel, &initrd, &line).lifetime(LIFETIME).processors(1);
    dressed(machine).start().unwrap_or_else(|error| panic!("{error}"))
}

/// A medium of the image's own layout without a system on it: for a machine that starts without firmware and finds its
/// `lifeboat.toml` and its state there.
///
/// # Panics
/// Where it cannot be written.
#[track_caller]
pub fn medium(folder: &Path, configuration: &str) -> PathBuf {
    stick_of(&folder.join("medium.img"), configuration)
}

/// A machine that starts the image as it is given away, by UEFI, from this disk; `words` are for the kernel's command
/// line, which the image's stub takes from the board.
///
/// # Panics
/// Where there is no image to be had, or the machine does not start: nothing can be tested then.
#[track_caller]
pub fn start_image(disk: Disk, words: &str, dressed: impl FnOnce(Machine) -> Machine) -> Running {
    let words = format!("{PATIENT} lifeboat.test=1 panic=-1 {words}");
    let line = format!("io.systemd.stub.kernel-cmdline-extra={words}");
    // One processor: translated ones that meet in system management mode wait for each other without end.
    let machine = Machine::uefi().processors(1).board_words(line).disk(disk.boot_order(0));
    dressed(machine).start().unwrap_or_else(|error| panic!("{error}"))
}

/// A stick of one's own, with this `lifeboat.toml` on it, as a person puts it there.
///
/// # Panics
/// Where there is no image to be had, or the file cannot be put onto it.
#[track_caller]
pub fn stick(scratch: &Scratch, name: &str, settings: &str) -> PathBuf {
    let made = image().unwrap_or_else(|error| panic!("{error}"));
    let path = scratch.path().join(name);
    std::fs::copy(made.stick, &path).expect("the image can be copied");
    put_settings(&path, settings);
    path
}

/// Puts a `lifeboat.toml` onto a stick, over the one that is there.
///
/// # Panics
/// Where mtools is missing, or the stick is none.
#[track_caller]
pub fn put_settings(stick: &Path, settings: &str) {
    let file = stick.with_extension("toml");
    std::fs::write(&file, settings).expect("a scratch file");
    let mut command = Command::new("mcopy");
    command.arg("-o").arg("-i").arg(format!("{}@@{ESP_OFFSET}", stick.display()));
    run(command.arg(&file).arg("::lifeboat.toml")).unwrap_or_else(|error| panic!("{error}"));
}

/// What a phase of the boot said last.
pub fn phase_words<'a>(events: &'a [Event], name: &str) -> &'a str {
    let mut phases = events.iter().filter(|event| event.name == "phase");
    let last = phases.rfind(|event| event.field("name") == Some(name));
    last.and_then(|event| event.field("words")).unwrap_or_default()
}

/// Waits until the console shows these words, whatever rows they stand in. Only what changes is ever drawn, so the whole
/// screen is asked for again and again.
///
/// # Panics
/// Where it does not show them: with the end of the console.
#[track_caller]
pub fn await_words(running: &Running, words: &str) {
    const REDRAW: &[u8] = b"\x0c";
    let deadline = Instant::now() + ANSWER;
    while !shown(&running.console().bytes()).contains(words) {
        let console = running.console();
        assert!(Instant::now() < deadline, "«{words}» is not shown:\n{}", console.tail());
        console.type_bytes(REDRAW).unwrap_or_else(|error| panic!("{error}"));
        std::thread::sleep(Duration::from_millis(1000));
    }
}

/// Has the person at the console choose the disk with these words for the spool.
///
/// # Panics
/// Where it is not offered.
#[track_caller]
pub fn choose_spool(running: &Running, words: &str) {
    running.console().type_bytes(b"d").expect("the console takes keys");
    let wanted =
        |event: &Event| event.field("title").is_some_and(|title| title.contains("Which disk"));
    let asked = running.console().event_where("ask", ANSWER, wanted);
    let asked = asked.unwrap_or_else(|error| panic!("{error}"));
    let choices = asked.field("choices").unwrap_or_default();
    let place = choices.split('|').position(|choice| choice.contains(words));
    let place = place.unwrap_or_else(|| panic!("{words} is not offered: {choices}"));
    let key = (place + 1).to_string();
    running.console().type_bytes(key.as_bytes()).expect("the console takes keys");
}

/// Everything that was drawn, without what moves the cursor, blanks as one.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    for (place, part) in text.split('\u{1b}').enumerate() {
        // A control sequence ends with its first letter.
        let end =
            if place == 0 { 0 } else { part.find(char::is_alphabetic).map_or(0, |at| at + 1) };
        plain.push_str(part.get(end..).unwrap_or_default());
        plain.push(' ');
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits until the appliance says that it is ready, and gives what it said until then.
///
/// # Panics
/// Where it does not come up: with the end of its console.
#[track_caller]
pub fn await_ready(running: &Running) -> Vec<Event> {
    match running.console().event("ready", BOOT) {
        Ok(_) => running.console().events(),
        Err(error) => panic!("{error}"),
    }
}

/// Waits for an event.
///
/// # Panics
/// Where it does not come: with the end of the console.
#[track_caller]
pub fn await_event(running: &Running, name: &str, wait: Duration) -> Event {
    running.console().event(name, wait).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits for an event that may have come before others that were waited for.
///
/// # Panics
/// Where it does not come: with the end of the console.
#[track_caller]
pub fn event_at_any_time(running: &Running, name: &str, fits: impl Fn(&Event) -> bool) -> Event {
    let until = Instant::now() + ANSWER;
    loop {
        let events = running.console().events();
        if let Some(said) = events.into_iter().find(|event| event.name == name && fits(event)) {
            return said;
        }
        let console = running.console();
        assert!(Instant::now() < until, "no event {name} like that:\n{}", console.tail());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The key of a vault as a person types it.
///
/// # Panics
/// Where there is no key file.
pub fn recovery_key(place: &Place) -> String {
    let text = std::fs::read_to_string(&place.key).expect("the vault's key file");
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.next_back().expect("a key in it").to_owned()
}

/// The table of `lifeboat.toml` that says where a vault is and what opens it; `more` are further lines of it.
pub fn vault_table(place: &Place, address: &str, more: &str) -> String {
    let key = recovery_key(place);
    format!("[vault]\naddress = \"{address}\"\nrecovery-key = \"{key}\"\n{more}")
}

/// Waits until a job says how it ended, and gives that.
///
/// # Panics
/// Where it says nothing: with the end of the console.
#[track_caller]
pub fn await_end(running: &Running, job: &str, wait: Duration) -> Event {
    let end = |event: &Event| {
        let ends = ["done", "incomplete", "failed", "refused"];
        event.field("state").is_some_and(|state| ends.contains(&state))
    };
    running.console().event_where(job, wait, end).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the person at the console is asked this, and types an answer. What is there already stays in front of it.
///
/// # Panics
/// Where nothing like it is asked: with the end of the console.
#[track_caller]
pub fn answer(running: &Running, title: &str, text: &str) -> Event {
    let wanted = |event: &Event| event.field("title").is_some_and(|words| words.contains(title));
    // The first question may come before the machine says that it is ready.
    let asked = running.console().event_where("ask", BOOT, wanted);
    let asked = asked.unwrap_or_else(|error| panic!("{error}"));
    let keys =
        if asked.field("kind") == Some("choice") { text.to_owned() } else { format!("{text}\r") };
    running.console().type_bytes(keys.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    asked
}

/// Whether words come to stand, or stood, in one row of the console's screen. What is asked stays there until it is
/// answered, so this comes before the answer: drawing takes its time.
pub fn is_shown(running: &Running, words: &str) -> bool {
    let until = Instant::now() + DRAWN;
    loop {
        if running.console().lines().iter().any(|line| line.text.contains(words)) {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How a phase of the boot ended, if it was tried: `done`, `failed`, `skipped`.
pub fn phase<'a>(events: &'a [Event], name: &str) -> Option<&'a str> {
    let mut phases = events.iter().filter(|event| event.name == "phase");
    let last = phases.rfind(|event| event.field("name") == Some(name));
    last.and_then(|event| event.field("state"))
}

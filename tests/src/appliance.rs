//! The appliance in a virtual machine, for end-to-end tests: started, waited for, and asked.

use core::time::Duration;
use std::path::{Path, PathBuf};

use image::disk::{Contents, make};
use qemu::{Event, Machine, Running};

use crate::guest::{BOOT, Files, appliance};

/// Longest wait for what a running appliance does at once: a translated processor beside others is slow.
pub const ANSWER: Duration = Duration::from_secs(120);

/// A machine that starts the appliance without firmware; `words` are for its command line, `dressed` plugs things in.
///
/// # Panics
/// Where there is no image to be had, or the machine does not start: nothing can be tested then.
#[track_caller]
pub fn start(words: &str, dressed: impl FnOnce(Machine) -> Machine) -> Running {
    let Files { kernel, initrd } = appliance().unwrap_or_else(|error| panic!("{error}"));
    let line = format!("console=ttyS0 lifeboat.test=1 panic=-1 {words}");
    let machine = dressed(Machine::kernel(&kernel, &initrd, &line));
    machine.start().unwrap_or_else(|error| panic!("{error}"))
}

/// A medium of the image's own layout without a system on it: for a machine that starts without firmware and finds its
/// `lifeboat.toml` and its state there.
///
/// # Panics
/// Where it cannot be written.
#[track_caller]
pub fn medium(folder: &Path, configuration: &str) -> PathBuf {
    let configuration = Some(configuration.as_bytes());
    let disk = make(&Contents { manager: b"", slot: b"", configuration });
    let disk = disk.unwrap_or_else(|error| panic!("{error}"));
    let path = folder.join("medium.img");
    std::fs::write(&path, disk.bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
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

/// How a phase of the boot ended, if it was tried: `done`, `failed`, `skipped`.
pub fn phase<'a>(events: &'a [Event], name: &str) -> Option<&'a str> {
    let mut phases = events.iter().filter(|event| event.name == "phase");
    let last = phases.rfind(|event| event.field("name") == Some(name));
    last.and_then(|event| event.field("state"))
}

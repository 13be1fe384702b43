//! Devices as they come and go: drivers for what is plugged in, and one line for each disk and network card.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::fs;
use std::path::Path;
use std::time::Instant;

use hal::inventory::DiskFacts;
use hal::time::Clock;
use hal_linux::SystemClock;

use super::modules::{Loader, device_aliases};
use super::uevents::{Heard, Uevent, Uevents};
use super::{Appliance, memory, sysctls};
use crate::report::Size;

/// Nothing new for so long, and nothing being loaded: what was there at the start is found.
const QUIET: Duration = Duration::from_millis(250);
/// A machine whose devices never come to rest goes on all the same.
const SETTLE_MAX: Duration = Duration::from_secs(20);
/// Where the kernel shows devices.
const DEVICES: &str = "/sys/devices";

/// So long after the last device drivers are locked, where they are.
const LOCK_AFTER_MILLIS: u64 = 30_000;
/// What is loaded before that, as it may be asked for later: file systems that media and servers have, links of several parts,
/// sticks that are not there yet.
const WANTED_LATER: [&str; 15] = [
    "fuse",
    "loop",
    "xfs",
    "ext4",
    "crc32c_generic",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "nls_iso8859-1",
    "isofs",
    "8021q",
    "bonding",
    "sd_mod",
    "usb-storage",
    "uas",
];

/// When the last device appeared, in milliseconds of the clock that only runs forwards; 0 before the first.
#[derive(Default)]
pub(crate) struct Sightings(AtomicU64);

impl Sightings {
    fn note(&self, event: &Uevent) {
        if event.action == "add" && ["block", "net"].contains(&event.subsystem.as_str()) {
            self.0.store(SystemClock.monotonic_nanos() / 1_000_000, Ordering::Relaxed);
        }
    }

    /// How long ago the last device appeared, where one did.
    pub(crate) fn millis_ago(&self) -> Option<u64> {
        let last = self.0.load(Ordering::Relaxed);
        let now = SystemClock.monotonic_nanos() / 1_000_000;
        (last > 0).then(|| now.saturating_sub(last))
    }
}

/// Hears one thing that the kernel says, waited for so long, and wants what drives the device; whether there was anything.
pub(crate) fn attend(
    loader: &Loader,
    uevents: &Uevents,
    sightings: &Sightings,
    patience: Duration,
) -> bool {
    match uevents.next(patience) {
        Heard::Event(event) => {
            sightings.note(&event);
            event.modalias.iter().for_each(|alias| {
                loader.want(alias);
            });
        }
        Heard::Missed => device_aliases(Path::new(DEVICES)).iter().for_each(|alias| {
            loader.want(alias);
        }),
        Heard::Nothing => {}
        Heard::Quiet => return false,
    }
    true
}

/// Loads drivers for everything that is there, and what appears behind it.
pub(crate) fn cold_plug(loader: &Loader, uevents: &Uevents, sightings: &Sightings) -> String {
    let until = Instant::now() + SETTLE_MAX;
    let aliases = device_aliases(Path::new(DEVICES));
    for alias in &aliases {
        loader.want(alias);
    }
    loop {
        let heard = attend(loader, uevents, sightings, QUIET);
        let settled = !heard && loader.settle(Duration::ZERO).open == 0;
        if settled || Instant::now() > until {
            break;
        }
    }
    let loaded = loader.summary();
    for (name, why) in &loaded.failed {
        log::info!("module {name}: {why}");
    }
    format!(
        "{} modules for {} devices, {} failed",
        loaded.loaded,
        aliases.len(),
        loaded.failed.len()
    )
}

/// Follows what the kernel says for as long as the machine runs.
pub(crate) fn follow(appliance: &Appliance) -> Result<(), String> {
    let fresh;
    let kept = appliance.uevents.get();
    let uevents = match kept {
        Some(uevents) => uevents,
        None => {
            fresh = Uevents::open()?;
            &fresh
        }
    };
    let mut stale = true;
    let mut told = Vec::new();
    let mut lock = Lock::of(appliance);
    while !appliance.stop.asked() {
        lock.look(appliance);
        match uevents.next(Duration::from_millis(if stale { 200 } else { 1000 })) {
            Heard::Event(event) => {
                if let (Some(loader), Some(alias)) = (appliance.loader.get(), &event.modalias)
                    && event.action == "add"
                {
                    loader.want(alias);
                }
                let shown = ["block", "net"].contains(&event.subsystem.as_str());
                if shown {
                    tell_of_medium(appliance, &event);
                    let name = event.name.clone().unwrap_or_default();
                    told.push((event.subsystem, event.action, name));
                }
                stale |= shown;
            }
            Heard::Missed => stale = true,
            Heard::Nothing => {}
            // After a burst: everything is looked at once.
            Heard::Quiet if stale => {
                stale = false;
                memory::come_back(appliance);
                show(appliance);
                for (subsystem, action, name) in told.drain(..) {
                    let pairs: [(&str, &dyn core::fmt::Display); 3] =
                        [("subsystem", &subsystem), ("action", &action), ("name", &name)];
                    appliance.events().say("device", &pairs);
                }
            }
            Heard::Quiet => memory::tell_trouble(appliance),
        }
    }
    Ok(())
}

/// Drivers are locked once everything that is there has come, where `lifeboat.toml` says so.
struct Lock {
    wanted: bool,
}

impl Lock {
    fn of(appliance: &Appliance) -> Self {
        let settings = appliance.settings.get();
        Self { wanted: settings.is_some_and(|settings| settings.hardening.lock_modules) }
    }

    fn look(&mut self, appliance: &Appliance) {
        let Some(loader) = appliance.loader.get().filter(|_| self.wanted) else { return };
        if appliance.sightings.millis_ago().is_some_and(|millis| millis < LOCK_AFTER_MILLIS) {
            return;
        }
        self.wanted = false;
        for name in WANTED_LATER {
            if let Err(words) = loader.need(name) {
                log::debug!("before drivers are locked: {words}");
            }
        }
        match sysctls::lock_modules() {
            Ok(()) => log::info!("from now on no driver is loaded, until the next start"),
            Err(words) => log::warn!("drivers are not locked: {words}"),
        }
        appliance.events().say("locked", &[("modules", &sysctls::modules_are_locked())]);
    }
}

/// A stick that is pulled out is no harm, but a person must know what it costs.
fn tell_of_medium(appliance: &Appliance, event: &Uevent) {
    let medium = appliance.medium();
    let Some(disk) = medium.disk() else { return };
    if event.name.as_deref() != Some(disk) || event.action != "remove" {
        return;
    }
    let kept = medium.state.is_some();
    let words = match kept {
        true => "what is set from now on is held in memory until it is plugged in again",
        false => "nothing is lost",
    };
    log::warn!(
        "{disk}, which this machine was booted from, was pulled out: the machine goes on without it; {words}"
    );
    if kept {
        appliance.memory.let_go();
        let words = "held in memory: the medium was pulled out; plug it in again";
        appliance.board.update(|view| words.clone_into(&mut view.state));
    }
}

/// Puts disks and network cards on the board.
pub(crate) fn show(appliance: &Appliance) {
    let own = appliance.medium().disk().map(|name| format!("/dev/{name}"));
    let disks = hal_linux::inventory();
    let lines = disks.iter().map(|disk| disk_line(disk, own.as_deref() == Some(&disk.path)));
    let lines: Vec<String> = lines.collect();
    let nics = nics(Path::new("/sys/class/net"));
    appliance.board.update(|view| {
        view.disks = lines;
        view.nics = nics;
    });
}

/// A disk on one line: what a person knows it by.
pub(crate) fn disk_line(disk: &DiskFacts, own: bool) -> String {
    let mut words = vec![disk.kernel_name().to_owned(), Size(disk.geometry.bytes).to_string()];
    words.extend(disk.model.clone());
    words.extend(disk.serial.clone());
    if own {
        words.push("(booted from)".to_owned());
    }
    words.join("  ")
}

/// A line for each network card that is hardware.
fn nics(class: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(class) else { return Vec::new() };
    let mut lines: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("device").exists())
        .map(|entry| {
            let text = |name: &str| {
                let text = fs::read_to_string(entry.path().join(name)).unwrap_or_default();
                text.trim().to_owned()
            };
            let carrier = if text("carrier") == "1" { "up" } else { "no link" };
            let driver = fs::read_link(entry.path().join("device/driver")).ok();
            let driver =
                driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
            let speed = text("speed").parse::<u32>().map(|mbit| format!("{mbit} Mbit/s"));
            let mut words =
                vec![entry.file_name().to_string_lossy().into_owned(), carrier.to_owned()];
            words.extend(speed);
            words.push(text("address"));
            words.extend(driver.map(|name| name.into_owned()));
            words.join("  ")
        })
        .collect();
    lines.sort();
    lines
}

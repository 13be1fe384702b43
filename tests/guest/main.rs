//! PID 1 of the machines that `tests/tracker.rs` boots: it tracks its disks with the agent's own tracker while another
//! process writes to them, builds replicas of what was tracked, and says when the host is to compare.
//!
//! It proves nothing itself: what counts is the host's look at the disks' files.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

use core::time::Duration;

use image_layout::initrd::{MODULE_INDEX, MODULES};
use image_layout::modules::Index;
use pipeline_agent::freeze::dead_man;
use qemu::guest::{Answer, Host, be_first, obey_all, say, settle};
use rustix::system::{RebootCommand, finit_module, reboot};

/// Rounds of tracking, with freezes in between.
mod campaign;
/// What must go wrong.
mod controls;
/// What a write costs.
mod cost;
/// A disk and the replica that is built of what was tracked.
mod replica;
/// Partitions, device mapper, md, multipath.
mod stacks;
/// One start of the machine after another.
mod starts;
/// Points by snapshots of logical volumes.
mod volumes;
/// What writes.
mod work;

/// Disks come up after their drivers.
const SETTLE: Duration = Duration::from_millis(1500);

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let [_, "work", folder, letters, seed] = words.as_slice() {
        println!("{}", work::run(Path::new(folder), letters, seed.parse().unwrap_or(0)));
        return;
    }
    if let [_, verb, ..] = words.as_slice()
        && *verb == dead_man::VERB
    {
        if let Err(error) = dead_man::process::run() {
            eprintln!("{error}");
        }
        return;
    }
    be_first("tracked", serve);
}

fn serve() -> Answer {
    settle(&[("securityfs", "/sys/kernel/security")])?;
    load_modules()?;
    thread::sleep(SETTLE);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let (release, lockdown) =
        (read("/proc/sys/kernel/osrelease"), read("/sys/kernel/security/lockdown"));
    say("up", &[("release", &release), ("lockdown", &lockdown)]);
    obey_all(obey)
}

fn obey(words: &[&str], host: &mut Host) -> Answer {
    match words {
        [] => Ok(()),
        ["campaign", stack, kind, letters, rounds, seed] => {
            campaign::run(stack, kind, letters, number(rounds)?, number(seed)?, host)
        }
        ["probe"] => pipeline_agent::tracker::probe(),
        ["race", moment, order] => controls::race(moment, order, host),
        ["nested", copies, delay] => {
            let (copies, delay) = (number(copies)?, number(delay)?);
            controls::nested(
                u8::try_from(copies).map_err(|error| error.to_string())?,
                u16::try_from(delay).map_err(|error| error.to_string())?,
                host,
            )
        }
        ["discards", walk] => controls::discards(*walk == "walk", host),
        ["start", begin, end] => starts::run(begin, end, host),
        ["cost", copies, writes] => cost::run(number(copies)?, number(writes)?),
        ["volumes", "left"] => volumes::left(),
        ["volumes", kind, cuts] => volumes::run(kind, number(cuts)?, host),
        ["end"] => reboot(RebootCommand::PowerOff).map_err(|error| error.to_string()),
        other => Err(format!("no such command: {}", other.join(" "))),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

/// The next thing that the host types.
fn heard(host: &mut Host) -> Result<String, String> {
    let line = host.next().ok_or("the line was closed")?;
    line.map_err(|error| error.to_string())
}

/// All modules that there are, with options for those that want some.
fn load_modules() -> Answer {
    let text = fs::read(MODULE_INDEX).map_err(|error| format!("{MODULE_INDEX}: {error}"))?;
    let index = Index::parse(&text).map_err(|error| format!("{MODULE_INDEX}: {error:?}"))?;
    for module in index.modules() {
        let path = PathBuf::from(MODULES).join(&module.file);
        let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let options = match module.name.as_str() {
            "null_blk" => c"nr_devices=1 queue_mode=2 gb=4 irqmode=0 bs=512",
            _ => c"",
        };
        if let Err(error) = finit_module(&file, options, 0) {
            // A driver for other processors says no, and is not needed.
            say("module", &[("name", &module.name), ("error", &error)]);
        }
    }
    Ok(())
}

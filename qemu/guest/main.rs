//! PID 1 of the guests that the tests of this package boot: it says what machine it sees, and does what it is told.
//!
//! It is no appliance: it stands for any guest, so that a machine can be tried before there is an image to boot in it.

use std::fs;

use qemu::guest::{Answer, be_first, obey_all, say, settle};
use rustix::system::{RebootCommand, reboot};

/// Disks: what there are, and their sectors.
mod disks;
/// Loads modules for the hardware that is there.
mod hardware;
/// Network cards, and a word to neighbours.
mod nics;

fn main() {
    be_first("qemu-guest", serve);
}

fn serve() -> Answer {
    settle(&[])?;
    let loaded = hardware::settle()?;
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split(' ').next().unwrap_or_default().to_owned();
    say("up", &[("modules", &loaded), ("seconds", &seconds)]);
    obey_all(|words, _| obey(words))
}

fn obey(words: &[&str]) -> Answer {
    match words {
        [] => Ok(()),
        ["look"] => {
            let loaded = hardware::settle()?;
            say("looked", &[("modules", &loaded)]);
            disks::list()?;
            nics::list()?;
            hardware::list();
            Ok(())
        }
        ["read", disk, sector] => disks::read(disk, number(sector)?),
        ["write", disk, sector, text] => disks::write(disk, number(sector)?, text),
        ["count", disk] => disks::count(disk),
        ["raise", nic] => nics::raise(nic),
        ["hear", nic] => nics::hear(nic),
        ["shout", nic, text] => nics::shout(nic, text),
        ["end"] => reboot(RebootCommand::PowerOff).map_err(|error| error.to_string()),
        ["restart"] => reboot(RebootCommand::Restart).map_err(|error| error.to_string()),
        ["panic"] => fs::write("/proc/sysrq-trigger", "c").map_err(|error| error.to_string()),
        other => Err(format!("no such command: {}", other.join(" "))),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

/// A file of sysfs without its line's end; nothing where it is not there.
fn fact(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The last part of what a link of sysfs points to.
fn link(path: &str) -> String {
    let target = fs::read_link(path).unwrap_or_default();
    target.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

//! PID 1 of the guests that the tests of this package boot: it says what machine it sees, and does what it is told.
//!
//! It is no appliance: it stands for any guest, so that a machine can be tried before there is an image to boot in it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::thread;

use core::fmt::Display;
use core::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

/// Disks: what there are, and their sectors.
mod disks;
/// Loads modules for the hardware that is there.
mod hardware;
/// Network cards, and a word to neighbours.
mod nics;

/// The serial line that commands come from and answers go to.
const LINE: &str = "/dev/ttyS0";

type Answer = Result<(), String>;

fn main() {
    if std::process::id() != 1 {
        eprintln!("qemu-guest is PID 1 of a test's machine; there is nothing it does elsewhere");
        std::process::exit(2);
    }
    // PID 1 must not end: the kernel would panic, which a test asks for in other ways.
    match serve() {
        Ok(()) => say("end", &[("reason", &"the line was closed")]),
        Err(error) => say("end", &[("reason", &error)]),
    }
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// An event on the serial line, by one write. Of a value, what is not one word stands as `%` and its number.
fn say(event: &str, fields: &[(&str, &dyn Display)]) {
    let mut text = format!("\r\n@lifeboat {event}");
    for (key, value) in fields {
        text.push_str(&format!(" {key}="));
        for byte in value.to_string().bytes() {
            if byte.is_ascii_graphic() && byte != b'%' {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02x}"));
            }
        }
    }
    text.push_str("\r\n");
    if let Ok(mut line) = File::options().write(true).open(LINE) {
        // Where this fails there is nobody to tell.
        let _ = line.write_all(text.as_bytes());
    }
}

fn serve() -> Answer {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(place).map_err(|error| format!("{place}: {error}"))?;
        mount(kind, place, kind, MountFlags::empty(), None)
            .map_err(|error| format!("mounting {place}: {error}"))?;
    }
    // Test machines speak on this line alone: no message of the kernel's may cut an answer in two.
    fs::write("/proc/sys/kernel/printk", "1").map_err(|error| error.to_string())?;
    let loaded = hardware::settle()?;
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split(' ').next().unwrap_or_default().to_owned();
    say("up", &[("modules", &loaded), ("seconds", &seconds)]);
    let input = File::open(LINE).map_err(|error| format!("{LINE}: {error}"))?;
    for line in BufReader::new(input).lines() {
        let line = line.map_err(|error| format!("{LINE}: {error}"))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match obey(&words) {
            Ok(()) => say("done", &[("command", &line)]),
            Err(error) => say("failed", &[("command", &line), ("error", &error)]),
        }
    }
    Ok(())
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

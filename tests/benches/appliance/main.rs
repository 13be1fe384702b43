//! The appliance in figures: `cargo bench -p tests --bench appliance` builds the image as it is given away, boots it from
//! a stick through UEFI in QEMU, and prints what it takes. Each figure stands beside its limit; one that is over fails.

use core::time::Duration;
use std::path::Path;
use std::process::Command;

use image_layout::disk::{IMAGE_BYTES_MAX, SLOT_BYTES};
use qemu::{Bus, Disk, Event, Running};
use tests::appliance::start_image;
use tests::azurite::{Scratch, run};
use tests::guest::BOOT;
use tests::program::{built, lifeboat};

const MIB: u64 = 1 << 20;
/// Least memory of a machine, and the usual one.
const LEAST_MIB: u32 = 192;
const USUAL_MIB: u32 = 512;
/// What of a slot is to stay free, as the test of the image's forms wants it.
const FREE: u64 = 256 << 10;

fn main() {
    // `cargo bench` hands its own arguments over; a filter makes no sense here.
    if let Err(error) = measure() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn measure() -> Result<(), String> {
    let scratch = Scratch::new("figures")?;
    let mut command = Command::new(built("image"));
    command.args(["--quiet", "--form", "raw", "--init"]).arg(lifeboat());
    command.arg("--agent").arg(built("lifeboat-agent"));
    run(command.arg("--out").arg(scratch.path()))?;
    let stick = scratch.path().join("lifeboat-development.img");
    let mut table = Table::default();
    let slot = scratch.path().join("lifeboat-development.efi");
    let slot = std::fs::read(&slot).map_err(|error| format!("{}: {error}", slot.display()))?;
    let room = image::slot::room(&slot).ok_or("the slot has not its parts")?;
    let free = room.iter().find(|(name, _)| *name == "free").map_or(0, |(_, bytes)| *bytes);
    table.most("what is in a slot, with the agent", SLOT_BYTES - free, SLOT_BYTES - FREE, mib);
    for (name, bytes) in room {
        table.plain(&format!("in a slot: {name}"), &mib(bytes));
    }
    table.most("stick with room for both slots", bytes(&stick)?, IMAGE_BYTES_MAX, mib);

    let least = boot(&stick, LEAST_MIB);
    event(&least, "ready", BOOT)?;
    table.plain(&format!("boots with {LEAST_MIB} MiB of memory"), "yes");
    drop(least);

    let usual = boot(&stick, USUAL_MIB);
    let ready = event(&usual, "ready", BOOT)?;
    let rest = event(&usual, "rest", BOOT)?;
    let number = |event: &Event, key: &str| {
        event.number(key).ok_or_else(|| format!("the event {} has no {key}", event.name))
    };
    let used = (number(&rest, "total")? - number(&rest, "available")?) * 1024;
    table.most(&format!("memory in use at rest, machine of {USUAL_MIB} MiB"), used, 128 * MIB, mib);
    table.plain("of that the program", &mib(number(&rest, "resident")? * 1024));
    table.most("last device found to ready", number(&ready, "after_device")?, 1000, millis);
    table.plain(
        "first process to ready, USB stick, processor translated",
        &millis(number(&ready, "ms")?),
    );
    table.plain("sockets that listen", &number(&rest, "listening")?.to_string());
    table.plain("sockets that take datagrams", &number(&rest, "datagrams")?.to_string());
    table.most("programs in the image", number(&rest, "programs")?, 1, |count| count.to_string());
    table.print()
}

fn boot(stick: &Path, memory_mib: u32) -> Running {
    let disk = Disk::new(stick).on(Bus::UsbStorage).snapshot();
    start_image(disk, "", |machine| machine.memory_mib(memory_mib))
}

fn event(running: &Running, name: &str, wait: Duration) -> Result<Event, String> {
    running.console().event(name, wait).map_err(|error| error.to_string())
}

fn bytes(path: &Path) -> Result<u64, String> {
    let facts = std::fs::metadata(path);
    facts.map(|facts| facts.len()).map_err(|error| format!("{}: {error}", path.display()))
}

fn mib(bytes: u64) -> String {
    let tenths = bytes * 10 / MIB;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn millis(count: u64) -> String {
    format!("{count} ms")
}

#[derive(Default)]
struct Table {
    rows: Vec<[String; 3]>,
    over: Vec<String>,
}

impl Table {
    /// A figure that has a limit.
    fn most(&mut self, what: &str, value: u64, limit: u64, shown: impl Fn(u64) -> String) {
        self.rows.push([what.to_owned(), shown(value), shown(limit)]);
        if value > limit {
            self.over.push(what.to_owned());
        }
    }

    fn plain(&mut self, what: &str, value: &str) {
        self.rows.push([what.to_owned(), value.to_owned(), String::new()]);
    }

    fn print(&self) -> Result<(), String> {
        println!("| figure | measured | limit |\n| --- | --- | --- |");
        for [what, value, limit] in &self.rows {
            println!("| {what} | {value} | {limit} |");
        }
        match self.over.as_slice() {
            [] => Ok(()),
            over => Err(format!("over the limit: {}", over.join(", "))),
        }
    }
}

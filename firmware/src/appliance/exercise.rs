//! What a test has the machine do, by a key of the command line: write its state without pause, load every module, hang, fail a trial.
//!
//! Nothing here runs without `lifeboat.test=1`.

use core::time::Duration;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use hal::time::Entropy;
use hal_linux::SystemEntropy;
use hal_linux::confine::try_ring;
use image_layout::command_line::Exercise;

use super::Appliance;
use super::orders::Order;
use super::supervise::{self, Service, Stop};
use super::update;

/// What somebody would try who took a service over.
mod jail;

/// The note that is written; nobody else's begins so.
const NOTE: &str = "exercise";
/// Longest wait for a service of its own.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest note: it spans many sectors, so that a cut tears it.
const NOTE_BYTES_MAX: usize = 48 * 1024;

/// Does what the command line asks for.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    match appliance.line.exercise {
        None => Ok(()),
        Some(Exercise::State) => write_state(appliance),
        Some(Exercise::Modules) => load_modules(appliance),
        Some(Exercise::Rings) => try_rings(appliance),
        Some(Exercise::Jail) => jail::try_all(appliance),
        Some(Exercise::Hang) => {
            appliance.orders.give(Order::Hang);
            Ok(())
        }
        Some(Exercise::Panic) => match update::tries_left() {
            // The kernel does not outlive its first process.
            Some(2) => std::process::exit(1),
            _ => Ok(()),
        },
        Some(Exercise::Trial) => match update::tries_left() {
            Some(2) => {
                appliance.orders.give(Order::Hang);
                Ok(())
            }
            Some(1) => Err("fails in a test".to_owned()),
            _ => Ok(()),
        },
    }
}

/// Counts in the state, and tells each number once it is kept; before that the one that was found.
fn write_state(appliance: &Appliance) -> Result<(), String> {
    let mut number = 0;
    appliance.memory.change(|kept| number = kept.notes.get(NOTE).map_or(0, |note| count(note)))?;
    appliance.events.say("found", &[("n", &number)]);
    while !appliance.stop.asked() {
        number += 1;
        let mut random = [0; 2];
        SystemEntropy.fill(&mut random).map_err(|error| error.to_string())?;
        let length = 8 + usize::from(u16::from_le_bytes(random)) % NOTE_BYTES_MAX;
        let mut note = number.to_le_bytes().to_vec();
        note.resize(length, random[0]);
        appliance.memory.change(|kept| drop(kept.notes.insert(NOTE.to_owned(), note)))?;
        appliance.events.say("wrote", &[("n", &number)]);
    }
    Ok(())
}

fn count(note: &[u8]) -> u64 {
    note.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Tries io_uring as a service that has disks, and as one that has none.
fn try_rings(appliance: &Appliance) -> Result<(), String> {
    let say = |who: &str, errno: i32| {
        appliance.events.say("ring", &[("who", &who), ("errno", &errno)]);
    };
    say("disks", try_ring());
    let (tell, told) = channel();
    let stop: Arc<Stop> = Arc::default();
    let attack = |tell: &Mutex<Sender<i32>>| {
        let tell = tell.lock().map_err(|error| error.to_string())?;
        tell.send(try_ring()).map_err(|error| error.to_string())
    };
    let attacker = Service { name: "attacker", run: attack, drained: false, disks: false };
    supervise::start(&attacker, &Arc::new(Mutex::new(tell)), &stop);
    let errno = told.recv_timeout(PATIENCE).map_err(|error| error.to_string())?;
    say("no disks", errno);
    Ok(())
}

/// Loads every module of the image, and tells what could not be.
fn load_modules(appliance: &Appliance) -> Result<(), String> {
    let loader = appliance.loader.get().ok_or("no module can be loaded")?;
    let names = loader.names();
    let mut absent = 0;
    for name in &names {
        let Err(words) = loader.need(name) else { continue };
        match words.ends_with(super::modules::NO_HARDWARE) {
            true => absent += 1,
            false => appliance.events.say("module", &[("name", name), ("words", &words)]),
        }
    }
    appliance.events.say("modules", &[("all", &names.len()), ("absent", &absent)]);
    Ok(())
}

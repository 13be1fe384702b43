//! Power cuts at random moments of state writes: the appliance always comes up, knows everything that it said it had
//! written, and never begins anew.
//!
//! Seeds are printed; `LIFEBOAT_CUTS` says how many cuts there are.

use core::time::Duration;
use std::path::Path;

use hal_sim::random::Random;
use qemu::{Disk, Event, Running};
use tests::appliance::{ANSWER, await_event, await_ready, phase_words, start, stick};
use tests::azurite::Scratch;

const CUTS: u64 = 5;
/// Latest cut after the first write. A write takes tens of milliseconds, so that each cut finds another place in one.
const LATEST_MILLIS: u64 = 1500;
/// Machines beside each other, each with a disk of its own.
const LANES: u64 = 2;

/// What a machine had said before its power was cut.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    starts: u64,
    written: u64,
}

fn largest(events: &[Event], name: &str, key: &str) -> Option<u64> {
    events.iter().filter(|event| event.name == name).filter_map(|event| event.number(key)).max()
}

/// The machine is up and knows what it said; what it knows now.
#[track_caller]
fn come_up(running: &Running, told: Told, seed: u64) -> Told {
    let events = await_ready(running);
    let state = phase_words(&events, "state");
    assert!(state.starts_with("kept on /dev/vda2"), "seed {seed}, {told:?}: {state}");
    let starts = largest(&events, "state", "starts").expect("the state was opened");
    assert!(starts > told.starts, "seed {seed}: start {starts} after {told:?}");
    // It may have found what it kept before it said that it was ready.
    await_event(running, "wrote", ANSWER);
    let found = largest(&running.console().events(), "found", "n").expect("it was told");
    // What was written and not yet said when the power went may be there too.
    assert!(found >= told.written, "seed {seed}: {found} is there, and {told:?} was said");
    Told { starts, written: found }
}

fn lane(disk: &Path, cuts: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut told = Told::default();
    let boot = || start("lifeboat.exercise=state", |machine| machine.disk(Disk::new(disk)));
    for cut in 0..cuts {
        let running = boot();
        told = come_up(&running, told, seed);
        let moment = random.below(LATEST_MILLIS);
        std::thread::sleep(Duration::from_millis(moment));
        let console = running.console().clone();
        running.power_cut();
        let said = largest(&console.events(), "wrote", "n").unwrap_or(0);
        told.written = told.written.max(said);
        eprintln!("seed {seed}, cut {cut} after {moment} ms: {told:?}");
    }
    come_up(&boot(), told, seed);
}

#[test]
fn no_power_cut_loses_what_was_remembered() {
    let wanted = std::env::var("LIFEBOAT_CUTS").ok().and_then(|text| text.parse().ok());
    let cuts: u64 = wanted.unwrap_or(CUTS);
    let scratch = Scratch::new("cuts").expect("a scratch folder");
    std::thread::scope(|scope| {
        for number in 0..LANES {
            let disk = stick(&scratch, &format!("{number}.img"), "role = \"appliance\"\n");
            let share = cuts / LANES + u64::from(number < cuts % LANES);
            scope.spawn(move || lane(&disk, share, 2026 + number));
        }
    });
}

//! The image as it is given away starts from every medium that servers have, finds itself on it, does what its
//! `lifeboat.toml` says, remembers, and goes on when the medium is pulled out.

use core::time::Duration;
use std::fs;
use std::path::Path;

use qemu::{Bus, Disk, Event, Running};
use tests::appliance::{
    ANSWER, await_event, await_ready, await_words, phase, phase_words, start_image, stick,
};
use tests::azurite::Scratch;
use tests::guest::{Image, image};

/// Where the firmware's and the kernel's own starts are no failure of ours, but a machine beside four others is slow.
const PULLED: &str = "was pulled out: the machine goes on";

/// What the appliance said until it was ready, which it must be, from the disk of this name.
#[track_caller]
fn booted(running: &Running, from: &str) -> Vec<Event> {
    let events = await_ready(running);
    assert_eq!(phase_words(&events, "medium"), format!("booted from {from}"), "{events:#?}");
    assert_eq!(phase_words(&events, "settings"), "lifeboat.toml is read", "{events:#?}");
    for name in ["mounts", "modules", "firmware", "medium", "state", "settings", "switches"] {
        assert_eq!(phase(&events, name), Some("done"), "{name}: {events:#?}");
    }
    events
}

/// What the state partition held when this machine started.
#[track_caller]
fn starts(events: &[Event]) -> u64 {
    let state = events.iter().find(|event| event.name == "state");
    state.and_then(|event| event.number("starts")).expect("the state was opened")
}

/// What is asked first: on a busy host that may come before the machine says that it is ready.
#[track_caller]
fn first_question(running: &Running) -> Event {
    let earlier = running.console().events().into_iter().find(|event| event.name == "ask");
    earlier.unwrap_or_else(|| await_event(running, "ask", ANSWER))
}

#[track_caller]
fn power_off(running: Running) {
    running.press_power().expect("QEMU has a power button");
    assert_eq!(await_event(&running, "end", ANSWER).field("how"), Some("poweroff"));
    let ended = running.wait_end(Duration::from_secs(120)).expect("it goes off");
    assert_eq!(ended.reason.as_deref(), Some("guest-shutdown"));
}

/// On a USB stick: twice, then pulled out.
fn from_a_stick(path: &Path, made: &Image) {
    let usb = || Disk::new(path).on(Bus::UsbStorage).serial("stick");
    let running = start_image(usb(), "", |machine| machine);
    assert_eq!(starts(&booted(&running, "sda")), 1);
    let asked = first_question(&running);
    assert_eq!(asked.field("title"), Some("Where is the vault?"), "the role of lifeboat.toml");
    power_off(running);

    let running = start_image(usb(), "lifeboat.role=appliance", |machine| machine);
    let events = booted(&running, "sda");
    assert_eq!(starts(&events), 2, "the state was kept: {events:#?}");
    let last = events.iter().find(|event| event.name == "last").expect("the last end is told");
    assert_eq!(last.field("clean"), Some("true"), "{last:?}");
    running.unplug("disk0").expect("a stick can be pulled");
    await_words(&running, PULLED);
    await_words(&running, "held in memory: the medium was pulled out");
    // Nothing that the machine needs was on it. A copy of the image is not taken for it: not a byte is written there.
    let copy = made.stick.clone();
    let before = fs::read(&copy).expect("the image is there");
    let plugged = running.plug_disk(&Disk::new(&copy).on(Bus::UsbStorage).snapshot());
    let plugged = plugged.unwrap_or_else(|error| panic!("{error}"));
    await_words(&running, "it is another medium: plug in the one that was pulled out");
    running.unplug(&plugged).expect("a stick can be pulled");
    assert!(fs::read(&copy).expect("it is there") == before);
    running.plug_disk(&usb()).unwrap_or_else(|error| panic!("{error}"));
    await_event(&running, "back", ANSWER);
    await_words(&running, "the medium is back");
    power_off(running);

    // What was said last was said after it had come back.
    let running = start_image(usb(), "lifeboat.role=appliance", |machine| machine);
    let events = booted(&running, "sda");
    assert_eq!(starts(&events), 3, "{events:#?}");
    let last = events.iter().find(|event| event.name == "last").expect("the last end is told");
    assert_eq!(last.field("clean"), Some("true"), "{last:?}");
}

#[test]
fn every_medium_starts_the_appliance_and_is_found() {
    let scratch = Scratch::new("media").expect("a scratch folder");
    let settings = "role = \"capture\"\nname = \"on-the-stick\"\n";
    let usb = stick(&scratch, "usb.img", settings);
    let made = image().expect("there is an image");
    let fixed = |bus| Disk::new(&made.stick).on(bus).snapshot();
    std::thread::scope(|scope| {
        scope.spawn(|| from_a_stick(&usb, &made));
        for (bus, name) in [(Bus::VirtioBlk, "vda"), (Bus::Nvme, "nvme0n1"), (Bus::Ahci, "sda")] {
            let disk = fixed(bus);
            scope.spawn(move || {
                let running = start_image(disk, "lifeboat.role=appliance", |machine| machine);
                assert_eq!(starts(&booted(&running, name)), 1, "{bus:?}");
            });
        }
        scope.spawn(|| {
            let running = start_image(Disk::cd(&made.cd), "", |machine| machine.headless());
            let events = booted(&running, "the CD in /dev/sr0");
            assert!(phase_words(&events, "state").contains("no state partition"), "{events:#?}");
            let asked = first_question(&running);
            assert_eq!(asked.field("kind"), Some("text"), "the role of the CD's lifeboat.toml");
        });
    });
    let before = fs::read(&made.stick).expect("the image is there");
    assert!(before.len() > 1 << 20, "what was only read is still there");
}

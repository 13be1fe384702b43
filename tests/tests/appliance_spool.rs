//! A disk becomes the appliance's spool only when a person types what it is called; it is found again after a restart and
//! after it was pulled out, and nothing waits for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use qemu::{Bus, Disk, Event, Machine, Running};
use tests::appliance::{
    ANSWER, answer, await_event, await_ready, await_words, choose_spool, event_at_any_time, medium,
    start,
};
use tests::azurite::{Scratch, run};
use tests::media::empty;

const BYTES: u64 = 128 << 20;

/// Waits until the appliance says that its spool stands so.
#[track_caller]
fn await_spool(running: &Running, state: &str) -> Event {
    let wanted = |event: &Event| event.field("state") == Some(state);
    let event = running.console().event_where("spool", ANSWER, wanted);
    event.unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the appliance that is coming up says that its spool stands so, before it is ready or behind: some disks are
/// found when the machine runs already.
#[track_caller]
fn spool_at_start(running: &Running, state: &str) -> Event {
    await_ready(running);
    event_at_any_time(running, "spool", |event| event.field("state") == Some(state))
}

fn power_off(running: Running) {
    running.press_power().expect("QEMU has a power button");
    let end = await_event(&running, "end", ANSWER);
    assert_eq!(end.number("left"), Some(0), "{end:?}");
    running.wait_end(ANSWER).expect("it goes off");
}

fn is_blank(path: &Path) -> bool {
    fs::read(path).expect("the disk is there").iter().all(|byte| *byte == 0)
}

#[test]
fn a_disk_becomes_the_spool_only_when_its_name_is_typed() {
    let scratch = Scratch::new("spool").expect("a scratch folder");
    let stick = medium(scratch.path(), "role = \"appliance\"\n[spool]\ndisk = \"spool-1\"\n");
    let disk = |name: &str| empty(&scratch.path().join(name), BYTES);
    let (blank, used) = (disk("blank.img"), disk("used.img"));
    run(Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&used)).expect("mke2fs makes one");
    let before = fs::read(&used).expect("the disk is there");
    let spool = || Disk::new(&blank).on(Bus::VirtioScsi).serial("spool-1");
    let dressed = |machine: Machine| {
        let used = Disk::new(&used).on(Bus::VirtioBlk).serial("used-2");
        machine.disk(Disk::new(&stick)).disk(used).disk(spool()).headless()
    };

    let running = start("", dressed);
    let named = spool_at_start(&running, "unformatted");
    assert_eq!(named.field("disk"), Some("spool-1"), "{named:?}");
    assert!(named.field("words").is_some_and(|words| words.contains("it is empty")), "{named:?}");
    await_words(&running, "key d, then type spool-1");
    assert!(is_blank(&blank), "a file alone formats nothing");
    // What holds something says so, and is spared by a wrong name; the medium is refused outright.
    choose_spool(&running, "used-2");
    await_words(&running, "a file system (ext)");
    answer(&running, "Format this disk", "spool-1");
    await_words(&running, "is not called spool-1, but used-2");
    choose_spool(&running, "what this machine was booted from");
    await_words(&running, "is not formatted: it is what this machine was booted from");
    choose_spool(&running, "spool-1");
    answer(&running, "Format this disk", "spool-1");
    let ready = await_spool(&running, "ready");
    assert_eq!(ready.number("bytes"), Some(BYTES - (2 << 20)), "{ready:?}");
    await_words(&running, "of 126 MiB used");
    assert!(fs::read(&used).expect("it is there") == before, "nothing was written to the other");
    power_off(running);

    let running = start("", dressed);
    let ready = await_spool(&running, "ready");
    assert_eq!(
        (ready.field("disk"), ready.number("used")),
        (Some("spool-1"), Some(0)),
        "{ready:?}"
    );
    running.unplug("disk2").expect("a disk can be pulled");
    await_spool(&running, "missing");
    await_words(&running, "spool-1 is not here");
    running.plug_disk(&spool()).unwrap_or_else(|error| panic!("{error}"));
    await_spool(&running, "ready");
    power_off(running);
}

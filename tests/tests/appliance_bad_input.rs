//! Whatever is wrong with the machine: the appliance comes up, and its console says what is the matter in words that a
//! tired person can act on.

use core::time::Duration;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hal_sim::random::Random;
use image_layout::disk::{STATE_BYTES, STATE_OFFSET};
use qemu::{Broken, Bus, Clock, Disk, Event, Gateway, Machine, Network, Nic};
use tests::appliance::{
    ANSWER, await_event, await_ready, await_words, medium, phase, phase_words, start, stick,
    vault_table,
};
use tests::azurite::server::{Relay, Server};
use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch, free_port};
use tests::guest::{Files, appliance};
use tests::media::empty;
use tests::program::{Place, checked};
use tests::site::Site;

/// A module that crashes in the kernel.
#[path = "appliance_bad_input/oops.rs"]
mod oops;

const DAY: Duration = Duration::from_secs(86_400);

fn scratch(label: &str) -> Scratch {
    Scratch::new(label).expect("a scratch folder")
}

fn two_at_once(one: impl FnOnce() + Send, two: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(one);
        scope.spawn(two);
    });
}

/// 160 MiB, no disk, no card, no screen. With 128 MiB the kernel itself gives up while it unpacks its first file system.
fn nothing_and_too_little() {
    let running = start("", |machine| machine.memory_mib(160).headless());
    let events = await_ready(&running);
    assert_eq!(phase(&events, "memory"), Some("failed"), "{events:#?}");
    let words = phase_words(&events, "memory");
    assert!(words.contains("too little memory") && words.contains("192 MiB"), "{words}");
    for shown in ["no disk found", "no network card found", "too little memory"] {
        await_words(&running, shown);
    }
}

/// 200 disks, and a card in a network where nobody answers.
fn very_much() {
    let scratch = scratch("many");
    let network = Network::new().expect("a network of this process");
    let running = start("", |machine| {
        let disks = (0..200).map(|number| {
            let path = empty(&scratch.path().join(format!("{number}.img")), 1 << 20);
            Disk::new(path).on(Bus::VirtioScsi).serial(&format!("many-{number}"))
        });
        let port = network.port().expect("a port");
        disks.fold(machine, Machine::disk).nic(Nic::new().plugged(port)).headless()
    });
    let ready = running.console().event("ready", tests::guest::BOOT);
    let ready = ready.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((ready.number("disks"), ready.number("nics")), (Some(200), Some(1)), "{ready:?}");
    await_words(&running, "more");
    await_words(&running, "no DHCP server answers");
}

#[test]
fn too_little_and_too_much_are_told() {
    two_at_once(nothing_and_too_little, very_much);
}

fn fill(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("the stick can be written");
    file.seek(SeekFrom::Start(offset)).expect("it is long enough");
    file.write_all(bytes).expect("the stick can be written");
}

/// A state partition full of rubbish, then one that takes no writes.
fn bad_state() {
    let scratch = scratch("state");
    let path = stick(&scratch, "rubbish.img", "role = \"appliance\"\n");
    let mut random = Random::new(11);
    let rubbish: Vec<u8> =
        (0..STATE_BYTES).map(|_| u8::try_from(random.below(256)).expect("below 256")).collect();
    fill(&path, STATE_OFFSET, &rubbish);
    let running = start("", |machine| machine.disk(Disk::new(&path)));
    let events = await_ready(&running);
    let words = phase_words(&events, "state");
    assert_eq!(phase(&events, "state"), Some("failed"), "{events:#?}");
    assert!(words.contains("kept aside, unopened: both copies of its key are damaged"), "{words}");
    await_words(&running, "kept aside, unopened");
    drop(running);
    let after = fs::read(&path).expect("the stick is there");
    let state = usize::try_from(STATE_OFFSET).expect("small");
    assert!(after[state..].starts_with(&rubbish), "not a byte of it was written");

    let path = stick(&scratch, "worn.img", "role = \"appliance\"\n");
    let worn = || Disk::new(&path).broken(Broken::Writes);
    let running = start("", |machine| machine.disk(worn()));
    let events = await_ready(&running);
    assert_eq!(phase(&events, "state"), Some("failed"), "{events:#?}");
    let words = phase_words(&events, "state");
    assert!(words.contains("plug the medium in again, or replace it"), "{words}");
}

/// Two copies of the image, and a disk with somebody's data.
fn two_media() {
    let scratch = scratch("twins");
    let one = stick(&scratch, "one.img", "role = \"appliance\"\n");
    let two = stick(&scratch, "two.img", "role = \"appliance\"\n");
    let data = empty(&scratch.path().join("data.img"), 8 << 20);
    fill(&data, 0, b"somebody's data");
    let before: Vec<Vec<u8>> =
        [&one, &two, &data].map(|path| fs::read(path).expect("it is there")).into();
    let running = start("", |machine| {
        let disks = [&one, &two, &data].map(Disk::new);
        disks.into_iter().fold(machine, Machine::disk)
    });
    let events = await_ready(&running);
    assert_eq!(phase(&events, "medium"), Some("failed"), "{events:#?}");
    let words = phase_words(&events, "medium");
    assert!(words.contains("vda, vdb") && words.contains("pull the others out"), "{words}");
    assert_eq!(phase(&events, "state"), Some("skipped"), "{events:#?}");
    running.press_power().expect("QEMU has a power button");
    await_event(&running, "end", ANSWER);
    drop(running);
    let after: Vec<Vec<u8>> =
        [&one, &two, &data].map(|path| fs::read(path).expect("it is there")).into();
    assert!(before == after, "nothing was written to any of them");
}

#[test]
fn bad_media_are_told_and_left_alone() {
    two_at_once(bad_state, two_media);
}

/// A clock of 1980, which a time server sets right, for good.
fn clock_of_1980() {
    let scratch = scratch("clock");
    let site = Site::new();
    let settings = "[vault]\naddress = \"azure://nobody/nothing\"\nserver = \"x\"\n\
        recovery-key = \"aaaaa\"\ntoken = \"sv=x&sig=x\"\n";
    let path = stick(&scratch, "stick.img", settings);
    let early = Clock::At(UNIX_EPOCH + DAY * 3653);
    let running = start("", |machine| {
        let machine = machine.disk(Disk::new(&path)).clock(early);
        machine.nic(Nic::new().plugged(site.port())).reboots().headless()
    });
    let events = await_ready(&running);
    assert_eq!(phase(&events, "clock"), Some("failed"), "{events:#?}");
    let words = phase_words(&events, "clock");
    assert!(words.contains("1980-01-") && words.contains("battery"), "{words}");
    let vault = await_event(&running, "vault", ANSWER);
    let words = vault.field("words").unwrap_or_default();
    assert!(words.contains("clock is wrong"), "before the clock is believed: {words}");
    site.tell_time();
    let clock = await_event(&running, "clock", ANSWER);
    assert_eq!(clock.field("kept"), Some("true"), "{clock:?}");
    assert!(site.times_asked() > 0, "by the address that DHCP named");
    // The hardware clock was set: the next start begins with the right time, before any server is asked.
    running.reset().expect("QEMU has a reset button");
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("a right clock here");
    let checked = running.console().event_where("phase", tests::guest::BOOT, |event| {
        event.field("name") == Some("clock") && event.at > clock.at
    });
    let checked = checked.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(checked.field("state"), Some("done"), "{checked:?}");
    let year = 1970 + before.as_secs() / 31_556_952;
    let words = checked.field("words").unwrap_or_default();
    assert!(words.starts_with(&format!("it is {year}-")), "{words}");
}

/// A clock of 2100.
fn clock_of_2100() {
    let late = Clock::At(UNIX_EPOCH + DAY * 47_500);
    let running = start("", |machine| machine.clock(late).headless());
    let events = await_ready(&running);
    assert_eq!(phase(&events, "clock"), Some("failed"), "{events:#?}");
    let words = phase_words(&events, "clock");
    assert!(words.contains("later than any image"), "{words}");
}

#[test]
fn a_wrong_clock_is_told_distrusted_and_set_right_for_good() {
    two_at_once(clock_of_1980, clock_of_2100);
}

#[test]
fn a_vault_out_of_reach_is_told_and_looked_for_until_it_is_there() {
    let scratch = scratch("reach");
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    let key = [("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned())];
    let place = Place::create(azurite.vault("site"), scratch.path(), &key);
    let disk = empty(&scratch.path().join("sda"), 1 << 20);
    checked(
        place.verb("protect").args(["--server", "web1"]).arg(disk).output().expect("it runs"),
        "protect",
    );
    let port = free_port().expect("a port of loopback");
    let address = format!("azure://{ACCOUNT}/site?endpoint=http://10.0.2.2:{port}/{ACCOUNT}");
    let table = vault_table(&place, &address, &format!("token = \"{KEY}\"\nserver = \"web1\"\n"));
    let medium = medium(scratch.path(), &table);
    let running = start("", |machine| {
        machine.disk(Disk::new(&medium)).nic(Nic::new().gateway(Gateway::default())).headless()
    });
    await_ready(&running);
    let told = await_event(&running, "vault", ANSWER);
    let words = told.field("words").unwrap_or_default();
    // Which, why, and what to do.
    for said in [
        &format!("10.0.2.2:{port} refuses the connection"),
        "azure://",
        "check the network, the firewall",
    ] {
        assert!(words.contains(said), "{told:?}");
    }
    await_words(&running, "refuses the connection");
    await_words(&running, "tried again every 60 s");
    await_words(&running, "check the network, the firewall and the endpoint");
    let _relay =
        Server::start_at(port, Relay(azurite.port())).expect("nobody took the port meanwhile");
    let found = |event: &Event| event.field("ok") == Some("true");
    let back = running.console().event_where("vault", ANSWER, found);
    let back = back.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        back.field("words").is_some_and(|words| words.contains("1 points of 1 servers")),
        "{back:?}"
    );
}

/// A driver that crashes in the kernel: a patched copy of the image's own.
fn a_module_that_crashes() {
    let scratch = scratch("oops");
    let Files { kernel, initrd } = appliance().unwrap_or_else(|error| panic!("{error}"));
    let hurt = oops::with_crash(&initrd, "virtio_net", scratch.path());
    let line = "console=ttyS0 lifeboat.test=1 panic=-1";
    let disk = empty(&scratch.path().join("disk.img"), 1 << 20);
    let machine = Machine::kernel(&kernel, &hurt, line).disk(Disk::new(disk)).nic(Nic::new());
    let running =
        machine.processors(1).headless().start().unwrap_or_else(|error| panic!("{error}"));
    let events = await_ready(&running);
    assert!(phase_words(&events, "modules").contains("1 failed"), "{events:#?}");
    let ready = events.iter().find(|event| event.name == "ready").expect("it is ready");
    assert_eq!((ready.number("disks"), ready.number("nics")), (Some(1), Some(0)), "{ready:?}");
    await_words(&running, "module virtio_net: the kernel crashed while loading it");
}

/// Every module of the image, by name, on a machine that has hardware for few of them.
fn every_module() {
    let running = start("lifeboat.exercise=modules", Machine::headless);
    await_ready(&running);
    let all = await_event(&running, "modules", ANSWER * 2);
    let bad: Vec<_> = running
        .console()
        .events()
        .into_iter()
        .filter(|event| event.name == "module")
        // Those of a hypervisor that this is not: the one that they all need says so, and is not there for them.
        .filter(|event| {
            !event.field("name").is_some_and(|name| name.contains("hv_") || name.contains("hyperv"))
        })
        .collect();
    assert_eq!(bad, [], "cannot be loaded");
    let count = |key: &str| all.number(key).unwrap_or(0);
    assert!(count("all") > 100 && count("absent") * 4 < count("all"), "{all:?}");
}

#[test]
fn a_driver_that_crashes_costs_its_hardware_only_and_all_others_load() {
    two_at_once(a_module_that_crashes, every_module);
}

//! Updates on machines that really start: from a stick, kept when the new system has proven itself, left when it does not, and with
//! the power cut in the middle.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use hal_sim::random::Random;
use qemu::{Bus, Disk, Event, Gateway, Machine, Nic, Running, Tpm};
use tests::appliance::{ANSWER, await_event, put_settings, vault_table};
use tests::azurite::server::{Relay, Server};
use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch, run};
use tests::guest::{BOOT, Releases, releases};
use tests::program::Place;

use super::names;

const CUTS: u64 = 5;
/// Latest cut after an update has begun: it takes about that long where machines are translated.
const LATEST_MILLIS: u64 = 6_000;
const LIFETIME: Duration = Duration::from_secs(1500);

/// A stick with updates on it, as a person makes one.
fn update_stick(scratch: &Scratch, made: &Releases) -> PathBuf {
    let path = scratch.path().join("updates.img");
    let mut command = Command::new("/usr/sbin/mkfs.fat");
    command.args(["-F", "32", "-C"]).arg(&path).arg("98304");
    run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    for update in [&made.second, &made.third] {
        let mut command = Command::new("mcopy");
        run(command.arg("-i").arg(&path).arg(update).arg("::"))
            .unwrap_or_else(|error| panic!("{error}"));
    }
    path
}

fn copy(made: &Releases, scratch: &Scratch) -> PathBuf {
    let medium = scratch.path().join("medium.img");
    std::fs::copy(&made.first, &medium).expect("the image can be copied");
    medium
}

fn start(medium: &Path, updates: &Path) -> Running {
    start_with(medium, updates, |machine| machine)
}

fn start_with(medium: &Path, updates: &Path, dressed: impl FnOnce(Machine) -> Machine) -> Running {
    let machine = dressed(Machine::uefi().processors(1).lifetime(LIFETIME).reboots());
    let machine = machine.disk(Disk::new(medium).boot_order(0));
    let machine = machine.disk(Disk::new(updates).on(Bus::UsbStorage).snapshot());
    let tpm = medium.with_extension("tpm");
    machine.tpm(Tpm { state: Some(tpm) }).start().unwrap_or_else(|error| panic!("{error}"))
}

/// Which slot runs, of which version, and whether it has proven itself.
#[track_caller]
fn slot(running: &Running, wait: Duration) -> (String, String, bool) {
    let event = await_event(running, "slot", wait);
    let field = |name: &str| event.field(name).unwrap_or_default().to_owned();
    (field("slot"), field("version"), field("tries") == "proven")
}

/// The person at the console chooses the update of that version, once its stick is there: a stick takes its time.
#[track_caller]
fn choose(running: &Running, version: &str) {
    const ESCAPE: &[u8] = b"\x1b";
    let until = Instant::now() + ANSWER;
    loop {
        running.console().type_bytes(b"u").expect("the console takes keys");
        let wanted = |event: &Event| {
            event.field("title").is_some_and(|title| title.contains("Which update"))
        };
        let asked = running.console().event_where("ask", ANSWER, wanted);
        let asked = asked.unwrap_or_else(|error| panic!("{error}"));
        let choices = asked.field("choices").unwrap_or_default();
        let place = choices.split('|').position(|choice| choice.contains(version));
        let keys = place.map(|place| (place + 1).to_string().into_bytes());
        let keys = keys.unwrap_or_else(|| ESCAPE.to_vec());
        running.console().type_bytes(&keys).expect("the console takes keys");
        if place.is_some() {
            return;
        }
        assert!(Instant::now() < until, "{version} is not offered: {choices}");
        std::thread::sleep(Duration::from_secs(3));
    }
}

#[track_caller]
fn update_state(running: &Running, state: &str, wait: Duration) -> Event {
    let fits = |event: &Event| {
        assert_ne!(event.field("state"), Some("failed"), "{event:?}");
        event.field("state") == Some(state)
    };
    running.console().event_where("update", wait, fits).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn restart(running: &Running) {
    let wanted =
        |event: &Event| event.field("title").is_some_and(|title| title.contains("Restart into it"));
    running.console().event_where("ask", ANSWER, wanted).unwrap_or_else(|error| panic!("{error}"));
    running.console().type_bytes(b"1").expect("the console takes keys");
    await_event(running, "end", ANSWER);
}

/// An event, although the kernel panics before it comes, which a wait would end with.
#[track_caller]
fn beyond_panics(running: &Running, name: &str, fits: impl Fn(&Event) -> bool) -> Event {
    let until = Instant::now() + 3 * BOOT;
    loop {
        match running.console().event_where(name, BOOT, &fits) {
            Ok(event) => return event,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}

/// The new system's kernel panics on its first try; on its second it reaches the vault, and is kept.
#[test]
fn a_new_system_is_kept_when_it_proves_itself() {
    let made = releases().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("kept").expect("a scratch folder");
    let (medium, _azurite, relay, running) = at_work(&scratch, &made);
    choose(&running, "0.2.0");
    update_state(&running, "done", BOOT);
    restart(&running);
    let tried = beyond_panics(&running, "slot", |event| event.field("tries") == Some("1"));
    assert_eq!((tried.field("slot"), tried.field("version")), (Some("b"), Some("0.2.0")));
    update_state(&running, "kept", BOOT);
    drop(relay);
    assert_eq!(names(&medium), ["lifeboat-a.efi", "lifeboat-b.efi"]);
    // What the old system sealed to the security chip, the new one opens.
    let mut opened = running.console().events();
    opened.retain(|event| event.name == "state");
    let key = |event: &Event| event.field("key") == Some("chip");
    assert!(opened.iter().all(key) && opened.len() > 2, "{opened:?}");
}

/// Its first process hangs on its first try, on a machine that has no watchdog; on its second a service fails; on its third the
/// vault is out of reach, and nothing else is wrong.
#[test]
fn a_new_system_that_proves_itself_on_no_try_is_left() {
    let made = releases().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("left").expect("a scratch folder");
    let (medium, _azurite, relay, running) = at_work(&scratch, &made);
    is_left(&running, &medium, relay);
}

/// A machine of the first version that knows a vault, its medium, and a stick with updates.
fn at_work(scratch: &Scratch, made: &Releases) -> (PathBuf, Azurite, Server, Running) {
    let (medium, updates) = (copy(made, scratch), update_stick(scratch, made));
    let (azurite, relay) = vault(scratch, &medium);
    let running = start_with(&medium, &updates, |machine| {
        machine.nic(Nic::new().gateway(Gateway::default()))
    });
    assert_eq!(await_event(&running, "state", BOOT).field("key"), Some("chip"));
    assert_eq!(slot(&running, BOOT), ("a".into(), "0.1.0".into(), true));
    (medium, azurite, relay, running)
}

/// A vault that the machine reaches by a relay, and knows of by its medium.
fn vault(scratch: &Scratch, medium: &Path) -> (Azurite, Server) {
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    let key = [("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned())];
    let place = Place::create(azurite.vault("site"), scratch.path(), &key);
    let relay = Server::start(Relay(azurite.port())).expect("a port of loopback");
    let address =
        format!("azure://{ACCOUNT}/site?endpoint=http://10.0.2.2:{}/{ACCOUNT}", relay.port());
    let more = format!("token = \"{KEY}\"\nserver = \"web1\"\n");
    put_settings(medium, &vault_table(&place, &address, &more));
    (azurite, relay)
}

/// The update proves itself on none of its tries, each for another reason, and the machine goes back by itself.
#[track_caller]
fn is_left(running: &Running, medium: &Path, relay: Server) {
    choose(running, "0.3.0");
    update_state(running, "done", BOOT);
    restart(running);
    let ill = || {
        let told = beyond_panics(running, "update", |event| {
            assert_ne!(event.field("state"), Some("kept"), "{event:?}");
            event.field("state") == Some("ill")
        });
        told.field("words").unwrap_or_default().to_owned()
    };
    assert_eq!(ill(), "the first process hangs");
    assert_eq!(ill(), "the service exercise does not stay up");
    drop(relay);
    assert_eq!(ill(), "the vault is not reached");
    // The version before says why it is back.
    let last = await_event(running, "last", BOOT);
    let words = last.field("words").unwrap_or_default();
    assert!(words.contains("did not prove itself: the vault is not reached"), "{last:?}");
    assert_eq!(slot(running, BOOT), ("a".into(), "0.1.0".into(), true));
    assert_eq!(names(medium), ["lifeboat-a.efi", "lifeboat-b+0-3.efi"]);
}

#[test]
fn the_security_chip_remembers_what_a_new_medium_does_not_know() {
    let made = releases().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("chip").expect("a scratch folder");
    let state = Some(scratch.path().join("tpm"));
    for (stick, version) in [(&made.second_stick, "0.2.0"), (&made.first, "0.1.0")] {
        let machine =
            Machine::uefi().processors(1).lifetime(LIFETIME).tpm(Tpm { state: state.clone() });
        let machine = machine.disk(Disk::new(stick).snapshot().boot_order(0));
        let running = machine.start().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(slot(&running, 2 * BOOT), ("a".into(), version.into(), true));
        let least = await_event(&running, "least", ANSWER);
        assert_eq!(least.field("version"), Some("0.2.0"), "{version}: {least:?}");
        assert_eq!(least.field("chip"), Some("kept"), "{version}: {least:?}");
    }
}

#[test]
fn a_power_cut_in_an_update_leaves_a_machine_that_starts() {
    let wanted = std::env::var("LIFEBOAT_CUTS").ok().and_then(|text| text.parse().ok());
    let cuts: u64 = wanted.unwrap_or(CUTS);
    let made = releases().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("update-cuts").expect("a scratch folder");
    let updates = update_stick(&scratch, &made);
    let seed = 2026;
    let mut random = Random::new(seed);
    let mut medium = copy(&made, &scratch);
    for cut in 0..=cuts {
        let running = start(&medium, &updates);
        // A cut that came after the end has 0.2.0 tried, whose kernel panics on its first try.
        let told = beyond_panics(&running, "slot", |_| true);
        let [slot, version] = ["slot", "version"].map(|name| told.field(name).unwrap_or_default());
        let names = names(&medium);
        eprintln!("seed {seed}, start {cut}: {version} in slot {slot} of {names:?}");
        assert!(["0.1.0", "0.2.0"].contains(&version), "cut {cut}: {version}");
        if slot == "b" {
            // The cut came after the end. Another medium.
            drop(running);
            medium = copy(&made, &scratch);
            continue;
        }
        if cut == cuts {
            break;
        }
        choose(&running, "0.2.0");
        update_state(&running, "progress", ANSWER);
        let moment = Duration::from_millis(random.below(LATEST_MILLIS));
        let began = Instant::now();
        std::thread::sleep(moment);
        running.power_cut();
        eprintln!("seed {seed}, cut {cut} after {} ms", began.elapsed().as_millis());
    }
}

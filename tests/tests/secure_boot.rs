//! With Secure Boot on, our keys' programs start and nothing else does, whatever lies on the medium; and a firmware without keys
//! takes ours from the stick.
//!
//! Each refusal is seen on the firmware's own console. Words from the board's tables are taken by systemd's stub with Secure Boot
//! too; before our first process refused to go on with them, they were obeyed.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use image::authenticode;
use image::signing::Keys;
use image_layout::disk::ESP_OFFSET;
use qemu::{Boot, Disk, Event, Machine, Running, SecureBoot, Uefi};
use tests::appliance::{await_event, await_ready, phase_words};
use tests::azurite::{Scratch, run};
use tests::guest::{BOOT, Signed, signed};

const SLOT: &str = "EFI/Linux/lifeboat-a.efi";
const MANAGER: &str = "EFI/BOOT/BOOTX64.EFI";

fn machine(secure_boot: SecureBoot, stick: &Path) -> Machine {
    let boot = Boot::Uefi(Uefi { secure_boot, variables: None });
    // Translated processors that meet in system management mode wait for each other without end.
    let machine = Machine::new(boot).processors(1).lifetime(Duration::from_secs(540));
    machine.disk(Disk::new(stick).snapshot().boot_order(0))
}

/// A stick of one's own.
fn copy(made: &Signed, scratch: &Scratch, name: &str) -> PathBuf {
    let stick = scratch.path().join(name);
    fs::copy(&made.stick, &stick).expect("the image can be copied");
    stick
}

/// Puts a file onto a stick, as whoever finds it can.
fn put(stick: &Path, path: &str, bytes: &[u8]) {
    let file = stick.with_extension("part");
    fs::write(&file, bytes).expect("a scratch file");
    let image = format!("{}@@{ESP_OFFSET}", stick.display());
    for (at, _) in path.match_indices('/') {
        // It may be there already.
        let _ =
            run(Command::new("mmd").args(["-D", "s", "-i", &image, &format!("::{}", &path[..at])]));
    }
    let mut command = Command::new("mcopy");
    command.args(["-o", "-i", &image]).arg(&file).arg(format!("::{path}"));
    run(&mut command).unwrap_or_else(|error| panic!("{error}"));
}

fn take(stick: &Path, path: &str) -> Vec<u8> {
    let file = stick.with_extension("taken");
    let image = format!("{}@@{ESP_OFFSET}", stick.display());
    let mut command = Command::new("mcopy");
    command.args(["-o", "-i", &image, &format!("::{path}")]).arg(&file);
    run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    fs::read(file).expect("it was copied")
}

fn trust(events: &[Event]) -> &Event {
    events
        .iter()
        .find(|event| event.name == "trust")
        .expect("it is told what vouches for the system")
}

/// The machine says that it was refused to start something, and our program never does.
#[track_caller]
fn refused(running: &Running, what: &str) {
    let until = Instant::now() + BOOT;
    loop {
        let said = String::from_utf8_lossy(&running.console().bytes()).into_owned();
        assert!(!said.contains("@lifeboat"), "{what} was started:\n{said}");
        if said.contains("Access Denied")
            || said.contains("Access denied")
            || said.contains("Security Violation")
        {
            return;
        }
        assert!(Instant::now() < until, "{what} was neither started nor refused:\n{said}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn what_lies_beside_the_slot_changes_nothing() {
    let made = signed().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("planted").expect("a scratch folder");
    let stick = copy(&made, &scratch, "stick.img");
    put(&stick, "loader/credentials/root.cred", b"secret of a stranger");
    put(&stick, &format!("{SLOT}.extra.d/own.cred"), b"another");
    // Another entry for the boot manager, chosen by its settings, with words for the kernel; and the editor allowed.
    let entry = format!(
        "title Stranger\nefi /{SLOT}\noptions lifeboat.exercise=state lifeboat.role=recover\n"
    );
    put(&stick, "loader/entries/stranger.conf", entry.as_bytes());
    put(&stick, "loader/loader.conf", b"default stranger.conf\neditor yes\ntimeout 0\n");
    let machine = machine(SecureBoot::Keys(made.variables.clone()), &stick);
    let running = machine.start().unwrap_or_else(|error| panic!("{error}"));
    let events = await_ready(&running);
    let trust = trust(&events);
    assert_eq!(trust.field("secure_boot"), Some("on"), "{trust:?}");
    assert_eq!(trust.field("lockdown"), Some("confidentiality"), "{trust:?}");
    assert_eq!(trust.field("development"), Some("true"), "{trust:?}");
    assert!(
        trust.number("thrown_away").is_some_and(|files| files == 2),
        "what was planted came along: {trust:?}"
    );
    assert!(phase_words(&events, "trust").contains("nothing unsigned was started"), "{events:#?}");
    std::thread::sleep(Duration::from_secs(5));
    let events = running.console().events();
    assert!(
        events.iter().all(|event| event.name != "wrote"),
        "a stranger's words were obeyed: {events:#?}"
    );
}

#[test]
fn words_in_the_boards_tables_are_refused() {
    let made = signed().unwrap_or_else(|error| panic!("{error}"));
    // The second word would hide the firmware's variables, by which Secure Boot is usually seen.
    let words = "lifeboat.exercise=state module_blacklist=efivarfs";
    let machine = machine(SecureBoot::Keys(made.variables.clone()), &made.stick)
        .board_words(format!("io.systemd.stub.kernel-cmdline-extra={words}"));
    let running = machine.start().unwrap_or_else(|error| panic!("{error}"));
    let trust = await_event(&running, "trust", BOOT);
    assert_eq!(trust.field("secure_boot"), Some("on"), "{trust:?}");
    let stay = await_event(&running, "stay", BOOT);
    let why = stay.field("why").unwrap_or_default();
    assert!(why.contains(&format!("nobody signed: {words}")), "the person is told: {why}");
    std::thread::sleep(Duration::from_secs(5));
    let events = running.console().events();
    let later = |event: &Event| ["ready", "wrote", "medium"].contains(&event.name.as_str());
    assert!(!events.iter().any(later), "it went on with a stranger's words: {events:#?}");
}

#[test]
fn nothing_unsigned_is_started() {
    let made = signed().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("unsigned").expect("a scratch folder");
    let others = Keys::development(&scratch.path().join("others")).expect("keys can be made");
    let stick = copy(&made, &scratch, "stick.img");
    let (slot, manager) = (take(&stick, SLOT), take(&stick, MANAGER));
    let mut tampered = slot.clone();
    tampered[20_000_000] ^= 1;
    let foreign = authenticode::sign("slot", &bare(&slot), &others.boot).expect("it can be signed");
    let starts =
        authenticode::sign("manager", &bare(&manager), &others.boot).expect("it can be signed");
    for (path, bytes, what) in [
        (SLOT, bare(&slot), "an unsigned slot"),
        (SLOT, tampered, "a slot with one bit changed"),
        (SLOT, foreign, "a slot that another key signed"),
        (MANAGER, bare(&manager), "an unsigned boot manager"),
        (MANAGER, starts, "a boot manager that another key signed"),
    ] {
        let stick = copy(&made, &scratch, "changed.img");
        put(&stick, path, &bytes);
        let machine = machine(SecureBoot::Keys(made.variables.clone()), &stick);
        let running = machine.start().unwrap_or_else(|error| panic!("{error}"));
        refused(&running, what);
    }
}

/// Neither slot is a program any more. A firmware that would take keys from whoever offers some is not given any: that would be
/// the boot manager's next best entry.
#[test]
fn a_medium_with_both_slots_bad_says_what_to_do_and_gives_nobody_keys() {
    let made = signed().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("lost").expect("a scratch folder");
    let stick = copy(&made, &scratch, "stick.img");
    let mut lost = take(&stick, SLOT);
    lost[..1 << 20].fill(0xff);
    put(&stick, SLOT, &lost);
    for secure_boot in [SecureBoot::Setup, SecureBoot::Keys(made.variables.clone())] {
        let machine = machine(secure_boot.clone(), &stick);
        let running = machine.start().unwrap_or_else(|error| panic!("{error}"));
        for words in ["neither of the two systems on this medium is whole", "Press a key to start"]
        {
            let said = running.console().prompt(words, BOOT);
            said.unwrap_or_else(|error| panic!("{secure_boot:?}: {error}"));
        }
        let said = String::from_utf8_lossy(&running.console().bytes()).into_owned();
        assert!(!said.contains("nroll"), "{secure_boot:?}: keys were given away:\n{said}");
        // A key that is pressed while it still speaks is none.
        let until = Instant::now() + BOOT;
        while !running.has_ended() && Instant::now() < until {
            let _ = running.console().type_bytes(b"x");
            std::thread::sleep(Duration::from_millis(500));
        }
        let ended = running.wait_end(BOOT).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(ended.reason.as_deref(), Some("guest-reset"), "{secure_boot:?}");
    }
}

/// A program without its signature.
fn bare(program: &[u8]) -> Vec<u8> {
    authenticode::without(program).expect("it is signed")
}

#[test]
fn a_firmware_without_keys_takes_ours_from_the_stick() {
    let made = signed().unwrap_or_else(|error| panic!("{error}"));
    let machine = machine(SecureBoot::Setup, &made.enrolling).reboots();
    let running = machine.start().unwrap_or_else(|error| panic!("{error}"));
    let trust = await_event(&running, "trust", 2 * BOOT);
    assert_eq!(trust.field("secure_boot"), Some("on"), "{trust:?}");
}

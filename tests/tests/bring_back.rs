//! Promise: a server captured on one machine comes back on another, on another bus and a larger disk, and starts there.
//!
//! The server is a real Debian. What is right is known to the host alone: its own copy of the disk, from before.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use core::time::Duration;

use qemu::{Broken, Bus, Disk, Event, Gateway, Machine, Nic, Running};
use tests::appliance::{
    ANSWER, answer, await_end, await_event, await_ready, is_shown, phase, recovery_key, start,
    vault_table,
};
use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch, run};
use tests::cli::{change, image};
use tests::debian::debian_disk;
use tests::guest::BOOT;
use tests::media::{copy_disk, empty, ext4, first_difference, read_ext4, stick};
use tests::program::{Place, checked};
use tests::serving::{BY_GUESTS, Serving};

/// Half a gigabyte, read, compressed, sealed and sent by a translated processor, or the same back.
const JOB: Duration = Duration::from_secs(400);
const MIB: u64 = 1 << 20;

/// Starts what is on a disk by its firmware; the root device that the Debian on it says it runs from.
fn boots(disk: Disk) -> String {
    let machine = Machine::uefi().disk(disk.boot_order(0)).processors(1);
    let running = machine.start().unwrap();
    let said = running.console().event("debian", BOOT).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said.field("mode"), Some("rw"), "its file system took no harm: {said:?}");
    said.field("root").unwrap().to_owned()
}

/// A Debian that has run and lost its power, on a disk of its own.
fn server(folder: &Path) -> PathBuf {
    let disk = folder.join("server.img");
    copy_disk(&debian_disk().unwrap_or_else(|error| panic!("{error}")), &disk);
    assert_eq!(boots(Disk::new(&disk)), "/dev/vda2");
    disk
}

fn is_done(event: &Event) -> &Event {
    assert_eq!(event.field("state"), Some("done"), "{event:?}");
    event
}

#[test]
fn a_debian_comes_back_from_azure_on_another_bus_and_a_larger_disk_and_starts() {
    let scratch = Scratch::new("bring-back").unwrap();
    let folder = scratch.path();
    let disk = server(folder);
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    let key = [("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned())];
    let place = Place::create(azurite.vault("site"), folder, &key);
    let endpoint = format!("http://10.0.2.2:{}/{ACCOUNT}", azurite.port());
    let address = format!("azure://{ACCOUNT}/site?endpoint={endpoint}");
    let more = format!("token = \"{KEY}\"\nserver = \"web1\"\n");
    let settings = stick(&folder.join("stick.img"), &vault_table(&place, &address, &more));

    let running = start("lifeboat.role=capture", |machine| {
        let machine = machine.disk(Disk::new(&disk).snapshot()).disk(Disk::new(&settings));
        machine.nic(Nic::new().gateway(Gateway::default()))
    });
    assert_eq!(phase(&await_ready(&running), "settings"), Some("done"));
    let captured = await_end(&running, "capture", JOB);
    let point = is_done(&captured).field("point").unwrap().to_owned();
    drop(running);

    let bytes = fs::metadata(&disk).unwrap().len();
    let fresh = empty(&folder.join("fresh.img"), bytes + 6 * MIB);
    let running = start("lifeboat.role=recover", |machine| {
        let machine = machine.disk(Disk::new(&fresh).on(Bus::Nvme).serial("new"));
        machine.nic(Nic::new().gateway(Gateway::default()))
    });
    // What a person mistypes is told and asked for again.
    let wrong = KEY.replacen("Eby8", "Eby9", 1);
    for (token, good) in [(wrong.as_str(), false), (KEY, true)] {
        answer(&running, "Where is the vault?", &address);
        answer(&running, "What opens the storage account?", token);
        answer(&running, "The recovery key?", &recovery_key(&place));
        if !good {
            let refused = await_end(&running, "recover", ANSWER);
            let words = refused.field("words").unwrap();
            assert!(words.contains("refuses the account key"), "{refused:?}");
        }
    }
    answer(&running, "Which server?", "1");
    answer(&running, "Which point of web1?", "1");
    assert!(is_shown(&running, "vda (546 MiB)  onto  nvme0n1"), "what goes where is shown");
    answer(&running, "Overwrite these disks?", "web1");
    let back = await_end(&running, "recover", JOB);
    assert_eq!(is_done(&back).field("point"), Some(point.as_str()));
    assert!(is_shown(&running, "spare partition table was moved"), "the report says so");
    answer(&running, "Done", "1");
    running.wait_end(ANSWER).unwrap();

    is_the_same_but_for_its_tables(&disk, &fresh);
    assert_eq!(boots(Disk::new(&fresh).on(Bus::Nvme)), "/dev/nvme0n1p2");
}

/// Byte for byte as it was, but that the two headers and the spare entries are where the larger size wants them.
fn is_the_same_but_for_its_tables(disk: &Path, fresh: &Path) {
    let bytes = fs::metadata(disk).unwrap().len();
    // The entries, the partitions, and the old spare's entries, which nothing points at any more.
    assert_eq!(first_difference(disk, fresh, 1024..bytes - 512), None);
    let told = |arguments: &[&str], disk: &Path| {
        run(std::process::Command::new("sgdisk").args(arguments).arg(disk)).unwrap()
    };
    let verdict = told(&["-v"], fresh);
    assert!(verdict.contains("No problems found"), "{verdict}");
    for number in ["1", "2"] {
        assert_eq!(told(&["-i", number], disk), told(&["-i", number], fresh));
    }
    let guid = |disk: &Path| {
        let text = told(&["-p"], disk);
        text.lines().find(|line| line.contains("identifier (GUID)")).unwrap().to_owned()
    };
    assert_eq!(guid(disk), guid(fresh));
}

#[test]
fn a_server_of_two_disks_with_a_bad_block_comes_back_once_both_have_a_place() {
    let scratch = Scratch::new("bring-back-two").unwrap();
    let folder = scratch.path();
    let one = image(&folder.join("one.img"), 24 << 20, 11);
    let two = image(&folder.join("two.img"), 16 << 20, 12);
    fs::create_dir_all(folder.join("disk")).unwrap();
    let inside = folder.join("disk/site");
    let mut place = Place::create(format!("dir:{}", inside.display()), folder, &[]);
    let vault = ext4(&folder.join("vault.img"), "backups", &folder.join("disk"), 128);
    let point = protected_but_for_a_block(folder, &place, [&one, &two, &vault]);

    place.vault = format!("dir:{}", read_ext4(&vault, folder).join("site").display());
    let points = checked(place.verb("points").arg("--json").output().unwrap(), "points");
    assert!(points.contains(&point), "{points}");
    checked(place.verb("verify").arg("--deep").output().unwrap(), "verify");

    let first = empty(&folder.join("first.img"), 24 << 20);
    let second = empty(&folder.join("second.img"), 20 << 20);
    let running = start("lifeboat.role=recover", |machine| {
        let machine = machine.disk(Disk::new(&vault)).disk(Disk::new(&first).on(Bus::Ahci));
        machine.disk(Disk::new(empty(&folder.join("small.img"), 15 * MIB)).on(Bus::VirtioScsi))
    });
    answer(&running, "Where is the vault?", "disk:elsewhere/site");
    answer(&running, "The recovery key?", &recovery_key(&place));
    let refused = await_end(&running, "recover", ANSWER);
    assert!(refused.field("words").unwrap().contains("bears the name elsewhere"), "{refused:?}");
    answer(&running, "Where is the vault?", "disk:backups/site");
    let mistyped: String = recovery_key(&place).chars().rev().collect();
    answer(&running, "The recovery key?", &mistyped);
    let refused = await_end(&running, "recover", ANSWER);
    assert!(refused.field("words").unwrap().contains("key"), "{refused:?}");
    let choose = |running: &Running| {
        answer(running, "Where is the vault?", "disk:backups/site");
        answer(running, "The recovery key?", &recovery_key(&place));
        answer(running, "Which server?", "1");
        answer(running, "Which point of db1?", "1");
    };
    choose(&running);
    let refused = await_end(&running, "recover", ANSWER);
    assert_eq!(refused.field("state"), Some("refused"), "{refused:?}");
    assert!(refused.field("words").unwrap().contains("put in a larger one"), "{refused:?}");
    let asked = await_event(&running, "ask", ANSWER);
    assert_eq!(asked.field("title"), Some("A disk has no place"));
    running.plug_disk(&Disk::new(&second).on(Bus::VirtioScsi)).unwrap();
    // The third of its kind, in whatever order the controllers found theirs.
    await_device(&running, "sdc");
    running.console().type_bytes(b"1").unwrap();
    answer(&running, "Overwrite these disks?", "db2");
    let zeros = |path: &Path| fs::read(path).unwrap().iter().all(|byte| *byte == 0);
    running.console().type_bytes(b"r").unwrap();
    choose(&running);
    assert!(zeros(&first) && zeros(&second), "nothing is written before the right name is typed");
    answer(&running, "Overwrite these disks?", "db1");
    is_done(&await_end(&running, "recover", JOB));
    answer(&running, "Done", "1");
    running.wait_end(ANSWER).unwrap();

    assert_eq!(first_difference(&one, &first, 0..24 << 20), None);
    let block = 2_097_152..2_097_152 + 65_536;
    assert_eq!(first_difference(&two, &second, 0..block.start), None);
    assert_eq!(first_difference(&two, &second, block.end..16 << 20), None);
}

fn await_device(running: &Running, name: &str) {
    let wanted = |event: &Event| event.field("name") == Some(name);
    let there = running.console().event_where("device", ANSWER, wanted);
    assert!(there.is_ok(), "{}", there.unwrap_err());
}

/// Captures a server of two disks, one of which has a sector that cannot be read, into a vault on a third: the point.
fn protected_but_for_a_block(folder: &Path, place: &Place, disks: [&Path; 3]) -> String {
    let [one, two, vault] = disks;
    let table = vault_table(place, "disk:backups/site", "server = \"db1\"\n");
    let settings = stick(&folder.join("stick.img"), &format!("role = \"capture\"\n{table}"));

    let running = start("", |machine| {
        let machine = machine.disk(Disk::new(one)).disk(Disk::new(&settings));
        // One sector, which costs the block that it is in.
        let bad = Disk::new(two).on(Bus::VirtioScsi).broken(Broken::ReadsOf(4096));
        machine.disk(bad).disk(Disk::new(vault))
    });
    let captured = await_end(&running, "capture", JOB);
    assert_eq!(captured.field("state"), Some("incomplete"), "{captured:?}");
    assert!(
        captured.field("words").unwrap().contains("1 blocks could not be read"),
        "{captured:?}"
    );
    assert!(is_shown(&running, "sda at byte 2097152"), "the block is named");
    answer(&running, "Done", "1");
    let ended = await_event(&running, "end", ANSWER);
    assert_eq!((ended.field("how"), ended.number("left")), (Some("poweroff"), Some(0)));
    running.wait_end(ANSWER).unwrap();
    captured.field("point").unwrap().to_owned()
}

#[test]
fn a_server_goes_through_an_appliance_by_a_token_on_its_stick_and_is_the_same_after_a_power_cut() {
    let scratch = Scratch::new("bring-back-through").unwrap();
    let folder = scratch.path();
    let serving = Serving::start(folder, BY_GUESTS, true);
    let disk = image(&folder.join("server.img"), 24 << 20, 21);
    let table = format!("[appliance]\ntoken = \"{}\"\nserver = \"web1\"\n", serving.token(&[]));
    let settings = stick(&folder.join("stick.img"), &format!("role = \"capture\"\n{table}"));
    let captured = || {
        let running = start("", |machine| {
            let bad = Disk::new(&disk).on(Bus::VirtioScsi).serial("S1");
            let machine = machine.disk(bad.broken(Broken::ReadsOf(4096)));
            machine.disk(Disk::new(&settings)).nic(Nic::new().gateway(Gateway::default()))
        });
        let captured = await_end(&running, "capture", JOB);
        assert_eq!(captured.field("state"), Some("incomplete"), "{captured:?}");
        let words = captured.field("words").unwrap();
        assert!(words.contains("1 blocks could not be read"), "{captured:?}");
        assert!(is_shown(&running, "sda at byte 2097152"), "the block is named");
        running.power_cut();
        captured
    };
    let first = captured();
    assert!(first.number("sent").unwrap() > 10 << 20, "{first:?}");
    change(&disk, "sda", 3, 4);
    // The token is used up, and the machine known by what was kept on the stick.
    let second = captured();
    assert!((1..=3 * 65_536).contains(&second.number("sent").unwrap()), "{second:?}");

    assert_eq!(serving.servers(), ["web1"]);
    let points = serving.points("web1");
    let ids: Vec<&str> = points.iter().map(|point| point["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&first, &second].map(|made| made.field("point").unwrap()));
    let (back, truth) = (serving.restored("web1", "sda", &folder.join("back")), fs::read(&disk));
    let (mut truth, bad) = (truth.unwrap(), 2_097_152..2_097_152 + 65_536);
    truth[bad].fill(0);
    let differs = back.iter().zip(&truth).position(|(back, truth)| back != truth);
    assert_eq!((back.len(), differs), (truth.len(), None));
}

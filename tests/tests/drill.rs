//! Promise: a server that was protected comes up in a drill as it was at the point that was asked for, by UEFI and by BIOS,
//! repaired where it needs it, on a machine that has the vault and the key alone.
//!
//! The servers are Debians by mmdebstrap; machines of the region boot nothing but what arrived by Put Page. What a replica says
//! of itself stands on its own serial console, which the region keeps.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use qemu::region::Settings;
use serde_json::{Value, json};

use tests::cli::run;
use tests::recovering::Bed;
use tests::region::Machines;
use tests::servers::Server;

/// The drivers of the region are virtio's: what they are is data of a platform.
const PLATFORM: (&str, &str) = ("LIFEBOAT_PLATFORM", "stand-in");
/// Translated, a Debian is up after one to three minutes.
const PATIENCE: &str = "signal_within_s = 480";

/// The name of the file system that is a second disk, whole.
const ARCHIVE_UUID: &str = "0d1c0000-0000-4000-8000-000000000003";
/// No smaller disk is uploaded.
const ARCHIVE: &str = "24M";
/// Said before the server says that it is up: what is on that disk, and by which number the platform has it.
const SAYS_ARCHIVE: &str = "[Unit]\nRequiresMountsFor=/archive\n[Service]\nExecStartPre=/bin/sh -c 'disk=$(findmnt -no SOURCE /archive); \
    echo \"@lifeboat archive holds=$(cat /archive/word) number=$(cat /sys/block/$${disk##*/}/serial)\" >/dev/ttyS0'\n";

/// A vault with two points of a server: the first holds `before`, the second `after`.
struct Protected {
    bed: Bed,
    first: String,
    second: String,
}

fn bed(server: Server) -> Bed {
    let settings = Settings { operation_ms: 50, ..Settings::default() };
    let mut bed = Bed::empty(&format!("drill-{}", server.name()), Machines::Real, settings);
    bed.place.environment.push((PLATFORM.0.to_owned(), PLATFORM.1.to_owned()));
    bed
}

fn sh(bed: &Bed, script: &str, arguments: &[&str]) {
    let mut command = std::process::Command::new("sh");
    command.args(["-ec", script, "sh"]).args(arguments).current_dir(bed.scratch.path());
    run(&mut command).succeeds();
}

/// A second disk for the server whose root is on this one: it is a file system, mounted by its UUID.
fn add_archive(bed: &Bed, server: Server, disk: &Path) -> PathBuf {
    fs::write(bed.path("unit"), SAYS_ARCHIVE).unwrap();
    let root = format!("{}?offset={}", disk.display(), server.root_at_mib() << 20);
    sh(
        bed,
        r#"mke2fs -q -t ext4 -L archive -U $2 archive.img $3
        debugfs -R 'cat etc/fstab' "$1" >fstab; echo "UUID=$2 /archive ext4 defaults 0 2" >>fstab
        unit=etc/systemd/system/says-up.service.d
        printf '%s\n' 'rm etc/fstab' 'write fstab etc/fstab' 'mkdir archive' "mkdir $unit" "write unit $unit/archive.conf" >orders
        debugfs -w -f orders "$1""#,
        &[&root, ARCHIVE_UUID, ARCHIVE],
    );
    bed.path("archive.img")
}

/// Puts a word onto that disk.
fn mark_archive(bed: &Bed, word: &str) {
    let script = "echo $1 >word; debugfs -w -R 'rm word' archive.img; debugfs -w -R 'write word word' archive.img";
    sh(bed, script, &[word]);
}

/// The same as `protected`, of a server with a second disk.
fn protected_with_archive(server: Server) -> Protected {
    let bed = bed(server);
    let made = server.disk().unwrap_or_else(|error| panic!("{error}"));
    let disk = copy(&bed, &made);
    let archive = add_archive(&bed, server, &disk);
    let [first, second] = ["before", "after"].map(|word| {
        server.mark(&disk, word).unwrap_or_else(|error| panic!("{error}"));
        mark_archive(&bed, word);
        bed.protect_all("web1", &[("sda", &disk), ("sdb", &archive)])
    });
    fs::remove_file(disk).unwrap();
    fs::remove_file(archive).unwrap();
    Protected { bed, first, second }
}

fn protected(server: Server) -> Protected {
    let bed = bed(server);
    let made = server.disk().unwrap_or_else(|error| panic!("{error}"));
    let disk = copy(&bed, &made);
    server.mark(&disk, "before").unwrap_or_else(|error| panic!("{error}"));
    let first = bed.protect("web1", &disk);
    server.mark(&disk, "after").unwrap_or_else(|error| panic!("{error}"));
    let second = bed.protect("web1", &disk);
    fs::remove_file(disk).unwrap();
    Protected { bed, first, second }
}

fn copy(bed: &Bed, disk: &PathBuf) -> PathBuf {
    let to = bed.path("server.img");
    run(std::process::Command::new("cp").arg("--sparse=always").arg(disk).arg(&to)).succeeds();
    to
}

/// Orders the drill by the program, as on a machine that has never seen this vault.
fn drill(protected: &Protected, server: Server, point: &str, word: &str) -> Value {
    let bed = &protected.bed;
    bed.profile_with("web1", &format!("@lifeboat server data={word} "), PATIENCE);
    let mut command = bed.verbs(&["drill"]);
    command.env("LIFEBOAT_STATE", bed.path(&format!("state-{}-{word}", server.name())));
    run(command.args(["--server", "web1", "--json", "--point", point])).succeeds().json()
}

/// What a replica has to say of itself, and what has to be gone then.
fn is_up(protected: &Protected, drilled: &Value, server: Server, word: &str, mounts: &str) {
    assert_eq!((&drilled["state"], &drilled["up"]), (&json!("drilled"), &json!(true)), "{drilled}");
    let steps = drilled["steps"].as_array().unwrap().iter();
    let steps = steps.map(|step| format!("{} {} ms", step["step"], step["took_millis"]));
    eprintln!(
        "{}: up after {} ms: {}",
        server.name(),
        drilled["rto_millis"],
        steps.collect::<Vec<_>>().join(", ")
    );
    let console = drilled["evidence"]["console"].as_str().unwrap();
    let said = console.lines().find(|line| line.contains("@lifeboat server")).unwrap();
    eprintln!("{}: {said}", server.name());
    assert!(said.contains(&format!("data={word} ")), "the point that was asked for: {said}");
    assert!(said.contains("root=/dev/vda"), "virtio's disk: {said}");
    assert!(said.contains(&format!("mounts={mounts} ")), "{said}");
    assert!(said.contains("address=10.255.0."), "the drill's own network: {said}");
    let bed = &protected.bed;
    assert!(bed.billed().is_empty() && bed.tagged().is_empty(), "{:?}", bed.billed());
}

#[test]
fn a_debian_that_starts_by_uefi_comes_up_with_both_disks_as_it_was_at_an_older_point() {
    let protected = protected_with_archive(Server::Uefi);
    let drilled = drill(&protected, Server::Uefi, &protected.first, "before");
    is_up(&protected, &drilled, Server::Uefi, "before", "/,/archive,/boot/efi,/srv");
    let console = drilled["evidence"]["console"].as_str().unwrap();
    let said = console.lines().find(|line| line.contains("@lifeboat archive")).unwrap();
    assert!(said.contains("holds=before number=lun0"), "its second disk: {said}");
}

#[test]
fn a_debian_that_starts_by_bios_comes_up_as_it_was_last() {
    let protected = protected(Server::Bios);
    let drilled = drill(&protected, Server::Bios, "latest", "after");
    is_up(&protected, &drilled, Server::Bios, "after", Server::Bios.mounts());
    assert_ne!(protected.first, protected.second);
}

#[test]
fn a_debian_that_has_no_driver_for_the_platform_is_repaired_on_the_copy_and_comes_up() {
    let protected = protected(Server::SataOnly);
    let ready = run(protected.bed.verbs(&["ready"]).args(["--server", "web1", "--json"]));
    assert!(ready.output.contains("virtio"), "told before any drill: {}", ready.output);
    let drilled = drill(&protected, Server::SataOnly, "latest", "after");
    is_up(&protected, &drilled, Server::SataOnly, "after", Server::SataOnly.mounts());
    // The point itself is what it was: restored, it is the disk that has no such driver.
    let to = protected.bed.path("restored.img");
    let mut command = protected.bed.verbs(&["restore"]);
    command.args(["--server", "web1", "--disk", "sda", "--to"]).arg(&to);
    run(&mut command).succeeds();
    let made = Server::SataOnly.disk().unwrap();
    Server::SataOnly.mark(&to, "fresh").unwrap();
    let root = Server::SataOnly.root_at_mib() << 20;
    for path in ["/boot", "/etc/fstab", "/var/lib"] {
        let list = |disk: &PathBuf| {
            let target = format!("{}?offset={root}", disk.display());
            let mut command = std::process::Command::new("debugfs");
            run(command.args(["-R", &format!("ls -l {path}"), &target])).output
        };
        assert_eq!(list(&to), list(&made), "{path} of the point");
    }
}

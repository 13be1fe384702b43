//! Promise: a server that was protected comes up in a drill as it was at the point that was asked for, by UEFI and by BIOS,
//! repaired where it needs it, on a machine that has the vault and the key alone.
//!
//! The servers are Debians by mmdebstrap; machines of the region boot nothing but what arrived by Put Page. What a replica says
//! of itself stands on its own serial console, which the region keeps.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs;
use std::path::PathBuf;

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

/// A vault with two points of a server: the first holds `before`, the second `after`.
struct Protected {
    bed: Bed,
    first: String,
    second: String,
}

fn protected(server: Server) -> Protected {
    let settings = Settings { operation_ms: 50, ..Settings::default() };
    let mut bed = Bed::empty(&format!("drill-{}", server.name()), Machines::Real, settings);
    bed.place.environment.push((PLATFORM.0.to_owned(), PLATFORM.1.to_owned()));
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
fn is_up(protected: &Protected, drilled: &Value, server: Server, word: &str) {
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
    assert!(said.contains(&format!("mounts={} ", server.mounts())), "{said}");
    assert!(said.contains("address=10.255.0."), "the drill's own network: {said}");
    let bed = &protected.bed;
    assert!(bed.billed().is_empty() && bed.tagged().is_empty(), "{:?}", bed.billed());
}

#[test]
fn a_debian_that_starts_by_uefi_comes_up_as_it_was_at_an_older_point() {
    let protected = protected(Server::Uefi);
    let drilled = drill(&protected, Server::Uefi, &protected.first, "before");
    is_up(&protected, &drilled, Server::Uefi, "before");
}

#[test]
fn a_debian_that_starts_by_bios_comes_up_as_it_was_last() {
    let protected = protected(Server::Bios);
    let drilled = drill(&protected, Server::Bios, "latest", "after");
    is_up(&protected, &drilled, Server::Bios, "after");
    assert_ne!(protected.first, protected.second);
}

#[test]
fn a_debian_that_has_no_driver_for_the_platform_is_repaired_on_the_copy_and_comes_up() {
    let protected = protected(Server::SataOnly);
    let ready = run(protected.bed.verbs(&["ready"]).args(["--server", "web1", "--json"]));
    assert!(ready.output.contains("virtio"), "told before any drill: {}", ready.output);
    let drilled = drill(&protected, Server::SataOnly, "latest", "after");
    is_up(&protected, &drilled, Server::SataOnly, "after");
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

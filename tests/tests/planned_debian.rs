//! Promise: what a real server's application was told is kept is what runs in Azure after a planned failover, and the point
//! is the server's disk to the last byte; called off or taken back, the server goes on with no further copy of its disk.
//!
//! A Debian under load, with an application that is told over the network what is kept, a hook that stops it, and the agent as
//! a service. The real `lifeboat serve` and `lifeboat failover`; the replica boots in the region stand-in from what arrived by
//! Put Page.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

/// The server and its application.
#[path = "planned_debian/server.rs"]
mod server;

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use qemu::region::Settings;
use serde_json::{Value, json};
use tests::cli::{Ran, run};
use tests::media::first_difference;
use tests::recovering::Bed;
use tests::region::Machines;
use tests::serving::{BY_GUESTS, Serving};

use server::{NAME, Server};

/// A system that is translated, beside others.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(500);
const SPOOL_BYTES: u64 = 1 << 30;

/// Vault, region, and the appliance that the server talks to.
struct Site {
    bed: Bed,
    serving: Serving,
}

impl Site {
    fn new() -> Self {
        let settings = Settings { operation_ms: 20, ..Settings::default() };
        let mut bed = Bed::empty("planned-debian", Machines::Real, settings);
        // The drivers of the region are virtio's: what they are is data of a platform.
        bed.place.environment.push(("LIFEBOAT_PLATFORM".to_owned(), "stand-in".to_owned()));
        // This appliance is on the network of whoever runs the test: nothing is sent there.
        bed.place.environment.push(("LIFEBOAT_WAKE".to_owned(), "off".to_owned()));
        let mut serving = Serving::new(bed.place.clone(), BY_GUESTS, Some(SPOOL_BYTES));
        serving.go_on();
        Self { bed, serving }
    }

    /// Waits for a clean point that is newer than `than` points.
    fn clean_point(&self, than: usize, server: &Server) {
        wait("clean point", server, || {
            let points = self.serving.points(NAME);
            points.len() > than
                && points.last().is_some_and(|point| point["consistency"] == "crash")
        });
    }

    fn failover(&self, more: &[&str]) -> JoinHandle<Ran> {
        let mut command = self.bed.verbs(&["failover"]);
        command.args(["--server", NAME, "--json"]).args(more);
        thread::spawn(move || run(&mut command))
    }

    /// The point is the disk of a server that is off.
    fn is_the_disk(&self, point: &str, disk: &Path) {
        let restored = self.bed.path("restored.img");
        let place = self.serving.place();
        let mut command = place.verb("restore");
        command.args(["--server", NAME, "--disk", "vda", "--point", point, "--to"]).arg(&restored);
        run(&mut command).succeeds();
        let bytes = fs::metadata(disk).unwrap().len();
        assert_eq!(fs::metadata(&restored).unwrap().len(), bytes);
        assert_eq!(first_difference(disk, &restored, 0..bytes), None, "point {point}");
        fs::remove_file(restored).unwrap();
    }
}

fn wait(what: &str, server: &Server, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "no {what}\n{}", server.console());
        thread::sleep(LOOK);
    }
    println!("{what} after {:?}", began.elapsed());
}

/// Bytes of all files in a folder.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = entries.map(|entry| match entry.metadata().unwrap() {
        facts if facts.is_dir() => bytes_in(&entry.path()),
        facts => facts.len(),
    });
    bytes.sum()
}

/// A drain that is called off again: the application stops, and goes on.
fn drained_and_called_off(site: &Site, server: &Server) {
    let ran = site.serving.verb(&["server", "drain", NAME, "--order", "try-1", "--json"]).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let drained: Value = serde_json::from_slice(&ran.stdout).unwrap();
    println!("{drained}");
    assert_eq!((&drained["read_only"], &drained["changed_blocks"]), (&json!(true), &json!(0)));
    let stands = server.acknowledged();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(server.acknowledged(), stands, "its application is stopped");
    let before = site.serving.points(NAME).len();
    site.serving.vault(&["server", "drain", NAME, "--order", "try-1", "--abort"]);
    wait("application that goes on", server, || server.acknowledged() > stands);
    site.clean_point(before, server);
}

/// What the replica said of itself holds all that the application was told is kept.
fn holds_what_was_acknowledged(up: &Value, acknowledged: u64) {
    let console = up["evidence"]["console"].as_str().unwrap();
    let said = console.lines().find_map(|line| line.split("@lifeboat app last=").nth(1)).unwrap();
    let last: u64 = said.split_whitespace().next().unwrap().parse().unwrap();
    println!("acknowledged {acknowledged}, in the replica {last}: {said}");
    // It may have been stopped between a write and its word.
    assert!(last == acknowledged || last == acknowledged + 1, "{last}, not {acknowledged}");
}

#[test]
fn a_debian_under_load_is_drained_runs_in_azure_and_taken_back_goes_on_without_a_copy() {
    let site = Site::new();
    let mut server = Server::make(&site.bed.path("server"), &site.serving.token(&[]));
    server.boot();
    wait("enrolment", &server, || site.serving.servers().iter().any(|name| name == NAME));
    site.serving.vault(&["server", "policy", NAME, "--interval", "10s"]);
    site.bed.profile_with(NAME, "@lifeboat app last=", "signal_within_s = 400");
    site.clean_point(0, &server);
    wait("application", &server, || server.acknowledged() > 0);
    drained_and_called_off(&site, &server);

    let ordered = site.failover(&["--planned"]);
    server.ends_by_itself();
    let acknowledged = server.acknowledged();
    let up = ordered.join().unwrap().succeeds().json();
    assert_eq!((&up["kind"], &up["state"]), (&json!("planned"), &json!("up")), "{up}");
    assert_eq!(up["up"], json!(true), "{up}");
    let steps = up["steps"].as_array().unwrap().iter();
    steps.for_each(|step| println!("{} {} ms", step["step"], step["took_millis"]));
    holds_what_was_acknowledged(&up, acknowledged);
    site.is_the_disk(up["point"]["id"].as_str().unwrap(), server.disk());
    let (points, stored) = (site.serving.points(NAME).len(), bytes_in(&site.bed.path("vault")));

    let cancelling = site.failover(&["--cancel"]);
    wait("end of what runs in Azure", &server, || site.bed.tagged().is_empty());
    // Nothing wakes a machine that QEMU ended; somebody starts it.
    server.boot();
    let cancelled = cancelling.join().unwrap().succeeds().json();
    assert_eq!(cancelled["state"], "cancelled");
    assert!(cancelled["notes"].to_string().contains("the source is back"), "{cancelled}");
    assert!(site.bed.billed().is_empty());
    wait("application", &server, || server.acknowledged() > acknowledged);
    site.clean_point(points, &server);
    let more = bytes_in(&site.bed.path("vault")) - stored;
    println!("{stored} bytes in the vault, and {more} since");
    assert!(more * 4 < stored, "its disk was copied again");

    // What it replicates is its disk still.
    let mut last = site.serving.verb(&["server", "drain", NAME, "--order", "off", "--power-off"]);
    let last = thread::spawn(move || run(last.arg("--json")));
    server.ends_by_itself();
    let last = last.join().unwrap().succeeds().json();
    site.is_the_disk(last["point"].as_str().unwrap(), server.disk());
    site.serving.vault(&["verify", "--deep"]);
}

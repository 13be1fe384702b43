//! Promise: every clean point of a running server is its disk at one instant, bit for bit, whatever is killed, pulled or
//! without power; a disk that the policy leaves out is in none.
//!
//! The server is a real Debian under a load of random writes, with the agent as a service of systemd; the appliance is the
//! real `lifeboat serve`. What is right is known to the host alone: while the server is frozen for a point the agent says so
//! on the serial line and waits, and the host takes a copy of the disk of its own.
//!
//! `LIFEBOAT_POINTS=200` makes a long campaign of it: so many points, with a fault behind each.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

/// Points, and what is known of them.
#[path = "replication/points.rs"]
mod points;
/// The server.
#[path = "replication/server.rs"]
mod server;
/// The appliance.
#[path = "replication/serving.rs"]
mod serving;

use core::time::Duration;
use std::fs;
use std::time::Instant;

use hal_sim::random::Random;
use pipeline_vault::record::{Consistency, Manifest};
use qemu::Running;
use tests::azurite::Scratch;
use tests::media::first_difference;

use points::{Made, POINT, judge, watch};
use server::Server;
use serving::Serving;

#[test]
fn every_clean_point_of_a_running_debian_is_its_disk_at_one_instant() {
    let seed = u64::from(std::process::id());
    let wanted = std::env::var("LIFEBOAT_POINTS").ok().and_then(|points| points.parse().ok());
    let wanted = wanted.unwrap_or(4_usize);
    println!("seed {seed}, {wanted} points");
    let scratch = Scratch::new("replication").unwrap();
    let folder = scratch.path();
    let mut serving = Serving::start(folder);
    let server = Server::make(folder, &serving.token());
    let mut random = Random::new(seed);
    let mut made = Made::default();
    let mut running = server.boot();
    serving.wait_enrolled();
    serving.kill_and_start();
    serving.policy(&["--interval", "10s"]);
    watch(&running, server.disk(), folder, &mut made, 1);
    let mut faults: Vec<u64> = (0..3).collect();
    while made.copies.len() < wanted {
        let fault = if faults.is_empty() { random.below(3) } else { faults.remove(0) };
        println!("fault {fault}");
        match fault {
            0 => serving.kill_and_start(),
            1 => {
                running.set_link("nic0", false).unwrap();
                std::thread::sleep(Duration::from_secs(5));
                running.set_link("nic0", true).unwrap();
            }
            _ => {
                running.power_cut();
                running = server.boot();
            }
        }
        watch(&running, server.disk(), folder, &mut made, 1);
    }
    let last = *made.copies.keys().next_back().unwrap();
    serving.wait_vaulted(last);
    drop(running);
    let judged = judge(&serving, &made, folder);
    println!(
        "{judged} of {} clean points are in the vault and right; {} are fuzzy",
        made.copies.len(),
        made.fuzzy
    );
    assert!(judged * 2 > made.copies.len(), "too few points came into the vault");
    serving.verify();
}

/// Lets points be made until the newest has these disks and is clean; all that are in the vault.
fn wait_for_disks(running: &Running, serving: &Serving, disks: &[&str]) -> Vec<Manifest> {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < POINT, "no point of {disks:?}\n{}", running.console().tail());
        let told = |event: &qemu::Event| matches!(event.name.as_str(), "frozen" | "point");
        let event = running.console().any_event("frozen or a point", POINT, told);
        if event.unwrap_or_else(|error| panic!("{error}")).name == "frozen" {
            running.console().type_line("go").unwrap();
            continue;
        }
        let points = serving.manifests();
        // While a disk is copied, points have what there is of it, and say so.
        let is_clean = |point: &Manifest| point.consistency == Consistency::Crash;
        if points.last().is_some_and(|point| names(point) == disks && is_clean(point)) {
            return points;
        }
    }
}

fn names(point: &Manifest) -> Vec<&str> {
    point.disks.iter().map(|disk| disk.name.as_str()).collect()
}

#[test]
fn a_disk_that_the_policy_leaves_out_is_in_no_point_until_it_is_wanted_again() {
    let scratch = Scratch::new("left-out").unwrap();
    let folder = scratch.path();
    let serving = Serving::start(folder);
    let second = folder.join("second.img");
    let content: Vec<u8> = (0..8_u32 << 20).flat_map(u32::to_le_bytes).collect();
    fs::write(&second, content).unwrap();
    let server = Server::make(folder, &serving.token());
    let running = server.boot_with(&[&second]);
    serving.wait_enrolled();
    serving.policy(&["--interval", "10s"]);
    wait_for_disks(&running, &serving, &["vda", "vdb"]);
    serving.policy(&["--leave-out", "vdb"]);
    let without = wait_for_disks(&running, &serving, &["vda"]).len();
    serving.policy(&["--leave-out", "none"]);
    let points = wait_for_disks(&running, &serving, &["vda", "vdb"]);
    drop(running);
    // Whatever was said to be in a point was in it, and nothing came and went by itself.
    let later = points[without..].iter().map(names).collect::<Vec<_>>();
    println!("{later:?}");
    assert!(later.is_sorted_by_key(Vec::len), "{later:?}");
    let restored = folder.join("restored.img");
    serving.restore(&points.last().unwrap().id.to_string(), "vdb", &restored);
    assert_eq!(first_difference(&second, &restored, 0..32 << 20), None);
}

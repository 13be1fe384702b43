//! Promise: every clean point of a running server is its disk at one instant, bit for bit, whatever is killed, pulled or
//! without power.
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

use hal_sim::random::Random;
use tests::azurite::Scratch;

use points::{Made, judge, watch};
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

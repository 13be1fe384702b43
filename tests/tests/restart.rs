//! Promise: an ordinary restart of a server costs no compare, and the points behind it are right; whatever is not ordinary
//! costs one.
//!
//! A real Debian with its own initial RAM disk and systemd, the agent installed in it by its own verb; the real `lifeboat
//! serve`. The server writes before the agent begins and when it has ended. The host's own copies judge the points.
//!
//! `LIFEBOAT_RESTARTS=all` goes on behind the first restart: both sides anew, a power cut, the disk put back, a stranger.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

/// Points, and what is known of them.
#[path = "replication/points.rs"]
mod points;
/// The server.
#[path = "restart/server.rs"]
mod server;
/// The appliance.
#[path = "replication/serving.rs"]
mod serving;

use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use qemu::Running;
use tests::azurite::Scratch;
use tests::media::copy_disk;

use points::{Made, judge, watch};
use server::{Server, restart};
use serving::Serving;

/// What the agent says of a disk whose marks go on.
const GOES_ON: &str = "blocks go on from before the machine started";
/// What it says of one that is read whole.
const COMPARED: &str = "is compared";
/// What it says of one that another system used.
const STRANGER: &str = "another system wrote to it";

/// What goes on may be so many blocks: were it the whole disk, nothing could be missing in it.
const BLOCKS_MAX: u64 = 3000;

/// One clean point of a server that has just started; how the agent began.
fn point(running: &Running, server: &Server, folder: &Path, made: &mut Made) -> String {
    let began = Instant::now();
    watch(running, server.disk(), folder, made, 1);
    let lines = running.console().lines();
    let said = lines.iter().map(|line| line.text.as_str()).filter(|line| line.contains("vda"));
    let said = said.collect::<Vec<_>>().join("\n");
    println!("{said}\na point after {:?}", began.elapsed());
    said
}

/// Goes on until what is held is little: the vault has all points but the newest.
fn settle(serving: &Serving, running: &Running, server: &Server, folder: &Path, made: &mut Made) {
    for _ in 0..2 {
        serving.wait_vaulted(*made.copies.keys().next_back().unwrap());
        watch(running, server.disk(), folder, made, 1);
    }
}

/// The agent went on where it had ended, with little to send, and compared nothing.
#[track_caller]
fn assert_goes_on(said: &str) {
    let line = said.lines().find(|line| line.contains(GOES_ON)).unwrap_or_else(|| panic!("{said}"));
    let before = line.split(GOES_ON).next().unwrap().trim();
    let blocks: u64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(blocks > 0 && blocks < BLOCKS_MAX, "{said}");
    assert!(!said.contains(COMPARED), "{said}");
}

/// What is not ordinary, each behind the other.
fn go_on(
    (running, heard): (Running, TcpStream),
    serving: &mut Serving,
    server: &Server,
    folder: &Path,
    made: &mut Made,
    off: &Path,
) -> (Running, TcpStream) {
    println!("and another, of both");
    settle(serving, &running, server, folder, made);
    restart(running, heard);
    serving.kill_and_start();
    let (running, _) = server.boot();
    let said = point(&running, server, folder, made);
    assert_goes_on(&said);

    println!("a power cut");
    running.power_cut();
    let (running, _) = server.boot();
    let said = point(&running, server, folder, made);
    assert!(!said.contains(GOES_ON) && said.contains(COMPARED), "{said}");

    println!("the disk as it was after the first restart, put back");
    serving.wait_vaulted(*made.copies.keys().next_back().unwrap());
    running.power_cut();
    copy_disk(off, server.disk());
    let (running, heard) = server.boot();
    let said = point(&running, server, folder, made);
    assert!(said.contains(COMPARED), "{said}");

    println!("another system writes to it while it is off");
    settle(serving, &running, server, folder, made);
    restart(running, heard);
    server.write_from_outside();
    let (running, heard) = server.boot();
    let said = point(&running, server, folder, made);
    assert!(said.contains(STRANGER) && said.contains(COMPARED), "{said}");
    (running, heard)
}

#[test]
fn an_ordinary_restart_is_not_compared_and_every_other_is() {
    let scratch = Scratch::new("restart").unwrap();
    let folder = scratch.path();
    let mut serving = Serving::start(folder);
    let server = Server::make(folder, &serving.token());
    let mut made = Made::default();
    let (running, heard) = server.boot();
    serving.wait_enrolled();
    serving.policy(&["--interval", "10s"]);
    point(&running, &server, folder, &mut made);

    println!("an ordinary restart");
    settle(&serving, &running, &server, folder, &mut made);
    restart(running, heard);
    let off = folder.join("off.img");
    copy_disk(server.disk(), &off);
    let (running, heard) = server.boot();
    let said = point(&running, &server, folder, &mut made);
    assert_goes_on(&said);

    let all = std::env::var("LIFEBOAT_RESTARTS").is_ok_and(|word| word == "all");
    let mut on = (running, heard);
    if all {
        on = go_on(on, &mut serving, &server, folder, &mut made, &off);
    }
    let last = *made.copies.keys().next_back().unwrap();
    serving.wait_vaulted(last);
    restart(on.0, on.1);
    assert_eq!(server.remove(), "", "something of the agent is left");
    let judged = judge(&serving, &made, folder);
    println!("{judged} of {} points are in the vault and right", made.copies.len());
    assert_eq!(judged, made.copies.len());
    serving.verify();
}

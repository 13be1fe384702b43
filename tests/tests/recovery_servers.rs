//! Promise: the servers that recovery is tried on are what they are said to be: each starts where it lived, tells its data,
//! its mounts and its address, and the one that drives SATA alone does not start on the region's platform.

#![allow(clippy::unwrap_used, reason = "a test that cannot make its own disks has failed")]

use core::time::Duration;

use qemu::region::address::Prefix;
use qemu::{Bus, Disk, Gateway, Machine, Nic, Running};
use tests::azurite::Scratch;
use tests::guest::BOOT;
use tests::media::copy_disk;
use tests::servers::Server;

/// A system that waits for its root gives up after half a minute of its own time.
const GIVES_UP: Duration = Duration::from_secs(300);

/// A copy of the server's disk with a marker of its own, started on a bus.
fn started(server: Server, marker: &str, bus: Bus, folder: &Scratch) -> Running {
    let made = server.disk().unwrap_or_else(|error| panic!("{error}"));
    let disk = folder.path().join("server.img");
    copy_disk(&made, &disk);
    server.mark(&disk, marker).unwrap_or_else(|error| panic!("{error}"));
    let machine = if server.has_uefi() { Machine::uefi() } else { Machine::bios() };
    let range = Prefix::parse("10.77.1.0/24").unwrap();
    let gateway = Gateway { closed: true, ..Gateway::giving("10.77.1.44".parse().unwrap(), range) };
    let nic = Nic::new().gateway(gateway);
    let machine =
        machine.disk(Disk::new(&disk).on(bus).boot_order(0)).nic(nic).lifetime(2 * GIVES_UP);
    machine.start().unwrap_or_else(|error| panic!("{error}"))
}

fn tells_what_it_holds(server: Server, bus: Bus) {
    let folder = Scratch::new("server").unwrap();
    let running = started(server, "marked-by-a-test", bus, &folder);
    let said = running.console().event("server", BOOT).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said.field("data"), Some("marked-by-a-test"), "{said:?}");
    assert_eq!(said.field("mounts"), Some(server.mounts()), "{said:?}");
    assert_eq!(said.field("address"), Some("10.77.1.44"), "{said:?}");
}

#[test]
fn a_server_with_uefi_starts_on_virtio() {
    tells_what_it_holds(Server::Uefi, Bus::VirtioBlk);
}

#[test]
fn a_server_with_bios_starts_on_virtio() {
    tells_what_it_holds(Server::Bios, Bus::VirtioBlk);
}

#[test]
fn a_server_that_drives_sata_alone_starts_on_sata() {
    tells_what_it_holds(Server::SataOnly, Bus::Ahci);
}

#[test]
fn a_server_that_drives_sata_alone_does_not_start_on_virtio() {
    let folder = Scratch::new("server").unwrap();
    let running = started(Server::SataOnly, "lost", Bus::VirtioBlk, &folder);
    let gave_up = running.console().prompt("(initramfs)", GIVES_UP);
    gave_up.unwrap_or_else(|error| panic!("{error}"));
    let told = running.console().lines();
    assert!(told.iter().any(|line| line.text.contains("/dev/sda2 does not exist")), "{told:?}");
}

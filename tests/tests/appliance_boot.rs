//! The appliance comes up on whatever machine it is started on and says what it found.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs::File;
use std::path::PathBuf;

use qemu::{Bus, Disk, Gateway, Model, Nic, Tpm, Watchdog};
use tests::appliance::{ANSWER, await_event, await_ready, phase, start};
use tests::azurite::Scratch;

fn disk(scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.path().join(name);
    File::create(&path).unwrap().set_len(64 << 20).unwrap();
    path
}

#[test]
fn a_server_with_everything_is_ready() {
    let scratch = Scratch::new("boot").unwrap();
    let gateway = || Gateway { forwards: Vec::new(), closed: true };
    let running = start("", |machine| {
        machine
            .disk(Disk::new(disk(&scratch, "nvme.img")).on(Bus::Nvme).serial("nvme"))
            .disk(Disk::new(disk(&scratch, "raid.img")).on(Bus::MegaRaid).serial("raid"))
            .disk(Disk::new(disk(&scratch, "stick.img")).on(Bus::UsbStorage).serial("stick"))
            .nic(Nic::new().gateway(gateway()))
            .nic(Nic::new().model(Model::E1000e))
            .tpm(Tpm::default())
            .watchdog(Watchdog::I6300esb)
    });
    let events = await_ready(&running);
    for name in ["mounts", "modules"] {
        assert_eq!(phase(&events, name), Some("done"), "{events:#?}");
    }
}

#[test]
fn a_machine_with_nothing_in_it_is_ready_too() {
    let running = start("", |machine| machine.memory_mib(192).processors(1).headless());
    let events = await_ready(&running);
    assert_eq!(phase(&events, "mounts"), Some("done"), "{events:#?}");
    // At once: a press is not lost on a machine that has just come up.
    running.press_power().unwrap();
    let end = await_event(&running, "end", ANSWER);
    assert_eq!((end.field("how"), end.number("left")), (Some("poweroff"), Some(0)), "{end:?}");
    assert!(running.wait_end(ANSWER).is_ok());
}

//! Where devices end up, and what cannot be built.

use super::*;
use crate::nic::Model;

fn device(parts: &Parts) -> &Value {
    parts.devices.last().unwrap()
}

#[test]
fn every_bus_has_its_device_and_controllers_are_shared() {
    let mut wiring = Wiring::default();
    let mut drivers = Vec::new();
    for bus in Bus::ALL.into_iter().chain(Bus::ALL) {
        let parts = wiring.disk(&Disk::new("/x").on(bus), None).unwrap();
        let names = parts.devices.iter().map(|device| device["driver"].as_str().unwrap());
        drivers.extend(names.map(str::to_owned));
        assert_eq!(device(&parts)["drive"], parts.nodes[0]["node-name"]);
        assert_eq!(device(&parts)["id"].as_str(), Some(parts.id.as_str()));
    }
    let count = |driver: &str| drivers.iter().filter(|name| *name == driver).count();
    for shared in ["virtio-scsi-pci", "qemu-xhci", "megasas", "pvscsi"] {
        assert_eq!(count(shared), 1, "{shared}");
    }
    for own in ["virtio-blk-pci", "nvme", "ide-hd", "usb-storage", "usb-uas"] {
        assert_eq!(count(own), 2, "{own}");
    }
    assert_eq!(count("scsi-hd"), 8);
}

#[test]
fn what_cannot_be_built_is_said() {
    let refused = |wiring: &mut Wiring, disk: Disk| match wiring.disk(&disk, None) {
        Err(Error::Misuse(words)) => words,
        other => panic!("{other:?}"),
    };
    let mut wiring = Wiring::default();
    for _ in 0..SATA_PORTS {
        wiring.disk(&Disk::cd("/x"), None).unwrap();
    }
    assert!(refused(&mut wiring, Disk::cd("/x")).contains("SATA"));
    assert!(refused(&mut wiring, Disk::cd("/x").on(Bus::Nvme)).contains("CD"));
    assert!(refused(&mut wiring, Disk::new("/x").world_wide_name(7)).contains("world-wide"));
    wiring.runs();
    assert!(refused(&mut wiring, Disk::new("/x")).contains("spare"));
    assert!(refused(&mut wiring, Disk::new("/x").on(Bus::Ahci)).contains("SATA"));
    for number in 0..VIRTIO_TARGETS_MAX {
        let mut cold = Wiring { hot: false, ..wiring.clone() };
        cold.disk(&Disk::new("/x").on(Bus::VirtioScsi), None).unwrap();
        wiring = cold;
        assert_eq!(wiring.targets["scsi"], number + 1);
    }
    assert!(refused(&mut wiring, Disk::new("/x").on(Bus::VirtioScsi)).contains("255"));
}

#[test]
fn hot_plug_takes_spare_ports_until_none_is_left() {
    let mut wiring = Wiring::default();
    assert_eq!(wiring.spare_ports(2).len(), 2);
    wiring.runs();
    let disk = wiring.disk(&Disk::new("/x").on(Bus::Nvme), None).unwrap();
    assert_eq!(device(&disk)["bus"], "spare2");
    let nic = wiring.nic(&Nic::new().model(Model::E1000e)).unwrap();
    assert_eq!(device(&nic)["bus"], "spare1");
    assert_eq!(device(&nic)["netdev"], nic.backends[0]["id"]);
    assert!(matches!(wiring.nic(&Nic::new()), Err(Error::Misuse(_))));
}

#[test]
fn what_lies_behind_a_disk_is_nested_as_asked() {
    use crate::disk::{Broken, Format, Pace, Sectors};

    let plain = Disk::new("/x").serial("s").sectors(Sectors::Native4096).boot_order(1);
    let node = plain.node("n", None);
    assert_eq!((&node["driver"], &node["node-name"]), (&json!("file"), &json!("n")));
    let device = plain.properties("d", "n");
    assert_eq!(device["logical_block_size"], 4096);
    assert_eq!((&device["serial"], &device["bootindex"]), (&json!("s"), &json!(1)));
    assert!(plain.pacer("n").is_none());

    let pace = Pace { requests_per_second: 9, bytes_per_second: 0 };
    let odd = Disk::new("/x").format(Format::Qcow2).broken(Broken::ReadsOf(7)).slow(pace);
    let node = odd.node("n", Some(Path::new("/o")));
    assert_eq!((&node["driver"], &node["node-name"]), (&json!("throttle"), &json!("n")));
    assert_eq!(node["file"]["driver"], "blkdebug");
    assert_eq!(node["file"]["inject-error"][0]["sector"], 7);
    assert_eq!(node["file"]["image"]["file"]["filename"], "/o");
    let base = &node["file"]["image"]["backing"];
    assert_eq!((&base["driver"], &base["read-only"]), (&json!("qcow2"), &json!(true)));
    let raw = Disk::new("/x").node("n", Some(Path::new("/o")));
    assert_eq!(raw["backing"]["file"]["filename"], "/x");
    let pacer = odd.pacer("n").unwrap();
    assert_eq!(pacer["id"], node["throttle-group"]);
    assert_eq!(pacer["limits"]["iops-total"], 9);
}

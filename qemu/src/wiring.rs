//! Which device hangs where: controllers, ports and names of one machine, at its start and on hot plug.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::disk::{Bus, Disk, Medium};
use crate::error::Error;
use crate::nic::Nic;

/// Ports of the chip set's SATA controller.
const SATA_PORTS: u32 = 6;
/// Disks that share a SCSI controller: what the tightest of them, MegaRAID, takes.
const SCSI_TARGETS_MAX: u32 = 60;
/// Disks that share a virtio-scsi controller.
const VIRTIO_TARGETS_MAX: u32 = 255;

/// What a device consists of, in the order in which QEMU must hear of it.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// For `-object` and `object-add`.
    pub(crate) objects: Vec<Value>,
    /// For `-blockdev` and `blockdev-add`.
    pub(crate) nodes: Vec<Value>,
    /// For `-netdev` and `netdev_add`.
    pub(crate) backends: Vec<Value>,
    /// For `-device` and `device_add`.
    pub(crate) devices: Vec<Value>,
    /// The device that stands for it all.
    pub(crate) id: String,
}

/// What of a machine is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wiring {
    disks: u32,
    nics: u32,
    sata: u32,
    /// Disks on each SCSI controller.
    targets: BTreeMap<&'static str, u32>,
    controllers: BTreeSet<String>,
    /// Root ports that devices can be plugged into while the machine runs.
    spare: Vec<String>,
    /// Whether the machine runs.
    hot: bool,
}

impl Wiring {
    /// Root ports for hot plug, as devices.
    pub(crate) fn spare_ports(&mut self, count: u32) -> Vec<Value> {
        let ports = (1..=count).map(|number| {
            let id = format!("spare{number}");
            self.spare.push(id.clone());
            json!({ "driver": "pcie-root-port", "id": id, "chassis": number, "slot": number })
        });
        ports.collect()
    }

    /// From now on devices are plugged into a running machine.
    pub(crate) fn runs(&mut self) {
        self.hot = true;
    }

    /// The name of the next disk.
    pub(crate) fn next_disk(&self) -> String {
        format!("disk{}", self.disks)
    }

    /// A disk with its controller, if that is not there yet.
    pub(crate) fn disk(&mut self, disk: &Disk, overlay: Option<&Path>) -> Result<Parts, Error> {
        let id = self.next_disk();
        let node = format!("{id}-node");
        let mut parts = Parts { id: id.clone(), ..Parts::default() };
        parts.nodes.push(disk.node(&node, overlay));
        parts.objects.extend(disk.pacer(&node));
        let mut device = disk.properties(&id, &node);
        let mut set = |key: &str, value: Value| device.insert(key.to_owned(), value);
        let cd = disk.medium == Medium::Cd;
        match disk.bus {
            Bus::VirtioBlk | Bus::Nvme | Bus::NvmeTwoPaths if cd => {
                return Err(Error::Misuse(format!("a CD drive on {:?}", disk.bus)));
            }
            Bus::VirtioBlk => drop(set("driver", json!("virtio-blk-pci"))),
            Bus::Nvme => {
                set("driver", json!("nvme"));
                // An NVMe controller has a serial number, always.
                device.entry("serial").or_insert_with(|| json!(id));
            }
            Bus::NvmeTwoPaths => {
                let (subsystem, one) = (format!("{id}-subsystem"), format!("{id}-one"));
                let serial = device.remove("serial").unwrap_or_else(|| json!(id));
                parts.devices.push(json!({ "driver": "nvme-subsys", "id": subsystem }));
                for path in [one.clone(), format!("{id}-two")] {
                    parts.devices.push(
                        json!({ "driver": "nvme", "id": path, "serial": serial, "subsys": subsystem }),
                    );
                }
                device.insert("driver".to_owned(), json!("nvme-ns"));
                device.insert("bus".to_owned(), json!(one));
                device.insert("shared".to_owned(), json!(true));
            }
            Bus::Ahci => {
                set("driver", json!(if cd { "ide-cd" } else { "ide-hd" }));
                set("bus", json!(format!("ide.{}", self.sata_port()?)));
            }
            Bus::UsbStorage if !cd => {
                set("driver", json!("usb-storage"));
                set("bus", json!(format!("{}.0", self.usb(&mut parts)?)));
            }
            _ => {
                set("driver", json!(if cd { "scsi-cd" } else { "scsi-hd" }));
                let (bus, target) = self.scsi(disk.bus, &mut parts)?;
                set("bus", json!(bus));
                if let Some(target) = target {
                    set("scsi-id", json!(target));
                }
            }
        }
        self.name(disk, &mut device)?;
        self.place(disk.bus, &mut device)?;
        self.disks += 1;
        parts.devices.push(Value::Object(device));
        Ok(parts)
    }

    /// A card with its backend.
    pub(crate) fn nic(&mut self, nic: &Nic) -> Result<Parts, Error> {
        let id = format!("nic{}", self.nics);
        let backend = format!("{id}-cable");
        let mut parts = Parts { id: id.clone(), ..Parts::default() };
        parts.backends.push(nic.backend(&backend));
        let mut device = nic.device(&id, &backend);
        let bus = if nic.on_usb() {
            Some(format!("{}.0", self.usb(&mut parts)?))
        } else if self.hot {
            Some(self.spare_port()?)
        } else {
            None
        };
        if let (Some(bus), Some(device)) = (bus, device.as_object_mut()) {
            device.insert("bus".to_owned(), json!(bus));
        }
        self.nics += 1;
        parts.devices.push(device);
        Ok(parts)
    }

    /// The world-wide name, where the bus has one.
    fn name(&self, disk: &Disk, device: &mut Map<String, Value>) -> Result<(), Error> {
        let Some(name) = disk.name else { return Ok(()) };
        match disk.bus {
            Bus::VirtioBlk | Bus::UsbStorage | Bus::Nvme | Bus::NvmeTwoPaths => {
                Err(Error::Misuse(format!("a disk on {:?} has no world-wide name here", disk.bus)))
            }
            _ => {
                device.insert("wwn".to_owned(), json!(name));
                Ok(())
            }
        }
    }

    /// Devices of their own on PCI need a port that takes them while the machine runs.
    fn place(&mut self, bus: Bus, device: &mut Map<String, Value>) -> Result<(), Error> {
        if self.hot {
            match bus {
                Bus::VirtioBlk | Bus::Nvme => {
                    device.insert("bus".to_owned(), json!(self.spare_port()?));
                }
                Bus::NvmeTwoPaths => {
                    return Err(Error::Misuse("a subsystem of NVMe while it runs".to_owned()));
                }
                Bus::Ahci => {
                    return Err(Error::Misuse(
                        "QEMU's SATA takes no disk while it runs".to_owned(),
                    ));
                }
                _ => (),
            }
        }
        Ok(())
    }

    fn spare_port(&mut self) -> Result<String, Error> {
        self.spare.pop().ok_or_else(|| {
            Error::Misuse("no spare port is left; give the machine more of them".to_owned())
        })
    }

    fn sata_port(&mut self) -> Result<u32, Error> {
        if self.sata == SATA_PORTS {
            return Err(Error::Misuse(format!("more than {SATA_PORTS} SATA drives")));
        }
        self.sata += 1;
        Ok(self.sata - 1)
    }

    /// The USB controller.
    fn usb(&mut self, parts: &mut Parts) -> Result<&'static str, Error> {
        self.controller("usb", json!({ "driver": "qemu-xhci", "p2": 15, "p3": 15 }), parts)?;
        Ok("usb")
    }

    /// A bus for a SCSI disk, and its number there where it needs one.
    fn scsi(&mut self, bus: Bus, parts: &mut Parts) -> Result<(String, Option<u32>), Error> {
        let (name, driver, most) = match bus {
            Bus::VirtioScsi => ("scsi", "virtio-scsi-pci", VIRTIO_TARGETS_MAX),
            Bus::MegaRaid => ("megaraid", "megasas", SCSI_TARGETS_MAX),
            Bus::VmwareScsi => ("vmware", "pvscsi", SCSI_TARGETS_MAX),
            Bus::UsbAttachedScsi | Bus::UsbStorage => {
                // A bridge of its own for each.
                let usb = self.usb(parts)?;
                let bridge = format!("{}-bridge", parts.id);
                let driver = if bus == Bus::UsbStorage { "usb-bot" } else { "usb-uas" };
                let device = json!({ "driver": driver, "id": bridge, "bus": format!("{usb}.0") });
                parts.devices.push(device);
                return Ok((format!("{bridge}.0"), None));
            }
            other => return Err(Error::Misuse(format!("a SCSI device on {other:?}"))),
        };
        self.controller(name, json!({ "driver": driver }), parts)?;
        let next = self.targets.entry(name).or_default();
        let target = *next;
        if target >= most {
            return Err(Error::Misuse(format!("more than {most} disks on {driver}")));
        }
        *next += 1;
        Ok((format!("{name}.0"), Some(target)))
    }

    /// Puts a controller in, if it is not there yet.
    fn controller(&mut self, id: &str, mut device: Value, parts: &mut Parts) -> Result<(), Error> {
        if !self.controllers.insert(id.to_owned()) {
            return Ok(());
        }
        if let Some(device) = device.as_object_mut() {
            device.insert("id".to_owned(), json!(id));
            if self.hot {
                device.insert("bus".to_owned(), json!(self.spare_port()?));
            }
        }
        parts.devices.push(device);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

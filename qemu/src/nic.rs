//! Network cards of every model, as values.

use core::fmt;
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::network::Port;
use crate::region::address::Prefix;

/// A model of card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Model {
    /// virtio-net.
    Virtio,
    /// Intel 82574, the driver `e1000e`.
    E1000e,
    /// Intel 82576, the driver `igb`; QEMU has it since 8.0.
    Igb,
    /// VMware's paravirtual card.
    Vmxnet3,
    /// Realtek 8139, the oldest.
    Rtl8139,
    /// A card on USB.
    Usb,
}

impl Model {
    /// QEMU's name of the device.
    pub fn device(self) -> &'static str {
        match self {
            Self::Virtio => "virtio-net-pci",
            Self::E1000e => "e1000e",
            Self::Igb => "igb",
            Self::Vmxnet3 => "vmxnet3",
            Self::Rtl8139 => "rtl8139",
            Self::Usb => "usb-net",
        }
    }
}

/// A card's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// One that no other card of this process has.
    pub fn fresh() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let [_, high, middle, low] = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self([0x52, 0x54, 0x00, high, middle, low])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Where a card's cable goes.
#[derive(Debug)]
enum Cable {
    /// Nowhere.
    None,
    /// To a network between machines.
    Network(Port),
    /// To a tap device of this machine's kernel.
    Tap(String),
    /// To QEMU's own gateway: DHCP, DNS, and the host's loopback at 10.0.2.2.
    Gateway(Gateway),
}

/// QEMU's own gateway for one card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateway {
    /// Ports of the guest that are reached at ports of the host's loopback: (host, guest).
    pub forwards: Vec<(u16, u16)>,
    /// Whether the guest may reach anything but the gateway.
    pub closed: bool,
    /// Its subnet; QEMU's own where none is named.
    pub subnet: Option<Subnet>,
}

/// Addresses behind a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// What the guest is given by DHCP.
    pub guest: Ipv4Addr,
    /// The range, as `base/bits`.
    pub range: Prefix,
}

impl Gateway {
    /// One that gives the guest this address of a range.
    pub fn giving(guest: Ipv4Addr, range: Prefix) -> Self {
        Self { subnet: Some(Subnet { guest, range }), ..Self::default() }
    }
}

/// A card.
#[derive(Debug)]
pub struct Nic {
    model: Model,
    mac: Mac,
    cable: Cable,
    boot_order: Option<u32>,
}

impl Nic {
    /// A virtio card without a cable.
    pub fn new() -> Self {
        Self { model: Model::Virtio, mac: Mac::fresh(), cable: Cable::None, boot_order: None }
    }

    /// Of another model.
    #[must_use]
    pub fn model(self, model: Model) -> Self {
        Self { model, ..self }
    }

    /// With this address.
    #[must_use]
    pub fn mac(self, mac: Mac) -> Self {
        Self { mac, ..self }
    }

    /// With its cable in a port of a network.
    #[must_use]
    pub fn plugged(self, port: Port) -> Self {
        Self { cable: Cable::Network(port), ..self }
    }

    /// With its cable in a tap device of this machine's kernel, which is there already: in a namespace of a test's own, where
    /// the kernel and servers on it are the neighbours. That needs root.
    #[must_use]
    pub fn tap(self, device: &str) -> Self {
        Self { cable: Cable::Tap(device.to_owned()), ..self }
    }

    /// With its cable in a gateway of its own.
    #[must_use]
    pub fn gateway(self, gateway: Gateway) -> Self {
        Self { cable: Cable::Gateway(gateway), ..self }
    }

    /// The firmware may start from it, in this order.
    #[must_use]
    pub fn boot_order(self, order: u32) -> Self {
        Self { boot_order: Some(order), ..self }
    }

    /// Its address.
    pub fn address(&self) -> Mac {
        self.mac
    }

    pub(crate) fn on_usb(&self) -> bool {
        self.model == Model::Usb
    }

    /// The other end of the cable, for `netdev_add`.
    pub(crate) fn backend(&self, id: &str) -> Value {
        match &self.cable {
            // A hub with nothing else in it.
            Cable::None => json!({ "type": "hubport", "id": id, "hubid": hub(id) }),
            Cable::Network(port) => json!({
                "type": "stream",
                "id": id,
                "server": false,
                "addr": { "type": "unix", "path": port.path() },
            }),
            Cable::Tap(device) => json!({
                "type": "tap",
                "id": id,
                "ifname": device,
                "script": "no",
                "downscript": "no",
            }),
            Cable::Gateway(gateway) => {
                let forward = |(host, guest): &(u16, u16)| json!({ "str": format!("tcp:127.0.0.1:{host}-:{guest}") });
                let forwards: Vec<Value> = gateway.forwards.iter().map(forward).collect();
                let mut backend = json!({
                    "type": "user",
                    "id": id,
                    "restrict": gateway.closed,
                    "hostfwd": forwards,
                });
                if let (Some(subnet), Some(backend)) = (gateway.subnet, backend.as_object_mut()) {
                    backend.insert("net".to_owned(), json!(subnet.range.to_string()));
                    backend.insert("host".to_owned(), json!(subnet.range.gateway().to_string()));
                    backend.insert("dns".to_owned(), json!(subnet.range.resolver().to_string()));
                    backend.insert("dhcpstart".to_owned(), json!(subnet.guest.to_string()));
                }
                backend
            }
        }
    }

    /// The card, for `device_add`.
    pub(crate) fn device(&self, id: &str, backend: &str) -> Value {
        let mut device = json!({
            "driver": self.model.device(),
            "id": id,
            "netdev": backend,
            "mac": self.mac.to_string(),
        });
        if let (Some(order), Some(device)) = (self.boot_order, device.as_object_mut()) {
            device.insert("bootindex".to_owned(), json!(order));
        }
        device
    }
}

impl Default for Nic {
    fn default() -> Self {
        Self::new()
    }
}

/// A number of a hub that no other card's is: they need only differ within a machine.
fn hub(id: &str) -> u32 {
    let digits: String = id.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u32>().unwrap_or(0).saturating_add(100)
}

//! Disks of every bus, as values: what a guest sees, and what lies behind it.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// How a disk hangs in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Bus {
    /// virtio-blk on PCI.
    VirtioBlk,
    /// A SCSI disk behind virtio-scsi; up to 255 of them share one controller.
    VirtioScsi,
    /// An NVMe controller with one namespace.
    Nvme,
    /// An NVMe namespace behind two controllers of one subsystem: two paths to one disk.
    NvmeTwoPaths,
    /// SATA: one of the six ports of the chip set's AHCI.
    Ahci,
    /// A stick on xHCI, plain bulk-only transport.
    UsbStorage,
    /// A disk on xHCI that speaks USB attached SCSI.
    UsbAttachedScsi,
    /// A disk behind LSI's MegaRAID.
    MegaRaid,
    /// A disk behind VMware's paravirtual SCSI.
    VmwareScsi,
}

impl Bus {
    /// Every bus that a disk can be plugged into, for tests that try them all.
    pub const ALL: [Self; 8] = [
        Self::VirtioBlk,
        Self::VirtioScsi,
        Self::Nvme,
        Self::Ahci,
        Self::UsbStorage,
        Self::UsbAttachedScsi,
        Self::MegaRaid,
        Self::VmwareScsi,
    ];
}

/// What is in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes.
    #[default]
    Raw,
    /// QEMU's own format.
    Qcow2,
}

/// Sector sizes as the disk tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sectors {
    /// 512 bytes, both.
    #[default]
    Native512,
    /// 512 bytes told, 4096 bytes inside.
    Emulated512,
    /// 4096 bytes, both.
    Native4096,
}

impl Sectors {
    fn bytes(self) -> (u32, u32) {
        match self {
            Self::Native512 => (512, 512),
            Self::Emulated512 => (512, 4096),
            Self::Native4096 => (4096, 4096),
        }
    }
}

/// Which requests a broken disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Reads that touch this 512-byte sector.
    ReadsOf(u64),
    /// Writes that touch this 512-byte sector.
    WritesOf(u64),
    /// Every read.
    Reads,
    /// Every write.
    Writes,
    /// Every flush.
    Flushes,
}

/// How slow a slow disk is. Zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Requests in a second.
    pub requests_per_second: u64,
    /// Bytes in a second.
    pub bytes_per_second: u64,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) bus: Bus,
    pub(crate) medium: Medium,
    pub(crate) serial: Option<String>,
    pub(crate) name: Option<u64>,
    pub(crate) sectors: Sectors,
    pub(crate) read_only: bool,
    pub(crate) snapshot: bool,
    pub(crate) broken: Vec<Broken>,
    pub(crate) pace: Pace,
    pub(crate) boot_order: Option<u32>,
}

/// What turns in the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Disk,
    Cd,
}

impl Disk {
    /// A file as a virtio disk with 512-byte sectors that the guest may write.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: Format::Raw,
            bus: Bus::VirtioBlk,
            medium: Medium::Disk,
            serial: None,
            name: None,
            sectors: Sectors::Native512,
            read_only: false,
            snapshot: false,
            broken: Vec::new(),
            pace: Pace::default(),
            boot_order: None,
        }
    }

    /// A file as a CD in a drive on SATA; with another bus in a drive there: a management controller's virtual medium is
    /// one on USB.
    pub fn cd(path: impl Into<PathBuf>) -> Self {
        Self { bus: Bus::Ahci, medium: Medium::Cd, read_only: true, ..Self::new(path) }
    }

    /// On another bus.
    #[must_use]
    pub fn on(self, bus: Bus) -> Self {
        Self { bus, ..self }
    }

    /// A file of another format.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// With a serial number.
    #[must_use]
    pub fn serial(self, serial: &str) -> Self {
        Self { serial: Some(serial.to_owned()), ..self }
    }

    /// With a world-wide name, on buses that have one.
    #[must_use]
    pub fn world_wide_name(self, name: u64) -> Self {
        Self { name: Some(name), ..self }
    }

    /// With other sector sizes.
    #[must_use]
    pub fn sectors(self, sectors: Sectors) -> Self {
        Self { sectors, ..self }
    }

    /// Write-protected, as the guest sees it.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// What the guest writes is forgotten with the machine, and the file is never changed: machines may share it.
    #[must_use]
    pub fn snapshot(self) -> Self {
        Self { snapshot: true, ..self }
    }

    /// Fails such requests.
    #[must_use]
    pub fn broken(mut self, broken: Broken) -> Self {
        self.broken.push(broken);
        self
    }

    /// No faster than this.
    #[must_use]
    pub fn slow(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// The firmware tries it in this order; the lowest first.
    #[must_use]
    pub fn boot_order(self, order: u32) -> Self {
        Self { boot_order: Some(order), ..self }
    }

    /// What lies behind the disk, as one nested node for `blockdev-add`. `overlay` holds what is written to a snapshot.
    pub(crate) fn node(&self, node: &str, overlay: Option<&std::path::Path>) -> Value {
        let fixed = self.read_only || overlay.is_some();
        let file = json!({
            "driver": "file",
            "filename": self.path,
            "read-only": fixed,
            "discard": "unmap",
        });
        let mut inner = match self.format {
            Format::Raw => file,
            Format::Qcow2 => json!({ "driver": "qcow2", "file": file, "read-only": fixed }),
        };
        if let Some(overlay) = overlay {
            if self.format == Format::Raw {
                // What is named here counts, and not what the overlay says of itself, only where it is a format.
                inner = json!({ "driver": "raw", "file": inner, "read-only": true });
            }
            inner = json!({
                "driver": "qcow2",
                "file": { "driver": "file", "filename": overlay, "discard": "unmap" },
                "backing": inner,
            });
        }
        if !self.broken.is_empty() {
            let rules: Vec<Value> = self.broken.iter().map(|broken| broken.rule()).collect();
            inner = json!({ "driver": "blkdebug", "image": inner, "inject-error": rules });
        }
        if self.pace != Pace::default() {
            let group = group(node);
            inner = json!({ "driver": "throttle", "throttle-group": group, "file": inner });
        }
        if let Value::Object(top) = &mut inner {
            top.insert("node-name".to_owned(), json!(node));
            top.insert("read-only".to_owned(), json!(self.read_only));
            // The host keeps what it was given when QEMU is killed; a flush to its disk would prove nothing.
            top.insert("cache".to_owned(), json!({ "no-flush": true }));
        }
        inner
    }

    /// The object that keeps the pace of a slow disk, for `object-add`.
    pub(crate) fn pacer(&self, node: &str) -> Option<Value> {
        if self.pace == Pace::default() {
            return None;
        }
        let limits = json!({
            "iops-total": self.pace.requests_per_second,
            "bps-total": self.pace.bytes_per_second,
        });
        Some(json!({ "qom-type": "throttle-group", "id": group(node), "limits": limits }))
    }

    /// What every kind of disk device is told.
    pub(crate) fn properties(&self, device: &str, node: &str) -> Map<String, Value> {
        let (logical, physical) = self.sectors.bytes();
        let mut properties = Map::new();
        let mut set = |key: &str, value: Value| properties.insert(key.to_owned(), value);
        set("id", json!(device));
        set("drive", json!(node));
        if self.medium == Medium::Disk {
            set("logical_block_size", json!(logical));
            set("physical_block_size", json!(physical));
        }
        if let Some(serial) = &self.serial {
            set("serial", json!(serial));
        }
        if let Some(order) = self.boot_order {
            set("bootindex", json!(order));
        }
        properties
    }
}

fn group(node: &str) -> String {
    format!("{node}-pace")
}

impl Broken {
    fn rule(self) -> Value {
        let (kind, sector) = match self {
            Self::ReadsOf(sector) => ("read", Some(sector)),
            Self::WritesOf(sector) => ("write", Some(sector)),
            Self::Reads => ("read", None),
            Self::Writes => ("write", None),
            Self::Flushes => ("flush", None),
        };
        // 5 is EIO.
        let mut rule = json!({ "event": "none", "iotype": kind, "errno": 5 });
        if let (Some(sector), Some(rule)) = (sector, rule.as_object_mut()) {
            rule.insert("sector".to_owned(), json!(sector));
        }
        rule
    }
}

//! What a platform needs of a server, as data: Azure, and what stands in for it.

use serde::{Deserialize, Serialize};

use super::readiness::Generation;

/// A driver that a platform needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// The module's name, with underscores.
    pub name: String,
    /// Without it the root file system is not found, so it must be in the initramfs; otherwise it may come later.
    pub to_boot: bool,
}

/// Where a server is to boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// What people call it.
    pub name: String,
    /// Its drivers.
    pub drivers: Vec<Driver>,
    /// Where a kernel's messages are kept by it: a value of `console=`.
    pub console: String,
    /// The generations that it has.
    pub generations: Vec<Generation>,
}

impl Platform {
    /// Azure: Hyper-V's bus, disks and network.
    #[must_use]
    pub fn azure() -> Self {
        Self::with(
            "Azure",
            &[("hv_vmbus", true), ("hv_storvsc", true), ("sd_mod", true), ("hv_netvsc", false)],
        )
    }

    /// What stands in for Azure where there is none: virtio.
    #[must_use]
    pub fn stand_in() -> Self {
        let drivers = [
            ("virtio_pci", true),
            ("virtio_blk", true),
            ("virtio_scsi", true),
            ("sd_mod", true),
            ("virtio_net", false),
        ];
        Self::with("the region stand-in", &drivers)
    }

    /// A machine of QEMU's on somebody's own: virtio too.
    #[must_use]
    pub fn here() -> Self {
        Self { name: "a machine of QEMU's".to_owned(), ..Self::stand_in() }
    }

    fn with(name: &str, drivers: &[(&str, bool)]) -> Self {
        let driver =
            |(name, to_boot): &(&str, bool)| Driver { name: (*name).to_owned(), to_boot: *to_boot };
        Self {
            name: name.to_owned(),
            drivers: drivers.iter().map(driver).collect(),
            console: "ttyS0".to_owned(),
            generations: vec![Generation::One, Generation::Two],
        }
    }
}

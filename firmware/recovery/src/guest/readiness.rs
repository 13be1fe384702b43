//! What was found on a server's disks, and what can be done about it: the report beside the server.

use core::fmt;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Azure's two kinds of virtual machine. It cannot be changed once a disk was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Generation {
    /// BIOS, and an OS disk of at most 2 TiB.
    #[serde(rename = "V1")]
    One,
    /// UEFI.
    #[serde(rename = "V2")]
    Two,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "V1",
            Self::Two => "V2",
        })
    }
}

/// The operating system of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// `linux` or `windows`, as Azure's `osType` wants it in capitals of its own.
    pub family: Family,
    /// As it calls itself: `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
    /// Its kernels that have modules, the newest last.
    pub kernels: Vec<String>,
}

/// Kinds of operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Any Linux.
    Linux,
    /// Any Windows.
    Windows,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It starts, but something of it does not work.
    Hinders,
    /// It does not start.
    Blocks,
}

/// What can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// Nothing, or nothing is needed.
    None,
    /// The repair does it on the recovered copy.
    Offline,
    /// Only on the server itself, by this command.
    OnSource(String),
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum What {
    /// Nothing was found to boot.
    NoSystem,
    /// A disk or volume that cannot be looked into.
    Volume,
    /// The root file system is encrypted.
    EncryptedRoot,
    /// Firmware mode and disk layout.
    Generation,
    /// The OS disk's size or sectors.
    DiskSize,
    /// A driver is not in an initramfs.
    InitramfsDriver,
    /// A driver is not there at all.
    MissingDriver,
    /// A driver is forbidden by the settings.
    BlockedDriver,
    /// An initramfs that cannot be read.
    Initramfs,
    /// A file system table that names devices.
    Fstab,
    /// A command line that names a device.
    RootDevice,
    /// A command line without the platform's console.
    Console,
    /// Rules that tie names of network interfaces to cards.
    NetworkRules,
    /// How the first network interface is set up.
    Network,
    /// No loader where a firmware without entries of its own looks.
    FallbackLoader,
    /// Swap space on the OS disk.
    Swap,
    /// A place to resume from.
    Resume,
    /// A filter of LVM that may not see the platform's disks.
    LvmFilter,
    /// Programs of another product.
    ForeignAgent,
    /// Whether Secure Boot was on is not on the disks.
    SecureBoot,
    /// A service of Windows that must start with the kernel.
    WindowsService,
    /// A file of Windows that is not there.
    WindowsDriver,
    /// The registry was not closed.
    WindowsRegistry,
    /// What Windows does with new disks.
    SanPolicy,
    /// What says on the copy what it is, and what was changed on it.
    Lineage,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub what: What,
    /// On what: a path, a kernel, a disk.
    pub object: String,
    /// How bad it is.
    pub severity: Severity,
    /// What can be done.
    pub repair: Remedy,
    /// The same for people: what, why it matters, what is done or to do.
    pub words: String,
}

/// Whether and how a server boots on a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Which platform.
    pub platform: String,
    /// What kind of virtual machine, where anything was found to boot.
    pub generation: Option<Generation>,
    /// The disk that it starts from, by its name on the server.
    pub os_disk: Option<String>,
    /// What runs on it.
    pub system: Option<System>,
    /// The addresses that its own settings fix.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// The worst first.
    pub findings: Vec<Finding>,
}

impl Readiness {
    /// How bad it is, once everything that can be repaired was.
    #[must_use]
    pub fn worst_after_repair(&self) -> Option<Severity> {
        let left = self.findings.iter().filter(|finding| finding.repair != Remedy::Offline);
        left.map(|finding| finding.severity).max()
    }

    /// Whether it starts once everything that can be repaired was.
    #[must_use]
    pub fn boots_after_repair(&self) -> bool {
        self.generation.is_some() && self.worst_after_repair() != Some(Severity::Blocks)
    }

    /// Whether it starts as it is.
    #[must_use]
    pub fn boots_as_it_is(&self) -> bool {
        let worst = self.findings.iter().map(|finding| finding.severity).max();
        self.generation.is_some() && worst != Some(Severity::Blocks)
    }

    /// The findings about something.
    pub fn about(&self, what: What) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.what == what)
    }

    /// Whether the repair has something to do about this.
    #[must_use]
    pub fn is_to_repair(&self, what: What) -> bool {
        self.about(what).any(|finding| finding.repair == Remedy::Offline)
    }
}

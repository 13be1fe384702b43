//! What a machine starts with: a kernel handed over by QEMU, BIOS, or UEFI with and without Secure Boot.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::folder::Folder;

/// Where Debian's `ovmf` puts its files.
const OVMF: &str = "/usr/share/OVMF";

/// What starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// A kernel, without firmware that the guest could see.
    Kernel(Kernel),
    /// BIOS, which starts what is in the first sector of a disk.
    Bios,
    /// UEFI, which finds something on a disk.
    Uefi(Uefi),
}

/// A kernel as QEMU hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The kernel's image.
    pub kernel: PathBuf,
    /// Its first file system, if it wants one.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub command_line: String,
}

/// Whether UEFI wants signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecureBoot {
    /// A firmware that does not know of it.
    #[default]
    Absent,
    /// Known, with no keys: setup mode, in which keys can be enrolled.
    Setup,
    /// On, with Microsoft's keys, as servers are sold.
    Microsoft,
    /// On, with the keys of this variable store.
    Keys(PathBuf),
}

/// UEFI by OVMF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uefi {
    /// Whether it wants signatures.
    pub secure_boot: SecureBoot,
    /// A file that keeps its variables from one start to the next; made where it is missing.
    pub variables: Option<PathBuf>,
}

impl Uefi {
    /// Firmware code and the variable store for one run.
    pub(crate) fn files(&self, folder: &Folder) -> Result<(PathBuf, PathBuf), Error> {
        let ovmf = |name: &str| {
            let file = Path::new(OVMF).join(name);
            if file.is_file() {
                Ok(file)
            } else {
                let words = format!("{} is missing: apt-get install ovmf", file.display());
                Err(Error::Missing(words))
            }
        };
        let (code, template) = match &self.secure_boot {
            SecureBoot::Absent => (ovmf("OVMF_CODE_4M.fd")?, ovmf("OVMF_VARS_4M.fd")?),
            SecureBoot::Setup => (ovmf("OVMF_CODE_4M.secboot.fd")?, ovmf("OVMF_VARS_4M.fd")?),
            SecureBoot::Microsoft => {
                (ovmf("OVMF_CODE_4M.secboot.fd")?, ovmf("OVMF_VARS_4M.ms.fd")?)
            }
            SecureBoot::Keys(store) => (ovmf("OVMF_CODE_4M.secboot.fd")?, store.clone()),
        };
        let variables = self.variables.clone().unwrap_or_else(|| folder.file("variables.fd"));
        if !variables.exists() {
            // By its bytes: the template is write-protected, its copy must not be.
            let bytes = fs::read(&template);
            bytes
                .and_then(|bytes| fs::write(&variables, bytes))
                .map_err(|error| Error::file("copying the variables to", &variables, error))?;
        }
        Ok((code, variables))
    }

    /// Whether the firmware keeps its variables behind system management mode.
    pub(crate) fn guarded(&self) -> bool {
        self.secure_boot != SecureBoot::Absent
    }
}

//! A drill on this machine: QEMU starts from a point's disks as this program exports them, each over a socket that nobody else can
//! reach, and what it writes lies beside the point until it ends.
//!
//! Nothing outlives this program. The machine is killed by the kernel with whoever started it; its sockets, its firmware's
//! variables and its screen have no names in any folder, and what it writes is in memory or in files without a name.

use std::fs::File;
use std::path::{Path, PathBuf};

use firmware_recovery::hydrate::overlay::Scratch;
use pipeline_vault::Error;
use rustix::fs::{Mode, OFlags};

use crate::guest_disks::scratch;

/// The point into files and devices, while the machine runs.
pub(crate) mod copies;
/// The moment between this program and QEMU.
pub(crate) mod guard;
/// The machine at work.
pub(crate) mod machine;
/// QEMU's own words.
pub(crate) mod qemu;
/// QEMU's machine protocol, as far as a screen needs it.
mod qmp;

/// What is kept in memory of one disk at most.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// What a person wants of a drill on this machine.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Memory of the machine.
    pub memory_mib: u32,
    /// Its processors.
    pub cpus: u32,
    /// Whether the host's processor runs it, or QEMU translates.
    pub accelerated: bool,
    /// A folder for what it writes; memory where there is none.
    pub overlay: Option<PathBuf>,
    /// Where disks are brought to.
    pub to: Vec<CopyTo>,
    /// How fast they are brought while the machine runs, in bytes of the vault a second.
    pub pace: Option<u64>,
    /// Devices that may be written to.
    pub confirmed: Vec<PathBuf>,
}

/// Where a disk is brought to: a file or device of its own, or a folder for all that have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyTo {
    /// The disk; all others where none is named.
    pub disk: Option<String>,
    /// Where to.
    pub path: PathBuf,
}

impl core::str::FromStr for CopyTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text.split_once('=').filter(|(disk, _)| !disk.contains('/'));
        let (disk, path) = match named {
            Some((disk, path)) => (Some(disk.to_owned()), path),
            None => (None, text),
        };
        if path.is_empty() || disk.as_deref() == Some("") {
            return Err("give a folder, or DISK=FILE or DISK=DEVICE".to_owned());
        }
        Ok(Self { disk, path: PathBuf::from(path) })
    }
}

/// This machine as the place of drills.
pub struct Place {
    pub(crate) wish: Wish,
    pub(crate) machine: std::sync::Mutex<Option<machine::Running>>,
    pub(crate) copies: std::sync::Mutex<Option<copies::Copies>>,
}

impl Place {
    /// Nothing is made yet.
    #[must_use]
    pub fn new(wish: Wish) -> Self {
        Self { wish, machine: std::sync::Mutex::default(), copies: std::sync::Mutex::default() }
    }
}

impl Wish {
    /// The machine in words.
    #[must_use]
    pub fn words(&self) -> String {
        let how = if self.accelerated { "KVM" } else { "translated" };
        format!("{} MiB of memory, {} processors, {how}", self.memory_mib, self.cpus)
    }

    /// Where a disk is brought to.
    #[must_use]
    pub fn copy_of(&self, disk: &str) -> Option<PathBuf> {
        let named = self.to.iter().find(|to| to.disk.as_deref() == Some(disk));
        let folder = || self.to.iter().find(|to| to.disk.is_none());
        let in_folder = |to: &CopyTo| to.path.join(format!("{}.raw", disk.replace('/', "_")));
        named.map(|to| to.path.clone()).or_else(|| folder().map(in_folder))
    }

    /// What is wrong with where disks are brought to, for a server that has these.
    pub(crate) fn check(&self, disks: &[&str]) -> Result<(), Error> {
        for to in &self.to {
            let shown = to.path.display().to_string();
            match &to.disk {
                Some(disk) if !disks.contains(&disk.as_str()) => {
                    return Err(Error::misuse(
                        format!("--to {disk}={shown}"),
                        "names no disk of the point",
                    )
                    .remedy(format!("its disks are: {}", disks.join(", "))));
                }
                None if !to.path.is_dir() => {
                    return Err(Error::misuse(shown, "is no folder")
                        .remedy("make it, or give --to DISK=FILE"));
                }
                _ => {}
            }
        }
        match &self.overlay {
            Some(folder) => unnamed(folder).map(drop),
            None => Ok(()),
        }
    }

    /// Where what is written to one of so many disks is kept.
    pub(crate) fn scratch(&self, disks: usize, bytes: u64) -> Result<Scratch, Error> {
        let Some(folder) = &self.overlay else { return Ok(scratch(disks, MEMORY_BYTES_MAX)) };
        let file = unnamed(folder)?;
        file.set_len(bytes).map_err(|error| cannot(folder, &error))?;
        Ok(Scratch::File(file))
    }
}

/// A file that never has a name: it goes with whoever has it open.
fn unnamed(folder: &Path) -> Result<File, Error> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR);
    file.map(File::from).map_err(|errno| cannot(folder, &errno.into()))
}

fn cannot(folder: &Path, error: &std::io::Error) -> Error {
    let what = format!("cannot hold what the machine writes: {error}");
    Error::device(folder.display().to_string(), what)
        .remedy("name a folder of a local file system with --overlay, or memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_goes_to_its_own_place_or_into_the_folder() {
        let to =
            ["sdb=/dev/sdz", "/srv/copies", "/a=b"].map(|text| text.parse::<CopyTo>().unwrap());
        assert_eq!(to[0].disk.as_deref(), Some("sdb"));
        assert!(to[2].disk.is_none(), "a path may hold the sign: {:?}", to[2]);
        assert!(
            "".parse::<CopyTo>().is_err()
                && "=x".parse::<CopyTo>().is_err()
                && "sda=".parse::<CopyTo>().is_err()
        );
        let wish = Wish {
            memory_mib: 1,
            cpus: 1,
            accelerated: false,
            overlay: None,
            to: to[..2].to_vec(),
            pace: None,
            confirmed: Vec::new(),
        };
        let copy = |disk: &str| wish.copy_of(disk).unwrap().display().to_string();
        assert_eq!(
            (copy("sda"), copy("sdb")),
            ("/srv/copies/sda.raw".to_owned(), "/dev/sdz".to_owned())
        );
        assert_eq!(copy("a/../b"), "/srv/copies/a_.._b.raw");
        assert!(wish.check(&["sda"]).unwrap_err().to_string().contains("its disks are: sda"));
    }
}

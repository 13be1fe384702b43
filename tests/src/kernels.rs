//! Debian's kernels, old and new, as packages of today: fetched once each, kept, and started with a first process of
//! ours. Flavour «cloud»: the same sources as a server's kernel with a quarter of the modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::apt::Apt;
use image::cpio::Cpio;
use image::files;
use image::kernel::KernelPackage;
use image::program::bare;
use image::recipe::{Locked, Source};
use image_layout::initrd;

use crate::azurite::{Scratch, install_once, run};
use crate::guest::Files;
use crate::program::built;

/// Another number fetches all anew.
const EDITION: u32 = 2;
const FOLLOWED: &str = "linux-image-cloud-amd64";
/// What the guests need, whatever of it a kernel has as a module.
const MODULES: [&str; 17] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "vmw_pvscsi",
    "sd_mod",
    "nvme",
    "ext4",
    "xfs",
    "md_mod",
    "raid1",
    "dm_mod",
    "dm_snapshot",
    "null_blk",
    "libcrc32c",
    "crc32c_generic",
    "crc32c_intel",
    "crc32c_cryptoapi",
];
/// Programs of this machine that the guests use, with their libraries.
const TOOLS: [&str; 4] = ["dmsetup", "mdadm", "lvm", "mke2fs"];

/// A kernel of Debian's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "tests name them all")]
pub enum Debian {
    /// 11, with 5.10.
    Bullseye,
    /// 12, with 6.1.
    Bookworm,
    /// 13, with 6.12.
    Trixie,
    /// What the next but one will have: the newest that Debian builds.
    Experimental,
}

impl Debian {
    /// All of them, the oldest first.
    pub const ALL: [Self; 4] = [Self::Bullseye, Self::Bookworm, Self::Trixie, Self::Experimental];

    fn suite(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Experimental => "experimental",
        }
    }

    fn sources(self) -> Vec<Source> {
        let source = |uri: &str, suite: String| Source {
            uri: uri.to_owned(),
            suites: vec![suite],
            components: vec!["main".to_owned()],
        };
        let suite = self.suite();
        let mut sources = vec![source("http://deb.debian.org/debian", suite.to_owned())];
        if self != Self::Experimental {
            let security = format!("{suite}-security");
            sources.push(source("http://deb.debian.org/debian-security", security));
        }
        sources
    }
}

/// A kernel with the program `tracked` as its first process, in a folder of the caller's; and the kernel's release.
///
/// # Errors
/// Where Debian's mirror, or a program that it is made with, is missing.
pub fn tracked(debian: Debian, scratch: &Scratch) -> Result<(Files, String), String> {
    let name = format!("kernel-{}-{EDITION}", debian.suite());
    let folder = install_once(&name, &|folder| make(debian, folder))?;
    let words = |error: &dyn core::fmt::Display| error.to_string();
    let read = |name: &str| fs::read(folder.join(name)).map_err(|error| words(&error));
    let release = String::from_utf8_lossy(&read("release")?).into_owned();
    let program = built("tracked");
    let mut archive = Cpio::new();
    let bytes = fs::read(&program).map_err(|error| words(&error))?;
    let bytes = bare("tracked", &bytes).map_err(|error| words(&error))?;
    archive.program(initrd::INIT, &bytes).map_err(|error| words(&error))?;
    let mut whole = read("archive")?;
    whole.extend(archive.end().map_err(|error| words(&error))?);
    let initrd = scratch.path().join(format!("initrd-{}", debian.suite()));
    fs::write(&initrd, whole).map_err(|error| words(&error))?;
    Ok((Files { kernel: folder.join("vmlinuz"), initrd }, release))
}

fn make(debian: Debian, folder: &Path) -> Result<(), String> {
    let kernel = fetch(debian, folder).map_err(|error| error.to_string())?;
    println!("{}: kernel {}", debian.suite(), kernel.release);
    let mut archive = Cpio::new();
    fill(&mut archive, &kernel).map_err(|error| error.to_string())?;
    for tool in TOOLS {
        let path =
            run(Command::new("sh").args(["-c", &format!("command -v {tool}")])).map_err(|_| {
                format!("{tool} is missing: apt-get install dmsetup mdadm lvm2 e2fsprogs")
            })?;
        put_program(&mut archive, Path::new(path.trim()), &format!("/sbin/{tool}"))?;
    }
    let archive = archive.end().map_err(|error| error.to_string())?;
    for (name, bytes) in [
        ("vmlinuz", kernel.image.as_slice()),
        ("archive", &archive),
        ("release", kernel.release.as_bytes()),
    ] {
        fs::write(folder.join(name), bytes).map_err(|error| error.to_string())?;
    }
    // What the mirrors said is of no further use.
    let _ = fs::remove_dir_all(folder.join("apt"));
    Ok(())
}

/// The newest kernel of a suite, whose parts may be in several packages.
fn fetch(debian: Debian, folder: &Path) -> Result<KernelPackage, image::error::Error> {
    let apt = Apt::update(&folder.join("apt"), &debian.sources())?;
    let found = |name: &str| -> Result<(Locked, String), image::error::Error> {
        let first = apt.offers(name)?.into_iter().next();
        first
            .map(|offer| (offer.package, offer.depends))
            .ok_or_else(|| image::error::Error::corrupt(name, "the mirrors do not have it"))
    };
    let names = |depends: &str, prefix: &str| -> Vec<String> {
        let words = depends.split([' ', ',']).filter(|word| word.starts_with(prefix));
        words.map(str::to_owned).collect()
    };
    let (_, depends) = found(FOLLOWED)?;
    let mut packages = Vec::new();
    for name in names(&depends, "linux-image-") {
        let (package, depends) = found(&name)?;
        packages.push(package);
        for prefix in ["linux-binary-", "linux-modules-"] {
            for name in names(&depends, prefix) {
                packages.push(found(&name)?.0);
            }
        }
    }
    let mut parts = Vec::new();
    for package in &packages {
        let bytes = files::read(&apt.download(package)?)?;
        if files::sha256(&bytes) != package.sha256 {
            return Err(image::error::Error::corrupt(&package.name, "is not what its list says"));
        }
        parts.push(bytes);
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    KernelPackage::read_parts(debian.suite(), &parts)
}

/// Mount points, modules and their index.
fn fill(archive: &mut Cpio, kernel: &KernelPackage) -> Result<(), image::error::Error> {
    for folder in initrd::MOUNT_POINTS.iter().chain(&["/mnt", "/etc"]) {
        archive.folder(folder)?;
    }
    archive.device("/dev/console", 5, 1)?;
    archive.device("/dev/null", 1, 3)?;
    let there = |name: &&&str| {
        kernel.modules.modules.contains_key(**name) && !kernel.modules.built_in.contains(**name)
    };
    let wanted: Vec<&str> = MODULES.iter().filter(there).copied().collect();
    let order = kernel.modules.closure(wanted.into_iter())?;
    let index = kernel.modules.index(&order)?;
    archive.file(initrd::MODULE_INDEX, index.to_string().as_bytes())?;
    for module in index.modules() {
        archive
            .file(&format!("{}/{}", initrd::MODULES, module.file), &kernel.module(&module.name)?)?;
    }
    Ok(())
}

/// A program of this machine, with what it is linked to.
fn put_program(archive: &mut Cpio, from: &Path, to: &str) -> Result<(), String> {
    let mut put = |from: &Path, to: &str| {
        let bytes = fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?;
        archive.program(to, &bytes).map_err(|error| error.to_string())
    };
    put(from, to)?;
    let linked = run(Command::new("ldd").arg(from))?;
    let paths = linked.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.map(PathBuf::from) {
        put(&path, &path.display().to_string())?;
    }
    Ok(())
}

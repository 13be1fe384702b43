//! The kernel's package: the kernel itself and its modules, each with what it says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::thread;

use crate::closure::Kernel;
use crate::deb::{self, Content};
use crate::error::Error;
use crate::modinfo::{ModuleInfo, canonical};

/// Largest module that is taken.
const MODULE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A kernel's package, read.
#[derive(Debug)]
pub struct KernelPackage {
    /// The kernel.
    pub image: Vec<u8>,
    /// As `uname -r` says it.
    pub release: String,
    /// What its modules need.
    pub modules: Kernel,
    files: BTreeMap<String, File>,
}

/// A module's file as the package has it.
#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    xz: bool,
}

impl File {
    fn plain(&self, name: &str) -> Result<Vec<u8>, Error> {
        if !self.xz {
            return Ok(self.bytes.clone());
        }
        let mut plain = Vec::new();
        let read = deb::xz(&self.bytes).take(MODULE_BYTES_MAX).read_to_end(&mut plain);
        match read {
            Ok(length) if (length as u64) < MODULE_BYTES_MAX => Ok(plain),
            Ok(_) => Err(Error::corrupt(name, "is larger than any module")),
            Err(error) => Err(Error::corrupt(name, error.to_string())),
        }
    }
}

impl KernelPackage {
    /// Reads the package.
    pub fn read(name: &str, package: &[u8]) -> Result<Self, Error> {
        Self::read_parts(name, &[package])
    }

    /// Reads a kernel that Debian gives in several packages, as it does of late.
    pub fn read_parts(name: &str, packages: &[&[u8]]) -> Result<Self, Error> {
        let mut image = None;
        let mut files = BTreeMap::new();
        let mut built_in = BTreeSet::new();
        let keep = |path: &str| path.starts_with("boot/vmlinuz-") || inside(path).is_some();
        let mut take = |path: String, content| {
            let Content::File(bytes) = content else { return Ok(()) };
            if let Some(release) = release(&path) {
                image = Some((release.to_owned(), bytes));
            } else if inside(&path) == Some("modules.builtin") {
                let text = String::from_utf8_lossy(&bytes);
                built_in.extend(text.lines().filter_map(module_name).map(|(name, _)| name));
            } else if let Some((name, xz)) = module_name(&path) {
                files.insert(name, File { bytes, xz });
            }
            Ok(())
        };
        for package in packages {
            deb::unpack(name, package, &keep, &mut take)?;
        }
        let (release, image) =
            image.ok_or_else(|| Error::corrupt(name, "there is no kernel in it"))?;
        let modules = Kernel { modules: infos(&files)?, built_in };
        Ok(Self { image, release, modules, files })
    }

    /// A module's file, as the kernel loads it: not compressed, with its signature.
    pub fn module(&self, name: &str) -> Result<Vec<u8>, Error> {
        let file = self
            .files
            .get(name)
            .ok_or_else(|| Error::corrupt(name, "this module is not in the kernel's package"))?;
        file.plain(name)
    }
}

/// The release of the kernel whose image this is: in `boot`, or of late beside its modules.
fn release(path: &str) -> Option<&str> {
    let beside = || {
        let path = path.strip_prefix("usr/").unwrap_or(path);
        path.strip_prefix("lib/modules/")?.strip_suffix("/vmlinuz")
    };
    path.strip_prefix("boot/vmlinuz-").or_else(beside)
}

/// The path inside of `lib/modules/RELEASE/`.
fn inside(path: &str) -> Option<&str> {
    let path = path.strip_prefix("usr/").unwrap_or(path);
    path.strip_prefix("lib/modules/")?.split_once('/').map(|(_, inside)| inside)
}

/// The canonical name of the module in a file, and whether the file is compressed.
fn module_name(path: &str) -> Option<(String, bool)> {
    let file = path.rsplit('/').next()?;
    let (plain, xz) = match file.strip_suffix(".xz") {
        Some(plain) => (plain, true),
        None => (file, false),
    };
    Some((canonical(plain.strip_suffix(".ko")?), xz))
}

/// What every module says of itself. Decompressing is most of the work, so all processors share it.
fn infos(files: &BTreeMap<String, File>) -> Result<BTreeMap<String, ModuleInfo>, Error> {
    let all: Vec<(&String, &File)> = files.iter().collect();
    let threads = thread::available_parallelism().map_or(1, core::num::NonZero::get);
    let share = all.len().div_ceil(threads).max(1);
    let read = |(name, file): &(&String, &File)| {
        ModuleInfo::read(name, &file.plain(name)?).map(|info| ((*name).clone(), info))
    };
    thread::scope(|scope| {
        let shares: Vec<_> = all
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(read).collect::<Result<Vec<_>, _>>()))
            .collect();
        let mut infos = BTreeMap::new();
        for share in shares {
            let read = share.join().map_err(|_| {
                Error::corrupt("the kernel's modules", "reading one of them ended in a panic")
            })?;
            infos.extend(read?);
        }
        Ok(infos)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_paths() {
        assert_eq!(module_name("a/b/i2c-i801.ko.xz"), Some(("i2c_i801".to_owned(), true)));
        assert_eq!(module_name("kernel/fs/fat/vfat.ko"), Some(("vfat".to_owned(), false)));
        assert_eq!(module_name("a/b.txt"), None);
        assert_eq!(inside("usr/lib/modules/6.12/modules.builtin"), Some("modules.builtin"));
        assert_eq!(inside("lib/modules/6.12/kernel/a.ko"), Some("kernel/a.ko"));
        assert_eq!(inside("usr/share/doc/a"), None);
        assert_eq!(release("boot/vmlinuz-6.1.0-50-amd64"), Some("6.1.0-50-amd64"));
        assert_eq!(release("usr/lib/modules/7.3-amd64/vmlinuz"), Some("7.3-amd64"));
        assert_eq!(release("usr/lib/modules/7.3-amd64/kernel/a.ko"), None);
    }
}

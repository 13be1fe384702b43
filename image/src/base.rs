//! What of the image does not depend on our program: kernel, stub, boot manager, and the archive of modules and
//! firmware. Made once per recipe, lock and builder, and kept in the cache: all but a second of a build is here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image_layout::initrd;
use image_layout::modules::pattern;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::compress::{self, Codec};
use crate::cpio::Cpio;
use crate::deb::{self, Content};
use crate::error::{Blame, Error};
use crate::files;
use crate::kernel::KernelPackage;
use crate::packages::Packages;
use crate::progress::Progress;
use crate::recipe::Recipe;

/// How many links may stand between a firmware file's name and the file.
const LINKS_MAX: usize = 8;

/// The part of the image that does not depend on our program.
#[derive(Debug)]
pub struct Base {
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The stub that a slot begins with.
    pub stub: Vec<u8>,
    /// The boot manager.
    pub manager: Vec<u8>,
    /// Modules, their index, firmware: an archive, compressed.
    pub archive: Vec<u8>,
    /// What is in it.
    pub facts: Facts,
}

/// What is in a base.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// The kernel as `uname -r` says it.
    pub release: String,
    /// How many modules.
    pub modules: usize,
    /// How many patterns of devices.
    pub patterns: usize,
    /// Their size before compression.
    pub module_bytes: usize,
    /// How many firmware files.
    pub firmware: usize,
    /// Their size.
    pub firmware_bytes: usize,
}

impl Facts {
    fn text(&self) -> String {
        let Self { release, modules, patterns, module_bytes, firmware, firmware_bytes } = self;
        format!(
            "release = \"{release}\"\nmodules = {modules}\npatterns = {patterns}\nmodule-bytes = {module_bytes}\n\
             firmware = {firmware}\nfirmware-bytes = {firmware_bytes}\n"
        )
    }
}

/// How a base is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// How the archive is compressed.
    pub codec: Codec,
    /// Whether files that are not free software are left out.
    pub no_firmware: bool,
}

impl Base {
    /// From the cache, or made now.
    pub fn obtain(
        wish: &Wish<'_>,
        packages: &Packages,
        cache: &Path,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let folder = cache.join("base").join(key(wish, packages)?);
        if let Some(base) = read(&folder) {
            progress.say("modules, firmware and kernel: as they were made before");
            return Ok(base);
        }
        let base = make(wish, packages, progress)?;
        base.keep(&folder)?;
        Ok(base)
    }

    /// Puts it into the cache; the folder appears whole or not at all.
    fn keep(&self, folder: &Path) -> Result<(), Error> {
        let part = folder.with_extension(format!("{}.part", std::process::id()));
        for (name, bytes) in [
            ("kernel", self.kernel.as_slice()),
            ("stub", &self.stub),
            ("manager", &self.manager),
            ("archive", &self.archive),
            ("facts.toml", self.facts.text().as_bytes()),
        ] {
            files::write(&part.join(name), bytes)?;
        }
        if fs::rename(&part, folder).is_err() {
            // Another build was first, with the same bytes.
            drop(fs::remove_dir_all(&part));
        }
        Ok(())
    }
}

/// What the base is made from, in one number: this very program, too.
fn key(wish: &Wish<'_>, packages: &Packages) -> Result<String, Error> {
    let builder =
        std::env::current_exe().map_err(|error| Error::file(Path::new("image"), &error))?;
    let mut sum = Sha256::new();
    sum.update(files::sha256(&files::read(&builder)?));
    sum.update(format!("{:?}{:?}", wish, packages.lock));
    Ok(files::hexadecimal(&sum.finalize()))
}

fn read(folder: &Path) -> Option<Base> {
    let file = |name: &str| fs::read(folder.join(name)).ok();
    let facts = String::from_utf8(file("facts.toml")?).ok()?;
    Some(Base {
        kernel: file("kernel")?,
        stub: file("stub")?,
        manager: file("manager")?,
        archive: file("archive")?,
        facts: toml::from_str(&facts).ok()?,
    })
}

fn make(wish: &Wish<'_>, packages: &Packages, progress: &Progress) -> Result<Base, Error> {
    let recipe = wish.recipe;
    let name = &packages.lock.kernel;
    progress.say(&format!("unpacking {name}"));
    let kernel = KernelPackage::read(name, &packages.read(name)?)?;
    let order = kernel.modules.closure(recipe.module_names())?;
    let index = kernel.modules.index(&order)?;

    let mut archive = Cpio::new();
    for folder in initrd::MOUNT_POINTS {
        archive.folder(folder)?;
    }
    // PID 1 has its three files open before it has mounted anything.
    archive.device("/dev/console", 5, 1)?;
    archive.device("/dev/null", 1, 3)?;
    archive.file(initrd::MODULE_INDEX, index.to_string().as_bytes())?;
    let mut module_bytes = 0;
    for module in index.modules() {
        let bytes = kernel.module(&module.name)?;
        module_bytes += bytes.len();
        archive.file(&format!("{}/{}", initrd::MODULES, module.file), &bytes)?;
    }
    let firmware = match wish.no_firmware {
        true => BTreeMap::new(),
        false => firmware(recipe, packages)?,
    };
    for (path, bytes) in &firmware {
        archive.file(&format!("{}/{path}", initrd::FIRMWARE), bytes)?;
    }
    let archive = archive.end()?;
    progress.say(&format!(
        "compressing {} modules and {} firmware files, {} KiB",
        order.len(),
        firmware.len(),
        archive.len() / 1024
    ));
    let mut boot = chosen(
        &recipe.boot.package,
        &packages.read(&recipe.boot.package)?,
        &[&recipe.boot.stub, &recipe.boot.manager],
    )?;
    let mut part = |path: &str| boot.remove(path).unwrap_or_default();
    Ok(Base {
        stub: part(&recipe.boot.stub),
        manager: part(&recipe.boot.manager),
        archive: wish.codec.squeeze(&archive, compress::Content::Modules)?,
        facts: Facts {
            release: kernel.release,
            modules: order.len(),
            patterns: index.patterns(),
            module_bytes,
            firmware: firmware.len(),
            firmware_bytes: firmware.values().map(Vec::len).sum(),
        },
        kernel: kernel.image,
    })
}

/// Exactly these files of a package.
fn chosen(name: &str, package: &[u8], paths: &[&str]) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut found = BTreeMap::new();
    deb::unpack(name, package, &|path| paths.contains(&path), &mut |path, content| {
        if let Content::File(bytes) = content {
            found.insert(path, bytes);
        }
        Ok(())
    })?;
    match paths.iter().find(|path| !found.contains_key(**path)) {
        Some(path) => Err(missing(name, path)),
        None => Ok(found),
    }
}

fn missing(package: &str, path: &str) -> Error {
    Error::new(
        Blame::Misuse,
        package,
        format!("there is no {path} in it"),
        "correct the recipe after what dpkg -c says",
    )
}

/// The firmware files of the recipe, by their path below `lib/firmware`.
fn firmware(recipe: &Recipe, packages: &Packages) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut chosen = BTreeMap::new();
    for part in &recipe.firmware {
        let mut all = BTreeMap::new();
        deb::unpack(
            &part.package,
            &packages.read(&part.package)?,
            &|path| below_firmware(path).is_some(),
            &mut |path, content| {
                if let Some(below) = below_firmware(&path) {
                    all.insert(PathBuf::from(below), content);
                }
                Ok(())
            },
        )?;
        for wanted in &part.files {
            let fits = |path: &&PathBuf| {
                pattern::matches(wanted.as_bytes(), path.as_os_str().as_encoded_bytes())
            };
            let before = chosen.len();
            for path in all.keys().filter(fits) {
                let bytes = followed(&all, path)
                    .ok_or_else(|| missing(&part.package, &path.display().to_string()))?;
                chosen.insert(path.display().to_string(), bytes.to_vec());
            }
            if chosen.len() == before {
                return Err(missing(&part.package, wanted));
            }
        }
    }
    Ok(chosen)
}

fn below_firmware(path: &str) -> Option<&str> {
    path.strip_prefix("usr/").unwrap_or(path).strip_prefix("lib/firmware/")
}

/// The bytes of a file, through links beside it.
fn followed<'a>(all: &'a BTreeMap<PathBuf, Content>, path: &Path) -> Option<&'a [u8]> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match all.get(&path)? {
            Content::File(bytes) => return Some(bytes),
            Content::Link(target) => {
                let mut next = path.parent().map(Path::to_owned).unwrap_or_default();
                for part in target.split('/') {
                    match part {
                        ".." => drop(next.pop()),
                        "." | "" => {}
                        part => next.push(part),
                    }
                }
                path = next;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_and_circles_end() {
        let all = BTreeMap::from([
            (PathBuf::from("a/file"), Content::File(vec![7])),
            (PathBuf::from("a/b/link"), Content::Link("../file".into())),
            (PathBuf::from("round"), Content::Link("./round".into())),
            (PathBuf::from("dead"), Content::Link("nowhere".into())),
        ]);
        assert_eq!(followed(&all, Path::new("a/b/link")), Some(&[7][..]));
        assert_eq!(followed(&all, Path::new("round")), None);
        assert_eq!(followed(&all, Path::new("dead")), None);
    }

    #[test]
    fn facts_are_read_back() {
        let facts = Facts {
            release: "6.12".into(),
            modules: 1,
            patterns: 2,
            module_bytes: 3,
            firmware: 4,
            firmware_bytes: 5,
        };
        assert_eq!(toml::from_str::<Facts>(&facts.text()).unwrap(), facts);
    }
}

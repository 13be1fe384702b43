//! The recipe, `recipe.toml`: what goes into the image, as data; and its lock, `recipe.lock`: what that was exactly.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Blame, Error};
use crate::files;

/// What goes into the image.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recipe {
    /// Where packages come from.
    pub source: Vec<Source>,
    /// The kernel.
    pub kernel: Kernel,
    /// What firmware starts.
    pub boot: Boot,
    /// Names of kernel modules in groups; each comes with everything that it needs.
    pub modules: BTreeMap<String, Vec<String>>,
    /// Files that devices want to be given.
    #[serde(default)]
    pub firmware: Vec<Firmware>,
    /// How it is compressed.
    pub compression: Compression,
}

/// A mirror of Debian.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    /// Its address.
    pub uri: String,
    /// Suites of it.
    pub suites: Vec<String>,
    /// Components of them.
    pub components: Vec<String>,
}

/// The kernel.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Kernel {
    /// The package that depends on the newest kernel.
    pub follow: String,
    /// What the name of the kernel's package must begin with.
    pub series: String,
    /// Its command line.
    pub command_line: Vec<String>,
}

/// What firmware starts.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Boot {
    /// The package with both.
    pub package: String,
    /// The stub that a slot begins with.
    pub stub: String,
    /// The boot manager.
    pub manager: String,
}

/// Firmware files of one package.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Firmware {
    /// The package.
    pub package: String,
    /// Which of its files, below `lib/firmware`, as patterns.
    pub files: Vec<String>,
}

/// How the first file system is compressed.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Compression {
    /// The preset of xz in a slot.
    pub preset: u32,
    /// The same of our programs, in a slot that is tried at once.
    pub fast_preset: u32,
    /// The level of Zstandard in what QEMU starts without a slot.
    pub initrd_level: i32,
}

impl Recipe {
    /// Reads the recipe.
    pub fn read(path: &Path) -> Result<Self, Error> {
        parse(path, &files::read_text(path)?)
    }

    /// Names of the packages that it wants besides the kernel's.
    #[must_use]
    pub fn packages(&self) -> Vec<&str> {
        let firmware = self.firmware.iter().map(|firmware| firmware.package.as_str());
        let mut names: Vec<&str> = firmware.chain([self.boot.package.as_str()]).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Names of all modules that are asked for.
    pub fn module_names(&self) -> impl Iterator<Item = &str> {
        self.modules.values().flatten().map(String::as_str)
    }
}

/// What the recipe was resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// When, in seconds since 1970: also the image's own date, so that the same lock makes the same image.
    pub resolved: u64,
    /// Which of the packages is the kernel.
    pub kernel: String,
    /// Every package, by name.
    pub package: Vec<Locked>,
}

/// A package, exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Locked {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: String,
    /// The path of its file on the mirror.
    pub path: String,
}

impl Lock {
    /// Reads the lock; `None` where there is none yet.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let lock: Self = parse(path, &files::read_text(path)?)?;
        let strange = lock.package.iter().find(|package| {
            let digits = package.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            let name = |text: &str| {
                text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.~:_".contains(&byte))
            };
            package.sha256.len() != 64 || !digits || !name(&package.name) || !name(&package.version)
        });
        match strange {
            Some(package) => Err(Error::new(
                Blame::Misuse,
                path.display().to_string(),
                format!("what it says of {} cannot be", package.name),
                "delete the file, and it is made anew",
            )),
            None => Ok(Some(lock)),
        }
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        files::write(path, self.text().as_bytes())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "# What recipe.toml was resolved to. Written by the builder; commit it.\n\
             resolved = {}\nkernel = \"{}\"\n",
            self.resolved, self.kernel
        );
        for Locked { name, version, sha256, path } in &self.package {
            text.push_str(&format!(
                "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsha256 = \"{sha256}\"\npath = \"{path}\"\n"
            ));
        }
        text
    }

    /// The entry of that name.
    #[must_use]
    pub fn package(&self, name: &str) -> Option<&Locked> {
        self.package.iter().find(|package| package.name == name)
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        let line = error.span().map_or(1, |span| {
            text.bytes().take(span.start).filter(|&byte| byte == b'\n').count() + 1
        });
        let object = format!("{} line {line}", path.display());
        Error::new(Blame::Misuse, object, message, "correct it")
    })
}

/// The lock beside a recipe.
#[must_use]
pub fn lock_path(recipe: &Path) -> std::path::PathBuf {
    recipe.with_extension("lock")
}

#[cfg(test)]
mod tests;

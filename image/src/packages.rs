//! The packages of the recipe: from the cache where they are, from Debian's mirrors where they are not, and always
//! exactly what the lock says, or loudly something newer.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::apt::Apt;
use crate::error::{Blame, Error};
use crate::files;
use crate::progress::Progress;
use crate::recipe::{Lock, Locked, Recipe};

/// The packages of an image, in the cache.
#[derive(Debug)]
pub struct Packages {
    /// What they are.
    pub lock: Lock,
    folder: PathBuf,
}

/// Whether what the recipe is resolved to may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "may or may not")]
pub enum Resolve {
    /// A package that is no longer served is replaced by the newest, and the lock is written.
    AsNeeded,
    /// Everything is replaced by the newest.
    Newest,
    /// Nothing may change: what cannot be had ends in an error.
    Locked,
}

impl Packages {
    /// Gets everything that the recipe wants. Two builds at once do not disturb each other.
    pub fn obtain(
        recipe: &Recipe,
        lock_path: &Path,
        cache: &Path,
        resolve: Resolve,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let folder = cache.join("packages");
        files::make_folder(&folder)?;
        let guard_path = cache.join("packages.lock");
        let guard = File::create(&guard_path).map_err(|error| Error::file(&guard_path, &error))?;
        // Released when it is dropped, at the latest by the death of the process.
        guard.lock().map_err(|error| Error::file(&guard_path, &error))?;

        let locked = Lock::read(lock_path)?;
        let mut fetch = Fetch { recipe, folder: &folder, cache, progress, apt: None };
        if let Some(lock) = locked.clone().filter(|lock| covers(lock, recipe))
            && resolve != Resolve::Newest
            && fetch.have_all(&lock)?
        {
            return Ok(Self { lock, folder });
        }
        let old = locked.as_ref().filter(|_| resolve != Resolve::Newest);
        let lock = fetch.resolve(old)?;
        if old != Some(&lock) {
            if resolve == Resolve::Locked {
                return Err(Error::new(
                    Blame::Refused,
                    lock_path.display().to_string(),
                    "the mirrors no longer have all that it names",
                    "build once without --locked, look at what changed, and commit the new lock",
                ));
            }
            lock.write(lock_path)?;
            progress.loud(&format!("{} was written: commit it", lock_path.display()));
        }
        for package in &lock.package {
            fetch.get(package)?;
        }
        Ok(Self { lock, folder })
    }

    /// The bytes of a package, checked.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let package = self.lock.package(name).ok_or_else(|| {
            Error::new(
                Blame::Misuse,
                name,
                "the lock does not have it",
                "delete recipe.lock, and it is made anew",
            )
        })?;
        let path = place(&self.folder, package);
        let bytes = files::read(&path)?;
        if files::sha256(&bytes) != package.sha256 {
            return Err(Error::corrupt(path.display().to_string(), "is not what was downloaded"));
        }
        Ok(bytes)
    }
}

/// Whether the lock answers everything that the recipe asks.
fn covers(lock: &Lock, recipe: &Recipe) -> bool {
    let packages = recipe.packages();
    let mut names = packages.iter().copied().chain([lock.kernel.as_str()]);
    lock.kernel.starts_with(&recipe.kernel.series)
        && names.all(|name| lock.package(name).is_some())
        && lock.package.len() == packages.len() + 1
}

fn place(folder: &Path, package: &Locked) -> PathBuf {
    folder.join(format!("{}_{}.deb", package.name, package.sha256))
}

/// One attempt to have everything.
struct Fetch<'a> {
    recipe: &'a Recipe,
    folder: &'a Path,
    cache: &'a Path,
    progress: &'a Progress,
    apt: Option<Apt>,
}

impl Fetch<'_> {
    fn have_all(&self, lock: &Lock) -> Result<bool, Error> {
        for package in &lock.package {
            if !self.have(package)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn have(&self, package: &Locked) -> Result<bool, Error> {
        let path = place(self.folder, package);
        Ok(path.exists() && files::sha256(&files::read(&path)?) == package.sha256)
    }

    fn apt(&mut self) -> Result<&Apt, Error> {
        let apt = match self.apt.take() {
            Some(apt) => apt,
            None => {
                self.progress.say("reading the lists of Debian's mirrors");
                Apt::update(&self.cache.join("apt"), &self.recipe.source)?
            }
        };
        Ok(self.apt.insert(apt))
    }

    /// What every package is: as the old lock says where that can be had, else the newest.
    fn resolve(&mut self, old: Option<&Lock>) -> Result<Lock, Error> {
        let kernel = self.kernel(old)?;
        let names = self.recipe.packages();
        let mut found = BTreeMap::from([(kernel.name.clone(), kernel.clone())]);
        for name in names {
            let known = old.and_then(|lock| lock.package(name));
            let package = match known {
                Some(known) if self.have(known)? => known.clone(),
                known => self.offered(name, known)?,
            };
            found.insert(name.to_owned(), package);
        }
        let package: Vec<Locked> = found.into_values().collect();
        let unchanged = old.filter(|lock| lock.package == package && lock.kernel == kernel.name);
        let resolved = unchanged.map_or_else(now, |lock| lock.resolved);
        Ok(Lock { resolved, kernel: kernel.name, package })
    }

    fn kernel(&mut self, old: Option<&Lock>) -> Result<Locked, Error> {
        let series = self.recipe.kernel.series.clone();
        if let Some(known) = old.and_then(|lock| lock.package(&lock.kernel))
            && known.name.starts_with(&series)
        {
            let served = self.have(known)?
                || self
                    .apt()?
                    .offers(&known.name)
                    .is_ok_and(|offers| offers.iter().any(|offer| offer.package == *known));
            if served {
                return Ok(known.clone());
            }
            self.progress.loud(&format!("{} {} is no longer served", known.name, known.version));
        }
        let follow = self.recipe.kernel.follow.clone();
        let offers = self.apt()?.offers(&follow)?;
        let words = offers.iter().flat_map(|offer| offer.depends.split([' ', ',']));
        let name = words.map(str::trim).find(|word| word.starts_with(&series)).map(str::to_owned);
        let name = name.ok_or_else(|| {
            Error::new(
                Blame::Refused,
                follow,
                format!("the mirrors have no kernel whose name begins with {series}"),
                "correct the series in the recipe",
            )
        })?;
        self.offered(&name, None)
    }

    /// The version that is known where the mirrors still have it, else the one that they prefer.
    fn offered(&mut self, name: &str, known: Option<&Locked>) -> Result<Locked, Error> {
        let offers = self.apt()?.offers(name)?;
        let same = offers.iter().find(|offer| Some(&offer.package) == known);
        let chosen = same.or_else(|| offers.first()).ok_or_else(|| {
            Error::new(
                Blame::Refused,
                name,
                "the mirrors do not have it",
                "correct the name, or the components, in the recipe",
            )
        })?;
        if let Some(known) = known.filter(|_| same.is_none()) {
            self.progress.loud(&format!(
                "{name} {} is no longer served: taking {}",
                known.version, chosen.package.version
            ));
        }
        Ok(chosen.package.clone())
    }

    fn get(&mut self, package: &Locked) -> Result<(), Error> {
        if self.have(package)? {
            return Ok(());
        }
        self.progress.say(&format!("fetching {} {}", package.name, package.version));
        let downloaded = self.apt()?.download(package)?;
        let bytes = files::read(&downloaded)?;
        if files::sha256(&bytes) != package.sha256 {
            return Err(Error::new(
                Blame::Refused,
                package.name.clone(),
                "what the mirror sent is not what its list says",
                "try again; use another mirror in the recipe where it stays so",
            ));
        }
        files::write(&place(self.folder, package), &bytes)?;
        // A second copy; that it stays is no harm.
        drop(std::fs::remove_file(downloaded));
        Ok(())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

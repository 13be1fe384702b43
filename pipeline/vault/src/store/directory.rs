//! A vault in a folder: one file per object, published by `link(2)` so that a name appears whole or not at all.
//!
//! It refuses to write into a folder that nobody prepared, so that a file system that is not mounted
//! is noticed instead of filling the empty folder beneath it.

mod failure;
mod listing;
mod publish;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hal::time::Clock;
use rustix::fs::{Mode, OFlags};

use crate::error::Error;
use crate::store::{BlobStore, Created, Listing, ObjectFacts, Tier, check_name};

use self::failure::Failures;
use self::publish::{INCOMING, Publisher};

/// What a freshly made file system holds of its own; a folder with nothing else counts as empty.
const OF_THE_FILE_SYSTEM: &str = "lost+found";
/// The object that every vault has, by which a folder is known to be one.
const MARKER: &str = "vault";

/// Objects as files below one folder; a slash in a name is a folder.
pub struct DirectoryStore {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    failures: Failures,
    publisher: Publisher,
}

impl DirectoryStore {
    /// The store in the folder `root`, whether or not it exists yet. Touches nothing.
    pub fn new(root: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let root = root.into();
        let failures = Failures { place: format!("dir:{}", root.display()) };
        let publisher = Publisher::new(&root, Arc::clone(&clock), failures.clone());
        Self { root, clock, failures, publisher }
    }

    /// Nanoseconds spent so far waiting for files and folders to reach the medium.
    pub fn sync_nanos(&self) -> u64 {
        self.publisher.sync_nanos()
    }

    fn open(&self, name: &str) -> Result<(File, fs::Metadata), Error> {
        check_name(name)?;
        let failed = |error| self.failures.object(name, "cannot be opened", &error);
        let file = match open_plainly(&self.root.join(name)) {
            Err(error) if failure::is_absence(&error) && !self.root.is_dir() => {
                return Err(self.failures.no_folder());
            }
            opened => opened.map_err(failed)?,
        };
        let facts = file.metadata().map_err(failed)?;
        if facts.is_file() { Ok((file, facts)) } else { Err(self.failures.not_a_file(name)) }
    }

    fn refuse_foreign_content(&self) -> Result<(), Error> {
        let failed = |error| self.failures.place("cannot be read", &error);
        if self.root.join(MARKER).symlink_metadata().is_ok() {
            return Ok(());
        }
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if name != OF_THE_FILE_SYSTEM && name != INCOMING {
                let what = format!("is no vault and not empty (it holds «{}»)", name.display());
                return Err(Error::misuse(&self.failures.place, what)
                    .remedy("name an empty folder, a new one, or an existing vault"));
            }
        }
        Ok(())
    }
}

impl BlobStore for DirectoryStore {
    fn prepare(&self) -> Result<(), Error> {
        match fs::metadata(&self.root) {
            Ok(facts) if facts.is_dir() => self.refuse_foreign_content()?,
            Ok(_) => {
                return Err(Error::misuse(&self.failures.place, "is a file, not a folder")
                    .remedy("name an empty folder, a new one, or an existing vault"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.publisher.make_root()?;
            }
            Err(error) => return Err(self.failures.place("cannot be looked at", &error)),
        }
        self.publisher.make_incoming()
    }

    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        check_name(name)?;
        self.publisher.create(name, body)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let (file, facts) = self.open(name)?;
        let end = u64::try_from(into.len()).ok().and_then(|length| offset.checked_add(length));
        if end.is_none_or(|end| end > facts.len()) {
            return Err(self.failures.short(name, facts.len()));
        }
        file.read_exact_at(into, offset)
            .map_err(|error| self.failures.object(name, "cannot be read", &error))
    }

    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let (file, facts) = self.open(name)?;
        let length = usize::try_from(facts.len()).ok().filter(|_| facts.len() <= bytes_max);
        let Some(length) = length else {
            let what =
                format!("is {} bytes long, more than the {bytes_max} it may be", facts.len());
            return Err(Error::corrupt(self.failures.name(name), what));
        };
        let mut bytes = vec![0_u8; length];
        file.read_exact_at(&mut bytes, 0)
            .map_err(|error| self.failures.object(name, "cannot be read", &error))?;
        Ok(bytes)
    }

    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        check_name(name)?;
        match fs::symlink_metadata(self.root.join(name)) {
            Ok(facts) if facts.is_file() => Ok(Some(facts_of(name.to_owned(), &facts))),
            Ok(_) => Err(self.failures.not_a_file(name)),
            Err(error) if failure::is_absence(&error) => self.failures.absent(&self.root),
            Err(error) => Err(self.failures.object(name, "cannot be looked at", &error)),
        }
    }

    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        listing::list(&self.root, &self.failures, prefix, next, limit)
    }

    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        let mut answers: Vec<_> = names.iter().map(|name| self.publisher.remove(name)).collect();
        // One sync per folder, not per name: a deletion that a power cut undoes is only done again.
        let mut folders: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            if answers[index] == Ok(true) {
                let folder = self.root.join(name).parent().map(Path::to_path_buf);
                folders.entry(folder.unwrap_or_default()).or_default().push(index);
            }
        }
        for (folder, removed) in folders {
            if let Err(error) = self.publisher.sync_folder(&folder) {
                removed.into_iter().for_each(|index| answers[index] = Err(error.clone()));
            }
        }
        answers
    }

    fn now(&self) -> Result<u64, Error> {
        Ok(self.clock.now().0)
    }

    fn place(&self) -> String {
        self.failures.place.clone()
    }

    fn is_near(&self) -> bool {
        true
    }
}

/// Opens for reading without following a link, waiting on a pipe or taking a terminal: whatever
/// somebody put there, opening it does no harm and does not hang.
fn open_plainly(path: &Path) -> std::io::Result<File> {
    let flags =
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn facts_of(name: String, facts: &fs::Metadata) -> ObjectFacts {
    let seconds = u64::try_from(facts.mtime()).unwrap_or(0);
    let millis = u64::try_from(facts.mtime_nsec()).unwrap_or(0) / 1_000_000;
    let modified = seconds.saturating_mul(1000).saturating_add(millis);
    ObjectFacts { name, bytes: facts.len(), modified, tier: Tier::Online }
}

//! How an object appears in a folder: whole, durable and only where there was none.
//!
//! The bytes go to a file of their own in `.lifeboat-incoming`, which is synced; `link(2)` then gives it its
//! name, which fails where the name exists; the folder is synced. A crash leaves a whole object or a stray
//! file in `.lifeboat-incoming`, which means nothing and is swept when it is a day old.
//!
//! File systems without hard links (vfat, exfat, some network shares) get `renameat2(RENAME_NOREPLACE)`,
//! which is as atomic. There is no third way on purpose: claiming the name first with `O_EXCL` would let a
//! crash leave a claim without an object, and whoever removes it cannot know that its owner is dead.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hal::time::Clock;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::store::{Created, check_name};

use super::failure::{Failures, is_absence};
use super::{MARKER, open_plainly};

/// Where objects are written before they have a name: on the same file system, and no name of an object.
pub(super) const INCOMING: &str = ".lifeboat-incoming";

/// Age of a stray file before it is swept, in milliseconds: a day, longer than any writer holds one.
const STRAY_AGE_MS: u64 = 24 * 60 * 60 * 1000;
/// Attempts of one create while others make and delete the same name, or the folder vanishes.
const ATTEMPTS_MAX: u32 = 8;
/// Bytes compared at once with an object that exists.
const COMPARE_BYTES: usize = 128 * 1024;

const BY_LINK: u8 = 0;
const BY_RENAME: u8 = 1;

pub(super) struct Publisher {
    root: PathBuf,
    incoming: PathBuf,
    clock: Arc<dyn Clock>,
    failures: Failures,
    /// Folders whose own names are known to be durable; another process may have made one and not synced it yet.
    durable: Mutex<HashSet<PathBuf>>,
    how: AtomicU8,
    strays_swept: AtomicBool,
    /// A sync of a folder failed: what it holds cannot be called durable by this process any more, because the
    /// kernel reports the failure once and then answers as if all were well.
    distrusted: AtomicBool,
    names_given: AtomicU64,
    sync_nanos: AtomicU64,
}

/// What became of giving a written file its name.
enum Placed {
    Done,
    NameExists,
    /// The file or the folder vanished meanwhile.
    Vanished,
}

impl Publisher {
    pub(super) fn new(root: &Path, clock: Arc<dyn Clock>, failures: Failures) -> Self {
        Self {
            root: root.to_path_buf(),
            incoming: root.join(INCOMING),
            clock,
            failures,
            durable: Mutex::new(HashSet::new()),
            how: AtomicU8::new(BY_LINK),
            strays_swept: AtomicBool::new(false),
            distrusted: AtomicBool::new(false),
            names_given: AtomicU64::new(0),
            sync_nanos: AtomicU64::new(0),
        }
    }

    pub(super) fn sync_nanos(&self) -> u64 {
        self.sync_nanos.load(Ordering::Relaxed)
    }

    pub(super) fn make_root(&self) -> Result<(), Error> {
        make_folder(&self.root).map_err(|error| {
            let made = self.failures.place("cannot be made", &error);
            if is_absence(&error) {
                return Error::misuse(
                    &self.failures.place,
                    "cannot be made: the folder above it is missing",
                )
                .remedy("make that folder, or mount the file system that should be there");
            }
            made
        })?;
        // A relative path of one part has the parent «», which no system call takes.
        match self.root.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_folder(parent),
            _ => self.sync_folder(Path::new(".")),
        }
    }

    pub(super) fn make_incoming(&self) -> Result<(), Error> {
        match make_folder(&self.incoming) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(self.failures.place("cannot be written to", &error))
            }
            _ => self.sync_folder(&self.root),
        }
    }

    pub(super) fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        if self.distrusted.load(Ordering::Acquire) {
            return Err(self.distrust(name));
        }
        let target = self.root.join(name);
        let folder = target.parent().unwrap_or(&self.root);
        self.sweep_strays_once();
        for _ in 0..ATTEMPTS_MAX {
            if let Some(same) = self.compare(name, &target, body)? {
                if !same {
                    return Ok(Created::Taken);
                }
                // Whoever made it may not have synced the folder yet.
                self.ensure_folder(folder)?;
                self.sync_folder(folder)?;
                return Ok(Created::Same);
            }
            let written = self.write_stray(name, body)?;
            self.ensure_folder(folder)?;
            let placed = self.give_name(&written, &target);
            // Gone already where it was renamed; where it cannot be removed, the sweep will get it.
            let _ = fs::remove_file(&written);
            let failed = |error| self.failures.object(name, "cannot be given its name", &error);
            match placed.map_err(failed)? {
                Placed::Done => {
                    self.sync_folder(folder)?;
                    return Ok(Created::New);
                }
                Placed::NameExists => {}
                Placed::Vanished => {
                    self.lock_durable().remove(folder);
                }
            }
        }
        Err(Error::device(
            self.failures.name(name),
            "keeps appearing and vanishing while it is made",
        ))
    }

    /// Removes one name; the caller syncs its folder.
    pub(super) fn remove(&self, name: &str) -> Result<bool, Error> {
        check_name(name)?;
        match fs::remove_file(self.root.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if is_absence(&error) => {
                self.failures.absent::<()>(&self.root).map(|_| false)
            }
            Err(error) => Err(self.failures.object(name, "cannot be deleted", &error)),
        }
    }

    pub(super) fn sync_folder(&self, folder: &Path) -> Result<(), Error> {
        self.timed(|| File::open(folder)?.sync_all()).map_err(|error| {
            if !is_absence(&error) {
                self.distrusted.store(true, Ordering::Release);
            }
            self.failures.place("cannot be synced", &error)
        })
    }

    fn distrust(&self, name: &str) -> Error {
        Error::device(
            self.failures.name(name),
            "is not created: syncing the vault's folder failed before, so nothing in it can be called durable",
        )
        .retry(crate::error::Retry::Never)
        .remedy("check the disk and its file system, then start again")
    }

    /// Whether the object that exists has exactly these bytes; `None` where none exists.
    fn compare(&self, name: &str, target: &Path, body: &[u8]) -> Result<Option<bool>, Error> {
        let failed =
            |error: io::Error| self.failures.object(name, "exists and cannot be compared", &error);
        let file = match open_plainly(target) {
            Ok(file) => file,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let facts = file.metadata().map_err(failed)?;
        if !facts.is_file() {
            return Err(self.failures.not_a_file(name));
        }
        if usize::try_from(facts.len()) != Ok(body.len()) {
            return Ok(Some(false));
        }
        let mut buffer = vec![0_u8; COMPARE_BYTES.min(body.len())];
        let mut offset = 0_u64;
        for wanted in body.chunks(COMPARE_BYTES) {
            let found = &mut buffer[..wanted.len()];
            file.read_exact_at(found, offset).map_err(failed)?;
            if found != wanted {
                return Ok(Some(false));
            }
            offset += wanted.len() as u64;
        }
        Ok(Some(true))
    }

    /// Writes and syncs the bytes under a name that nobody reads.
    fn write_stray(&self, name: &str, body: &[u8]) -> Result<PathBuf, Error> {
        let failed = |error: io::Error| self.failures.place_of_write(name, &error);
        let (path, mut file) = match self.open_stray() {
            Err(error) if is_absence(&error) => {
                // A copy of a vault made without hidden folders is a vault; a folder without the marker
                // may be an empty mount point, and nothing is written there.
                if self.root.join(MARKER).symlink_metadata().is_err() {
                    return Err(self.failures.no_folder());
                }
                self.make_incoming()?;
                self.open_stray().map_err(failed)?
            }
            opened => opened.map_err(failed)?,
        };
        let written = file.write_all(body).and_then(|()| self.timed(|| file.sync_all()));
        written.map_err(|error| {
            let _ = fs::remove_file(&path);
            failed(error)
        })?;
        Ok(path)
    }

    fn open_stray(&self) -> io::Result<(PathBuf, File)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        loop {
            // Process id and time keep writers apart, on one machine or on many behind one share; where they
            // still meet, O_EXCL tells and the counter moves on.
            let count = self.names_given.fetch_add(1, Ordering::Relaxed);
            let stamp = self.clock.now().0;
            let path = self.incoming.join(format!("{}-{stamp:x}-{count:x}", std::process::id()));
            match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => return Ok((path, File::from(file))),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn give_name(&self, written: &Path, target: &Path) -> io::Result<Placed> {
        if self.how.load(Ordering::Relaxed) == BY_LINK {
            match rustix::fs::link(written, target) {
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
                linked => return sort_placing(linked),
            }
        }
        match rustix::fs::renameat_with(CWD, written, CWD, target, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::Error::other(
                "this file system has neither hard links nor a rename that refuses to replace, \
                 so no writer could be kept from overwriting another; use another file system",
            )),
            renamed => {
                if renamed.is_ok() {
                    self.how.store(BY_RENAME, Ordering::Relaxed);
                }
                sort_placing(renamed)
            }
        }
    }

    /// Makes the folders down to `folder`, each synced into the one above before anything is put in it.
    fn ensure_folder(&self, folder: &Path) -> Result<(), Error> {
        if self.lock_durable().contains(folder) {
            return Ok(());
        }
        let below = folder.strip_prefix(&self.root).unwrap_or_else(|_| Path::new(""));
        let mut path = self.root.clone();
        for part in below {
            let above = path.clone();
            path.push(part);
            if let Err(error) = make_folder(&path)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                let name = below.display().to_string();
                return Err(self.failures.object(&name, "cannot be made", &error));
            }
            self.sync_folder(&above)?;
        }
        self.lock_durable().insert(folder.to_path_buf());
        Ok(())
    }

    /// Removes what crashed writers left, once per store. Failing to is harmless, and so is taking a slow
    /// writer's file: it finds it gone and writes it again.
    fn sweep_strays_once(&self) {
        if self.strays_swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let Ok(entries) = fs::read_dir(&self.incoming) else { return };
        let now_ms = self.clock.now().0;
        for entry in entries.flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            let made_ms = u64::try_from(facts.mtime()).unwrap_or(0).saturating_mul(1000);
            if facts.is_file() && now_ms.saturating_sub(made_ms) > STRAY_AGE_MS {
                log::info!("removing {}, left by a writer that stopped", entry.path().display());
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = self.clock.monotonic_nanos();
        let result = work();
        let spent = self.clock.monotonic_nanos().saturating_sub(start);
        self.sync_nanos.fetch_add(spent, Ordering::Relaxed);
        result
    }

    fn lock_durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        // The set is only ever inserted to and removed from: a panic elsewhere leaves it whole.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn distrust_folders(&self) {
        self.distrusted.store(true, Ordering::Release);
    }

    #[cfg(test)]
    pub(super) fn without_hard_links(&self) {
        self.how.store(BY_RENAME, Ordering::Relaxed);
    }
}

fn sort_placing(outcome: Result<(), Errno>) -> io::Result<Placed> {
    match outcome {
        Ok(()) => Ok(Placed::Done),
        Err(Errno::EXIST) => Ok(Placed::NameExists),
        Err(Errno::NOENT) => Ok(Placed::Vanished),
        Err(error) => Err(error.into()),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

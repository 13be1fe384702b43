//! A folder for one machine's sockets and overlays, gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};

use core::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// A socket's path has 108 bytes, one of them the end; names of ours below the folder take at most 20.
const PATH_BYTES_MAX: usize = 108 - 1 - 20;
/// What our folders' names begin with.
const PREFIX: &str = "lifeboat-vm-";

/// The folder. It is locked while its owner lives, so that those left behind by a kill can be told and removed.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: fs::File,
}

impl Folder {
    /// Makes a new one, and removes what others left behind when they were killed.
    pub(crate) fn new() -> Result<Self, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let named = std::env::temp_dir();
        let base = if named.as_os_str().len() + 40 > PATH_BYTES_MAX {
            PathBuf::from("/tmp")
        } else {
            named
        };
        remove_stale(&base);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{PREFIX}{}-{number}", std::process::id()));
        // A process of this number may have left one behind that is not ours to reuse.
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|error| Error::file("removing", &path, error))?;
        }
        fs::create_dir_all(&path).map_err(|error| Error::file("making", &path, error))?;
        let lock = open(&path).map_err(|error| Error::file("opening", &path, error))?;
        flock(&lock, FlockOperation::NonBlockingLockShared)
            .map_err(|error| Error::file("locking", &path, error.into()))?;
        Ok(Self { path, _lock: lock })
    }

    /// A file's path in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{} stays behind: {error}", self.path.display());
        }
    }
}

fn open(path: &Path) -> std::io::Result<fs::File> {
    fs::File::open(path)
}

/// Removes folders of ours that nobody holds. Whatever fails is left to the next machine.
fn remove_stale(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    let ours = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)));
    for entry in ours {
        let Ok(handle) = open(&entry.path()) else { continue };
        // Its maker holds a shared lock from a moment after it made it: younger ones are left alone.
        let old = entry
            .metadata()
            .and_then(|facts| facts.modified())
            .is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age.as_secs() > 60));
        if old && flock(&handle, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_apart_short_enough_and_gone_when_dropped() {
        let (one, two) = (Folder::new().unwrap(), Folder::new().unwrap());
        assert_ne!(one.file("a"), two.file("a"));
        assert!(one.file("serial0").as_os_str().len() < 108);
        let path = one.file("");
        fs::write(one.file("qmp"), b"x").unwrap();
        drop(one);
        assert!(!path.exists());
        assert!(two.file("").is_dir());
    }
}

//! A folder of a test's own, removed with everything in it when the test ends.

use core::sync::atomic::{AtomicU64, Ordering};
use std::path::{Path, PathBuf};
use std::{env, fs, process};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// An empty folder.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new folder on the disk that holds temporary files.
    pub(crate) fn on_disk() -> Self {
        Self::under(&env::temp_dir())
    }

    /// A new folder under this one.
    pub(crate) fn under(parent: &Path) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("hal-linux-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        Self { path }
    }

    /// A path in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{} is left behind: {error}", self.path.display());
        }
    }
}

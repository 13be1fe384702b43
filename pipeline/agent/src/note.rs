//! Paths written down where they outlive every process of ours: should all be killed in the same moment, as a service manager and a
//! machine out of memory do, the next start knows what was done to them, and undoes it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The note. It lies in memory, `/run`: a restart of the machine undoes the same.
#[derive(Debug)]
pub(crate) struct Note {
    path: PathBuf,
}

impl Note {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// Notes these, and no others any more.
    pub(crate) fn write<'a>(&self, paths: impl Iterator<Item = &'a Path>) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create(&self.path)?;
        for path in paths {
            file.write_all(path.as_os_str().as_bytes())?;
            file.write_all(&[0])?;
        }
        Ok(())
    }

    /// What is noted; nothing where there is no note.
    pub(crate) fn read(&self) -> Vec<PathBuf> {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let paths = bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
    }

    /// Nothing is noted any more.
    pub(crate) fn clear(&self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{}: {error}", self.path.display());
        }
    }
}

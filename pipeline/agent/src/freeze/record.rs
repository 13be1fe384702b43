//! What is about to be frozen, written down where it outlives both processes: should both be killed in the same moment, as a
//! service manager and a machine out of memory do, the agent thaws when it is started again.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hal_linux::freeze::StillHandle;

use crate::devices::FileSystem;

/// The note. It lies in memory, `/run`: after a restart of the machine nothing is frozen.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
}

impl Record {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// Thaws what an agent that is no more left frozen; what was, in words.
    pub(super) fn thaw_left(&self) -> Vec<String> {
        let Ok(bytes) = fs::read(&self.path) else { return Vec::new() };
        let places = bytes.split(|byte| *byte == 0).filter(|place| !place.is_empty());
        let mut told = Vec::new();
        let mut all = true;
        for place in places.map(|place| Path::new(OsStr::from_bytes(place))) {
            // Opening a folder waits for no frozen file system, and what is mounted no more is not frozen either.
            match StillHandle::open(place).and_then(|handle| handle.thaw()) {
                Ok(true) => {
                    told.push(format!("{} was left frozen, and is thawed", place.display()))
                }
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    all = false;
                    told.push(format!(
                        "{} may be left frozen: {error}; try fsfreeze --unfreeze {0}",
                        place.display()
                    ));
                }
            }
        }
        if all {
            self.clear();
        }
        told
    }

    /// Notes what will be frozen.
    pub(super) fn note(&self, systems: &[FileSystem]) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create(&self.path)?;
        for system in systems {
            file.write_all(system.at.as_os_str().as_bytes())?;
            file.write_all(&[0])?;
        }
        Ok(())
    }

    /// Nothing is frozen.
    pub(super) fn clear(&self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_whatever_the_paths_are() {
        let path =
            std::env::temp_dir().join(format!("lifeboat-record-{}/frozen", std::process::id()));
        let record = Record::new(&path);
        assert!(record.thaw_left().is_empty(), "there is none");
        let system = |at: &OsStr| FileSystem {
            at: at.into(),
            kind: "ext4".to_owned(),
            number: (0, 0),
            leaves: Vec::new(),
            read_only: false,
        };
        let odd = OsStr::from_bytes(b"/nowhere/\n \xff");
        record.note(&[system(OsStr::new("/proc")), system(odd)]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"/proc\0/nowhere/\n \xff\0");
        assert!(record.thaw_left().is_empty(), "/proc is not frozen, the other is not there");
        assert!(!path.exists(), "and that is over");
        record.clear();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}

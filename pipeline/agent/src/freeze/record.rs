//! What is about to be frozen, noted: the agent thaws it when it is started again, should both processes have been killed in the same
//! moment.

use std::io;
use std::path::Path;

use hal_linux::freeze::StillHandle;

use crate::devices::FileSystem;
use crate::note::Note;

/// What is about to be frozen.
#[derive(Debug)]
pub(super) struct Record(Note);

impl Record {
    pub(super) fn new(path: &Path) -> Self {
        Self(Note::new(path))
    }

    /// Thaws what an agent that is no more left frozen; what was, in words.
    pub(super) fn thaw_left(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut all = true;
        for place in self.0.read() {
            // Opening a folder waits for no frozen file system, and what is mounted no more is not frozen either.
            match StillHandle::open(&place).and_then(|handle| handle.thaw()) {
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
        self.0.write(systems.iter().map(|system| system.at.as_path()))
    }

    /// Nothing is frozen.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

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

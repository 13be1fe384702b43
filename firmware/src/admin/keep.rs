//! Small documents that must not be forgotten: users, tokens, alerts, settings. Each is read and written whole.
//!
//! It refuses to know what is in them. What is gone is told apart from what cannot be read: a machine that takes unreadable
//! users for none would let the next stranger in.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pipeline_vault::Error;
use serde::Serialize;

/// How much of a state partition each may take.
pub mod budget;

/// Largest document.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Longest name.
pub const NAME_BYTES_MAX: usize = 40;
/// What files of documents end with.
const SUFFIX: &str = "keep";

/// Where documents are kept. Names are small letters, digits and hyphens.
pub trait Keep: Send + Sync {
    /// The document; `None` where it was never written.
    ///
    /// Errors: it is there and cannot be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Writes it whole or not at all. It is durable when this returns.
    ///
    /// Errors: it is too large, or cannot be written: what was there before still is.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error>;

    /// Bytes that this document may have. What grows by itself is cut to them by whoever writes it.
    fn room(&self, _name: &str) -> usize {
        DOCUMENT_BYTES_MAX
    }
}

/// Whether this may be written at all: every implementation asks first.
pub fn check(name: &str, bytes: &[u8]) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(Error::misuse(format!("document {name:?}"), "has a name that none may have"));
    }
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let words = format!("would be larger than {DOCUMENT_BYTES_MAX} bytes");
        return Err(Error::exhausted(format!("document {name}"), words)
            .remedy("remove what is no longer needed in it"));
    }
    Ok(())
}

/// Whether it may be written where all documents share a state partition: within its own budget, whatever the others took.
/// `others` are those that are there, with their bytes.
pub fn check_shared<'a>(
    (name, bytes): (&str, &[u8]),
    others: impl Iterator<Item = (&'a String, &'a Vec<u8>)>,
) -> Result<(), Error> {
    check(name, bytes)?;
    let (mut room, mut taken) = (budget::budget(name), bytes.len());
    if taken <= room && !budget::is_known(name) {
        let strangers = others.filter(|(other, _)| *other != name && !budget::is_known(other));
        taken += strangers.map(|(_, bytes)| bytes.len()).sum::<usize>();
        room = budget::OTHERS_BYTES;
    }
    if taken > room {
        let words = format!("would need {taken} bytes of the state partition, and has {room}");
        return Err(Error::exhausted(format!("document {name}"), words)
            .remedy("remove what is no longer needed in it; what was there before stands"));
    }
    Ok(())
}

/// A list as JSON, as much of its end as there is room for.
pub fn end_within<T: Serialize>(room: usize, list: &[T]) -> Result<Vec<u8>, serde_json::Error> {
    let mut from = 0;
    loop {
        let bytes = serde_json::to_vec(list.get(from..).unwrap_or_default())?;
        if bytes.len() <= room || from >= list.len() {
            return Ok(bytes);
        }
        from += list.len().div_ceil(8);
    }
}

/// Documents as files of a folder, for their owner only.
#[derive(Debug)]
pub struct FolderKeep {
    folder: PathBuf,
    /// One writer at a time: they share the name of what is not whole yet.
    writing: Mutex<()>,
}

impl FolderKeep {
    /// In this folder, which is made where it is missing.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| failed(folder, "cannot be made", &error))?;
        Ok(Self { folder: folder.to_path_buf(), writing: Mutex::default() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{SUFFIX}"))
    }
}

impl Keep for FolderKeep {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        check(name, &[])?;
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, "cannot be read", &error)),
        };
        let mut bytes = Vec::new();
        let most = DOCUMENT_BYTES_MAX as u64 + 1;
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&path, "cannot be read", &error))?;
        check(name, &bytes)?;
        Ok(Some(bytes))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        check(name, bytes)?;
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(name);
        // Two processes may write: each has its own beginning, and the last whole one stands.
        let new = path.with_extension(format!("{SUFFIX}-{}", std::process::id()));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.folder)?.sync_all()
        })();
        written.map_err(|error| {
            // It may not even have come to be.
            let _ = fs::remove_file(&new);
            failed(&path, "cannot be written", &error)
        })
    }
}

/// Documents in memory, for a machine without anything to keep them on: gone at the next start.
#[derive(Debug, Default)]
pub struct MemoryKeep(Mutex<BTreeMap<String, Vec<u8>>>);

impl Keep for MemoryKeep {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        check(name, &[])?;
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        check_shared((name, bytes), documents.iter())?;
        documents.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn room(&self, name: &str) -> usize {
        budget::budget(name)
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Error {
    Error::device(path.display().to_string(), format!("{what}: {error}"))
        .remedy("see to it that the folder of --state can be written and is not full")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("lifeboat-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    /// What every implementation does.
    fn conforms(keep: &dyn Keep) {
        assert_eq!(keep.read("users").unwrap(), None);
        keep.write("users", b"one").unwrap();
        keep.write("tokens", b"").unwrap();
        keep.write("users", b"two").unwrap();
        assert_eq!(keep.read("users").unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(keep.read("tokens").unwrap().as_deref(), Some(&b""[..]));
        assert!(keep.write("users", &vec![0; DOCUMENT_BYTES_MAX + 1]).is_err());
        assert_eq!(keep.read("users").unwrap().as_deref(), Some(&b"two"[..]), "as it was");
        for name in ["", "..", "../users", "a/b", "Users", "a.b", &"a".repeat(41)] {
            assert!(keep.write(name, b"x").is_err() && keep.read(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn documents_are_whole_and_named_plainly_wherever_they_are_kept() {
        conforms(&MemoryKeep::default());
        let folder = scratch("keep");
        conforms(&FolderKeep::open(&folder).unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing half written is left");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn files_are_their_owners_alone_and_outlive_the_program() {
        let folder = scratch("keep-owner");
        FolderKeep::open(&folder).unwrap().write("users", b"one").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("users.keep"))), (0o700, 0o600));
        let again = FolderKeep::open(&folder).unwrap();
        assert_eq!(again.read("users").unwrap().as_deref(), Some(&b"one"[..]));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let folder = scratch("keep-damage");
        let keep = FolderKeep::open(&folder).unwrap();
        fs::create_dir(folder.join("users.keep")).unwrap();
        assert!(keep.read("users").is_err());
        fs::write(folder.join("tokens.keep"), vec![0; DOCUMENT_BYTES_MAX + 1]).unwrap();
        assert!(keep.read("tokens").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn memory_holds_no_more_than_a_state_partition() {
        let keep = MemoryKeep::default();
        for number in 0..3 {
            keep.write(&format!("d{number}"), &[0; 8 * 1024]).unwrap();
        }
        assert!(keep.write("more", b"x").is_err());
        keep.write("d0", b"").unwrap();
        keep.write("more", b"x").unwrap();
        assert!(keep.write("d0", &[0; 8 * 1024 + 1]).is_err());
    }
}

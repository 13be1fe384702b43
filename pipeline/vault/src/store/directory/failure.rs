//! What the file system's refusals mean to a person, and whose fault they are.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Retry};

/// Makes errors that name the vault and the object in it.
#[derive(Clone)]
pub(super) struct Failures {
    /// How a person names the store.
    pub(super) place: String,
}

impl Failures {
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }

    /// A failure on one object; its absence is told as such.
    pub(super) fn object(&self, name: &str, what: &str, error: &io::Error) -> Error {
        if is_absence(error) {
            return Error::missing(self.name(name));
        }
        self.sorted(self.name(name), what, error)
    }

    /// A failure on the folder as a whole.
    pub(super) fn place(&self, what: &str, error: &io::Error) -> Error {
        if is_absence(error) {
            return self.no_folder();
        }
        self.sorted(self.place.clone(), what, error)
    }

    /// A failure while writing an object's bytes: absence is the folder's, never the object's.
    pub(super) fn place_of_write(&self, name: &str, error: &io::Error) -> Error {
        if is_absence(error) {
            return self.no_folder();
        }
        self.sorted(self.name(name), "cannot be written", error)
    }

    pub(super) fn no_folder(&self) -> Error {
        Error::misuse(&self.place, "is no vault folder")
            .remedy("check the path and that its file system is mounted; `lifeboat vault create` makes a new vault")
    }

    pub(super) fn not_a_file(&self, name: &str) -> Error {
        Error::corrupt(self.name(name), "is not an ordinary file, as every object of a vault is")
    }

    pub(super) fn short(&self, name: &str, bytes: u64) -> Error {
        let what = format!("ends after {bytes} bytes, before the end of what is wanted from it");
        Error::corrupt(self.name(name), what)
    }

    /// The answer for an object that is not there: nothing, or an error where the whole folder is gone.
    pub(super) fn absent<T>(&self, root: &Path) -> Result<Option<T>, Error> {
        if root.is_dir() { Ok(None) } else { Err(self.no_folder()) }
    }

    fn sorted(&self, object: String, what: &str, error: &io::Error) -> Error {
        let said = format!("{what}: {error}");
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Error::exhausted(object, said)
                .retry(Retry::Later)
                .remedy(format!(
                    "free space where {} lies, or prune old points; what is published stays whole",
                    self.place
                )),
            Some(Errno::MFILE | Errno::NFILE) => Error::exhausted(object, said)
                .retry(Retry::Later)
                .remedy("raise the limit of open files (ulimit -n)"),
            Some(Errno::ACCESS | Errno::PERM) => Error::refused(object, said)
                .remedy(format!("run as a user who may read and write {}", self.place)),
            Some(Errno::ROFS) => Error::refused(object, said)
                .remedy("mount the file system for writing, after finding out why it is read-only"),
            Some(Errno::NAMETOOLONG) => Error::misuse(object, said)
                .remedy("move the vault to a shorter path or another file system"),
            Some(Errno::NOTDIR | Errno::ISDIR | Errno::LOOP) => Error::corrupt(object, said)
                .remedy("something that is no object lies in the vault's folder: look at it and move it away"),
            Some(Errno::XDEV) => Error::refused(object, said)
                .remedy("keep the whole vault on one file system, without links or mounts inside"),
            _ => Error::device(object, said)
                .remedy("see the system's log for the disk or the network below, then try again"),
        }
    }
}

/// True where the error says only that a name, or a folder above it, does not exist.
pub(super) fn is_absence(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

//! FAT by its own bytes: what an EFI system partition is, on kernels too that do not have it.
//!
//! The library that reads it was not written for bytes of a stranger: what panics in there is caught and told, and
//! each call may read so much and no more, as a chain of clusters can go round for ever.

use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io::{self, Error, ErrorKind, Read, Seek, SeekFrom, Write};
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fatfs::{Dir, File, FileSystem, FsOptions};

use super::tree::{Kind, Rights, Tree, parent};
use super::view::{Cursor, View};

/// Bytes that one call may read: a file, its chain and the folders before it.
const CALL_BYTES_MAX: u64 = 1 << 30;
/// Bytes that looking up names may read: folders that go round for ever.
const LOOK_BYTES_MAX: u64 = 16 << 20;
/// Names in a folder that are looked at.
const NAMES_MAX: usize = 65_536;

/// A FAT file system. Names differ in more than capitals.
pub struct FatTree {
    system: FileSystem<Limited>,
    left: Arc<AtomicU64>,
    places: Places,
    view: Arc<dyn View>,
}

/// A cursor that ends in an error when a call has read too much.
struct Limited {
    cursor: Cursor,
    left: Arc<AtomicU64>,
    /// Where single bytes were written since this was last emptied: entries of folders begin with one.
    places: Places,
}

type Places = Arc<Mutex<Vec<u64>>>;

impl Read for Limited {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len() as u64;
        let left = self.left.load(Ordering::Relaxed);
        if wanted > left {
            return Err(Error::new(ErrorKind::InvalidData, "its chains of clusters do not end"));
        }
        self.left.store(left - wanted, Ordering::Relaxed);
        self.cursor.read(into)
    }
}

impl Write for Limited {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if from.len() == 1 {
            lock(&self.places).push(self.cursor.at());
        }
        self.cursor.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.cursor.flush()
    }
}

impl Seek for Limited {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.cursor.seek(to)
    }
}

impl FatTree {
    /// Opens what is in a view.
    pub fn open(view: Arc<dyn View>) -> io::Result<Self> {
        let left = Arc::new(AtomicU64::new(CALL_BYTES_MAX));
        let places = Places::default();
        let limited = Limited {
            cursor: Cursor::new(Arc::clone(&view)),
            left: Arc::clone(&left),
            places: Arc::clone(&places),
        };
        let system = caught(|| FileSystem::new(limited, FsOptions::new()))?;
        Ok(Self { system, left, places, view })
    }

    fn call<T>(
        &self,
        path: &str,
        call: impl FnOnce(&FileSystem<Limited>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.within(CALL_BYTES_MAX, path, call)
    }

    fn look<T>(
        &self,
        path: &str,
        call: impl FnOnce(&FileSystem<Limited>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.within(LOOK_BYTES_MAX, path, call)
    }

    fn within<T>(
        &self,
        bytes_max: u64,
        path: &str,
        call: impl FnOnce(&FileSystem<Limited>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.left.store(bytes_max, Ordering::Relaxed);
        caught(|| call(&self.system)).map_err(|error| {
            let full = error.to_string().contains("No space left");
            let kind = if full { ErrorKind::StorageFull } else { error.kind() };
            Error::new(kind, format!("{path}: {error}"))
        })
    }
}

/// A poisoned lock means that the library panicked: places are single numbers.
fn lock(places: &Places) -> MutexGuard<'_, Vec<u64>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What panics has met bytes that it did not expect.
fn caught<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let broken = "the file system (FAT) does not hold together";
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::InvalidData, broken)))
}

impl FatTree {
    /// The library gives the two first entries of a new folder long names, which no other system does and checkers
    /// mourn: they are moved up over these, and what is left behind becomes free.
    fn mend_dots(&self) -> io::Result<()> {
        const ENTRY: usize = 32;
        const LONG: u8 = 0x0F;
        for place in core::mem::take(&mut *lock(&self.places)) {
            let mut entries = [0; 4 * ENTRY];
            if self.view.bytes().checked_sub(place).is_none_or(|rest| rest < 4 * ENTRY as u64) {
                continue;
            }
            self.view.read_at(place, &mut entries)?;
            let is_long = |at: usize| entries[at] == 0x41 && entries[at + 11] == LONG;
            let is_named = |at: usize, name: &[u8]| entries[at..].starts_with(name);
            if is_long(0)
                && is_named(ENTRY, b".          ")
                && is_long(2 * ENTRY)
                && is_named(3 * ENTRY, b"..         ")
            {
                entries.copy_within(ENTRY..2 * ENTRY, 0);
                entries.copy_within(3 * ENTRY..4 * ENTRY, ENTRY);
                entries[2 * ENTRY..].fill(0);
                return self.view.write_at(place, &entries);
            }
        }
        Ok(())
    }
}

fn folder<'a>(system: &'a FileSystem<Limited>, path: &str) -> io::Result<Dir<'a, Limited>> {
    let root = system.root_dir();
    if path.is_empty() { Ok(root) } else { root.open_dir(path) }
}

fn write_all(file: &mut File<'_, Limited>, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.flush()
}

fn missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Other | ErrorKind::InvalidInput)
        && !error.to_string().contains("clusters")
}

impl Tree for FatTree {
    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        self.look(path, |system| {
            if path.is_empty() {
                return Ok(Some(Kind::Folder));
            }
            let within = match folder(system, parent(path)) {
                Err(error) if missing(&error) => return Ok(None),
                other => other?,
            };
            let name = path.rsplit('/').next().unwrap_or(path);
            for entry in within.iter().take(NAMES_MAX) {
                let entry = entry?;
                if same(&entry.file_name(), name) {
                    return Ok(Some(if entry.is_dir() {
                        Kind::Folder
                    } else {
                        Kind::File(entry.len())
                    }));
                }
            }
            Ok(None)
        })
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.look(path, |system| {
            let within = match folder(system, path) {
                Err(error) if missing(&error) => return Ok(Vec::new()),
                other => other?,
            };
            let mut names = Vec::new();
            for entry in within.iter().take(NAMES_MAX) {
                names.push(entry?.file_name());
            }
            names.retain(|name| !matches!(name.as_str(), "." | ".."));
            names.sort();
            Ok(names)
        })
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        self.open_at(path, 0)
    }

    fn open_at(&self, path: &str, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        self.left.store(CALL_BYTES_MAX, Ordering::Relaxed);
        let file = caught(|| {
            let mut file = self.system.root_dir().open_file(path)?;
            // A place behind the end is its end.
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        });
        let file = file.map_err(|error| Error::new(error.kind(), format!("{path}: {error}")))?;
        Ok(Box::new(Caught(file)))
    }

    fn rights(&self, _: &str) -> io::Result<Option<Rights>> {
        Ok(None)
    }

    fn write(&self, path: &str, bytes: &[u8], _: Option<Rights>) -> io::Result<()> {
        self.call(path, |system| {
            let mut file = system.root_dir().create_file(path)?;
            file.truncate()?;
            write_all(&mut file, bytes)
        })
    }

    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let before =
            self.call(path, |system| system.root_dir().open_file(path)?.seek(SeekFrom::End(0)))?;
        let done = self.call(path, |system| {
            let mut file = system.root_dir().open_file(path)?;
            file.seek(SeekFrom::End(0))?;
            write_all(&mut file, bytes)
        });
        done.inspect_err(|_| drop(self.truncate(path, before)))
    }

    fn patch(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call(path, |system| {
            let mut file = system.root_dir().open_file(path)?;
            file.seek(SeekFrom::Start(offset))?;
            write_all(&mut file, bytes)
        })
    }

    fn truncate(&self, path: &str, bytes: u64) -> io::Result<()> {
        self.call(path, |system| {
            let mut file = system.root_dir().open_file(path)?;
            file.seek(SeekFrom::Start(bytes))?;
            file.truncate()?;
            file.flush()
        })
    }

    fn make_folder(&self, path: &str) -> io::Result<()> {
        let mut made = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            made = super::tree::join(&made, name);
            if self.kind(&made)? != Some(Kind::Folder) {
                lock(&self.places).clear();
                self.call(path, |system| system.root_dir().create_dir(&made).map(drop))?;
                self.mend_dots()?;
            }
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.call(path, |system| system.root_dir().remove(path))
    }

    fn link(&self, _: &str) -> io::Result<Option<String>> {
        Ok(None)
    }
}

fn same(one: &str, other: &str) -> bool {
    one.chars().flat_map(char::to_uppercase).eq(other.chars().flat_map(char::to_uppercase))
}

/// A file whose panics are errors.
struct Caught<'a>(File<'a, Limited>);

impl Read for Caught<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        caught(|| self.0.read(into))
    }
}

#[cfg(test)]
mod tests;

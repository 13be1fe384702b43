//! Changes that make a server boot on a platform, each kept so that it can be taken back.
//!
//! What a change replaces is kept on the server's own root file system, below [`KEPT`], with the list of all changes:
//! whoever has the disk can take them back. What is as it should be is not changed, so a disk that was repaired is repaired
//! again at no cost; what differs since is put on top of the same list.

use std::io::{self, Error, ErrorKind, Read};

use serde::{Deserialize, Serialize};

use super::network::Network;
use super::platform::Platform;
use super::readiness::{Family, Readiness, What};
use super::survey::Survey;
use super::tree::{Kind, Rights, Tree, join, parent};

/// Initramfs files.
mod kernels;
/// Settings of a Linux.
mod settings;
/// A Windows.
mod windows;

/// The folder in which what was replaced is kept.
pub const KEPT: &str = "var/lib/lifeboat/repair";
/// The list of changes in it.
pub const LIST: &str = "var/lib/lifeboat/repair/changes.json";
/// What silences the agent of a copy, and says what it is a copy of.
pub const REPLICA: &str = "var/lib/lifeboat/replica";
/// The same of a copy whose agent was made a server of its own.
pub const ADOPTED: &str = "var/lib/lifeboat/replica.adopted";
/// Longest list of changes.
const LIST_BYTES_MAX: u64 = 16 << 20;
/// Longest settings file that is changed.
const KEPT_BYTES_MAX: u64 = 4 << 20;

/// What is ordered beyond what is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// How the first network interface is set up.
    pub network: Network,
    /// What the copy is; without it, its agent thinks that it is the server.
    pub lineage: Option<Lineage>,
}

/// What a copy is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The order that made it.
    pub order: String,
    /// Why.
    pub kind: LineageKind,
    /// The recovery point that it is.
    pub point: String,
    /// When, in seconds since 1970.
    pub time: u64,
}

/// Why a copy was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineageKind {
    /// To try it.
    Drill,
    /// To take over.
    Failover,
}

/// Something that a repair changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where, by the server's own paths; `@esp` is the EFI system partition.
    pub path: String,
    /// What it was about.
    pub what: What,
    /// BLAKE3 of what was there; none where nothing was.
    pub before: Option<String>,
    /// BLAKE3 of what is there now; none where nothing is.
    pub after: Option<String>,
    /// How it is taken back.
    pub undo: Undo,
}

/// How a change is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// What was made is removed.
    Remove,
    /// It is cut to as many bytes as it had.
    Cut(u64),
    /// Bytes in its middle become what they were.
    Bytes {
        /// Where they begin.
        offset: u64,
        /// What they were.
        bytes: Vec<u8>,
    },
    /// What was there is put back from this file.
    PutBack {
        /// The file that keeps it.
        kept: String,
        /// Whose it was.
        rights: Option<Rights>,
    },
}

/// The changes that are on a server's disks since it was repaired; none where it was not.
///
/// Errors: the list cannot be read.
pub fn list(tree: &dyn Tree) -> io::Result<Option<Vec<Change>>> {
    let Some(list) = tree.read(LIST, LIST_BYTES_MAX)? else { return Ok(None) };
    serde_json::from_slice(&list).map(Some).map_err(|error| {
        Error::new(ErrorKind::InvalidData, format!("/{LIST} cannot be read: {error}"))
    })
}

/// Makes a server boot on the platform that it was judged for; what was changed for that now. Errors leave changes behind: the
/// overlay is thrown away then.
pub fn repair(
    survey: &Survey,
    readiness: &Readiness,
    platform: &Platform,
    wish: &Wish,
) -> io::Result<Vec<Change>> {
    let mut bench = Bench::new(survey)?;
    match readiness.system.as_ref().map(|system| system.family) {
        Some(Family::Linux) => {
            settings::repair(&mut bench, readiness, platform, wish)?;
            kernels::repair(&mut bench, readiness, platform)?;
        }
        Some(Family::Windows) => windows::repair(&mut bench, readiness)?,
        None => {
            let words =
                "there is no system that could be repaired: see what was found about its volumes";
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
    }
    bench.finish()
}

/// Says on a server's disks what they are a copy of, and changes nothing else: for whoever goes on without a repair.
pub fn mark(survey: &Survey, wish: &Wish) -> io::Result<Vec<Change>> {
    let mut bench = Bench::new(survey)?;
    settings::lineage(&mut bench, wish)?;
    bench.finish()
}

/// Where changes are made and kept.
struct Bench<'a> {
    survey: &'a Survey,
    tree: &'a dyn Tree,
    /// All that are on these disks.
    changes: Vec<Change>,
    /// Those of earlier repairs.
    earlier: usize,
}

impl<'a> Bench<'a> {
    fn new(survey: &'a Survey) -> io::Result<Self> {
        let tree: &dyn Tree = survey;
        let changes = list(tree)?.unwrap_or_default();
        let earlier = changes.len();
        Ok(Self { survey, tree, changes, earlier })
    }

    fn note(
        &mut self,
        what: What,
        path: &str,
        before: Option<String>,
        after: Option<String>,
        undo: Undo,
    ) {
        self.changes.push(Change { path: path.to_owned(), what, before, after, undo });
    }

    fn make_folder(&mut self, what: What, path: &str) -> io::Result<()> {
        let mut made = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            made = join(&made, name);
            if self.tree.kind(&made)?.is_none() {
                self.tree.make_folder(&made)?;
                self.note(what, &made, None, None, Undo::Remove);
            }
        }
        Ok(())
    }

    /// Keeps what is at a path; what puts it back.
    fn keep(&mut self, what: What, path: &str) -> io::Result<Undo> {
        self.make_folder(what, KEPT)?;
        let kept = format!("{KEPT}/{}", self.changes.len());
        let bytes = self.tree.read(path, KEPT_BYTES_MAX)?.unwrap_or_default();
        let rights = self.tree.rights(path)?;
        self.tree.write(&kept, &bytes, Some(super::network::root_may(0o600)))?;
        Ok(Undo::PutBack { kept, rights })
    }

    /// A file's bytes become these; made where it is not there.
    fn write(
        &mut self,
        what: What,
        path: &str,
        bytes: &[u8],
        rights: Option<Rights>,
    ) -> io::Result<()> {
        let before = digest(self.tree, path)?;
        let after = blake3::hash(bytes).to_hex().to_string();
        if before.as_ref() == Some(&after) {
            return Ok(());
        }
        let undo = if before.is_some() {
            self.keep(what, path)?
        } else {
            self.make_folder(what, parent(path))?;
            Undo::Remove
        };
        self.tree.write(path, bytes, rights)?;
        self.note(what, path, before, Some(after), undo);
        Ok(())
    }

    /// A settings file's text becomes what `change` makes of it. What is no text is not touched.
    fn edit(
        &mut self,
        what: What,
        path: &str,
        change: &dyn Fn(&str) -> Option<String>,
    ) -> io::Result<()> {
        let Some(bytes) = self.tree.read(path, KEPT_BYTES_MAX)? else { return Ok(()) };
        let Ok(text) = core::str::from_utf8(&bytes) else {
            let words = format!("/{path} is not in UTF-8, so it cannot be changed with care");
            return Err(Error::new(ErrorKind::InvalidData, words));
        };
        match change(text) {
            Some(changed) if changed != text => self.write(what, path, changed.as_bytes(), None),
            _ => Ok(()),
        }
    }

    /// Puts a file aside: it is kept, and no longer there.
    fn put_aside(&mut self, what: What, path: &str) -> io::Result<()> {
        let Some(before) = digest(self.tree, path)? else { return Ok(()) };
        let undo = self.keep(what, path)?;
        self.tree.remove(path)?;
        self.note(what, path, Some(before), None, undo);
        Ok(())
    }

    /// Puts bytes behind those of a file. What it had stays in it, so nothing is kept besides.
    fn append(&mut self, what: What, path: &str, bytes: &[u8]) -> io::Result<()> {
        let Some(Kind::File(length)) = self.tree.kind(path)? else { return Ok(()) };
        let before = digest(self.tree, path)?;
        self.tree.append(path, bytes).map_err(|error| no_room(path, bytes.len(), error))?;
        let after = digest(self.tree, path)?;
        self.note(what, path, before, after, Undo::Cut(length));
        Ok(())
    }

    /// Bytes in the middle of a file become others.
    fn patch(
        &mut self,
        what: What,
        path: &str,
        offset: u64,
        old: &[u8],
        new: &[u8],
    ) -> io::Result<()> {
        let before = digest(self.tree, path)?;
        self.tree.patch(path, offset, new)?;
        let after = digest(self.tree, path)?;
        self.note(what, path, before, after, Undo::Bytes { offset, bytes: old.to_vec() });
        Ok(())
    }

    /// Writes the list of changes, which is one itself.
    fn finish(mut self) -> io::Result<Vec<Change>> {
        // No file is made on NTFS: whoever ordered the repair keeps its list.
        if self.changes.len() > self.earlier && self.survey.windows.is_none() {
            self.make_folder(What::Lineage, KEPT)?;
            let list = serde_json::to_vec_pretty(&self.changes)?;
            self.tree.write(LIST, &list, Some(super::network::root_may(0o600)))?;
        }
        Ok(self.changes.split_off(self.earlier))
    }
}

/// BLAKE3 of a file; none where it is not there.
pub(super) fn digest(tree: &dyn Tree, path: &str) -> io::Result<Option<String>> {
    if !tree.has(path)? {
        return Ok(None);
    }
    let mut source = tree.open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(Some(hasher.finalize().to_hex().to_string())),
            length => hasher.update(&buffer[..length]),
        };
    }
}

fn no_room(path: &str, bytes: usize, error: Error) -> Error {
    if error.kind() != ErrorKind::StorageFull {
        return error;
    }
    let words = format!(
        "/{path} needs {bytes} bytes more, and its file system has no room for them: remove an old kernel on the server"
    );
    Error::new(ErrorKind::StorageFull, words)
}

#[cfg(test)]
mod tests;

//! What a repair changed, taken back by the list that it left on the disk: for a copy that becomes the server again.
//!
//! What was changed since by the system itself, such as an initramfs that an update made anew, is left as it is and
//! told.

use std::io::{self, Error, ErrorKind};

use super::repair::{ADOPTED, Change, KEPT, LIST, REPLICA, Undo, digest, list};
use super::survey::Survey;
use super::tree::{Kind, Tree};

const KEPT_BYTES_MAX: u64 = 64 << 20;

/// How taking a change back ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// It is as it was.
    Done(String),
    /// It was changed since, and is left so.
    Left(String),
}

/// Takes back what a repair changed, the last first. Nothing where nothing was repaired.
pub fn undo(survey: &Survey) -> io::Result<Vec<Undone>> {
    match list(survey)? {
        Some(changes) => undo_list(survey, &changes),
        None => Ok(Vec::new()),
    }
}

/// The same by a list that was kept elsewhere: no list is left on a Windows.
pub fn undo_list(survey: &Survey, changes: &[Change]) -> io::Result<Vec<Undone>> {
    let tree: &dyn Tree = survey;
    let (folders, files): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|change| change.before.is_none() && change.after.is_none());
    let mut undone = Vec::new();
    let mut kept_files = Vec::new();
    for change in files.iter().rev() {
        let there = digest(tree, &change.path)?;
        if there != change.after && there != change.before {
            undone.push(Undone::Left(change.path.clone()));
            continue;
        }
        if there == change.after {
            take_back(tree, change)?;
        }
        if let Undo::PutBack { kept, .. } = &change.undo {
            kept_files.push(kept.clone());
        }
        undone.push(Undone::Done(change.path.clone()));
    }
    for kept in kept_files {
        if tree.has(&kept)? && kept.starts_with(KEPT) {
            tree.remove(&kept)?;
        }
    }
    // The copy's agent may have put its mark aside: what is brought back is no copy.
    for made in [LIST, ADOPTED] {
        if tree.has(made)? {
            tree.remove(made)?;
        }
    }
    for change in folders.iter().rev() {
        // Others may have put something there.
        if tree.kind(&change.path)? == Some(Kind::Folder) && tree.list(&change.path)?.is_empty() {
            tree.remove(&change.path)?;
        }
    }
    Ok(undone)
}

fn take_back(tree: &dyn Tree, change: &Change) -> io::Result<()> {
    let path = &change.path;
    match &change.undo {
        Undo::Remove => tree.remove(path)?,
        Undo::Cut(bytes) => tree.truncate(path, *bytes)?,
        Undo::Bytes { offset, bytes } => tree.patch(path, *offset, bytes)?,
        Undo::PutBack { kept, rights } => {
            let bytes = tree.read(kept, KEPT_BYTES_MAX)?.ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    format!("/{kept}, which keeps what /{path} was, is not there"),
                )
            })?;
            tree.write(path, &bytes, *rights)?;
        }
    }
    if digest(tree, path)? == change.before || *path == REPLICA {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidData, format!("/{path} did not become what it was")))
}

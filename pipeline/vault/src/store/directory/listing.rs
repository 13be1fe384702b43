//! Objects below a folder in ascending order of their whole names, in pages of bounded memory.
//!
//! Each page reads the folders anew, so an object that exists throughout is listed whatever others do meanwhile.
//! What is no object (dot files, other characters, links, pipes) is passed over.

use std::collections::BinaryHeap;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::store::{LIST_PAGE_MAX, Listing, NAME_BYTES_MAX, ObjectFacts, is_name_part};

use super::facts_of;
use super::failure::{Failures, is_absence};

pub(super) fn list(
    root: &Path,
    failures: &Failures,
    prefix: &str,
    next: Option<&str>,
    limit: usize,
) -> Result<Listing, Error> {
    if !root.is_dir() {
        return Err(failures.no_folder());
    }
    let folder = match prefix.rfind('/') {
        Some(slash) => &prefix[..=slash],
        None => "",
    };
    // A prefix that no name starts with lists nothing; above all it never leaves the folder.
    if !folder.is_empty() && !folder[..folder.len() - 1].split('/').all(is_name_part) {
        return Ok(Listing::default());
    }
    let limit = limit.clamp(1, LIST_PAGE_MAX);
    let mut walk = Walk { root, failures, prefix, after: next.unwrap_or(""), limit, found: vec![] };
    walk.folder(folder)?;
    let mut objects = walk.found;
    let more = objects.len() > limit;
    objects.truncate(limit);
    let next = if more { objects.last().map(|last| last.name.clone()) } else { None };
    Ok(Listing { objects, next })
}

struct Walk<'a> {
    root: &'a Path,
    failures: &'a Failures,
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    /// One more than `limit` tells that there is another page.
    found: Vec<ObjectFacts>,
}

impl Walk<'_> {
    fn is_full(&self) -> bool {
        self.found.len() > self.limit
    }

    /// Walks one folder, whose name ends in a slash or is empty. A folder's key is its name with the slash: so
    /// `a-b`, `a/c` and `a0` come in the order of the whole names.
    fn folder(&mut self, folder: &str) -> Result<(), Error> {
        let mut done = String::new();
        loop {
            let batch = self.smallest_keys(folder, &done)?;
            let Some(last) = batch.last() else { return Ok(()) };
            done.clone_from(last);
            for key in batch {
                if key.ends_with('/') {
                    self.folder(&key)?;
                } else {
                    self.file(key)?;
                }
                if self.is_full() {
                    return Ok(());
                }
            }
        }
    }

    fn file(&mut self, name: String) -> Result<(), Error> {
        match fs::symlink_metadata(self.root.join(&name)) {
            Ok(facts) if facts.is_file() => self.found.push(facts_of(name, &facts)),
            Ok(_) => {}
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(self.failures.object(&name, "cannot be looked at", &error)),
        }
        Ok(())
    }

    /// The smallest keys of a folder beyond `done`, ascending: as many as the page may still need.
    fn smallest_keys(&self, folder: &str, done: &str) -> Result<Vec<String>, Error> {
        let wanted = self.limit + 1 - self.found.len();
        let mut kept: BinaryHeap<String> = BinaryHeap::new();
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error)
                if is_absence(&error) || error.kind() == std::io::ErrorKind::NotADirectory =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(self.failures.object(folder, "cannot be listed", &error)),
        };
        for entry in entries {
            let failed = |error| self.failures.object(folder, "cannot be listed", &error);
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| is_name_part(name)) else { continue };
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) if is_absence(&error) => continue,
                Err(error) => return Err(failed(error)),
            };
            let slash = if kind.is_dir() { "/" } else { "" };
            let key = format!("{folder}{name}{slash}");
            if (kind.is_dir() || kind.is_file()) && key.as_str() > done && self.is_wanted(&key) {
                kept.push(key);
                if kept.len() > wanted {
                    kept.pop();
                }
            }
        }
        Ok(kept.into_sorted_vec())
    }

    fn is_wanted(&self, key: &str) -> bool {
        if key.len() > NAME_BYTES_MAX {
            return false;
        }
        if key.ends_with('/') {
            let holds_prefix = key.starts_with(self.prefix) || self.prefix.starts_with(key);
            return holds_prefix && (key > self.after || self.after.starts_with(key));
        }
        key.starts_with(self.prefix) && key > self.after
    }
}

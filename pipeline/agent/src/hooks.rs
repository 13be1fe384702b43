//! What applications want run around a freeze: executables in a folder, `freeze` before it in the order of their names,
//! `thaw` after it in the opposite order, whatever came of it. A server that is drained for a failover has them run with
//! `stop`, and with `start` where that is called off.
//!
//! A hook that fails, hangs or says too much costs the point its name, application-consistent, and nothing else. None runs
//! while anything is frozen.

use core::time::Duration;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cut::Hooks;

/// One hook's process.
mod run;

/// Where hooks are.
pub const FOLDER: &str = "/etc/lifeboat/hooks.d";
/// How long a hook may take that says nothing else.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The longest that a hook can say: a point is late by as much.
const TIME_LIMIT_MAX: Duration = Duration::from_secs(600);
/// Hooks in a folder, before it is no folder of hooks.
const HOOKS_MAX: usize = 64;
/// Where a hook says how long it may take: in one of its first lines.
const TIMEOUT_LINE: &str = "# timeout:";
/// How far into a hook that line is looked for.
const HEAD_BYTES: usize = 4096;
/// Anybody but the owner may write it.
const OTHERS_WRITE: u32 = 0o022;
const EXECUTABLE: u32 = 0o111;

/// The hooks of a folder.
#[derive(Debug)]
pub struct HookFolder {
    folder: PathBuf,
    /// What `before` ran, and `after` is to run again.
    begun: Vec<PathBuf>,
    /// What they find in their environment beside ours.
    environment: Vec<(String, PathBuf)>,
}

impl HookFolder {
    /// Hooks in this folder; one that is not there has none.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), begun: Vec::new(), environment: Vec::new() }
    }

    /// Runs all with a word, and then nothing else; `start` in the opposite order. What went wrong.
    pub fn all(&self, word: &str) -> Vec<String> {
        let mut troubles = Vec::new();
        if let Err(why) = may_hold_hooks(&self.folder) {
            return vec![format!("hooks were not run: {why}")];
        }
        let mut hooks = self.list(&mut troubles);
        if word == "start" {
            hooks.reverse();
        }
        troubles.extend(hooks.iter().filter_map(|hook| self.told(hook, word).err()));
        troubles
    }

    /// Puts a path into the environment of hooks.
    pub fn set_environment(&mut self, name: &str, path: &Path) {
        self.environment.push((name.to_owned(), path.to_path_buf()));
    }

    /// Runs a hook with a word; what went wrong, with what it said.
    fn told(&self, hook: &Path, word: &str) -> Result<(), String> {
        let limit = time_limit(hook);
        let ended = run::run(hook, word, &self.environment, limit);
        let words = match ended.how {
            run::How::Well => return Ok(()),
            run::How::Badly(status) => format!("hook {} {word} failed: {status}", hook.display()),
            run::How::TooLong => format!(
                "hook {} {word} took longer than {} s and was ended",
                hook.display(),
                limit.as_secs()
            ),
            run::How::NotAtAll(error) => format!("hook {} was not run: {error}", hook.display()),
        };
        let said = ended.said.trim();
        Err(if said.is_empty() { words } else { format!("{words}: {said}") })
    }

    /// Executables by name. What may not be run is told.
    fn list(&self, troubles: &mut Vec<String>) -> Vec<PathBuf> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                troubles.push(format!("hooks were not run: {}: {error}", self.folder.display()));
                return Vec::new();
            }
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| is_named_as_hook(path));
        paths.sort();
        if paths.len() > HOOKS_MAX {
            troubles.push(format!(
                "of {} hooks in {} only the first {HOOKS_MAX} are run",
                paths.len(),
                self.folder.display()
            ));
            paths.truncate(HOOKS_MAX);
        }
        paths.retain(|path| match may_run(path) {
            Ok(may) => may,
            Err(why) => {
                troubles.push(format!("hook {} was not run: {why}", path.display()));
                false
            }
        });
        paths
    }
}

impl Hooks for HookFolder {
    fn before(&mut self) -> Vec<String> {
        let mut troubles = Vec::new();
        if let Err(why) = may_hold_hooks(&self.folder) {
            return vec![format!("hooks were not run: {why}")];
        }
        self.begun.clear();
        for hook in self.list(&mut troubles) {
            // One that fails is asked to thaw as well: it may have come half way.
            self.begun.push(hook.clone());
            troubles.extend(self.told(&hook, "freeze").err());
        }
        troubles
    }

    fn after(&mut self) -> Vec<String> {
        let begun = core::mem::take(&mut self.begun);
        begun.iter().rev().filter_map(|hook| self.told(hook, "thaw").err()).collect()
    }
}

/// Names of hidden files, and of what editors and package managers leave behind, are no hooks.
fn is_named_as_hook(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let left_behind =
        [".bak", ".orig", ".rpmsave", ".rpmnew", ".dpkg-old", ".dpkg-new", ".dpkg-dist"];
    !name.starts_with('.')
        && !name.ends_with('~')
        && !left_behind.iter().any(|end| name.ends_with(end))
}

/// A hook runs as root: whoever can write it, or its folder, is root.
fn may_hold_hooks(folder: &Path) -> Result<(), String> {
    match fs::metadata(folder) {
        Ok(found) => only_ours(&found).map_err(|why| format!("{}: {why}", folder.display())),
        Err(_) => Ok(()),
    }
}

fn may_run(path: &Path) -> Result<bool, String> {
    let found = fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() || found.mode() & EXECUTABLE == 0 {
        return Ok(false);
    }
    only_ours(&found).map(|()| true)
}

fn only_ours(found: &fs::Metadata) -> Result<(), String> {
    let us = rustix::process::geteuid().as_raw();
    if found.uid() != us && found.uid() != 0 {
        return Err(format!("it belongs to user {}; chown it to root", found.uid()));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return Err("others may write it; chmod go-w".to_owned());
    }
    Ok(())
}

/// What a hook says of itself, in whole seconds.
fn time_limit(hook: &Path) -> Duration {
    let mut head = [0; HEAD_BYTES];
    let read = fs::File::open(hook).and_then(|mut file| io::Read::read(&mut file, &mut head));
    let head = head.get(..read.unwrap_or(0)).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    let said = text.lines().find_map(|line| line.strip_prefix(TIMEOUT_LINE));
    let seconds = said.and_then(|said| said.trim().trim_end_matches('s').trim_end().parse().ok());
    seconds.map_or(TIME_LIMIT, Duration::from_secs).min(TIME_LIMIT_MAX)
}

#[cfg(test)]
mod tests;

//! Ctrl-C and its relatives: one word on standard error, temporary files removed, and an exit code that tells.
//!
//! The vault needs no help to survive: everything in it is written so that a kill at any instant loses nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_signal::{Signal, Signals};
use smol::prelude::*;

use crate::report::{Failure, Outcome, exit_code, line};

/// Files that mean nothing once the program ends.
static SCRAP: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes a file when dropped, or when a signal ends the program first.
#[derive(Debug)]
pub struct Scrap(PathBuf);

impl Scrap {
    /// Takes charge of `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        SCRAP.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        let mut paths = SCRAP.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = paths.iter().position(|path| *path == self.0) {
            remove(&paths.swap_remove(place));
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        log::debug!("{} was not removed: {error}", path.display());
    }
}

/// What a signal means to what is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The work is cut short; another run resumes it.
    CutShort,
    /// It runs until it is told to stop: this is its good end.
    GoodEnd,
}

/// From now on SIGINT, SIGTERM and SIGHUP end the program through here.
pub fn watch(meaning: Meaning) {
    let started = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        smol::block_on(async {
            let ignored = ignored();
            let wanted = [Signal::Int, Signal::Term, Signal::Hup];
            match Signals::new(wanted.into_iter().filter(|&signal| !ignored(signal))) {
                Ok(mut signals) => {
                    if let Some(Ok(signal)) = signals.next().await {
                        end(signal, meaning);
                    }
                }
                Err(error) => log::debug!("signals are not watched: {error}"),
            }
        });
    });
    if let Err(error) = started {
        log::debug!("signals are not watched: {error}");
    }
}

/// Which signals whoever started the program wants ignored: `nohup` says so of SIGHUP, a shell without job
/// control of SIGINT.
fn ignored() -> impl Fn(Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = ignored_mask(&status);
    move |signal| mask >> (signal as i32 - 1) & 1 == 1
}

fn ignored_mask(status: &str) -> u64 {
    let word = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    word.and_then(|word| u64::from_str_radix(word.trim(), 16).ok()).unwrap_or(0)
}

fn end(signal: Signal, meaning: Meaning) {
    for path in SCRAP.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        remove(&path);
    }
    let ending = match meaning {
        Meaning::CutShort => Err(Failure::Interrupted(signal as i32)),
        Meaning::GoodEnd => Ok(Outcome::Done),
    };
    if let Some(line) = line(&ending) {
        // Nobody may be there to read it any more.
        let _ = std::io::stderr().lock().write_all(format!("\n{line}\n").as_bytes());
    }
    std::process::exit(i32::from(exit_code(&ending)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_system() {
        let status = "Name:\tlifeboat\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored_mask(status), 0x1001);
        assert_eq!(ignored_mask(""), 0);
    }

    #[test]
    fn scrap_goes_when_its_owner_does() {
        let path = std::env::temp_dir().join(format!("lifeboat-scrap-{}", std::process::id()));
        std::fs::write(&path, b"x").unwrap();
        let scrap = Scrap::new(&path);
        assert!(path.exists());
        drop(scrap);
        assert!(!path.exists());
        assert!(!SCRAP.lock().unwrap().contains(&path));
    }
}

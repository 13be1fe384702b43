//! Ctrl-C and its relatives: one word on standard error, temporary files removed, and an exit code that tells.
//!
//! The vault needs no help to survive: everything in it is written so that a kill at any instant loses nothing.

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_signal::{Signal, Signals};
use smol::prelude::*;

use crate::report::{Ending, Failure, Outcome, exit_code, line};

/// Files that mean nothing once the program ends.
static SCRAP: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// The signal that asked the work to stop; 0 while none has.
static ASKED: AtomicI32 = AtomicI32::new(0);

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
#[derive(Clone, Debug)]
pub enum Meaning {
    /// The work looks at this flag and ends in order; a second signal ends it at once.
    Ask(Arc<AtomicBool>),
    /// There is nothing to put in order.
    EndAtOnce,
    /// It runs until it is told to stop by this: its good end. A second signal ends it at once.
    Tell(smol::channel::Sender<()>),
}

/// From now on SIGINT, SIGTERM and SIGHUP end the program through here.
pub fn watch(meaning: Meaning) {
    let watching = move || smol::block_on(wait(meaning));
    let started = std::thread::Builder::new().name("signals".to_owned()).spawn(watching);
    if let Err(error) = started {
        log::debug!("signals are not watched: {error}");
    }
}

async fn wait(meaning: Meaning) {
    let ignored = ignored();
    let wanted = [Signal::Int, Signal::Term, Signal::Hup];
    let mut signals = match Signals::new(wanted.into_iter().filter(|&signal| !ignored(signal))) {
        Ok(signals) => signals,
        Err(error) => {
            log::debug!("signals are not watched: {error}");
            return;
        }
    };
    while let Some(Ok(signal)) = signals.next().await {
        match &meaning {
            Meaning::Ask(stop) if !stop.swap(true, Ordering::SeqCst) => {
                ASKED.store(signal as i32, Ordering::SeqCst);
                say("lifeboat: stopping in order; once more ends it at once");
            }
            Meaning::Ask(_) | Meaning::EndAtOnce => {
                end(&Err(Failure::Interrupted(signal as i32, None)));
            }
            Meaning::Tell(stop) => {
                if stop.try_send(()).is_err() {
                    end(&Ok(Outcome::Done));
                }
            }
        }
    }
}

/// The ending as it is once a signal asked for it: a failure is then the interruption's.
pub fn outcome(ending: Ending) -> Ending {
    match (ending, ASKED.load(Ordering::SeqCst)) {
        (Err(Failure::Failed(error)), signal) if signal != 0 => {
            Err(Failure::Interrupted(signal, Some(error)))
        }
        (ending, _) => ending,
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

fn say(text: &str) {
    // Nobody may be there to read it any more.
    let _ = std::io::stderr().lock().write_all(format!("\n{text}\n").as_bytes());
}

fn end(ending: &Ending) {
    for path in SCRAP.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        remove(&path);
    }
    if let Some(line) = line(ending) {
        say(&line);
    }
    std::process::exit(i32::from(exit_code(ending)));
}

#[cfg(test)]
mod tests {
    use pipeline_vault::Error;

    use super::*;

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

    #[test]
    fn what_is_ignored_is_read_from_the_system() {
        let status = "Name:\tlifeboat\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored_mask(status), 0x1001);
        assert_eq!(ignored_mask(""), 0);
    }

    #[test]
    fn a_failure_after_a_signal_is_an_interruption() {
        let failed = || Err(Failure::Failed(Error::misuse("protect", "was stopped")));
        assert_eq!(outcome(failed()), failed());
        ASKED.store(15, Ordering::SeqCst);
        assert_eq!(exit_code(&outcome(failed())), 143);
        assert_eq!(
            outcome(Ok(Outcome::Done)),
            Ok(Outcome::Done),
            "it was done before it could stop"
        );
        ASKED.store(0, Ordering::SeqCst);
    }
}

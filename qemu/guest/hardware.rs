//! Loads modules for the hardware that is there, as PID 1 of any image does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use core::time::Duration;

use image_layout::initrd::{MODULE_INDEX, MODULES};
use image_layout::modules::Index;
use rustix::system::finit_module;

use crate::{fact, say};

/// Nothing new for so long: what was there is found.
const QUIET: Duration = Duration::from_millis(2500);
/// Modules that drive what has no modalias of its own here.
const ALWAYS: [&str; 2] = ["sd_mod", "sr_mod"];

/// Loads what the machine wants until it wants nothing more; gives how many modules were loaded.
pub(crate) fn settle() -> Result<usize, String> {
    let text = fs::read(MODULE_INDEX).map_err(|error| format!("{MODULE_INDEX}: {error}"))?;
    let index = Index::parse(&text).map_err(|error| format!("{MODULE_INDEX}: {error:?}"))?;
    let mut loaded = 0;
    let mut seen = BTreeSet::new();
    let mut last = Instant::now();
    for name in ALWAYS {
        loaded += index.place(name).map_or(0, |place| load(&index, place));
    }
    while last.elapsed() < QUIET {
        let mut aliases = BTreeSet::new();
        modaliases(Path::new("/sys/devices"), &mut aliases);
        for alias in aliases {
            if seen.insert(alias.clone()) {
                last = Instant::now();
                for place in index.wanted(&alias) {
                    loaded += load(&index, place);
                }
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(loaded)
}

/// Loads a module and what it needs; gives how many were not in yet.
fn load(index: &Index, place: usize) -> usize {
    let mut fresh = 0;
    for module in index.with_needs(place).into_iter().filter_map(|at| index.modules().get(at)) {
        if Path::new("/sys/module").join(&module.name).join("initstate").exists() {
            continue;
        }
        let path = PathBuf::from(MODULES).join(&module.file);
        let Ok(file) = File::open(&path) else {
            say("module", &[("name", &module.name), ("error", &"no file")]);
            continue;
        };
        match finit_module(&file, c"", 0) {
            Ok(()) => fresh += 1,
            Err(error) => say("module", &[("name", &module.name), ("error", &error)]),
        }
    }
    fresh
}

fn modaliases(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // Links lead in circles; everything is below /sys/devices by its own name once.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            modaliases(&path, found);
        } else if entry.file_name() == "modalias" {
            let text = fs::read_to_string(&path).unwrap_or_default();
            found.insert(text.trim().to_owned());
        }
    }
}

/// What is neither disk nor card.
pub(crate) fn list() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    say("clock", &[("now", &now.as_secs())]);
    say("tpm", &[("version", &fact("/sys/class/tpm/tpm0/tpm_version_major"))]);
    say("watchdog", &[("name", &fact("/sys/class/watchdog/watchdog0/identity"))]);
    let firmware = if Path::new("/sys/firmware/efi").exists() { "uefi" } else { "none" };
    let processors = thread::available_parallelism().map_or(1, core::num::NonZero::get);
    let memory = fact("/proc/meminfo");
    let total = memory.split_whitespace().nth(1).unwrap_or_default();
    say("machine", &[("firmware", &firmware), ("processors", &processors), ("memory_kib", &total)]);
}

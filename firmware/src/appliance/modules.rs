//! Drivers: for every device that the kernel shows, the modules that say they drive it, with what they depend on.
//!
//! Several threads load, because some modules take half a second each. A module that crashes in the kernel takes its thread
//! along: the others go on, and it is told. No other program is run: there is no udev, no kmod, no depmod here.

use core::time::Duration;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use image_layout::initrd;
use image_layout::modules::Index;

use super::sysctls::modules_are_locked;

/// Threads that load.
const WORKERS: usize = 4;
/// A module that takes longer counts as failed; it may still come.
const MODULE_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether a loading thread is still alive.
const LOOK: Duration = Duration::from_millis(500);
/// Folders under /sys/devices are not deeper than this; a loop of links would be.
const DEPTH_MAX: usize = 32;

/// What is said of a module whose hardware is not there.
pub(crate) const NO_HARDWARE: &str = "there is no such hardware";

/// What is said of a module that came too late.
const LOCKED: &str = "lifeboat.toml has drivers locked once the machine is up ([hardening] lock-modules): start the machine \
     again with the device plugged in";

/// Puts one module file into the kernel.
pub(crate) type Insert = dyn Fn(&str) -> Result<(), String> + Send + Sync;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Load {
    No,
    Wanted,
    /// A thread is at it.
    Busy {
        thread: i32,
        since: Instant,
    },
    In,
    Failed(String),
}

struct Work {
    state: Vec<Load>,
    queue: VecDeque<usize>,
    /// Threads that load, busy or waiting for something to do.
    workers: usize,
}

/// Loads modules.
#[derive(Clone)]
pub(crate) struct Loader {
    shared: Arc<LoaderShared>,
}

struct LoaderShared {
    index: Index,
    insert: Box<Insert>,
    work: Mutex<Work>,
    changed: Condvar,
}

/// What came of loading so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// In the kernel.
    pub(crate) loaded: usize,
    /// Still wanted or at it.
    pub(crate) open: usize,
    /// What could not be loaded, and why.
    pub(crate) failed: Vec<(String, String)>,
}

impl Loader {
    /// A loader with nothing wanted yet.
    pub(crate) fn new(index: Index, insert: Box<Insert>) -> Self {
        let state = vec![Load::No; index.modules().len()];
        let work = Mutex::new(Work { state, queue: VecDeque::new(), workers: 0 });
        let shared = LoaderShared { index, insert, work, changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// A loader of the image's modules into this machine's kernel.
    pub(crate) fn of_image() -> Result<Self, String> {
        let text = fs::read(initrd::MODULE_INDEX)
            .map_err(|error| format!("{}: {error}", initrd::MODULE_INDEX))?;
        let index = Index::parse(&text).map_err(|error| error.to_string())?;
        Ok(Self::new(index, Box::new(insert)))
    }

    /// Wants whatever drives a device, or bears this alias; how many modules are new.
    pub(crate) fn want(&self, alias: &str) -> usize {
        self.shared.index.wanted(alias).into_iter().filter(|place| self.want_place(*place)).count()
    }

    /// Wants a module by its name and waits until it is there.
    pub(crate) fn need(&self, name: &str) -> Result<(), String> {
        let Some(place) = self.shared.index.place(name) else {
            // What the image does not hold may be part of the kernel itself.
            return match built_in(name) {
                true => Ok(()),
                false => Err(format!("this image holds no module {name}")),
            };
        };
        self.want_place(place);
        self.settle(MODULE_PATIENCE);
        match self.shared.lock().state.get(place) {
            Some(Load::In) => Ok(()),
            Some(Load::Failed(why)) => Err(format!("module {name}: {why}")),
            _ => Err(format!("module {name}: is still being loaded")),
        }
    }

    /// The same without waiting: nobody is harmed where it never comes.
    pub(crate) fn wish(&self, name: &str) {
        if let Some(place) = self.shared.index.place(name) {
            self.want_place(place);
        }
    }

    /// Waits until nothing is wanted any more, so long at most.
    pub(crate) fn settle(&self, patience: Duration) -> Loaded {
        let until = Instant::now() + patience;
        let mut work = self.shared.lock();
        loop {
            self.bury(&mut work);
            let left = until.saturating_duration_since(Instant::now());
            let open =
                work.state.iter().any(|state| matches!(state, Load::Wanted | Load::Busy { .. }));
            if !open || left.is_zero() {
                return self.shared.summary(&work);
            }
            let waited = self.shared.changed.wait_timeout(work, left.min(LOOK));
            work = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Names of all modules of the image.
    pub(crate) fn names(&self) -> Vec<String> {
        self.shared.index.modules().iter().map(|module| module.name.clone()).collect()
    }

    /// As it stands.
    pub(crate) fn summary(&self) -> Loaded {
        self.shared.summary(&self.shared.lock())
    }

    fn want_place(&self, place: usize) -> bool {
        let mut work = self.shared.lock();
        let Some(state) = work.state.get_mut(place).filter(|state| **state == Load::No) else {
            return false;
        };
        *state = Load::Wanted;
        work.queue.push_back(place);
        self.hire(&mut work);
        self.shared.changed.notify_all();
        true
    }

    /// Starts another thread where there are too few.
    fn hire(&self, work: &mut MutexGuard<'_, Work>) {
        if work.workers >= WORKERS {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new()
            .name("modules".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || shared.serve());
        if started.is_ok() {
            work.workers += 1;
        }
    }

    /// A thread that died in the kernel, or does not come back, is replaced; its module counts as failed.
    fn bury(&self, work: &mut MutexGuard<'_, Work>) {
        let mut lost = 0;
        for (state, module) in work.state.iter_mut().zip(self.shared.index.modules()) {
            let Load::Busy { thread, since } = state else { continue };
            let gone = *thread != 0 && !Path::new(&format!("/proc/self/task/{thread}")).exists();
            let words = if gone {
                "the kernel crashed while loading it; its hardware will not work, the rest may"
            } else if since.elapsed() > MODULE_PATIENCE {
                "the kernel does not come back from loading it"
            } else {
                continue;
            };
            log::warn!("module {}: {words}", module.name);
            *state = Load::Failed(words.to_owned());
            lost += 1;
        }
        if lost > 0 {
            work.workers = work.workers.saturating_sub(lost);
            self.hire(work);
            self.shared.changed.notify_all();
        }
    }
}

impl LoaderShared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A loading thread: for good, so that hot-plugged devices find it waiting.
    fn serve(&self) {
        loop {
            let mut work = self.lock();
            let place = loop {
                match work.queue.pop_front() {
                    Some(place) => break place,
                    None => {
                        work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(work);
            self.load(place);
        }
    }

    /// Loads what it needs, then the module itself; waits where another thread is at it already.
    fn load(&self, place: usize) {
        let Some(module) = self.index.modules().get(place) else { return };
        let mut work = self.lock();
        let until = Instant::now() + MODULE_PATIENCE;
        loop {
            match work.state.get(place) {
                Some(Load::No | Load::Wanted) => break,
                Some(Load::Busy { .. }) if Instant::now() < until => {
                    let waited = self.changed.wait_timeout(work, LOOK);
                    work = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => return,
            }
        }
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.set(&mut work, place, Load::Busy { thread, since: Instant::now() });
        drop(work);
        for need in &module.needs {
            self.load(*need);
        }
        let result = (self.insert)(&module.file);
        let state = result.map_or_else(Load::Failed, |()| Load::In);
        self.set(&mut self.lock(), place, state);
    }

    fn set(&self, work: &mut MutexGuard<'_, Work>, place: usize, state: Load) {
        if let Some(old) = work.state.get_mut(place) {
            *old = state;
        }
        self.changed.notify_all();
    }

    fn summary(&self, work: &Work) -> Loaded {
        let mut summary = Loaded::default();
        for (state, module) in work.state.iter().zip(self.index.modules()) {
            match state {
                Load::No => {}
                Load::Wanted | Load::Busy { .. } => summary.open += 1,
                Load::In => summary.loaded += 1,
                Load::Failed(why) => summary.failed.push((module.name.clone(), why.clone())),
            }
        }
        summary
    }
}

/// Puts a module file into this machine's kernel.
fn insert(file: &str) -> Result<(), String> {
    let file = Path::new(initrd::MODULES).join(file);
    let opened = fs::File::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    match rustix::system::finit_module(&opened, c"", 0) {
        // In already: part of the kernel, or loaded for somebody else.
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        // No such hardware after all: a module of a platform that this machine is not.
        Err(rustix::io::Errno::NODEV) => Err(NO_HARDWARE.to_owned()),
        Err(rustix::io::Errno::PERM) if modules_are_locked() => Err(LOCKED.to_owned()),
        Err(errno) => Err(errno.to_string()),
    }
}

/// Whether it is in the kernel already, as a part or as a module.
fn built_in(name: &str) -> bool {
    Path::new("/sys/module").join(name.replace('-', "_")).is_dir()
}

/// The aliases of all devices that the kernel shows now.
pub(crate) fn device_aliases(devices: &Path) -> Vec<String> {
    let mut aliases = Vec::new();
    let mut folders = vec![(devices.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < DEPTH_MAX {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file() && entry.file_name() == "modalias" {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                aliases.extend(text.lines().map(str::to_owned).filter(|alias| !alias.is_empty()));
            }
        }
    }
    aliases.sort();
    aliases.dedup();
    aliases
}

#[cfg(test)]
mod tests;

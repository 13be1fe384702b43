//! File systems frozen together: a thread each, so that none waits for another that does not lie on it, and each thawed by
//! its own thread at the limit, whatever the rest of the program is doing.
//!
//! Between freeze and thaw these threads allocate nothing, open nothing and say nothing.

use core::time::Duration;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use hal_linux::freeze::{Refusal, StillHandle};

/// A thread that makes two system calls needs no more.
const STACK_BYTES: usize = 128 * 1024;
/// A file system that took longer to write out is written out again, so that the freeze itself has little to do.
const SYNC_LONG: Duration = Duration::from_millis(100);
/// How often: a busy one never becomes quiet.
const SYNCS_MAX: usize = 3;

/// File systems with a thread each. Dropped, they are thawed.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) shared: Arc<Shared>,
}

/// What the threads and their master agree over.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// How many threads are to come.
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Writing out, while everything goes on.
    Sync,
    /// Frozen up to this level, until then.
    Freeze { level: usize, deadline: Instant },
    /// Thawing: whatever comes to be frozen now is thawed at once.
    Thaw,
}

/// How it stands with one file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    level: usize,
    synced: bool,
    /// How freezing ended.
    pub(super) frozen: Option<Result<(), Refusal>>,
    /// When writers began to wait.
    pub(super) began: Option<Instant>,
    /// How thawing ended, and when.
    pub(super) thawed: Option<(End, Instant)>,
}

/// How a freeze ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Thawed because it was told to.
    Told,
    /// Thawed by its own thread, at the limit.
    Limit,
    /// It was thawed already: the dead-man, or a stranger.
    Before,
    /// The kernel refused, with this errno.
    Failed(i32),
}

impl State {
    /// Nothing is frozen, and nothing will be.
    fn is_over(&self) -> bool {
        // A thread that has not come to freezing never will; one in the middle of it must come out first.
        self.slots.iter().all(|slot| slot.is_over() || slot.began.is_none())
    }
}

impl Slot {
    /// Whether it is over with: thawed, or never frozen.
    fn is_over(&self) -> bool {
        self.thawed.is_some() || matches!(self.frozen, Some(Err(_)))
    }
}

impl Group {
    /// A thread for each file system, which begins to write it out.
    pub(super) fn start(systems: Vec<(StillHandle, usize)>) -> io::Result<Self> {
        let slot = |level| Slot { level, synced: false, frozen: None, began: None, thawed: None };
        let slots = systems.iter().map(|(_, level)| slot(*level)).collect();
        let state = Mutex::new(State { phase: Phase::Sync, slots });
        let group = Self { shared: Arc::new(Shared { state, changed: Condvar::new() }) };
        for (place, (handle, level)) in systems.into_iter().enumerate() {
            let shared = Arc::clone(&group.shared);
            let thread = thread::Builder::new().name("freeze".to_owned()).stack_size(STACK_BYTES);
            thread.spawn(move || shared.work(place, level, &handle))?;
        }
        Ok(group)
    }

    /// Waits until all are written out; the place of one that is not, in this time.
    pub(super) fn wait_synced(&self, patience: Duration) -> Result<(), usize> {
        let until = Instant::now() + patience;
        let unsynced = |state: &State| state.slots.iter().position(|slot| !slot.synced);
        match unsynced(&self.shared.wait(Some(until), |state| unsynced(state).is_none())) {
            None => Ok(()),
            Some(place) => Err(place),
        }
    }

    /// Freezes all, level after level. The first failure that is not to be lived with, and its place, or the place of one
    /// that is not frozen at the deadline, with none.
    pub(super) fn freeze(&self, deadline: Instant) -> Result<(), (usize, Option<i32>)> {
        let last = self.shared.lock().slots.iter().map(|slot| slot.level).max().unwrap_or(0);
        for level in 0..=last {
            {
                let mut state = self.shared.lock();
                if state.phase == Phase::Thaw {
                    break;
                }
                state.phase = Phase::Freeze { level, deadline };
            }
            self.shared.changed.notify_all();
            let of_level = |slot: &&Slot| slot.level <= level;
            let state = self.shared.wait(Some(deadline), |state| {
                state.phase == Phase::Thaw
                    || state.slots.iter().filter(of_level).all(|slot| slot.frozen.is_some())
            });
            for (place, slot) in state.slots.iter().enumerate().filter(|(_, slot)| of_level(slot)) {
                match slot.frozen {
                    None => return Err((place, None)),
                    Some(Err(Refusal::Failed(errno))) => return Err((place, Some(errno))),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Thaws all, and waits for it at most so long; how it stands with each then, and whether that is the end of it.
    pub(super) fn thaw(&self, patience: Duration) -> (Vec<Slot>, bool) {
        self.shared.thaw_now();
        let until = Instant::now() + patience;
        let state = self.shared.wait(Some(until), State::is_over);
        (state.slots.clone(), state.is_over())
    }

    /// Waits until all are thawed, however long that takes.
    pub(super) fn wait_over(&self) {
        drop(self.shared.wait(None, State::is_over));
    }

    /// Whether all that were frozen still are.
    pub(super) fn is_frozen(&self) -> bool {
        let state = self.shared.lock();
        let Phase::Freeze { deadline, .. } = state.phase else { return false };
        let still = |slot: &Slot| slot.frozen.is_some() && slot.thawed.is_none();
        Instant::now() < deadline && state.slots.iter().all(still)
    }

    /// Whether somebody else had frozen this one before us: then it is not ours to thaw.
    pub(super) fn frozen_before(&self) -> impl Iterator<Item = usize> {
        let state = self.shared.lock();
        let theirs = |slot: &Slot| slot.frozen == Some(Err(Refusal::FrozenBefore));
        let mut places = [usize::MAX; super::SYSTEMS_MAX];
        let found = state.slots.iter().enumerate().filter(|(_, slot)| theirs(slot));
        places.iter_mut().zip(found).for_each(|(place, (found, _))| *place = found);
        places.into_iter().take_while(|place| *place != usize::MAX)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.shared.thaw_now();
    }
}

impl Shared {
    /// Everything is thawed by the threads from now on; does not wait for it.
    pub(super) fn thaw_now(&self) {
        self.lock().phase = Phase::Thaw;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is so, or until then.
    fn wait(&self, until: Option<Instant>, so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while !so(&state) {
            let Some(until) = until else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn slot(&self, place: usize, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.lock().slots.get_mut(place) {
            change(slot);
        }
        self.changed.notify_all();
    }

    /// The life of one thread.
    fn work(&self, place: usize, level: usize, handle: &StillHandle) {
        for _ in 0..SYNCS_MAX {
            let began = Instant::now();
            // What cannot be written out fails again when it is frozen, and is told then.
            let _ = handle.sync();
            if began.elapsed() < SYNC_LONG {
                break;
            }
        }
        self.slot(place, |slot| slot.synced = true);
        let turn = |state: &State| match state.phase {
            Phase::Sync => false,
            Phase::Freeze { level: now, .. } => now >= level,
            Phase::Thaw => true,
        };
        let deadline = {
            let mut state = self.wait(None, turn);
            let Phase::Freeze { deadline, .. } = state.phase else { return };
            if let Some(slot) = state.slots.get_mut(place) {
                slot.began = Some(Instant::now());
            }
            deadline
        };
        let result = handle.freeze();
        self.slot(place, |slot| slot.frozen = Some(result));
        if result.is_err() {
            return;
        }
        let told =
            self.wait(Some(deadline), |state| state.phase == Phase::Thaw).phase == Phase::Thaw;
        let end = match handle.thaw() {
            Ok(true) if told => End::Told,
            Ok(true) => End::Limit,
            Ok(false) => End::Before,
            Err(error) => End::Failed(error.raw_os_error().unwrap_or(0)),
        };
        let now = Instant::now();
        self.slot(place, |slot| slot.thawed = Some((end, now)));
        // A thread's end gives memory back: not while anything is frozen.
        drop(self.wait(None, State::is_over));
    }
}

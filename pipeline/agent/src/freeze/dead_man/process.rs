//! The dead-man's own process: it waits on one socket, with a thread for each file system that does nothing but thaw.
//!
//! A file system whose disk does not answer holds up its own thread and nothing else.

use core::time::Duration;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use hal_linux::freeze::{Channel, StillHandle};
use hal_linux::manners;

use super::word;
use crate::freeze::SYSTEMS_MAX;

/// Whoever freezes may have been stopped on the way to it, and freeze after the limit: so it is thawed again and again
/// until told that it is over.
const AGAIN_SOON: Duration = Duration::from_millis(10);
/// After so many times, less often.
const SOON_TIMES: u32 = 1000;
/// How often then.
const AGAIN_LATER: Duration = Duration::from_millis(200);
/// A thread that makes one system call.
const STACK_BYTES: usize = 64 * 1024;

#[derive(Debug)]
struct Plan {
    systems: Vec<System>,
    /// File systems are thawed now.
    thawing: bool,
    /// Whoever freezes is gone, and cannot freeze any more: once is enough.
    alone: bool,
    /// How many were found frozen.
    thaws: u64,
    threads: usize,
    /// Of these, how many are through with their beginning, in which a thread still asks for memory.
    settled: usize,
}

#[derive(Debug, Default)]
struct System {
    /// With its thread while that thaws.
    handle: Option<StillHandle>,
    working: bool,
    leave: bool,
    /// Thawed, or found so, since whoever freezes is gone.
    done: bool,
}

#[derive(Debug)]
struct Office {
    plan: Mutex<Plan>,
    /// Rung by the master for the threads.
    changed: Condvar,
    /// Rung by the threads for the master: one bell for both would have the threads wake each other without end.
    thawed: Condvar,
}

/// Runs until whoever started it is gone, and all is thawed. An error where it was not started as it must be.
pub fn run() -> io::Result<()> {
    let channel = Channel::inherited()?;
    // Refused on machines that let nobody: it works without, only less surely.
    let _ = manners::ignore_requests_to_end();
    // Whoever started it may stand behind everybody.
    let _ = manners::stand_up();
    let _ = manners::be_nice(-20);
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    let systems = Vec::with_capacity(SYSTEMS_MAX);
    let plan = Plan { systems, thawing: false, alone: false, thaws: 0, threads: 0, settled: 0 };
    let office = Arc::new(Office {
        plan: Mutex::new(plan),
        changed: Condvar::new(),
        thawed: Condvar::new(),
    });
    office.hire(1)?;
    let _ = manners::lock_all_memory();
    channel.send([word::READY, 0, 0], &[])?;
    office.serve(&channel);
    office.finish();
    Ok(())
}

impl Office {
    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many threads are there, each with its place.
    fn hire(self: &Arc<Self>, wanted: usize) -> io::Result<()> {
        while self.lock().threads < wanted {
            let place = self.lock().threads;
            let office = Arc::clone(self);
            thread::Builder::new().stack_size(STACK_BYTES).spawn(move || office.work(place))?;
            self.lock().threads += 1;
        }
        let mut plan = self.lock();
        while plan.settled < plan.threads {
            plan = self.thawed.wait(plan).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Listens until the other end is gone.
    fn serve(self: &Arc<Self>, channel: &Channel) {
        let mut deadline: Option<Instant> = None;
        let mut fresh: Vec<StillHandle> = Vec::with_capacity(SYSTEMS_MAX);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                deadline = None;
                self.lock().thawing = true;
                self.changed.notify_all();
                continue;
            }
            let received = match channel.receive(left, |handle| fresh.push(handle)) {
                Ok(Some(received)) => received,
                Ok(None) => continue,
                Err(_) => return,
            };
            let [what, freeze, number] = received.message;
            let answer = match what {
                word::HOLD => {
                    self.hold(&mut fresh);
                    continue;
                }
                word::ARM => match self.arm() {
                    Some(held) => {
                        deadline = Instant::now().checked_add(Duration::from_nanos(number));
                        [word::ARM, freeze, held]
                    }
                    None => [word::BUSY, freeze, 0],
                },
                word::LEAVE => {
                    self.leave(number);
                    continue;
                }
                word::STAND_DOWN => {
                    deadline = None;
                    [word::STAND_DOWN, freeze, self.stand_down()]
                }
                _ => continue,
            };
            if channel.send(answer, &[]).is_err() {
                return;
            }
        }
    }

    /// Takes file systems into its keeping, with a thread for each.
    fn hold(self: &Arc<Self>, fresh: &mut Vec<StillHandle>) {
        let wanted = self.lock().systems.len() + fresh.len();
        // Without threads enough some would not be thawed: `arm` then says that it has fewer than it was given.
        if wanted > SYSTEMS_MAX || self.hire(wanted).is_err() {
            fresh.clear();
            return;
        }
        let held =
            fresh.drain(..).map(|handle| System { handle: Some(handle), ..System::default() });
        self.lock().systems.extend(held);
    }

    /// How many file systems it has; `None` while it is still thawing what was before.
    fn arm(&self) -> Option<u64> {
        let mut plan = self.lock();
        if plan.systems.iter().any(|system| system.working) {
            return None;
        }
        plan.thawing = false;
        plan.thaws = 0;
        u64::try_from(plan.systems.len()).ok()
    }

    fn leave(&self, place: u64) {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if let Some(system) = self.lock().systems.get_mut(place) {
            system.leave = true;
        }
    }

    /// Gives the file systems back; how many it had to thaw.
    fn stand_down(&self) -> u64 {
        let mut plan = self.lock();
        plan.thawing = false;
        // One that is with its thread stays until the thread is through with it: `arm` refuses until then.
        if plan.systems.iter().all(|system| !system.working) {
            plan.systems.clear();
        }
        plan.thaws
    }

    /// Thaws what is left to thaw, once, and waits for it.
    fn finish(&self) {
        let mut plan = self.lock();
        plan.alone = true;
        plan.thawing = true;
        self.changed.notify_all();
        while plan.systems.iter().any(|system| !system.done && !system.leave) {
            plan = self.thawed.wait(plan).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The life of one thread: to thaw one file system whenever that is due.
    fn work(&self, place: usize) {
        let mut plan = self.lock();
        plan.settled += 1;
        self.thawed.notify_all();
        let mut times = 0_u32;
        loop {
            let due = plan.thawing;
            let alone = plan.alone;
            let system = plan.systems.get_mut(place).filter(|system| due && !system.leave);
            let handle = system.filter(|system| !system.done).and_then(|system| {
                system.working = true;
                system.handle.take()
            });
            let Some(handle) = handle else {
                times = 0;
                plan = self.changed.wait(plan).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(plan);
            let result = handle.thaw();
            plan = self.lock();
            plan.thaws += u64::from(matches!(result, Ok(true)));
            if let Some(system) = plan.systems.get_mut(place) {
                system.working = false;
                // One that could not be thawed is tried again for ever: there is nothing better to do.
                system.done = alone && result.is_ok();
                system.handle = Some(handle);
            }
            self.thawed.notify_all();
            times = times.saturating_add(1);
            let pause = if times < SOON_TIMES { AGAIN_SOON } else { AGAIN_LATER };
            plan = self.changed.wait_timeout(plan, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

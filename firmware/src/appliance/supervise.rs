//! Services that are kept running: each on a thread of its own, started again when it ends, at a pace that spares the
//! machine.
//!
//! A panic in one is a failure of that one. The supervisor never waits for what it supervises.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use hal_linux::confine::give_up_rings;

use super::phases::guarded;
use crate::restart::Pace;

/// Who failed within this long fails still: the longest pause, and time to run.
const LATELY: Duration = Duration::from_secs(90);

/// Says that the machine goes down; whoever waits is woken.
#[derive(Default)]
pub(crate) struct Stop {
    flag: Arc<AtomicBool>,
    wake: (Mutex<()>, Condvar),
    running: AtomicUsize,
    /// Who failed, and when last.
    failures: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Stop {
    /// Whether it was asked for.
    pub(crate) fn asked(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Asks for it.
    pub(crate) fn ask(&self) {
        let _held = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.flag.store(true, Ordering::SeqCst);
        self.wake.1.notify_all();
    }

    /// Waits so long, or until it is asked for; true if it is.
    pub(crate) fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut held = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.asked() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            held = self.wake.1.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.asked()
    }

    /// Waits until every service has ended, so long at most; how many still run.
    pub(crate) fn drain(&self, patience: Duration) -> usize {
        let until = Instant::now() + patience;
        let mut held = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let running = self.running.load(Ordering::SeqCst);
            let left = until.saturating_duration_since(Instant::now());
            if running == 0 || left.is_zero() {
                return running;
            }
            held = self.wake.1.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A service that failed lately, and so does not stay up.
    pub(crate) fn failing(&self) -> Option<&'static str> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.iter().find(|(_, at)| at.elapsed() < LATELY).map(|(name, _)| *name)
    }

    fn failed(&self, name: &'static str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.insert(name, Instant::now());
    }

    fn one_more(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
    }

    fn one_less(&self) {
        let _held = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.wake.1.notify_all();
    }
}

/// A service: what it is called, and what it runs. It ends well when it is asked to stop, or has nothing more to do.
pub(crate) struct Service<C> {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) run: fn(&C) -> Result<(), String>,
    /// Whether going down waits for it.
    pub(crate) drained: bool,
    /// Whether it, or a job that it starts, reads and writes disks: only those may use io_uring.
    pub(crate) disks: bool,
}

/// Starts a service and keeps it running.
pub(crate) fn start<C: Send + Sync + 'static>(
    service: &Service<C>,
    context: &Arc<C>,
    stop: &Arc<Stop>,
) {
    let (name, run, drained) = (service.name, service.run, service.drained);
    let disks = service.disks;
    let (context, stop) = (Arc::clone(context), Arc::clone(stop));
    if drained {
        stop.one_more();
    }
    let held = Arc::clone(&stop);
    let work = move || {
        if !disks && let Err(error) = give_up_rings() {
            log::warn!("{name} could use io_uring: {error}");
        }
        keep(name, &stop, &|| run(&context));
        if drained {
            stop.one_less();
        }
    };
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        log::error!("{name} cannot be started: {error}; the machine has too little memory");
        if drained {
            held.one_less();
        }
    }
}

fn keep(name: &'static str, stop: &Stop, run: &dyn Fn() -> Result<(), String>) {
    let mut pace = Pace::default();
    while !stop.asked() {
        let began = Instant::now();
        match guarded(run) {
            Ok(()) => return,
            Err(words) => {
                stop.failed(name);
                let pause = pace.after(began.elapsed());
                log::warn!("{name}: {words}; tried again in {} s", pause.as_secs());
                stop.rest(pause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_only_a_run_and_the_stop_ends_the_service() {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let stop = Arc::new(Stop::default());
        let run = |_: &()| {
            RUNS.fetch_add(1, Ordering::SeqCst);
            panic!("on purpose")
        };
        start(&Service { name: "clumsy", run, drained: true, disks: true }, &Arc::new(()), &stop);
        while RUNS.load(Ordering::SeqCst) < 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(stop.drain(Duration::from_millis(10)), 1);
        stop.ask();
        assert_eq!(stop.drain(Duration::from_secs(20)), 0);
        assert!(stop.rest(Duration::from_secs(1000)), "who waits is woken at once");
    }

    #[test]
    fn who_has_nothing_more_to_do_is_not_started_again() {
        let stop = Arc::new(Stop::default());
        start(
            &Service { name: "brief", run: |_: &()| Ok(()), drained: true, disks: false },
            &Arc::new(()),
            &stop,
        );
        assert_eq!(stop.drain(Duration::from_secs(20)), 0);
    }
}

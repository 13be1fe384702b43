//! The hardware watchdog: petted only while the machine's own loop turns.
//!
//! A first process that hangs must end in a new start, and one that works must never be shot: the watchdog hears from a
//! thread of its own, which looks at the loop's last sign of life and at whether memory can still be had.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::path::Path;

use hal::time::Clock;
use hal_linux::SystemClock;
use hal_linux::watchdog::Watchdog;

use super::Appliance;

/// Where Linux has the first one.
const DEVICE: &str = "/dev/watchdog0";
/// Longer than any pause that a busy machine makes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The loop turns every second; this long without is a hang.
const HANG: Duration = Duration::from_secs(45);

/// On a system that is on trial it turns more often than that, or it is not kept.
const STUCK: Duration = Duration::from_secs(15);

/// The loop's last sign of life, in milliseconds of the clock that only runs forwards.
#[derive(Default)]
pub(crate) struct Pulse(AtomicU64);

fn now() -> u64 {
    SystemClock.monotonic_nanos() / 1_000_000
}

impl Pulse {
    /// The loop turns.
    pub(crate) fn beat(&self) {
        self.0.store(now(), Ordering::Relaxed);
    }

    /// Whether it still turned lately, at this instant. Before the first beat the machine is starting.
    fn is_well(&self, now: u64) -> bool {
        self.since(now).is_none_or(|since| since < HANG)
    }

    /// Whether it turned at all: the boot has come to its end.
    pub(crate) fn has_begun(&self) -> bool {
        self.since(now()).is_some()
    }

    /// Whether the loop turns.
    pub(crate) fn turns(&self) -> bool {
        self.since(now()).is_some_and(|since| since < STUCK)
    }

    fn since(&self, now: u64) -> Option<Duration> {
        let last = self.0.load(Ordering::Relaxed);
        (last != 0).then(|| Duration::from_millis(now.saturating_sub(last)))
    }
}

/// Pets it for as long as the machine is well; ends well where there is none.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    if !Path::new(DEVICE).exists() {
        log::info!("this machine has no hardware watchdog: a hang of Lifeboat itself would last");
        return Ok(());
    }
    let mut watchdog =
        Watchdog::arm(Path::new(DEVICE), TIMEOUT).map_err(|error| format!("{DEVICE}: {error}"))?;
    let timeout = watchdog.timeout();
    appliance.events.say("watchdog", &[("timeout", &timeout.as_secs())]);
    let pause = (timeout / 4).min(Duration::from_secs(10));
    loop {
        if appliance.pulse.is_well(now()) {
            watchdog.pet().map_err(|error| format!("{DEVICE}: {error}"))?;
        } else {
            log::error!("the first process hangs: the watchdog starts the machine again soon");
        }
        // Goes on while the machine goes down: that may hang too.
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loop_that_turned_and_stopped_is_a_hang() {
        let pulse = Pulse::default();
        assert!(pulse.is_well(u64::MAX), "still starting");
        assert!(!pulse.has_begun() && !pulse.turns());
        pulse.beat();
        let beat = pulse.0.load(Ordering::Relaxed);
        assert!(pulse.is_well(beat + 44_999) && !pulse.is_well(beat + 45_001));
        pulse.beat();
        assert!(pulse.is_well(now()) && pulse.has_begun() && pulse.turns());
        pulse.0.store(now() - 15_001, Ordering::Relaxed);
        assert!(pulse.is_well(now()) && !pulse.turns());
        assert!(HANG < TIMEOUT);
    }
}

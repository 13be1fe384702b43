//! The wall clock: no time before the image was made is believed, and time servers set it where there are any.
//!
//! Certificates and leases need a clock that is roughly right; it is set in one step and never slewed. The hardware clock
//! is the kernel's to read at the start; an appliance, which owns its machine, sets it to what a time server said. Where
//! the machine was only borrowed (capture, recover) it is left alone: another system may keep local time in it.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs;
use std::path::Path;
use std::sync::PoisonError;

use hal::time::{Clock, Moment};
use hal_linux::SystemClock;
use image_layout::command_line::Role;
use rustix::time::{ClockId, Timespec, clock_settime};

use super::{Appliance, page};
use crate::net::state::State;
use crate::report::Utc;
use crate::restart::Pace;
use judge::Judge;
use schedule::{Outlook, Schedule};

/// The service that asks time servers.
pub(crate) mod apart;
/// Whose time is believed.
mod judge;
/// When time servers are asked.
mod schedule;
/// Questions to time servers, and their answers.
pub mod sntp;

/// No machine runs an image that is older than this.
const AGE_MAX_SECONDS: u64 = 20 * 365 * 86_400;
/// How soon a change of the network is noticed.
const LOOK_UP: Duration = Duration::from_millis(500);
/// A clock that is off by less is left alone: a step is worse for what measures time by it.
const TOLERANCE_MILLIS: u64 = 500;
const NTP_PORT: u16 = 123;
/// The hardware clock that the kernel reads at the start.
const HARDWARE: &str = "/dev/rtc0";

/// What a wall clock is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    Plausible,
    /// Before the image was made.
    Early,
    /// Later than any image is used.
    Late,
}

fn sense(now_seconds: u64, built_seconds: u64) -> Sense {
    if now_seconds < built_seconds {
        Sense::Early
    } else if now_seconds > built_seconds.saturating_add(AGE_MAX_SECONDS) {
        Sense::Late
    } else {
        Sense::Plausible
    }
}

/// Whether the wall clock is worth asking by: nothing is said over TLS before it is.
#[derive(Default)]
pub(crate) struct Belief(AtomicBool);

impl Belief {
    fn gain(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Refuses, in words for a person, while the clock is known to be wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.0.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(
                "this machine's clock is wrong, so no certificate can be checked: set date and time in the firmware's settings and start again, or have DHCP name a time server".to_owned(),
            ),
        }
    }
}

/// Checks the clock that the machine started with; one that cannot be right is set to when the image was made.
pub(crate) fn check(appliance: &Appliance) -> Result<String, String> {
    let (built, now) = (built(), SystemClock.now().0);
    let fault = match sense(now / 1000, built) {
        Sense::Plausible => {
            appliance.belief.gain();
            return Ok(format!("it is {}", Utc(now)));
        }
        Sense::Early => "is before this image was made",
        Sense::Late => "is later than any image is used",
    };
    set(built.saturating_mul(1000))?;
    Err(format!(
        "the hardware clock said {}, which {fault}: check its battery and the firmware's settings; until a time server answers, times are wrong and no vault in Azure is spoken to",
        Utc(now)
    ))
}

/// When the image was made, in seconds since 1970; 0 where nothing is known of it.
fn built() -> u64 {
    let text = fs::read_to_string(image_layout::initrd::BUILT).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn set(millis: u64) -> Result<(), String> {
    let seconds = i64::try_from(millis / 1000).map_err(|_| "no such time".to_owned())?;
    let nanos = i64::try_from(millis % 1000 * 1_000_000).map_err(|_| "no such time".to_owned())?;
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    clock_settime(ClockId::Realtime, time)
        .map_err(|errno| format!("the clock cannot be set: {errno}"))
}

/// Keeps the clock right, and on the board.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    let mut schedule = Schedule::new(SystemClock.moment());
    let mut follower = Follower::default();
    while !appliance.stop.asked() {
        let state = appliance.network.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let outlook = Outlook::of(&state);
        let now = SystemClock.moment();
        if now >= follower.rests_until && schedule.is_due(now, &outlook) {
            let answered = follower.follow(appliance, &state);
            schedule.note(SystemClock.moment(), outlook, answered);
        }
        let time = Utc(SystemClock.now().0).to_string();
        let minute = time.get(..16).unwrap_or(&time).replace('T', " ") + " UTC";
        appliance.board.update(|view| view.time = minute);
        appliance.stop.rest(LOOK_UP);
    }
    Ok(())
}

/// Has time servers asked, and follows those that are believed.
#[derive(Default)]
struct Follower {
    judge: Judge,
    /// At what pace the service is started where it fails, and until when it is left alone.
    pace: Pace,
    rests_until: Moment,
    /// What was refused last: told once.
    refused: String,
}

impl Follower {
    /// Asks the servers that a person named, and those of the network where none of these answers; whether the clock is right
    /// by them.
    fn follow(&mut self, appliance: &Appliance, state: &State) -> bool {
        let own = appliance.time_servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let named = state.ntp.iter().filter_map(|server| server.parse().ok()).collect();
        for servers in [own, named] {
            let answers = self.ask(&servers);
            if answers.is_empty() {
                continue;
            }
            let done = judge::agreed(&answers).and_then(|told| self.adopt(appliance, told));
            let words = done.err().unwrap_or_default();
            if !words.is_empty() && words != self.refused {
                log::warn!("{words}; the clock stays as it is");
            }
            self.refused = words;
            return self.refused.is_empty();
        }
        false
    }

    /// What those say that answer.
    fn ask(&mut self, servers: &[IpAddr]) -> Vec<(IpAddr, i64)> {
        if servers.is_empty() {
            return Vec::new();
        }
        let began = SystemClock.moment();
        let at: Vec<_> = servers.iter().map(|server| SocketAddr::new(*server, NTP_PORT)).collect();
        let told = apart::ask(&at, &page::KEEPER).unwrap_or_else(|words| {
            let now = SystemClock.moment();
            let pause = self.pace.after(Duration::from_millis(now.since(began)));
            log::warn!("{words}; started again in {} s", pause.as_secs());
            self.rests_until = now.after(pause.as_secs() * 1000);
            Vec::new()
        });
        let answer = |(server, answer): (IpAddr, Result<i64, sntp::Fault>)| match answer {
            Ok(offset) => Some((server, offset)),
            Err(fault) => {
                log::info!("time server {server}: {fault}");
                None
            }
        };
        told.into_iter().filter_map(answer).collect()
    }

    /// Sets the clock by what was agreed on, where that is believed.
    fn adopt(
        &mut self,
        appliance: &Appliance,
        (server, offset): (IpAddr, i64),
    ) -> Result<(), String> {
        let now = SystemClock.now().0;
        let hardware = hal_linux::clock::hardware(Path::new(HARDWARE)).ok().map(|time| time.0);
        let judged = self.judge.weigh(SystemClock.moment(), (now, offset), built(), hardware);
        let judged = judged.map_err(|why| format!("time server {server} says that it is {why}"))?;
        if offset.unsigned_abs() >= TOLERANCE_MILLIS {
            let right = now.saturating_add_signed(offset);
            set(right)?;
            log::info!("the clock was set from {} to {} by {server}", Utc(now), Utc(right));
            let kept = keep(appliance);
            let pairs: [(&str, &dyn core::fmt::Display); 3] =
                [("offset", &offset), ("server", &server), ("kept", &kept)];
            appliance.events.say("clock", &pairs);
        }
        self.judge = judged;
        appliance.belief.gain();
        Ok(())
    }
}

/// Writes the time into the hardware clock, so that the next start begins with it; whether it was.
fn keep(appliance: &Appliance) -> bool {
    if super::roles::chosen(appliance) != Role::Appliance {
        return false;
    }
    match hal_linux::clock::set_hardware(Path::new(HARDWARE), SystemClock.now()) {
        Ok(()) => true,
        Err(error) => {
            log::info!("the hardware clock stays as it is: {HARDWARE}: {error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plausible_clock_is_believed() {
        let built = 1_790_000_000;
        assert_eq!(sense(built, built), Sense::Plausible);
        assert_eq!(sense(built - 1, built), Sense::Early);
        assert_eq!(sense(0, built), Sense::Early);
        assert_eq!(sense(built + AGE_MAX_SECONDS + 1, built), Sense::Late);
        assert_eq!(sense(5, 0), Sense::Plausible, "nothing is known of the image");
    }

    #[test]
    fn belief_comes_from_a_plausible_clock_or_a_time_server() {
        let belief = Belief::default();
        assert!(belief.check().unwrap_err().contains("firmware's settings"));
        belief.gain();
        assert_eq!(belief.check(), Ok(()));
    }
}

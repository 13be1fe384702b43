//! The wall clock: no time before the image was made is believed, and time servers set it where there are any.
//!
//! Certificates and leases need a clock that is roughly right; it is set in one step and never slewed. The hardware clock
//! is the kernel's to read at the start; an appliance, which owns its machine, sets it to what a time server said. Where
//! the machine was only borrowed (capture, recover) it is left alone: another system may keep local time in it.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::PoisonError;

use hal::time::{Clock, Entropy};
use hal_linux::{SystemClock, SystemEntropy};
use image_layout::command_line::Role;
use rustix::time::{ClockId, Timespec, clock_settime};

use super::Appliance;
use crate::net::state::State;
use crate::report::Utc;
use schedule::{Outlook, Schedule};
use sntp::Reply;

/// When time servers are asked.
mod schedule;
/// Questions to time servers, and their answers.
pub mod sntp;

/// No machine runs an image that is older than this.
const AGE_MAX_SECONDS: u64 = 20 * 365 * 86_400;
/// What a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
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
    let text = fs::read_to_string(image_layout::initrd::BUILT).unwrap_or_default();
    let built: u64 = text.trim().parse().unwrap_or(0);
    let now = SystemClock.now().0;
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
    while !appliance.stop.asked() {
        let state = appliance.network.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let outlook = Outlook::of(&state);
        if schedule.is_due(SystemClock.moment(), &outlook) {
            let answered = follow_servers(appliance, &state);
            schedule.note(SystemClock.moment(), outlook, answered);
        }
        let time = Utc(SystemClock.now().0).to_string();
        let minute = time.get(..16).unwrap_or(&time).replace('T', " ") + " UTC";
        appliance.board.update(|view| view.time = minute);
        appliance.stop.rest(LOOK_UP);
    }
    Ok(())
}

/// Asks the servers that the network names, in turn; whether one answered.
fn follow_servers(appliance: &Appliance, state: &State) -> bool {
    let own = appliance.time_servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let named = state.ntp.iter().filter_map(|server| server.parse().ok());
    for server in own.into_iter().chain(named) {
        match ask(SocketAddr::new(server, NTP_PORT)) {
            Ok(reply) => {
                adopt(appliance, server, reply);
                return true;
            }
            Err(words) => log::info!("time server {server}: {words}"),
        }
    }
    false
}

fn adopt(appliance: &Appliance, server: core::net::IpAddr, reply: Reply) {
    let now = SystemClock.now().0;
    let right = now.saturating_add_signed(reply.offset_millis);
    if now.abs_diff(right) < TOLERANCE_MILLIS {
        appliance.belief.gain();
        return;
    }
    match set(right) {
        Ok(()) => {
            appliance.belief.gain();
            log::info!("the clock was set from {} to {} by {server}", Utc(now), Utc(right));
            let kept = keep(appliance);
            let pairs: [(&str, &dyn core::fmt::Display); 3] =
                [("offset", &reply.offset_millis), ("server", &server), ("kept", &kept)];
            appliance.events.say("clock", &pairs);
        }
        Err(words) => log::warn!("{words}"),
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

/// One question, one answer.
fn ask(server: SocketAddr) -> Result<Reply, String> {
    let failed = |error: std::io::Error| error.to_string();
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).map_err(failed)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    // Connected, so that nobody else's packet is taken.
    socket.connect(server).map_err(failed)?;
    let mut cookie = [0; 8];
    SystemEntropy.fill(&mut cookie).map_err(|error| error.to_string())?;
    let sent = SystemClock.now().0;
    socket.send(&sntp::question(cookie)).map_err(failed)?;
    let mut packet = [0; 512];
    let length = socket.recv(&mut packet).map_err(failed)?;
    let received = SystemClock.now().0;
    sntp::answer(packet.get(..length).unwrap_or_default(), cookie, sent, received)
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

    #[test]
    fn a_server_on_this_machine_is_asked_over_the_loopback() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let mut packet = [0; 48];
            let (_, from) = server.recv_from(&mut packet).unwrap();
            let later = SystemClock.now().0 + 3_600_000;
            server.send_to(&sntp::tests::reply(&packet, later), from).unwrap();
        });
        let reply = ask(address).unwrap();
        assert!(reply.offset_millis.abs_diff(3_600_000) < 5000, "{reply:?}");
        serving.join().unwrap();
    }
}

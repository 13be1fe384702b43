//! Alerts at work beside the API: a thread that looks, the tripwire with the vault in use, what the process is for `/metrics`.

use std::fs;
use std::sync::Arc;
use std::thread::JoinHandle;

use firmware_web::api::metrics::{self, Beside, Process, Requests};
use firmware_web::api::site::Site;
use hal::time::Clock;
use pipeline_vault::Error;
use rustix::process::{Resource, getrlimit};
use smol::channel::Sender;

use super::Alerts;
use super::board::{News, Turn};
use super::tripwire::{Tripwire, VaultHands};
use crate::admin::keep::Keep;
use crate::serve::listen::api::Measure;
use crate::session::Machine;
use crate::setup::in_use::InUse;
use crate::site::events::{Events, Note};

/// Every so many-th look is the tripwire's too: a point is a minute old then at most.
const TRIPWIRE_LOOKS: u64 = 4;

/// The kernel's count of time towards programs, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What alerts are made of.
pub struct Parts {
    /// Where they are kept.
    pub keep: Arc<dyn Keep>,
    /// Clocks, randomness, proxies and certificates.
    pub machine: Machine,
    /// What the appliance is called.
    pub name: String,
    /// The vault, once there is one.
    pub in_use: InUse,
    /// Where they are noted.
    pub events: Arc<Events>,
}

/// Alerts at work, until it is dropped.
pub struct Service {
    alerts: Arc<Alerts>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Begins to look.
    ///
    /// Errors: certificates that the machine's settings name are no good, or it starts no thread.
    pub fn start(site: Arc<dyn Site>, parts: Parts) -> Result<Self, Error> {
        let Parts { keep, machine, name, in_use, events } = parts;
        let alerts = Alerts::open(Arc::clone(&keep), &machine, &name)?;
        let (end, ended) = smol::channel::bounded(1);
        let watching = Arc::clone(&alerts);
        let clock = Arc::clone(&machine.clock);
        let work = move || {
            let mut tripwire = Tripwire::open(Box::new(VaultHands(in_use)), keep, clock);
            let mut looks = 0_u64;
            let mut beside = || {
                looks += 1;
                match looks % TRIPWIRE_LOOKS {
                    1 => tripwire.look(&*site, &watching.rules()),
                    _ => tripwire.readings(),
                }
            };
            let mut hear = |news: &News| {
                events.note(note(news));
            };
            watching.watch(&*site, &mut beside, &mut hear, &ended);
        };
        let thread = std::thread::Builder::new().name("alerts".to_owned()).spawn(work);
        let thread = thread
            .map_err(|error| Error::device("this machine", format!("starts no thread: {error}")))?;
        Ok(Self { alerts, end: Some(end), thread: Some(thread) })
    }

    /// For the API.
    #[must_use]
    pub fn alerts(&self) -> Arc<Alerts> {
        Arc::clone(&self.alerts)
    }

    /// What is measured, for the API: all that the site tells, the alerts that stand, the process.
    #[must_use]
    pub fn measure(&self, clock: &Arc<dyn Clock>) -> Measure {
        let (alerts, clock) = (self.alerts(), Arc::clone(clock));
        Arc::new(move |site: &dyn Site, requests: &Requests| {
            let kinds = alerts.standing().into_iter().map(|alert| alert.kind).collect();
            let beside =
                Beside { process: process(&*clock), alerts: kinds, requests: Some(requests) };
            metrics::exposition(&metrics::Told::by(site), &beside)
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended too.
            drop(thread.join());
        }
    }
}

/// As it stands among what happened.
fn note(news: &News) -> Note {
    let (alert, over) = (&news.alert, news.turn == Turn::Over);
    let begin = match news.turn {
        Turn::Again => "Still: ",
        Turn::Over => "Over: ",
        _ => "",
    };
    Note {
        health: if over { firmware_web::api::views::servers::Health::Good } else { alert.health },
        kind: if over { "alert_over" } else { "alert" },
        object: alert.object.clone(),
        words: format!("{begin}{}", alert.words),
        by: None,
    }
}

/// What the kernel tells of this process; zeros where it tells nothing.
fn process(clock: &dyn Clock) -> Process {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let stat = read("stat");
    // Its name, in brackets, may hold anything; what follows are numbers.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let number =
        |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let seconds = |ticks: u64| metrics::number(ticks) / TICKS_PER_SECOND;
    let status = read("status");
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    };
    let up =
        read("../uptime").split(' ').next().and_then(|up| up.parse::<f64>().ok()).unwrap_or(0.0);
    let now = metrics::number(clock.now().0) / 1000.0;
    let fds = fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0);
    Process {
        cpu_seconds: seconds(number(11).saturating_add(number(12))),
        threads: number(17),
        start_seconds: now - up + seconds(number(19)),
        virtual_bytes: kib("VmSize:").saturating_mul(1024),
        resident_bytes: kib("VmRSS:").saturating_mul(1024),
        open_fds: u64::try_from(fds).unwrap_or(0),
        max_fds: getrlimit(Resource::Nofile).current.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process_what_it_is() {
        let told = process(&hal_linux::SystemClock);
        assert!(
            told.resident_bytes > 1 << 20 && told.virtual_bytes > told.resident_bytes,
            "{told:?}"
        );
        assert!(
            told.open_fds >= 3 && told.max_fds >= told.open_fds && told.threads >= 1,
            "{told:?}"
        );
        let now = metrics::number(hal_linux::SystemClock.now().0) / 1000.0;
        assert!(told.start_seconds <= now + 1.0 && told.start_seconds > now - 86_400.0, "{told:?}");
    }
}

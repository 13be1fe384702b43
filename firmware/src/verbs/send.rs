//! `send`: one recovery point of all disks named, through an appliance, which has the vault.
//!
//! It is the agent's own client without tracking and freezing: nobody writes to these disks. A cut of the network is
//! waited out; after a kill the same command compares, and sends what the appliance does not have.

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use pipeline::ids::PointId;
use pipeline::limits::BLOCK_BYTES;
use pipeline_agent::binding;
use pipeline_agent::content::BlockReader;
use pipeline_agent::enrol::{Facts, NotEnrolled, enrol_once};
use pipeline_agent::session::exchange::Exchange;
use pipeline_agent::session::renewal::Renewal;
use pipeline_agent::session::{self, Party};
use pipeline_agent::state::{Enrolment, State};
use pipeline_agent::still::{NoPoint, Step, StillDisk, StillPoint, Work};
use pipeline_vault::{Error, Retry};
use pipeline_wire::message::{DiskHello, FromAgent, Instant as Consistency};
use serde::Serialize;

use super::protect::{MadeDisk, Opened, Unread, incomplete, open};
use super::{Context, host_name};
use crate::cli::Send;
use crate::disk_argument::refuse_duplicates;
use crate::disk_facts::disk_error;
use crate::progress::Counters;
use crate::report::{Ending, Failure, Outcome, Size, Span, print, print_json};
use crate::serve::identity::default_folder;

/// So long a time without the appliance is waited out.
const ABSENCE: Duration = Duration::from_secs(15 * 60);
/// How often the next certificate is thought of.
const TEND: Duration = Duration::from_secs(10);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// Places of unreadable blocks that are listed.
const UNREAD_LISTED: usize = 1000;

/// The answer as JSON.
#[derive(Serialize)]
struct Sent<'a> {
    point: String,
    server: &'a str,
    disks: Vec<MadeDisk>,
    consistency: &'static str,
    read_bytes: u64,
    sent_bytes: u64,
    new_blocks: u64,
    known_blocks: u64,
    took_millis: u64,
    unread_blocks: u64,
    unread: Vec<Unread>,
}

pub(super) fn run(send: &Send, context: &Context) -> Ending {
    refuse_duplicates(&send.disks).map_err(Failure::Usage)?;
    let began = Instant::now();
    // Disks first: a wrong path should not use a token up.
    let mut opened = Vec::new();
    for disk in &send.disks {
        opened.push(open(disk, send.direct)?);
    }
    let state = State::at(enrolment_folder(send)?);
    let enrolment = enrolled(send, &state, &opened)?;
    let fuzzy = opened.iter().any(|disk| disk.written_to);
    let identities: Vec<String> = opened.iter().map(|disk| disk.identity.clone()).collect();
    let binding = binding::of_machine(Path::new("/"), identities.iter().map(String::as_str));
    let disks: Vec<StillDisk> = opened.into_iter().map(still).collect();
    let (consistency, remark) = if fuzzy {
        (Consistency::Fuzzy, Some("a disk was mounted for writing while it was read".to_owned()))
    } else {
        (Consistency::Crash, None)
    };
    let exchange = Arc::new(Exchange::default());
    let means = (Arc::clone(&context.machine.clock), Arc::clone(&context.machine.entropy));
    let remarks = remark.into_iter().collect();
    let point = StillPoint::new(Arc::clone(&exchange), means, binding, disks, consistency, remarks)
        .map_err(no_point)?;
    let (counters, painter) = context.progress(&format!("send {}", enrolment.name), send.json);
    let mut sending = Sending { point, exchange, state, counters, stop: &context.stop };
    let made = sending.run(&enrolment);
    painter.finish(made.is_ok());
    let (id, work) = (made?, sending.point.work());
    say(send, &sending.point, &enrolment.name, id, work, began.elapsed(), fuzzy)?;
    Ok(ending(&sending.point, id))
}

/// Where it is remembered as whom this machine was enrolled.
fn enrolment_folder(send: &Send) -> Result<PathBuf, Error> {
    let beside = || default_folder().map(|folder| folder.join("enrolment"));
    send.enrolment.clone().or_else(beside).ok_or_else(|| {
        Error::misuse("enrolment", "there is no folder to remember it in")
            .remedy("give --enrolment FOLDER")
    })
}

/// As whom this machine sends.
fn enrolled(send: &Send, state: &State, disks: &[Opened]) -> Result<Enrolment, Error> {
    let Some(token) = &send.token else {
        let kept = state.enrolment().map_err(|words| Error::device("enrolment", words))?;
        return kept.ok_or_else(|| {
            Error::misuse("this machine", "is not enrolled at an appliance").remedy(
                "make a token where it runs (lifeboat server token), and give it with --token",
            )
        });
    };
    let name = send.server.clone().unwrap_or_else(host_name);
    let enrolment = enrol_once(state, token, facts(&name, disks)).map_err(not_enrolled)?;
    if send.server.as_ref().is_some_and(|name| *name != enrolment.name) {
        log::warn!(
            "the appliance calls this machine {}: another server has that name; a token made with --server would have made it that one",
            enrolment.name
        );
    }
    Ok(enrolment)
}

fn facts(name: &str, disks: &[Opened]) -> Facts {
    let identities = disks.iter().map(|disk| disk.identity.as_str());
    Facts {
        binding: binding::of_machine(Path::new("/"), identities),
        host: name.to_owned(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        disks: disks.iter().map(hello).collect(),
    }
}

fn hello(disk: &Opened) -> DiskHello {
    DiskHello {
        name: disk.name.clone(),
        identity: disk.identity.clone(),
        bytes: disk.bytes,
        sector_bytes: disk.sector_bytes,
    }
}

fn still(disk: Opened) -> StillDisk {
    StillDisk::new(hello(&disk), Box::new(BlockReader::new(disk.disk)))
}

fn not_enrolled(error: NotEnrolled) -> Error {
    Error::refused("this machine", format!("is not enrolled: {}", error.words)).remedy(error.remedy)
}

fn no_point(why: NoPoint) -> Error {
    match why {
        NoPoint::Refused(words, remedy) => {
            Error::refused("appliance", format!("refuses this machine: {words}")).remedy(remedy)
        }
        NoPoint::Disk(name, error) => disk_error(error, Path::new(&name)),
        NoPoint::LeftOut => Error::refused("appliance", "the policy leaves all of these disks out")
            .remedy("change it: lifeboat server policy"),
        NoPoint::Mistake(words) => Error::device("this machine", words),
        _ => Error::refused("appliance", "there will be no point"),
    }
}

/// A point on its way.
struct Sending<'a> {
    point: StillPoint,
    exchange: Arc<Exchange>,
    state: State,
    counters: Arc<Counters>,
    stop: &'a core::sync::atomic::AtomicBool,
}

impl Sending<'_> {
    /// Until the vault has the point.
    fn run(&mut self, enrolment: &Enrolment) -> Result<PointId, Error> {
        let party = Party::of(enrolment)
            .map_err(|words| Error::misuse("enrolment", words).remedy("give another --token"))?;
        let renewal = Arc::clone(&party.renewal);
        let talking = Arc::clone(&self.exchange);
        let sessions = thread::Builder::new()
            .name("sessions".to_owned())
            .spawn(move || session::keep(&party, &talking))
            .map_err(|error| Error::device("thread", format!("cannot be started: {error}")))?;
        let made = self.go_on(&renewal);
        let words = if made.is_ok() { "it has its point" } else { "it was stopped" };
        self.exchange.say(&FromAgent::Goodbye { words: words.to_owned() }, Vec::new());
        self.exchange.stop();
        let until = Instant::now() + FAREWELL;
        while !sessions.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
        // What was heard last is kept too.
        renewal.tend(&self.state, Instant::now());
        made
    }

    fn go_on(&mut self, renewal: &Renewal) -> Result<PointId, Error> {
        let mut seen = Instant::now();
        let mut tend_at = Instant::now();
        renewal.hurry(tend_at);
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Err(Error::misuse("send", "was stopped; what the appliance has is kept")
                    .remedy("run the same command again to go on")
                    .retry(Retry::Now));
            }
            let happened = self.exchange.happened();
            let step = self.point.step().map_err(no_point)?;
            self.show();
            let now = Instant::now();
            if self.exchange.is_welcomed() {
                seen = now;
                if now >= tend_at {
                    tend_at = now + TEND;
                    let asked = renewal.tend(&self.state, now);
                    asked.into_iter().for_each(|asked| self.exchange.say(&asked, Vec::new()));
                }
            } else if now.duration_since(seen) > ABSENCE {
                return Err(self.absent());
            }
            match step {
                Step::Made(point) => return Ok(point),
                Step::Busy => {}
                Step::Rest(limit) => self.exchange.rest(happened, limit),
            }
        }
    }

    fn absent(&self) -> Error {
        let minutes = ABSENCE.as_secs() / 60;
        let what = format!("was not reached for {minutes} minutes: {}", self.point.absence());
        Error::refused("appliance", what)
            .remedy("see that it runs and is reached, then run the same command again")
            .retry(Retry::Later)
    }

    fn show(&self) {
        let Work { total_bytes, done_bytes, sent_bytes, .. } = self.point.work();
        self.counters.total.store(total_bytes, Ordering::Relaxed);
        self.counters.done.store(done_bytes, Ordering::Relaxed);
        self.counters.stored.store(sent_bytes, Ordering::Relaxed);
    }
}

/// Blocks that could not be read, in the order of the disks.
fn unread(point: &StillPoint) -> impl Iterator<Item = Unread> + '_ {
    point.disks().iter().flat_map(|disk| {
        let place = |block: u64| Unread {
            disk: disk.hello().name.clone(),
            offset: block * BLOCK_BYTES as u64,
        };
        disk.unread().map(place)
    })
}

fn unread_blocks(point: &StillPoint) -> u64 {
    point.disks().iter().map(StillDisk::unread_blocks).sum()
}

fn say(
    send: &Send,
    point: &StillPoint,
    server: &str,
    id: PointId,
    work: Work,
    took: Duration,
    fuzzy: bool,
) -> Result<(), Error> {
    if send.json {
        let made = |disk: &StillDisk| MadeDisk {
            name: disk.hello().name.clone(),
            bytes: disk.hello().bytes,
        };
        return print_json(&Sent {
            point: id.to_string(),
            server,
            disks: point.disks().iter().map(made).collect(),
            consistency: if fuzzy { "fuzzy" } else { "crash" },
            read_bytes: work.read_bytes,
            sent_bytes: work.sent_bytes,
            new_blocks: work.new_blocks,
            known_blocks: work.known_blocks,
            took_millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            unread_blocks: unread_blocks(point),
            unread: unread(point).take(UNREAD_LISTED).collect(),
        });
    }
    print(&format!(
        "Made recovery point {id} of {server}: {} read, {} sent, {}.\n",
        Size(work.read_bytes),
        Size(work.sent_bytes),
        Span(took),
    ))
}

fn ending(point: &StillPoint, id: PointId) -> Outcome {
    let first = unread(point).next().map(|first| (first.disk, first.offset));
    incomplete(id, unread_blocks(point), first)
}

//! `hydrate`: a disk of a point into a managed disk, a VHD, a file, a device, or a page blob that follows the vault.

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;

use firmware_recovery::hydrate::fill::{How, Hydrated, Source, close, fill};
use firmware_recovery::hydrate::limits::{self, Generation, Role};
use firmware_recovery::hydrate::pages::Pages;
use firmware_recovery::hydrate::seed::{Line, Moved};
use firmware_recovery::hydrate::vhd::whole;
use hal::disk::Disk as _;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::points::ChainView;
use pipeline_vault::restore::{Options, restore_disk};
use pipeline_vault::writer::Progress;
use pipeline_vault::{Error, Retry};
use serde::Serialize;

use crate::as_before::{Before, Choice};
use crate::cli::{Hydrate, PointChoice, Starts};
use crate::report::{Ending, Failure, Outcome, Size, Span, Utc, print, print_json};
use crate::seeds::held::Held;
use crate::seeds::stops;
use crate::session::Session;
use crate::sink::{Sink, path_of};
use crate::target::Target;
use crate::verbs::Context;
use crate::verbs::choose::{Found, choose};

/// Bytes of map pages and frame tables kept in memory.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    server: &'a str,
    point: String,
    disk: &'a str,
    to: String,
    disk_bytes: u64,
    written_bytes: u64,
    fetched_bytes: u64,
    sent_bytes: u64,
    kept_bytes: u64,
    resumed: bool,
    from_point: Option<String>,
    unread_blocks: u64,
    took_millis: u64,
    taken_back: Vec<&'a str>,
    left: Vec<&'a str>,
}

pub(super) fn run(hydrate: &Hydrate, context: &Context) -> Ending {
    if hydrate.follow.is_some() && !follows(hydrate) {
        let error = Error::misuse("--follow", "is for a page blob and the latest point")
            .remedy("give --to pageblob:URL, and no --point");
        return Err(Failure::Usage(error));
    }
    let mut session = Session::open_to_move(&hydrate.opening, &context.machine)?;
    loop {
        let done = once(hydrate, &mut session, context);
        let Some(every) = hydrate.follow else { return done };
        match done {
            Err(Failure::Failed(error)) if error.retry != Retry::Never => log::warn!("{error}"),
            Err(failure) => return Err(failure),
            Ok(_) => {}
        }
        if stopped_within(every, context) {
            return Ok(Outcome::Done);
        }
    }
}

fn follows(hydrate: &Hydrate) -> bool {
    let latest = hydrate.chosen.point == PointChoice::Latest;
    matches!(hydrate.to, Sink::Seed(_)) && latest
}

/// Whether it goes onto a device, from which a machine starts.
fn onto_device(to: &Sink) -> bool {
    let facts = path_of(to).and_then(|path| std::fs::metadata(path).ok());
    facts.is_some_and(|facts| facts.file_type().is_block_device())
}

/// Waits; whether it was stopped meanwhile.
fn stopped_within(time: Duration, context: &Context) -> bool {
    const STEP: Duration = Duration::from_millis(200);
    let mut left = time;
    while !left.is_zero() && !context.stop.load(Ordering::SeqCst) {
        std::thread::sleep(STEP.min(left));
        left = left.saturating_sub(STEP);
    }
    context.stop.load(Ordering::SeqCst)
}

fn once(hydrate: &Hydrate, session: &mut Session, context: &Context) -> Ending {
    let found = choose(session, &hydrate.chosen)?;
    let disk = found.disk(&hydrate.chosen.disk)?;
    if !matches!(hydrate.to, Sink::Plain(_)) {
        limits::check(disk, role(hydrate.starts))?;
    }
    let (asked, onto_file) = (hydrate.as_before_failover, path_of(&hydrate.to).is_some());
    if asked && !onto_file {
        return Err(Failure::Usage(Error::misuse(
            "--as-before-failover",
            "is for a disk that starts where the server lived, not in Azure",
        )));
    }
    let choice = Choice::of(asked, hydrate.as_it_is, onto_device(&hydrate.to));
    let view = match hydrate.to {
        Sink::Seed(_) => Some(session.chain(found.server)?),
        _ if choice != Choice::Never && !session.has_ticket() => Some(session.chain(found.server)?),
        _ => None,
    };
    let before = match &view {
        Some(view) => Before::of(session, found.server, (view, &found.link), choice)?,
        None => None,
    };
    let began = context.machine.clock.monotonic_nanos();
    let label = format!("hydrate {}", hydrate.chosen.disk);
    let (counters, painter) = context.progress(&label, hydrate.json);
    let (progress, before) = (&*counters, before.as_ref());
    let work = Work { hydrate, session, found: &found, context, progress, before };
    let done = work.run(view.as_ref());
    painter.finish(done.is_ok());
    let (moved, hydrated) = done?;
    let nanos = context.machine.clock.monotonic_nanos().saturating_sub(began);
    if hydrate.follow.is_none() || moved != Moved::There {
        say(hydrate, &found, (moved, &hydrated), before, Duration::from_nanos(nanos))?;
    }
    Ok(ending(hydrate, &hydrated))
}

fn role(starts: Option<Starts>) -> Role {
    match starts {
        None => Role::Data,
        Some(Starts::Uefi) => Role::System(Generation::Two),
        Some(Starts::Bios) => Role::System(Generation::One),
    }
}

struct Work<'a> {
    hydrate: &'a Hydrate,
    session: &'a Session,
    found: &'a Found,
    context: &'a Context,
    progress: &'a dyn Progress,
    before: Option<&'a Before>,
}

impl Work<'_> {
    fn run(&self, view: Option<&ChainView>) -> Result<(Moved, Hydrated), Error> {
        let disk = self.found.disk(&self.hydrate.chosen.disk)?;
        let (server, upkeep) = (self.found.server, &self.found.upkeep);
        let frames = FrameReader::new(&self.session.access(), server, upkeep, CACHE_BYTES)?;
        let point = self.found.point();
        let source = Source { frames: &frames, disk, point: point.id, time: point.started };
        match (&self.hydrate.to, view) {
            (Sink::Signed(signed), _) => {
                let pages = signed.open(&self.context.machine)?;
                let done = fill(&source, None, &pages, &self.how(), self.progress)?;
                Ok((Moved::Whole, done))
            }
            (Sink::Seed(seed), Some(view)) => {
                let blob = seed.open(whole(disk.bytes), &self.context.machine)?;
                let stops = stops(view, &self.hydrate.chosen.disk);
                let line = Line { frames: &frames, stops: &stops };
                let _held = Held::take(&blob)?;
                let pages: Arc<dyn Pages> = blob;
                line.bring(&pages, point.id, &self.how(), self.progress)
            }
            (Sink::Vhd(path), _) => Ok((Moved::Whole, self.local(&source, path, true)?)),
            (Sink::Plain(path), _) => Ok((Moved::Whole, self.local(&source, path, false)?)),
            (Sink::Seed(_), None) => Err(Error::misuse("seed", "has no points to follow")),
        }
    }

    /// Onto a file or a device.
    fn local(&self, source: &Source<'_>, to: &Path, vhd: bool) -> Result<Hydrated, Error> {
        let bytes = if vhd { whole(source.disk.bytes) } else { source.disk.bytes };
        let target = Target::open(to, self.hydrate.confirm.as_deref(), bytes)?;
        let options = Options { compare: target.compare(), room: target.room(), ..self.options() };
        let name = to.display().to_string();
        let done = target.disk().and_then(|mut disk| {
            let about = |error: hal::disk::DiskError| Error::from(error).on(&name);
            if vhd && disk.geometry().map_err(about)?.bytes != bytes {
                return Err(Error::misuse(&name, "is there already, and not as long as the VHD")
                    .remedy("name a new file"));
            }
            let hand = disk.another().map_err(about)?;
            let frames = source.frames;
            let done = restore_disk(frames, source.disk, hand, &name, &options, self.progress)?;
            if let Some(before) = self.before {
                before.lay_over(&source.disk.name, &mut disk, &name)?;
            }
            if vhd {
                close(&mut disk, source, &name)?;
            }
            Ok(done)
        });
        match done {
            Ok(restored) => {
                target.finish()?;
                Ok(Hydrated { restored, ..Hydrated::default() })
            }
            Err(error) => Err(target.give_up(error)),
        }
    }

    fn options(&self) -> Options {
        Options {
            workers: self.session.place().readers(),
            compare: false,
            accept_unread: self.hydrate.accept_unread,
            room: None,
            stop: Arc::clone(&self.context.stop),
        }
    }

    fn how(&self) -> How {
        How {
            workers: self.session.place().readers(),
            accept_unread: self.hydrate.accept_unread,
            overwrite: self.hydrate.overwrite,
            stop: Arc::clone(&self.context.stop),
            ..How::new(self.hydrate.to.shown())
        }
    }
}

fn say(
    hydrate: &Hydrate,
    found: &Found,
    (moved, done): (Moved, &Hydrated),
    before: Option<&Before>,
    took: Duration,
) -> Result<(), Error> {
    let point = found.point();
    let (restored, sent) = (&done.restored, &done.sent);
    let local = path_of(&hydrate.to).is_some();
    let sent_bytes = if local { restored.written_bytes } else { sent.put_bytes };
    if hydrate.json {
        return print_json(&Answer {
            server: &hydrate.chosen.server,
            point: point.id.to_string(),
            disk: &hydrate.chosen.disk,
            to: hydrate.to.shown(),
            disk_bytes: found.disk(&hydrate.chosen.disk)?.bytes,
            written_bytes: restored.written_bytes,
            fetched_bytes: restored.fetched_bytes,
            sent_bytes,
            kept_bytes: sent.kept_bytes,
            resumed: done.resumed,
            from_point: match moved {
                Moved::From(point) => Some(point.to_string()),
                Moved::There => Some(point.id.to_string()),
                Moved::Whole => None,
            },
            unread_blocks: restored.unread_blocks,
            took_millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            taken_back: before.map(|before| before.taken().collect()).unwrap_or_default(),
            left: before.map(|before| before.left().collect()).unwrap_or_default(),
        });
    }
    let how = match moved {
        Moved::There => " (it was there already)".to_owned(),
        Moved::From(from) => format!(" (from point {from}, by what differs)"),
        Moved::Whole if done.resumed => {
            format!(" (an earlier run had sent {})", Size(sent.kept_bytes))
        }
        Moved::Whole => String::new(),
    };
    print(&format!(
        "{} of {} as it was at {} (point {}) is {}{how}: {} sent, {} fetched, {}.\n",
        hydrate.chosen.disk,
        hydrate.chosen.server,
        Utc(point.started),
        point.id,
        hydrate.to.shown(),
        Size(sent_bytes),
        Size(restored.fetched_bytes),
        Span(took),
    ))?;
    before.map_or(Ok(()), |before| print(&before.words()))
}

fn ending(hydrate: &Hydrate, done: &Hydrated) -> Outcome {
    match done.restored.unread_blocks {
        0 => Outcome::Done,
        unread => Outcome::Incomplete(format!(
            "{}: {unread} blocks are missing that could not be read when the point was made",
            hydrate.to.shown()
        )),
    }
}

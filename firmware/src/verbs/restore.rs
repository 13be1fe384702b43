//! `restore`: a disk of a point onto a file or a device.

use core::time::Duration;
use std::sync::Arc;

use hal::time::Clock;
use pipeline_vault::Error;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::points::ChainView;
use pipeline_vault::record::Manifest;
use pipeline_vault::restore::{Ahead, Options, Restored, prepare, restore_disk, restore_prepared};
use pipeline_vault::writer::Progress;
use serde::Serialize;

use crate::as_before::{Before, Choice};
use crate::cli::Restore;
use crate::report::{Ending, Outcome, Size, Span, Utc, print, print_json};
use crate::session::Session;
use crate::target::Target;
use crate::verbs::Context;
use crate::verbs::choose::{
    Found, choose, choose_ahead, choose_on_secondary, reader, tell_unpinned,
};

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
    same_blocks: u64,
    unread_blocks: u64,
    took_millis: u64,
    taken_back: Vec<&'a str>,
    left: Vec<&'a str>,
}

pub(super) fn run(restore: &Restore, context: &Context) -> Ending {
    let machine = &context.machine;
    let opening = &restore.opening;
    let (mut session, found, ahead) = if restore.secondary {
        let mut session = Session::open_secondary(opening, machine)?;
        let found = choose_on_secondary(&mut session, &restore.chosen)?;
        (session, found, None)
    } else {
        let mut session = Session::open_to_restore(opening, machine)?;
        if session.has_ticket() {
            let found = choose(&mut session, &restore.chosen)?;
            (session, found, None)
        } else {
            let (found, view, ahead) = choose_ahead(&mut session, &restore.chosen)?;
            (session, found, Some((view, ahead)))
        }
    };
    let disk = found.disk(&restore.chosen.disk)?;
    let target = Target::open(&restore.to, restore.confirm.as_deref(), disk.bytes)?;
    let options = Options {
        workers: session.place().readers(),
        compare: target.compare(),
        accept_unread: restore.accept_unread,
        room: target.room(),
        stop: Arc::clone(&context.stop),
    };
    let began = machine.clock.monotonic_nanos();
    let before = match as_before(restore, &mut session, &found, ahead.as_ref(), &target) {
        Ok(before) => before,
        Err(error) => return Err(target.give_up(error).into()),
    };
    let label = format!("restore {}", restore.chosen.disk);
    let (counters, painter) = context.progress(&label, restore.json);
    let done = bring(restore, &session, &found, ahead, &target, &options, &*counters);
    let done = done.and_then(|restored| {
        lay_over(before.as_ref(), restore, &target)?;
        Ok(restored)
    });
    painter.finish(done.is_ok());
    let restored = match done {
        Ok(restored) => {
            target.finish()?;
            restored
        }
        Err(error) => return Err(target.give_up(error).into()),
    };
    let took = took(&*machine.clock, began);
    say(restore, found.point(), &restored, before.as_ref(), took)?;
    Ok(ending(restore, &restored))
}

/// The point as it was before a failover, where that is wanted.
fn as_before(
    restore: &Restore,
    session: &mut Session,
    found: &Found,
    ahead: Option<&(ChainView, Ahead)>,
    target: &Target,
) -> Result<Option<Before>, Error> {
    let (asked, as_it_is) = (restore.as_before_failover, restore.as_it_is);
    let choice = Choice::of(asked, as_it_is, target.is_device());
    match ahead {
        Some((view, _)) => Before::of(session, found.server, (view, &found.link), choice),
        None if asked => Err(Error::misuse(
            "--as-before-failover",
            "needs the whole vault: a ticket opens one point, and a secondary may lack what it takes",
        )
        .remedy("give --key-file the recovery key, or leave it out")),
        None => Ok(None),
    }
}

fn lay_over(before: Option<&Before>, restore: &Restore, target: &Target) -> Result<(), Error> {
    let Some(before) = before else { return Ok(()) };
    let name = restore.to.display().to_string();
    before.lay_over(&restore.chosen.disk, &mut target.disk()?, &name)
}

/// Reads the map, pins the point where that is possible and not done yet, and writes what differs.
fn bring(
    restore: &Restore,
    session: &Session,
    found: &Found,
    ahead: Option<(ChainView, Ahead)>,
    target: &Target,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Restored, Error> {
    let access = session.access();
    let name = restore.to.display().to_string();
    let disk = found.disk(&restore.chosen.disk)?;
    let Some((view, ahead)) = ahead else {
        let frames = FrameReader::new(&access, found.server, &found.upkeep, CACHE_BYTES)?;
        return restore_disk(&frames, disk, target.disk()?, &name, options, progress);
    };
    let (point, who) = ((found.link.clone(), disk), (&*reader(), CACHE_BYTES));
    let mut prepared = prepare(&access, &view, ahead, point, who, options)?;
    tell_unpinned(prepared.unpinned.as_ref());
    let restored = restore_prepared(&prepared, target.disk()?, &name, options, progress);
    if let Some(pin) = prepared.pin.take() {
        pin.end_soon();
    }
    restored
}

fn took(clock: &dyn Clock, began: u64) -> Duration {
    Duration::from_nanos(clock.monotonic_nanos().saturating_sub(began))
}

fn say(
    restore: &Restore,
    point: &Manifest,
    restored: &Restored,
    before: Option<&Before>,
    took: Duration,
) -> Result<(), Error> {
    if restore.json {
        return print_json(&Answer {
            server: &restore.chosen.server,
            point: point.id.to_string(),
            disk: &restore.chosen.disk,
            to: restore.to.display().to_string(),
            disk_bytes: restored.disk_bytes,
            written_bytes: restored.written_bytes,
            fetched_bytes: restored.fetched_bytes,
            same_blocks: restored.same_blocks,
            unread_blocks: restored.unread_blocks,
            took_millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            taken_back: before.map(|before| before.taken().collect()).unwrap_or_default(),
            left: before.map(|before| before.left().collect()).unwrap_or_default(),
        });
    }
    print(&format!(
        "Restored {} of {} as it was at {} (point {}) to {}: {} written, {} fetched, {}.\n",
        restore.chosen.disk,
        restore.chosen.server,
        Utc(point.started),
        point.id,
        restore.to.display(),
        Size(restored.written_bytes),
        Size(restored.fetched_bytes),
        Span(took),
    ))?;
    before.map_or(Ok(()), |before| print(&before.words()))
}

fn ending(restore: &Restore, restored: &Restored) -> Outcome {
    if restored.unread_blocks == 0 {
        return Outcome::Done;
    }
    Outcome::Incomplete(format!(
        "{}: {} blocks are missing that could not be read when the point was made; they are as the target had them",
        restore.to.display(),
        restored.unread_blocks
    ))
}

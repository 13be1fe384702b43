//! `protect`: one recovery point of all disks named.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use hal::disk::{Disk, Geometry};
use hal_linux::{Direct, LinuxDisk, OpenOptions, facts_of};
use pipeline::compress::Codec;
use pipeline::flow::LevelPolicy;
use pipeline::ids::PointId;
use pipeline_vault::Error;
use pipeline_vault::record::{Consistency, KnownHead};
use pipeline_vault::writer::{self, DiskJob, Options};
use serde::Serialize;

use crate::changed::{self, BlockSet};
use crate::cli::{CodecChoice, Protect};
use crate::disk_argument::{DiskArgument, refuse_duplicates};
use crate::disk_facts::{disk_error, identity, is_written_to};
use crate::report::{Ending, Failure, Outcome, Size, Span, print, print_json};
use crate::session::{Place, Session};
use crate::verbs::{Context, host_name};

/// Ranges of one disk that are handed over; more are joined with what lies between them, which is then read too.
const RANGES_MAX: usize = 1_000_000;

/// The answer as JSON.
#[derive(Serialize)]
struct Made<'a> {
    point: String,
    server: &'a str,
    disks: Vec<MadeDisk>,
    consistency: &'static str,
    read_bytes: u64,
    stored_bytes: u64,
    new_blocks: u64,
    known_blocks: u64,
    took_millis: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_millis: Option<u64>,
    unread_blocks: u64,
    unread: Vec<Unread>,
    resumed: bool,
    read_whole: Vec<String>,
}

/// A disk as JSON.
#[derive(Serialize)]
pub(super) struct MadeDisk {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// A block that could not be read, as JSON.
#[derive(Serialize)]
pub(super) struct Unread {
    pub(super) disk: String,
    pub(super) offset: u64,
}

pub(super) fn run(protect: Protect, context: &Context) -> Ending {
    refuse_duplicates(&protect.disks).map_err(Failure::Usage)?;
    // Disks first: a wrong path should not cost a talk with the cloud, or enrol a server.
    let mut opened = Vec::new();
    for disk in &protect.disks {
        opened.push(open(disk, protect.direct)?);
    }
    let sizes: BTreeMap<String, u64> =
        opened.iter().map(|disk| (disk.name.clone(), disk.bytes)).collect();
    let changed = match &protect.changed {
        Some(path) => Some(read_changed(path, &sizes)?),
        None => None,
    };
    let mut session = Session::open_to_move(&protect.opening, &context.machine)?;
    let server = session.vault()?.enrol(&protect.server)?.id;
    session.note_ring();
    // Notices a vault that was rolled back before anything is added to it.
    session.chain(server)?;
    let options = options(&protect, &opened, &mut session, context)?;
    let disks: Vec<MadeDisk> =
        opened.iter().map(|disk| MadeDisk { name: disk.name.clone(), bytes: disk.bytes }).collect();
    let jobs = opened.into_iter().map(|disk| job(disk, changed.as_ref())).collect();
    let label = format!("protect {}", protect.server);
    let (counters, painter) = context.progress(&label, protect.json);
    let access = session.access();
    let made = writer::protect(&access, server, jobs, &options, &*counters);
    painter.finish(made.is_ok());
    let made = made?;
    // What this machine has just made is what a later rollback is measured by.
    session.chain(server)?;
    say(&protect, &made, disks, options.consistency, sync_millis(&session))?;
    Ok(ending(&made))
}

/// A disk that was opened, and what is known of it.
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) disk: LinuxDisk,
    pub(super) bytes: u64,
    pub(super) sector_bytes: u32,
    pub(super) written_to: bool,
}

pub(super) fn open(argument: &DiskArgument, direct: bool) -> Result<Opened, Error> {
    let direct = if direct { Direct::Always } else { Direct::Auto };
    let options = OpenOptions { direct, ..OpenOptions::default() };
    let about = |error| disk_error(error, &argument.path);
    let mut disk = LinuxDisk::open(&argument.path, options).map_err(about)?;
    let Geometry { bytes, logical_sector_bytes: sector_bytes, .. } =
        disk.geometry().map_err(about)?;
    let facts = facts_of(&argument.path).map_err(about)?;
    let written_to = is_written_to(&facts);
    if written_to {
        log::warn!(
            "{}: is mounted for writing, so the point is not of one instant; give a snapshot for that",
            argument.path.display()
        );
    }
    let name = argument.name.clone();
    Ok(Opened { name, identity: identity(&facts), disk, bytes, sector_bytes, written_to })
}

fn job(disk: Opened, changed: Option<&BTreeMap<String, BlockSet>>) -> DiskJob<LinuxDisk> {
    let set =
        changed.map(|sets| sets.get(&disk.name).map(|set| set.ranges(disk.bytes, RANGES_MAX)));
    DiskJob {
        name: disk.name,
        identity: disk.identity,
        disk: disk.disk,
        changed: set.map(Option::unwrap_or_default),
    }
}

fn read_changed(
    path: &Path,
    sizes: &BTreeMap<String, u64>,
) -> Result<BTreeMap<String, BlockSet>, Error> {
    if path == Path::new("-") {
        return changed::read(std::io::stdin().lock(), "standard input", sizes);
    }
    let name = format!("changed file {}", path.display());
    let file = File::open(path).map_err(|error| {
        Error::misuse(&name, format!("cannot be opened: {error}")).remedy(
            "give a file with lines DISK OFFSET LENGTH, or leave --changed out to read everything",
        )
    })?;
    changed::read(BufReader::new(file), &name, sizes)
}

fn options(
    protect: &Protect,
    opened: &[Opened],
    session: &mut Session,
    context: &Context,
) -> Result<Options, Error> {
    let defaults = Options::default();
    let fuzzy = opened.iter().any(|disk| disk.written_to);
    let heads = session.known().map(|known| known.heads().to_vec()).unwrap_or_default();
    Ok(Options {
        consistency: if fuzzy { Consistency::Fuzzy } else { Consistency::Crash },
        codec: match protect.codec {
            CodecChoice::Zstd => Codec::Zstd,
            CodecChoice::Deflate => Codec::Deflate,
            CodecChoice::None => Codec::Stored,
        },
        levels: protect.level.map_or(defaults.levels, LevelPolicy::Fixed),
        workers: protect.workers.map_or(defaults.workers, usize::from),
        host: format!("{} {}", host_name(), std::process::id()),
        heads: heads.iter().map(KnownHead::from).collect(),
        ring_version: session.vault()?.ring().version(),
        stop: Arc::clone(&context.stop),
        ..defaults
    })
}

fn say(
    protect: &Protect,
    made: &writer::Outcome,
    disks: Vec<MadeDisk>,
    consistency: Consistency,
    sync_millis: Option<u64>,
) -> Result<(), Error> {
    let work = &made.work;
    if protect.json {
        let unread =
            |(disk, offset): &(String, u64)| Unread { disk: disk.clone(), offset: *offset };
        return print_json(&Made {
            point: made.id.to_string(),
            server: &protect.server,
            disks,
            consistency: if consistency == Consistency::Fuzzy { "fuzzy" } else { "crash" },
            read_bytes: work.read_bytes,
            stored_bytes: work.stored_bytes,
            new_blocks: work.new_blocks,
            known_blocks: work.known_blocks,
            took_millis: work.took_millis,
            sync_millis,
            unread_blocks: made.unread_blocks,
            unread: made.unread.iter().map(unread).collect(),
            resumed: made.resumed,
            read_whole: made.read_whole.clone(),
        });
    }
    for name in &made.read_whole {
        log::warn!("disk {name}: there is no point of this very disk yet, so it was read whole");
    }
    let resumed = if made.resumed { ", resumed" } else { "" };
    print(&format!(
        "Made recovery point {} of {}: {} read, {} stored, {}{resumed}.\n",
        made.id,
        protect.server,
        Size(work.read_bytes),
        Size(work.stored_bytes),
        Span(core::time::Duration::from_millis(work.took_millis)),
    ))
}

/// How long threads of this run waited, in sum, for a folder's medium; a cloud does not tell.
fn sync_millis(session: &Session) -> Option<u64> {
    match session.place() {
        Place::Directory(store) => Some(store.sync_nanos() / 1_000_000),
        Place::Azure(_) => None,
    }
}

fn ending(made: &writer::Outcome) -> Outcome {
    incomplete(made.id, made.unread_blocks, made.unread.first().cloned())
}

/// How it ends where so many blocks could not be read, the first of them at this byte of this disk.
pub(super) fn incomplete(point: PointId, blocks: u64, first: Option<(String, u64)>) -> Outcome {
    if blocks == 0 {
        return Outcome::Done;
    }
    let first = first.map(|(disk, offset)| format!("; the first is byte {offset} of {disk}"));
    Outcome::Incomplete(format!(
        "point {point}: {blocks} blocks could not be read and are missing from it{}; check the disk and its cables",
        first.unwrap_or_default()
    ))
}

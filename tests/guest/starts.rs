//! One start of the machine after another, played by one process: the initial RAM disk, the running system with its agent,
//! and the end. The replica is on a disk of its own, and outlives them all.
//!
//! Where what was saved may not be believed, the replica is made as if it had been, and the host says what that loses:
//! where it is nothing, the reason not to believe it was none.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::thread;

use core::time::Duration;

use hal_linux::freeze::StillHandle;
use pipeline::ids::ServerId;
use pipeline_agent::blocks::BlockSet;
use pipeline_agent::devices::{Leaf, leaves};
use pipeline_agent::reboot::{self, saved::Saved};
use pipeline_agent::state::{Enrolment, State};
use pipeline_agent::tracker::{KernelTracker, Options, Tracker as _, attach};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::campaign::judge;
use crate::replica::Replica;
use crate::work::Work;
use crate::{Answer, Host, say};

const AT: &str = "/mnt";
const FOLDER: &str = "/mnt/agent";
const SERVER: ServerId = ServerId([7; 16]);
/// How long is written.
const WHILE: Duration = Duration::from_millis(1500);
const WRITERS: &str = "bdcs";
/// Another word at each reading.
const UUID: &str = "/proc/sys/kernel/random/uuid";
const FRESH_BYTES: usize = 4 << 20;

/// One start. `begin`: `first`, when nothing is replicated yet; `early`, the tracker begins before anything is mounted; or
/// `late`, behind the first writes. `end`: `still`, marks are saved when nothing takes writes any more; or `soon`, before
/// the last of them.
pub(crate) fn run(begin: &str, end: &str, host: &mut Host) -> Answer {
    let options = Options::default();
    if begin != "late" {
        said("began", &reboot::begin(&options)?);
    }
    set_mount()?;
    if begin == "late" {
        fresh("before")?;
        said("began", &reboot::begin(&options)?);
    }
    let mut replicas = vec![Replica::of("data0")?];
    // The disk of the replica is tracked too, as any other.
    let leaves = leaves();
    if leaves.first() != Some(&replicas[0].leaf) {
        return Err("the disk is not the first".to_owned());
    }
    let mut attached = attach(&leaves, &options)?;
    let state = State::at(FOLDER);
    state.remember(&enrolment())?;
    let believed = believed_blocks(&attached.tracker, &leaves, &state)?;
    said("words", &reboot::go_on(&mut attached, &leaves, &state, SERVER));
    let mut tracker = attached.tracker;
    let goes_on = tracker.is_whole(0);
    if begin == "first" {
        replicas[0].copy_all()?;
    } else if !goes_on {
        // As if it did.
        replicas[0].copy(&believed)?;
    }
    write()?;
    hold_against(goes_on, begin, &mut tracker, &mut replicas, host)?;
    let epoch = tracker.last_cut() + 1;
    tracker.cut(epoch);
    tracker.vaulted(epoch);
    tracker.set_whole(0, true);
    tracker.ended();
    drop(tracker);
    write()?;
    if end == "soon" {
        save(&state, &options)?;
        mount_remount(AT, MountFlags::empty(), "").map_err(|error| error.to_string())?;
        fresh("behind")?;
        return unmount(AT, UnmountFlags::empty()).map_err(|error| error.to_string());
    }
    save(&state, &options)
}

/// Everything that is marked goes to the replica under a freeze, and the host looks.
fn hold_against(
    goes_on: bool,
    begin: &str,
    tracker: &mut KernelTracker,
    replicas: &mut [Replica],
    host: &mut Host,
) -> Answer {
    let still = StillHandle::open(Path::new(AT)).map_err(|error| error.to_string())?;
    still.freeze().map_err(|refusal| format!("freezing: {refusal:?}"))?;
    let mut frozen = || {
        let mut blocks = replicas[0].set();
        tracker.held(0, &mut blocks);
        tracker.take(0, &mut blocks)?;
        replicas[0].copy(&blocks)?;
        let audit = tracker.audit();
        say(
            "ready",
            &[
                ("on", &goes_on),
                ("begin", &begin),
                ("blocks", &blocks.count()),
                ("incomplete", &audit.incomplete.len()),
            ],
        );
        judge(tracker, replicas, host)
    };
    let answer = frozen();
    still.thaw().map_err(|error| error.to_string())?;
    answer
}

/// What was saved, whether or not it may be believed.
fn believed_blocks(
    tracker: &KernelTracker,
    leaves: &[Leaf],
    state: &State,
) -> Result<BlockSet, String> {
    let Some(bytes) = reboot::place_in(state).read()? else { return Ok(BlockSet::new(0)) };
    let saved = Saved::parse(&bytes)?;
    let mut now = reboot::now(tracker, leaves, SERVER);
    for (disk, was) in now.disks.iter_mut().zip(&saved.disks) {
        disk.face = Some(was.face());
    }
    saved.verdict(&now, 0).map(|(blocks, _)| blocks)
}

fn set_mount() -> Answer {
    let node = crate::replica::disk_of("data0")?.path;
    let mounted = mount(&node, AT, "ext4", MountFlags::empty(), None);
    mounted.map_err(|error| format!("mounting {}: {error}", node.display()))?;
    fs::create_dir_all(FOLDER).map_err(|error| error.to_string())
}

fn write() -> Answer {
    let uuid = fs::read_to_string(UUID).map_err(|error| error.to_string())?;
    let seed =
        uuid.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let work = Work::start(AT, WRITERS, seed)?;
    thread::sleep(WHILE);
    work.finish().map(drop)
}

/// A file where nothing was written before.
fn fresh(name: &str) -> Answer {
    let on = |error: std::io::Error| format!("{name}: {error}");
    let content = name.repeat(FRESH_BYTES / name.len());
    let mut file = File::create(Path::new(AT).join(name)).map_err(on)?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(on)
}

/// As at the end of a system: what is mounted takes no writes any more.
fn save(state: &State, options: &Options) -> Answer {
    let remounted = mount_remount(AT, MountFlags::RDONLY, "");
    remounted.map_err(|error| format!("mounting for reading only: {error}"))?;
    said("saved", &reboot::save(state, options)?);
    Ok(())
}

fn said(event: &str, words: &[String]) {
    say(event, &[("words", &words.join("; "))]);
}

fn enrolment() -> Enrolment {
    Enrolment {
        server: SERVER,
        name: "guest".to_owned(),
        addresses: Vec::new(),
        authority: Vec::new(),
        certificate: Vec::new(),
        key: Vec::new(),
    }
}

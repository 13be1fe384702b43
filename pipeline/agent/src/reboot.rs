//! An ordinary start of the machine costs no compare: what is marked when everything is still goes over to the next start,
//! in which all is tracked from the first write on.
//!
//! | when | what |
//! | --- | --- |
//! | in the initial RAM disk | [`begin`]: the tracker begins, and the [`face`] of each disk that was not written to yet is noted |
//! | the agent begins | [`go_on`]: the marks that were saved are judged, made void, and held anew where nothing is in doubt |
//! | the agent ends | what it alone knew is held in the kernel, and that it ended in order |
//! | everything is unmounted | [`save`]: the marks go to their place past the file system, which takes no writes any more |
//!
//! Whatever cannot be made certain leads to a compare. Nothing here ends, stops or delays a start or an end of the machine.

use core::ops::Range;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use pipeline::ids::ServerId;
use rustix::fs::sync;

use crate::binding;
use crate::blocks::BlockSet;
use crate::devices::{self, Leaf};
use crate::state::State;
use crate::swap;
use crate::tracker::{Attached, KernelTracker, Options, Tracker as _, attach};

/// Work that is given up when it takes too long.
pub mod bounded;
/// What a stranger who writes to a disk changes.
pub mod face;
/// What makes the machine call this, and how it is taken away again.
pub mod install;
/// Where marks are saved.
pub mod place;
/// Whether nothing writes any more.
mod quiet;
/// What is saved, and whether it may be believed.
pub mod saved;

use place::Place;
use saved::{Now, Saved, SavedDisk};

/// Tells which start of the machine this is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// GRUB's memory, which it writes to in its place. Where it is on another file system than the root's, all of that is sent
/// again: see `face`.
const LOADERS_FILES: [&str; 2] = ["boot/grub/grubenv", "boot/grub2/grubenv"];

/// All disks are tracked from now on, by programs that outlive this one. What was said of each disk.
///
/// # Errors
/// Why nothing is tracked; the agent will compare.
pub fn begin(options: &Options) -> Result<Vec<String>, String> {
    let leaves = devices::leaves();
    if leaves.is_empty() {
        return Err("there are no disks yet".to_owned());
    }
    let mut attached = attach(&leaves, options)?;
    let mut words = attached.remarks;
    words.extend(note_faces(&mut attached.tracker, &leaves));
    Ok(words)
}

/// Notes the face of every disk that was never written to; of the others it says why not.
fn note_faces(tracker: &mut KernelTracker, leaves: &[Leaf]) -> Vec<String> {
    let mut words = Vec::new();
    for (disk, leaf) in leaves.iter().enumerate().filter(|(_, leaf)| leaf.untracked.is_none()) {
        if tracker.face(disk).is_some() {
            continue;
        }
        let name = &leaf.name;
        words.push(match face::of_leaf(leaf) {
            Ok(face) if tracker.note_face(disk, &face.digest) => {
                format!("{name}: changes are noted from the first write on")
            }
            Ok(_) => format!("{name}: it was written to before changes were noted"),
            Err(why) => format!("{name}: {why}"),
        });
    }
    words
}

/// Has marks go on where the last start of the machine ended, as far as that is certain; in words for people. What was
/// saved is void from now on, whatever becomes of it.
pub fn go_on(
    Attached { tracker, continued, .. }: &mut Attached,
    leaves: &[Leaf],
    state: &State,
    server: ServerId,
) -> Vec<String> {
    let mut words = note_faces(tracker, leaves);
    words.retain(|words| words.ends_with("on"));
    let place = place_in(state);
    let found = place.read().and_then(|bytes| bytes.map(|bytes| Saved::parse(&bytes)).transpose());
    tracker.begun();
    let bytes = saved::bytes_for(leaves.iter().map(|leaf| leaf.bytes));
    let newest = found.as_ref().ok().and_then(|saved| saved.as_ref()?.newest(server));
    if let Err(why) = remember_made(state, newest).and_then(|()| place.prepare(bytes)) {
        // What is not void could be believed twice.
        words.push(format!("{why}: what was noted before the machine started is not used"));
        return words;
    }
    let saved = match found {
        Ok(Some(saved)) => saved,
        Ok(None) => return words,
        Err(why) => {
            words.push(format!("what was noted before the machine started is void: {why}"));
            return words;
        }
    };
    let now = now(tracker, leaves, server);
    for (disk, leaf) in leaves.iter().enumerate() {
        let went = saved.verdict(&now, disk).and_then(|(blocks, epoch)| {
            tracker.go_on_from(disk, &blocks, epoch)?;
            Ok(blocks.count())
        });
        let name = &leaf.name;
        words.push(match went {
            Ok(blocks) => {
                continued.iter_mut().skip(disk).take(1).for_each(|one| *one = true);
                format!("{name}: {blocks} blocks go on from before the machine started")
            }
            Err(why) => format!("{name}: {why}"),
        });
    }
    words
}

/// Cuts of this start and of all later ones have other numbers than those before what was saved: so it shows when the vault has
/// anything newer than that.
fn remember_made(state: &State, newest: Option<u64>) -> Result<(), String> {
    match newest {
        // What cannot be read was less: numbers only grow.
        Some(newest) if newest > state.made().unwrap_or(0) => state.note_made(newest),
        _ => Ok(()),
    }
}

/// Saves what is marked and held, once nothing is written any more.
///
/// # Errors
/// Nothing is saved, and why: after the next start everything is compared.
pub fn save(state: &State, options: &Options) -> Result<Vec<String>, String> {
    // What is dirty anywhere is on its way before anything is looked at.
    sync();
    let enrolment = state.enrolment()?.ok_or("this server is not enrolled")?;
    let leaves = devices::leaves();
    let tracker = KernelTracker::take_up(&leaves, &options.pins)?;
    if !tracker.has_ended() {
        return Err("the agent did not end in order".to_owned());
    }
    let place = place_in(state).open()?;
    let home = home_of(&place, &leaves)?;
    // Written once as it is: from now on these blocks are marked, whatever lies between here and the disk.
    place.rewrite()?;
    let mut words = Vec::new();
    let mut disks = Vec::new();
    let mut sets = Vec::new();
    let loaders = loaders_parts(Path::new("/"), &leaves)?;
    for (disk, leaf) in leaves.iter().enumerate() {
        let loaders = loaders.iter().filter(|(at, _, _)| *at == disk);
        let loaders: Vec<Range<u64>> =
            loaders.map(|(_, start, bytes)| *start..start + bytes).collect();
        match saved_disk(&tracker, disk, leaf, &loaders) {
            Ok((saved, blocks)) => {
                disks.push(saved);
                sets.push((disk, blocks));
            }
            Err(why) if leaf.name == home => return Err(format!("{home}: {why}")),
            Err(why) => words.push(format!("{}: {why}", leaf.name)),
        }
    }
    let identity = leaves.iter().find(|leaf| leaf.name == home).map(|leaf| leaf.identity.clone());
    let saved = Saved {
        server: enrolment.server,
        machine: machine(&leaves),
        boot: boot(),
        home: identity.unwrap_or_default(),
        disks,
    };
    let bytes = saved.to_bytes()?;
    let is_still = || still_is(&tracker, &leaves, &sets);
    place.write(&bytes, &is_still)?;
    words.extend(sets.iter().map(|(disk, blocks)| {
        format!("{}: {} blocks are for the next start", leaves[*disk].name, blocks.count())
    }));
    Ok(words)
}

/// Where marks are saved.
#[must_use]
pub fn place_in(state: &State) -> Place {
    Place::at(state.folder().join("marks"))
}

/// What saved marks are held against.
#[must_use]
pub fn now(tracker: &KernelTracker, leaves: &[Leaf], server: ServerId) -> Now {
    let disks = leaves.iter().enumerate().map(|(disk, leaf)| saved::Disk {
        identity: leaf.identity.clone(),
        bytes: leaf.bytes,
        face: tracker.face(disk),
    });
    Now { server, machine: machine(leaves), boot: boot(), disks: disks.collect() }
}

fn machine(leaves: &[Leaf]) -> [u8; 16] {
    let identities = leaves.iter().map(|leaf| leaf.identity.as_str());
    binding::of_machine(Path::new("/"), identities).machine
}

fn boot() -> String {
    fs::read_to_string(BOOT).unwrap_or_default().trim().to_owned()
}

/// The disk that the place lies on, by name.
fn home_of(place: &place::Open, leaves: &[Leaf]) -> Result<String, String> {
    match devices::leaves_of(place.device()).as_slice() {
        [one] if leaves.iter().any(|leaf| leaf.name == *one) => Ok(one.clone()),
        _ => Err("the folder of what is remembered does not lie on one protected disk".to_owned()),
    }
}

/// Where files lie that a loader writes to before any kernel runs, past their file system.
fn loaders_parts(root: &Path, leaves: &[Leaf]) -> Result<Vec<swap::Part>, String> {
    let mut parts = Vec::new();
    for path in LOADERS_FILES.map(|path| root.join(path)) {
        let Ok(found) = fs::metadata(&path) else { continue };
        let found = swap::file_parts(&path, found.dev(), leaves);
        parts.extend(found.ok_or_else(|| format!("where {} lies is not sure", path.display()))?);
    }
    Ok(parts)
}

fn saved_disk(
    tracker: &KernelTracker,
    disk: usize,
    leaf: &Leaf,
    loaders: &[Range<u64>],
) -> Result<(SavedDisk, BlockSet), String> {
    quiet::check(leaf)?;
    if !tracker.is_whole(disk) {
        return Err("not everything of it was sent".to_owned());
    }
    let face = face::of_leaf(leaf)?;
    let mut blocks = BlockSet::new(tracker.blocks(disk));
    tracker.look(disk, &mut blocks)?;
    face.again.iter().chain(loaders).for_each(|range| {
        blocks.insert_range(range.start / face::BLOCK_BYTES, range.end.div_ceil(face::BLOCK_BYTES));
    });
    if let Some(why) = tracker.missed(disk) {
        return Err(why);
    }
    let epoch = tracker.goes_on_from(disk).unwrap_or_else(|| tracker.last_cut());
    let saved = SavedDisk::new(leaf.identity.clone(), leaf.bytes, face.digest, epoch, &blocks);
    Ok((saved, blocks))
}

/// Whether nothing is marked that is not in these sets, and no write was missed.
fn still_is(
    tracker: &KernelTracker,
    leaves: &[Leaf],
    sets: &[(usize, BlockSet)],
) -> Result<(), String> {
    for (disk, saved) in sets {
        let leaf = &leaves[*disk];
        quiet::check(leaf)?;
        let mut blocks = BlockSet::new(saved.size());
        tracker.look(*disk, &mut blocks)?;
        blocks.subtract(saved);
        if !blocks.is_empty() {
            return Err(format!("{} is still written to", leaf.name));
        }
        if let Some(why) = tracker.missed(*disk) {
            return Err(why);
        }
    }
    Ok(())
}

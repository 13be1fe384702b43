//! The maps that programs and agent share, and their names in bpffs, under which they and the programs outlive it.
//!
//! Each set of maps has a folder of its own, numbered: a new set is whole before the old one goes, so a kill at any
//! moment leaves one that is whole.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use core::sync::atomic::Ordering;

use hal_linux::bpf::{self, Errno, Link, Map, MapKind, MapShape, Program, SharedWords, pin};

use super::layout::{COPIES, PAGE_BYTES, Place, slot};
use super::program::{Descriptors, SEEN};

/// Numbers of paths that may be learned, beside those of the disks.
const PATHS_MAX: u32 = 1024;

/// The maps.
#[derive(Debug)]
pub(super) struct Maps {
    pub(super) marks: SharedWords,
    pub(super) slots: SharedWords,
    pub(super) disks: Map,
    marks_map: Map,
    slots_map: Map,
    seen: Map,
    held: Map,
}

/// How large they must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) disks: u32,
    pub(super) mark_bytes: u64,
    pub(super) held_words: u64,
}

/// What programs counted for a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) writes: u64,
    pub(super) sectors: u64,
    pub(super) beyond: u64,
    pub(super) lost: u64,
    pub(super) passthrough: u64,
    pub(super) ranges: u64,
    pub(super) sectors_of: [u64; COPIES as usize],
}

impl Maps {
    /// New ones, all zeros.
    pub(super) fn create(sizes: Sizes) -> Result<Self, String> {
        let pages = |bytes: u64| {
            let count = bytes.div_ceil(u64::from(PAGE_BYTES)).max(1);
            u32::try_from(count).map_err(|_| too_large())
        };
        let array = |value_bytes, entries, mappable| MapShape {
            kind: MapKind::Array,
            key_bytes: 4,
            value_bytes,
            entries,
            mappable,
        };
        let disks = MapShape {
            kind: MapKind::Hash,
            ..array(4, sizes.disks.saturating_add(PATHS_MAX), false)
        };
        let seen =
            MapShape { kind: MapKind::ArrayOfProcessor, ..array(u32::from(SEEN) * 8, 1, false) };
        let held_bytes = sizes.held_words.checked_mul(8).ok_or_else(too_large)?;
        Self::of(
            make(array(PAGE_BYTES, pages(sizes.mark_bytes)?, true), "marks")?,
            make(array(u32::from(slot::BYTES), sizes.disks.max(1), true), "slots")?,
            make(disks, "disks")?,
            make(seen, "seen")?,
            make(array(PAGE_BYTES, pages(held_bytes)?, true), "held")?,
        )
    }

    /// Those of a folder.
    pub(super) fn pinned(folder: &Path) -> Result<Self, String> {
        let map = |name: &str| {
            Map::pinned(&folder.join(name)).map_err(|errno| said(&format!("the map {name}"), errno))
        };
        Self::of(map("marks")?, map("slots")?, map("disks")?, map("seen")?, map("held")?)
    }

    fn of(marks: Map, slots: Map, disks: Map, seen: Map, held: Map) -> Result<Self, String> {
        let words = |map: &Map| map.words().map_err(|errno| said("a map in memory", errno));
        let (key, value) = (disks.shape().key_bytes, disks.shape().value_bytes);
        if (key, value, slots.shape().value_bytes) != (4, 4, u32::from(slot::BYTES)) {
            return Err("maps of another version of the agent".into());
        }
        Ok(Self {
            marks: words(&marks)?,
            slots: words(&slots)?,
            disks,
            marks_map: marks,
            slots_map: slots,
            seen,
            held,
        })
    }

    pub(super) fn held_words(&self) -> Result<SharedWords, String> {
        self.held.words().map_err(|errno| said("a map in memory", errno))
    }

    /// Programs that are loaded with these use the maps.
    pub(super) fn descriptors(&self) -> Descriptors {
        let of = |map: &Map| map.as_fd().as_raw_fd();
        Descriptors {
            marks: of(&self.marks_map),
            slots: of(&self.slots_map),
            disks: of(&self.disks),
            seen: of(&self.seen),
        }
    }

    /// Tells a slot which disk it is of.
    pub(super) fn set_slot(&self, at: usize, place: &Place) {
        self.put(at, slot::BLOCKS, place.blocks);
        for (level, start) in (0..).zip(place.levels) {
            self.put(at, slot::LEVEL + 8 * level, start);
        }
    }

    /// From now on writes of the disk with this number are marked.
    pub(super) fn set_disk(&self, key: u32, at: usize) -> Result<(), String> {
        let at = u32::try_from(at).map_err(|_| too_large())?;
        let set = self.disks.set(&key.to_ne_bytes(), &at.to_ne_bytes());
        set.map_err(|errno| said("naming a disk to the programs", errno))
    }

    /// Numbers that lead to a slot: the disk's own, and those learned of its paths.
    pub(super) fn keys_of(&self, at: usize) -> Vec<u32> {
        let mut found = Vec::new();
        for key in self.disks.keys().unwrap_or_default() {
            let mut value = [0; 4];
            let known = self.disks.value(&key, &mut value) == Ok(true);
            if known && usize::try_from(u32::from_ne_bytes(value)) == Ok(at) {
                found.extend(key.try_into().ok().map(u32::from_ne_bytes));
            }
        }
        found
    }

    pub(super) fn counters(&self, at: usize) -> Counters {
        let word = |field: u8| self.word(at, field);
        let mut sectors_of = [0; COPIES as usize];
        for (copy, sectors) in (0..).zip(&mut sectors_of) {
            *sectors = word(slot::SECTORS_OF + 8 * copy);
        }
        Counters {
            writes: word(slot::WRITES),
            sectors: word(slot::SECTORS),
            beyond: word(slot::BEYOND),
            lost: word(slot::LOST),
            passthrough: word(slot::PASSTHROUGH),
            ranges: word(slot::RANGES),
            sectors_of,
        }
    }

    fn word(&self, at: usize, field: u8) -> u64 {
        let index = (at * usize::from(slot::BYTES) + usize::from(field)) / 8;
        self.slots.get(index).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    fn put(&self, at: usize, field: u8, value: u64) {
        let index = (at * usize::from(slot::BYTES) + usize::from(field)) / 8;
        if let Some(word) = self.slots.get(index) {
            word.store(value, Ordering::SeqCst);
        }
    }

    /// Gives everything its name in a folder of its own.
    pub(super) fn pin(
        &self,
        folder: &Path,
        programs: &[Program],
        links: &[Link],
    ) -> Result<(), String> {
        let made = fs::create_dir_all(folder);
        made.map_err(|error| format!("making {}: {error}", folder.display()))?;
        let named = |answer: Result<(), Errno>| {
            answer.map_err(|errno| said(&format!("a name in {}", folder.display()), errno))
        };
        let maps = [
            ("marks", &self.marks_map),
            ("slots", &self.slots_map),
            ("disks", &self.disks),
            ("seen", &self.seen),
            ("held", &self.held),
        ];
        for (name, map) in maps {
            named(pin(map, &folder.join(name)))?;
        }
        for (at, program) in programs.iter().enumerate() {
            named(pin(program, &folder.join(format!("program{at}"))))?;
        }
        for (at, link) in links.iter().enumerate() {
            named(pin(link, &folder.join(format!("link{at}"))))?;
        }
        Ok(())
    }
}

/// Programs and links of a folder, in their order.
pub(super) fn pinned_programs(folder: &Path) -> Result<(Vec<Program>, Vec<Link>), String> {
    let (mut programs, mut links) = (Vec::new(), Vec::new());
    for name in bpf::names(folder) {
        let path = folder.join(&name);
        let failed = |errno| said(&format!("{name} of an earlier life"), errno);
        if name.starts_with("program") {
            programs.push(Program::pinned(&path).map_err(failed)?);
        } else if name.starts_with("link") {
            links.push(Link::pinned(&path).map_err(failed)?);
        }
    }
    if programs.is_empty() || programs.len() != links.len() {
        return Err("programs of an earlier life are missing".into());
    }
    Ok((programs, links))
}

/// Folders of sets, the newest first.
pub(super) fn sets(base: &Path) -> Vec<PathBuf> {
    let mut numbers: Vec<u64> =
        bpf::names(base).iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.iter().rev().map(|number| base.join(number.to_string())).collect()
}

/// A folder for the next set.
pub(super) fn next_set(base: &Path) -> PathBuf {
    let newest =
        sets(base).first().and_then(|path| path.file_name()?.to_str()?.parse::<u64>().ok());
    base.join(newest.map_or(1, |number| number.saturating_add(1)).to_string())
}

/// Takes the names of a set away: without a process that has it open it is gone, with programs and marks.
pub(super) fn unpin(folder: &Path) -> Result<(), String> {
    let on = |error: std::io::Error| format!("{}: {error}", folder.display());
    for name in bpf::names(folder) {
        fs::remove_file(folder.join(name)).map_err(on)?;
    }
    fs::remove_dir(folder).map_err(on)
}

pub(super) fn said(what: &str, errno: Errno) -> String {
    format!("{what}: {}", bpf::words(errno))
}

fn make(shape: MapShape, name: &str) -> Result<Map, String> {
    Map::create(shape, name).map_err(|errno| {
        let mib = (u64::from(shape.value_bytes) * u64::from(shape.entries)) >> 20;
        said(&format!("a map of {mib} MiB in the kernel for {name}"), errno)
    })
}

fn too_large() -> String {
    "the disks are larger than one map can hold marks of: protect fewer of them".into()
}

//! The tracker: programs and maps in the kernel, put there, taken over from an earlier life, enlarged, and removed.

use std::fs;
use std::path::{Path, PathBuf};

use hal_linux::bpf::{self, Link, Program, SharedWords};
use pipeline::limits::BLOCK_BYTES;

use super::btf::{Btf, VMLINUX};
use super::held::{self, DiskRecord, Held};
use super::layout::{Place, blocks_of, places};
use super::maps::{self, Maps, Sizes};
use super::places::Fields;
use super::program::{LICENSE, Making, Moment, learner, marker};
use super::{Audit, Tracker, audit, marks};
use crate::blocks::BlockSet;
use crate::devices::{Leaf, paths_of};

/// What programs counted.
mod counts;
/// What a tracker says of the start of the machine, and keeps for the next.
mod restart;

/// Where the agent's maps and programs have their names.
pub const PINS: &str = "/sys/fs/bpf/lifeboat";

/// How a tracker is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The programs: nobody but tests has a reason for another making.
    pub making: Making,
    /// The folder in bpffs of everything that outlives the agent.
    pub pins: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { making: Making::default(), pins: PINS.into() }
    }
}

/// A tracker, and what it has of the past.
#[derive(Debug)]
pub struct Attached {
    /// The tracker.
    pub tracker: KernelTracker,
    /// For each leaf, whether its marks go on without a gap from an earlier life of the agent. Where they do not,
    /// everything of the disk must be compared.
    pub continued: Vec<bool>,
    /// What a person should know.
    pub remarks: Vec<String>,
}

/// Marks of changed blocks, kept by programs of ours in the kernel.
pub struct KernelTracker {
    slots: Vec<Slot>,
    /// For each leaf its slot, or why it has none.
    leaves: Vec<Result<usize, String>>,
    maps: Maps,
    held: Held<SharedWords>,
    programs: Vec<Program>,
    /// Held for their being there: they keep the programs running.
    links: Vec<Link>,
    /// Where it all is pinned; nothing where that is not possible.
    pins: Option<PathBuf>,
    /// Sectors of each disk when this life of the agent began.
    began: Vec<u64>,
    /// What the last audit found of each slot, where it was not obeyed yet.
    found: Vec<Option<DiskRecord>>,
}

#[derive(Clone, Debug)]
struct Slot {
    name: String,
    place: Place,
    record: DiskRecord,
}

/// Whether tracking is possible on this kernel: it is tried, and nothing is left behind.
///
/// # Errors
/// Why not, and what helps.
pub fn probe() -> Result<(), String> {
    bpf::lift_memory_limit();
    let fields = fields()?;
    let sizes = Sizes { disks: 1, mark_bytes: 64, held_words: 64 };
    let maps = Maps::create(sizes).map_err(advised)?;
    load(&fields, &maps, Making { walk: false, copies: 1, ..Making::default() }, true)
        .map(drop)
        .map_err(advised)
}

/// Tracks these disks from now on. What an earlier life left in the kernel is taken over as far as it fits.
///
/// # Errors
/// Why tracking is not possible, and what helps: then all that can be done is to compare.
pub fn attach(leaves: &[Leaf], options: &Options) -> Result<Attached, String> {
    bpf::lift_memory_limit();
    let mut remarks = Vec::new();
    let mounted = bpf::mount_file_system();
    if let Err(error) = &mounted {
        remarks.push(format!(
            "{}: {error}: when the agent starts again everything must be compared; mount bpf there",
            bpf::FILE_SYSTEM
        ));
    }
    let old = earlier(&options.pins, &mut remarks);
    attach_after(old, leaves, options, mounted.is_ok(), remarks)
}

/// Takes away all that any life of the agent left in the kernel.
///
/// # Errors
/// A name cannot be removed.
pub fn remove(pins: &Path) -> Result<(), String> {
    for set in maps::sets(pins) {
        maps::unpin(&set)?;
    }
    match fs::remove_dir(pins) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", pins.display()))
        }
        _ => Ok(()),
    }
}

/// The newest whole set of an earlier life; those that are not whole are removed.
fn earlier(pins: &Path, remarks: &mut Vec<String>) -> Option<KernelTracker> {
    let mut found: Option<KernelTracker> = None;
    for set in maps::sets(pins) {
        match KernelTracker::adopt(&set) {
            Ok(old) if found.is_none() && old.held.is_whole() => found = Some(old),
            other => {
                if let Err(error) = other {
                    remarks.push(format!("what an earlier life left is of no use: {error}"));
                }
                if let Err(error) = maps::unpin(&set) {
                    remarks.push(error);
                }
            }
        }
    }
    found
}

fn attach_after(
    old: Option<KernelTracker>,
    leaves: &[Leaf],
    options: &Options,
    pins: bool,
    mut remarks: Vec<String>,
) -> Result<Attached, String> {
    let wanted = wanted(leaves);
    let tracked: Vec<&Leaf> = leaves.iter().filter(|leaf| leaf.untracked.is_none()).collect();
    if let Some(mut old) = old {
        if old.fits(&wanted) {
            old.name_leaves(leaves);
            return Ok(Attached { continued: old.tracked(), tracker: old, remarks });
        }
        let mut new = KernelTracker::make(leaves, &tracked, &wanted, options)?;
        let continued = new.continue_from(&mut old, &mut remarks)?;
        new.finish(options, pins, &mut remarks);
        if let Some(set) = &old.pins
            && let Err(error) = maps::unpin(set)
        {
            remarks.push(error);
        }
        return Ok(Attached { tracker: new, continued, remarks });
    }
    let mut new = KernelTracker::make(leaves, &tracked, &wanted, options)?;
    new.finish(options, pins, &mut remarks);
    Ok(Attached { continued: vec![false; leaves.len()], tracker: new, remarks })
}

fn fields() -> Result<Fields, String> {
    let btf = Btf::of_kernel(Path::new(VMLINUX)).map_err(|error| {
        format!(
            "this kernel does not tell its types ({error}), which is what tracking needs; a kernel with \
             CONFIG_DEBUG_INFO_BTF does: Debian 11 or newer, Ubuntu 20.10, RHEL 8.2. Until then everything is compared"
        )
    })?;
    Fields::find(&btf)
}

fn load(
    fields: &Fields,
    maps: &Maps,
    making: Making,
    learn: bool,
) -> Result<(Vec<Program>, Vec<Link>), String> {
    let descriptors = maps.descriptors();
    let tracepoint = match making.moment {
        Moment::Completion => fields.completed,
        Moment::Issue => fields.issued,
    };
    let mut codes = Vec::new();
    if learn {
        // As many of it, for the same reason: the first write on a new path is one to learn from, and there is no other.
        let code = learner(fields, descriptors.disks)?;
        let copies = (0..making.copies).map(|_| (code.clone(), fields.remapped, "lifeboat_learn"));
        codes.extend(copies);
    }
    for copy in 0..making.copies {
        codes.push((marker(fields, descriptors, making, copy)?, tracepoint, "lifeboat_mark"));
    }
    let mut programs = Vec::new();
    for (code, tracepoint, name) in &codes {
        let program = Program::load(code, *tracepoint, LICENSE, name).map_err(|rejected| {
            let words = maps::said(&format!("loading {name}"), rejected.errno);
            if rejected.log.is_empty() { words } else { format!("{words}: {}", rejected.log) }
        })?;
        programs.push(program);
    }
    // Attached only once all are there: looking them over takes seconds.
    let attach = |program: &Program| {
        program.attach().map_err(|errno| maps::said("attaching to the block layer", errno))
    };
    let links = programs.iter().map(attach).collect::<Result<_, _>>()?;
    Ok((programs, links))
}

fn advised(words: String) -> String {
    format!("tracking is not possible here: {words}. Until that is changed everything is compared")
}

/// What each tracked leaf is known by.
fn wanted(leaves: &[Leaf]) -> Vec<DiskRecord> {
    let tracked = leaves.iter().filter(|leaf| leaf.untracked.is_none());
    let record = |leaf: &Leaf| {
        let (major, minor) = leaf.number;
        let sequence = fs::read_to_string(format!("/sys/block/{}/diskseq", leaf.name));
        DiskRecord {
            key: major << 20 | minor,
            bytes: leaf.bytes,
            identity: number_of(&leaf.identity),
            sequence: sequence.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            ..DiskRecord::default()
        }
    };
    tracked.map(record).collect()
}

/// FNV-1a: tells identities apart, no more.
fn number_of(words: &str) -> u64 {
    words.bytes().fold(0xCBF2_9CE4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

fn same_disk(one: &DiskRecord, other: &DiskRecord) -> bool {
    (one.key, one.identity, one.sequence) == (other.key, other.identity, other.sequence)
}

impl KernelTracker {
    fn make(
        leaves: &[Leaf],
        tracked: &[&Leaf],
        wanted: &[DiskRecord],
        options: &Options,
    ) -> Result<Self, String> {
        let blocks: Vec<u64> = wanted.iter().map(|record| blocks_of(record.bytes)).collect();
        let (places, mark_bytes) = places(&blocks);
        let sizes = Sizes {
            disks: u32::try_from(wanted.len()).unwrap_or(u32::MAX),
            mark_bytes,
            held_words: held::words_for(&blocks),
        };
        let maps = Maps::create(sizes).map_err(advised)?;
        for (at, (record, place)) in wanted.iter().zip(&places).enumerate() {
            maps.set_slot(at, place);
            maps.set_disk(record.key, at)?;
        }
        let learn = tracked.iter().any(|leaf| !paths_of(&leaf.name).is_empty());
        let (programs, links) = load(&fields()?, &maps, options.making, learn).map_err(advised)?;
        let held = Held::begin(maps.held_words()?, wanted, blocks)?;
        let slots = tracked.iter().zip(wanted).zip(&places).map(|((leaf, record), place)| Slot {
            name: leaf.name.clone(),
            place: *place,
            record: *record,
        });
        let mut tracker = Self {
            slots: slots.collect(),
            leaves: Vec::new(),
            maps,
            held,
            programs,
            links,
            pins: None,
            began: Vec::new(),
            found: vec![None; wanted.len()],
        };
        tracker.name_leaves(leaves);
        tracker.began = tracker.sectors();
        for at in 0..tracker.slots.len() {
            let slot = &tracker.slots[at];
            let surplus = audit::baseline(&slot.name, &tracker.maps, at);
            let troubles = audit::troubles(&tracker.maps.counters(at));
            tracker.held.set_record(at, &DiskRecord { surplus, troubles, ..slot.record });
        }
        Ok(tracker)
    }

    fn adopt(set: &Path) -> Result<Self, String> {
        let maps = Maps::pinned(set)?;
        let held = Held::adopt(maps.held_words()?)?;
        let (programs, links) = maps::pinned_programs(set)?;
        let records: Vec<DiskRecord> = (0..held.disks()).map(|disk| held.record(disk)).collect();
        let blocks: Vec<u64> = records.iter().map(|record| blocks_of(record.bytes)).collect();
        let slots = records.iter().zip(places(&blocks).0).map(|(record, place)| Slot {
            name: String::new(),
            place,
            record: *record,
        });
        let slots: Vec<Slot> = slots.collect();
        let found = vec![None; slots.len()];
        let mut tracker = Self {
            slots,
            leaves: Vec::new(),
            maps,
            held,
            programs,
            links,
            pins: Some(set.to_owned()),
            began: Vec::new(),
            found,
        };
        tracker.began = tracker.sectors();
        Ok(tracker)
    }

    fn fits(&self, wanted: &[DiskRecord]) -> bool {
        let same = |(slot, wanted): (&Slot, &DiskRecord)| {
            same_disk(&slot.record, wanted) && slot.record.bytes == wanted.bytes
        };
        self.slots.len() == wanted.len()
            && self.slots.iter().zip(wanted).all(same)
            && (0..wanted.len()).all(|at| !self.maps.keys_of(at).is_empty())
    }

    fn name_leaves(&mut self, leaves: &[Leaf]) {
        let mut next = 0;
        self.leaves = Vec::new();
        for leaf in leaves {
            let place = match &leaf.untracked {
                Some(why) => Err(format!("{}: {why}", leaf.name)),
                None => {
                    if let Some(slot) = self.slots.get_mut(next) {
                        slot.name.clone_from(&leaf.name);
                    }
                    next += 1;
                    Ok(next - 1)
                }
            };
            self.leaves.push(place);
        }
    }

    fn tracked(&self) -> Vec<bool> {
        self.leaves.iter().map(Result::is_ok).collect()
    }

    /// Takes over marks and what is held of the disks that both know. Both are attached: what is written meanwhile is
    /// marked in both. A disk of which the old one may have missed something is not gone on with: the new one cannot know.
    fn continue_from(
        &mut self,
        old: &mut Self,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<bool>, String> {
        let mut continued = vec![false; self.leaves.len()];
        for (leaf, at) in self.leaves.iter().enumerate() {
            let Ok(at) = *at else { continue };
            let Some(slot) = self.slots.get(at) else { continue };
            let known = |old: &Slot| same_disk(&old.record, &slot.record);
            let Some(before) = old.slots.iter().position(known) else { continue };
            // One that was taken out is another disk now, though it looks the same.
            if old.maps.keys_of(before).is_empty() {
                continue;
            }
            let record = old.held.record(before);
            if let Some(words) = audit::at_parting(&slot.name, &old.maps, before, record) {
                remarks.push(words);
                continue;
            }
            let old_blocks = old.slots[before].place.blocks;
            let mut taken = BlockSet::new(old_blocks.max(slot.place.blocks));
            old.take_slot(before, &mut taken)?;
            taken.insert_range(old_blocks.saturating_sub(1), slot.place.blocks);
            marks::put(&self.maps.marks, &slot.place, taken.iter())?;
            self.held.continue_from(at, &old.held, before);
            continued[leaf] = true;
        }
        Ok(continued)
    }

    /// Pins it, and says that it is whole.
    fn finish(&mut self, options: &Options, pins: bool, remarks: &mut Vec<String>) {
        if pins {
            let set = maps::next_set(&options.pins);
            match self.maps.pin(&set, &self.programs, &self.links) {
                Ok(()) => self.pins = Some(set),
                Err(error) => {
                    let error =
                        format!("{error}: when the agent starts again everything must be compared");
                    remarks.push(error);
                    // What was pinned is of no use to anybody; a later life removes it where this fails.
                    let _ = maps::unpin(&set);
                }
            }
        }
        self.held.set_whole();
    }

    /// Whether marks outlive the agent.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Follows the disks as they are now: grown, new, or gone. Marks of those that stay go on without a gap, and what
    /// a disk has grown by is marked.
    ///
    /// # Errors
    /// A map is refused, and this tracker is given up: attach anew.
    pub fn follow(self, leaves: &[Leaf], options: &Options) -> Result<Attached, String> {
        let pins = self.is_pinned();
        attach_after(Some(self), leaves, options, pins, Vec::new())
    }

    /// Takes the programs off and everything away: the kernel is as it was before.
    ///
    /// # Errors
    /// A name cannot be removed.
    pub fn remove(self) -> Result<(), String> {
        let Some(set) = &self.pins else { return Ok(()) };
        maps::unpin(set)?;
        let base = set.parent().unwrap_or(set);
        match fs::remove_dir(base) {
            // Sets of somebody else are in it.
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) => Err(format!("{}: {error}", base.display())),
            Ok(()) => Ok(()),
        }
    }

    fn slot(&self, disk: usize) -> Result<usize, String> {
        match self.leaves.get(disk) {
            Some(Ok(at)) if *at < self.slots.len() => Ok(*at),
            Some(Err(why)) => Err(why.clone()),
            _ => Err(format!("disk {disk} is none of the tracked ones")),
        }
    }

    fn take_slot(&mut self, at: usize, into: &mut BlockSet) -> Result<(), String> {
        let Some(slot) = self.slots.get(at) else { return Ok(()) };
        let held = &self.held;
        let mut hold = |first, end| held.note(at, first, end);
        marks::take(&self.maps.marks, &slot.place, &mut hold, into)
    }

    fn sectors(&self) -> Vec<u64> {
        (0..self.slots.len()).map(|at| self.maps.counters(at).sectors).collect()
    }

    /// Whether a disk is larger than its marks.
    fn has_grown(&self, at: usize) -> bool {
        let Some(slot) = self.slots.get(at) else { return false };
        let units = fs::read_to_string(format!("/sys/block/{}/size", slot.name));
        let bytes = units.ok().and_then(|text| text.trim().parse::<u64>().ok()?.checked_mul(512));
        bytes.is_some_and(|bytes| blocks_of(bytes) > slot.place.blocks || bytes > slot.record.bytes)
    }
}

impl Tracker for KernelTracker {
    fn take(&mut self, disk: usize, into: &mut BlockSet) -> Result<(), String> {
        let at = self.slot(disk)?;
        self.take_slot(at, into)
    }

    fn audit(&mut self) -> Audit {
        let mut found = Audit::default();
        for disk in 0..self.leaves.len() {
            let Ok(at) = self.slot(disk) else { continue };
            let grown = self.has_grown(at);
            let name = &self.slots[at].name;
            let (finding, next) = audit::of_disk(name, &self.maps, at, self.held.record(at), grown);
            if finding.incomplete {
                found.incomplete.push(disk);
                // To be found again, unless it is obeyed: the point may come to nothing, and the agent may be killed.
                self.found[at] = Some(next);
            } else {
                self.found[at] = None;
                self.held.set_record(at, &next);
            }
            found.words.extend(finding.words);
        }
        found
    }

    fn doubted(&mut self, disk: usize) {
        let Ok(at) = self.slot(disk) else { return };
        if let Some(found) = self.found[at].take() {
            self.held.set_record(at, &found);
        }
    }

    fn set_whole(&mut self, disk: usize, whole: bool) {
        if let Ok(at) = self.slot(disk) {
            self.held.set_sent_whole(at, whole);
        }
    }

    fn is_whole(&self, disk: usize) -> bool {
        self.slot(disk).is_ok_and(|at| self.held.is_sent_whole(at))
    }

    fn written_bytes(&mut self) -> u64 {
        let sectors = self.sectors();
        let since = sectors.iter().zip(&self.began).map(|(now, began)| now.wrapping_sub(*began));
        since.fold(0, u64::wrapping_add).wrapping_mul(512)
    }

    fn written_blocks(&self) -> u64 {
        let of = |at: usize| {
            let counters = self.maps.counters(at);
            // Small writes each touch a block, and large ones as many as they are long.
            counters.writes.max(counters.sectors / (BLOCK_BYTES as u64 / 512))
        };
        (0..self.slots.len()).map(of).fold(0, u64::saturating_add)
    }

    fn outgrown(&mut self) -> Vec<usize> {
        let places = 0..self.leaves.len();
        places.filter(|disk| self.slot(*disk).is_ok_and(|at| self.has_grown(at))).collect()
    }

    fn forget(&mut self, disk: usize) {
        let Ok(at) = self.slot(disk) else { return };
        for key in self.maps.keys_of(at) {
            // One that is gone already is what was wanted.
            let _ = self.maps.disks.remove(&key.to_ne_bytes());
        }
        let name = &self.slots[at].name;
        self.leaves[disk] = Err(format!("{name}: it was removed from the server"));
    }

    fn hold(&mut self, disk: usize, first: u64, end: u64) {
        if let Ok(at) = self.slot(disk) {
            self.held.note(at, first, end);
        }
    }

    fn held(&mut self, disk: usize, into: &mut BlockSet) {
        if let Ok(at) = self.slot(disk) {
            self.held.all(at, into);
        }
    }

    fn cut(&mut self, epoch: u64) {
        self.held.cut(epoch);
    }

    fn vaulted(&mut self, epoch: u64) {
        self.held.vaulted(epoch);
    }

    fn resend(&mut self, epoch: u64) {
        self.held.resend(epoch);
    }

    fn goes_on_from(&self, disk: usize) -> Option<u64> {
        self.held.goes_on_from(self.slot(disk).ok()?)
    }

    fn settled(&mut self, disk: usize) {
        if let Ok(at) = self.slot(disk) {
            self.held.set_goes_on_from(at, None);
        }
    }

    fn ended(&mut self) {
        self.held.set_ended(true);
    }
}

impl core::fmt::Debug for KernelTracker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KernelTracker")
            .field("slots", &self.slots)
            .field("leaves", &self.leaves)
            .field("pins", &self.pins)
            .field("programs", &self.programs.len())
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}

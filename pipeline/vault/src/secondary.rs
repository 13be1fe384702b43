//! The newest point of a server that a secondary copy of a vault can give back.
//!
//! A geo-redundant secondary keeps no order across blobs: the record of a point may be there before its segments,
//! an object may be gone before the record that says so, slots may be missing in between. So nothing is taken on
//! trust: a point counts only when its record opens and everything that its maps need was found whole.

use std::collections::{BTreeMap, HashMap};

use pipeline::ids::{PointId, SegmentId, ServerId};

use crate::access::Access;
use crate::chain::{Link, read_slot};
use crate::error::{Blame, Error};
use crate::frames::FrameReader;
use crate::names;
use crate::parallel;
use crate::points::ChainView;
use crate::record::{Body, Manifest, Relocation, SegmentRef, Upkeep};
use crate::verify::{self, Depth, Findings, Inventory, Options, Walk};
use crate::writer::Progress;

#[cfg(test)]
mod tests;

/// The point that can be given back.
pub struct Secondary {
    /// The chain as far as reading this point needs it: its record, and where moved frames are here.
    pub view: ChainView,
    /// The point.
    pub point: Link,
    /// Newer points that are not whole here, newest first, and why.
    pub passed_over: Vec<PassedOver>,
    /// What else does not fit together, for people.
    pub notes: Vec<String>,
}

/// A newer slot that cannot be used.
#[derive(Clone, Debug)]
pub struct PassedOver {
    /// The slot.
    pub slot: u64,
    /// The point in it, where its record opens.
    pub point: Option<PointId>,
    /// What is wrong.
    pub why: Error,
}

/// Everything of a chain that is there and opens.
struct Remains {
    links: BTreeMap<u64, Link>,
    broken: BTreeMap<u64, Error>,
    refs: HashMap<SegmentId, SegmentRef>,
}

/// Finds the newest point whose every object is proven present and whole; `Depth::Deep` reads every byte of it.
pub fn newest_complete_point(
    access: &Access,
    server: ServerId,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Secondary, Error> {
    let inventory = Inventory::list(access, server)?;
    let remains = Remains::read(access, &inventory)?;
    let upkeep = remains.upkeep(&inventory);
    let mut passed_over = Vec::new();
    for slot in inventory.slots.iter().rev().copied() {
        if upkeep.gap_of(slot).is_some() {
            continue;
        }
        if let Some(error) = remains.broken.get(&slot) {
            passed_over.push(PassedOver { slot, point: None, why: error.clone() });
            continue;
        }
        let Some(link) = remains.links.get(&slot) else { continue };
        let Some(manifest) = link.record.point() else { continue };
        let judged = remains.plausible(link).and_then(|()| {
            whole(access, &inventory, &remains, &upkeep, manifest, options, progress)
        });
        match judged {
            Ok(()) => {
                let point = link.clone();
                let view = ChainView { server, links: vec![point.clone()], upkeep };
                let notes = remains.notes(&inventory, &view.upkeep);
                return Ok(Secondary { view, point, passed_over, notes });
            }
            Err(why) if why.blame == Blame::Device => return Err(why),
            Err(why) => passed_over.push(PassedOver { slot, point: Some(manifest.id), why }),
        }
    }
    let tried = passed_over.first().map_or_else(
        || String::from("holds no point of it"),
        |first| format!("has no point that is whole; of the newest, {}", first.why),
    );
    Err(Error::corrupt(format!("server {server}"), tried)
        .remedy("wait until replication has caught up, or use the primary"))
}

/// Every object of a point is there and whole.
fn whole(
    access: &Access,
    inventory: &Inventory,
    remains: &Remains,
    upkeep: &Upkeep,
    manifest: &Manifest,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let findings = Findings::new(inventory.server);
    let frames = FrameReader::new(access, inventory.server, upkeep, verify::CACHE_BYTES)?;
    let jobs = verify::jobs(&manifest.disks);
    if jobs.len() != manifest.disks.len() {
        return Err(Error::corrupt(
            format!("point {}", manifest.id),
            "the height of a map does not fit its disk's size",
        ));
    }
    let found = Walk::new(&frames, inventory, &findings, options).run(&jobs)?;
    if found.archived_pages > 0 {
        return Err(Error::refused(format!("point {}", manifest.id), "is archived"));
    }
    if let Some(error) = findings.first() {
        return Err(error);
    }
    let live = verify::live(&frames, &found);
    let reference = |segment: &SegmentId| remains.refs.get(segment).copied();
    verify::check_presence(&frames, inventory, &reference, &live, &findings, options)?;
    if let Some(error) = findings.first() {
        return Err(error);
    }
    if options.depth == Depth::Deep {
        verify::read_all(&frames, inventory, &reference, &live, &findings, options, progress)?;
    } else {
        verify::open_tables(&frames, inventory, &reference, &live, &findings, options)?;
    }
    findings.first().map_or(Ok(()), Err)
}

impl Remains {
    fn read(access: &Access, inventory: &Inventory) -> Result<Self, Error> {
        let mut remains =
            Self { links: BTreeMap::new(), broken: BTreeMap::new(), refs: HashMap::new() };
        let threads = access.store.parallel();
        let read = parallel::each(&inventory.slots, threads, |slot| {
            match read_slot(access, &inventory.server, *slot) {
                Err(error) if error.blame == Blame::Device => Err(error),
                read => Ok(read),
            }
        })?;
        for (slot, read) in inventory.slots.iter().zip(read) {
            match read {
                Ok(link) => {
                    for sent in link.record.segments() {
                        remains.refs.insert(sent.segment, *sent);
                    }
                    remains.links.insert(*slot, link);
                }
                Err(error) => {
                    remains.broken.insert(*slot, error);
                }
            }
        }
        Ok(remains)
    }

    /// A record that contradicts a neighbour that is here too is not relied upon.
    fn plausible(&self, link: &Link) -> Result<(), Error> {
        let slot = link.record.slot;
        let before = slot.checked_sub(1).and_then(|slot| self.links.get(&slot));
        let after = slot.checked_add(1).and_then(|slot| self.links.get(&slot));
        let fits = before.is_none_or(|before| link.record.previous == before.digest)
            && after.is_none_or(|after| after.record.previous == link.digest);
        if fits {
            return Ok(());
        }
        Err(Error::corrupt(
            names::chain_slot(&link.record.server, slot),
            "does not link to its neighbours: the chain was rolled back and written again",
        ))
    }

    /// The newest upkeep that is here, with relocations chosen by what is here: a segment that is still there needs
    /// none, and of several the newest whose objects have all arrived counts.
    fn upkeep(&self, inventory: &Inventory) -> Upkeep {
        let upkeeps: Vec<&Upkeep> = self
            .links
            .values()
            .rev()
            .filter_map(|link| match &link.record.body {
                Body::Upkeep(upkeep) => Some(upkeep),
                _ => None,
            })
            .collect();
        let mut chosen = upkeeps.first().map_or_else(Upkeep::default, |newest| (*newest).clone());
        let mut moved: BTreeMap<SegmentId, &Relocation> = BTreeMap::new();
        let here = |relocation: &Relocation| {
            relocation.into.iter().all(|segment| inventory.find(segment).is_some())
        };
        for relocation in upkeeps.iter().flat_map(|upkeep| &upkeep.relocations) {
            if inventory.find(&relocation.from).is_some() {
                continue;
            }
            let known = moved.entry(relocation.from).or_insert(relocation);
            if !here(known) && here(relocation) {
                *known = relocation;
            }
        }
        chosen.relocations = moved.into_values().cloned().collect();
        chosen
    }

    /// What is missing or does not fit, beside what was passed over.
    fn notes(&self, inventory: &Inventory, upkeep: &Upkeep) -> Vec<String> {
        let mut notes = Vec::new();
        let newest = inventory.slots.last().copied().unwrap_or(0);
        let absent = |slot: &u64| {
            inventory.slots.binary_search(slot).is_err() && upkeep.gap_of(*slot).is_none()
        };
        // Names are bytes from outside: a forged one must not make this count for years.
        let missing = (0..newest).take(1_000_000).filter(absent).count();
        if missing > 0 {
            notes.push(format!("{missing} older records of the chain are not here"));
        }
        let breaks = self.links.values().filter(|link| self.plausible(link).is_err()).count();
        if breaks > 0 {
            notes.push(format!("{breaks} records do not link to their neighbours"));
        }
        notes
    }
}

//! Every slot of a chain: there or covered by a gap, open, linked to the one before it, at peace with its trail.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pipeline::ids::{Digest, ServerId};

use super::findings::Findings;
use super::maps::{Job, jobs};
use super::objects::Inventory;
use super::{Options, parallel};
use crate::access::Access;
use crate::chain::{Link, open_record};
use crate::error::Error;
use crate::map::{blocks_of, height_of};
use crate::names;
use crate::record::{Body, Manifest, SegmentRef, Upkeep};
use crate::sealed::SEALED_BYTES_MAX;

/// Missing slots that are named one by one.
const MISSING_MAX: usize = 100;

/// A chain as far as it opens.
pub(crate) struct ChainState {
    /// Records that are part of the chain, ascending.
    pub(crate) links: Vec<Link>,
    /// Digests of every slot whose bytes were read, pruned ones too.
    pub(crate) digests: BTreeMap<u64, Digest>,
    pub(crate) upkeep: Upkeep,
    /// The newest slot listed.
    pub(crate) newest: Option<u64>,
    /// What kept records vouch for, ascending by segment.
    refs: Vec<SegmentRef>,
}

/// A slot as it was read: its digest where its bytes came, its record where they opened.
type Slot = (Option<Digest>, Option<Link>);

/// Reads a whole chain and notes what is wrong with it.
pub(crate) fn check(
    access: &Access,
    server: ServerId,
    inventory: &Inventory,
    findings: &Findings,
    options: &Options,
) -> Result<ChainState, Error> {
    let mut slots: BTreeMap<u64, (Slot, Option<Error>)> = BTreeMap::new();
    let read = Mutex::new(&mut slots);
    parallel::each(
        &inventory.slots,
        options.workers.max(access.store.parallel()).min(16),
        &options.stop,
        || (),
        |(), slot| {
            let found = read_slot(access, &server, *slot);
            read.lock().unwrap_or_else(PoisonError::into_inner).insert(*slot, found);
            Ok(())
        },
    )?;
    let upkeep =
        slots.values().rev().find_map(|((_, link), _)| match &link.as_ref()?.record.body {
            Body::Upkeep(upkeep) => Some(upkeep.clone()),
            _ => None,
        });
    let upkeep = upkeep.unwrap_or_default();
    for (slot, (_, error)) in &slots {
        let Some(error) = error else { continue };
        if upkeep.gap_of(*slot).is_some() {
            // Pruned, and its object may be deleted any time.
            if !error.is_missing() {
                findings.notice(&error.object, format!("{}; it was pruned", error.what));
            }
        } else {
            findings.object(error)?;
        }
    }
    let newest = inventory.slots.last().copied();
    let digests = slots.iter().filter_map(|(slot, ((digest, _), _))| Some((*slot, (*digest)?)));
    let digests: BTreeMap<u64, Digest> = digests.collect();
    let links: Vec<Link> = slots
        .into_values()
        .filter_map(|((_, link), _)| link)
        .filter(|link| upkeep.gap_of(link.record.slot).is_none())
        .collect();
    let refs = refs_of(&links);
    let state = ChainState { links, digests, upkeep, newest, refs };
    check_slots(&server, inventory, &state, findings)?;
    check_links(&server, &state, findings)?;
    check_heights(&state, findings)?;
    if newest.is_none() && !inventory.segments().is_empty() {
        let error =
            Error::corrupt(names::chain_prefix(&server), "is empty, but its segments exist")
                .remedy("somebody deleted the whole chain: bring it back from a copy of the vault");
        findings.object(&error)?;
    }
    Ok(state)
}

fn read_slot(access: &Access, server: &ServerId, slot: u64) -> (Slot, Option<Error>) {
    let name = names::chain_slot(server, slot);
    let bytes = match access.store.read_all(&name, SEALED_BYTES_MAX as u64) {
        Ok(bytes) => bytes,
        Err(error) => return ((None, None), Some(error.on(name))),
    };
    match open_record(access, server, slot, &bytes) {
        Ok(link) => ((Some(link.digest), Some(link)), None),
        Err(error) => ((Some(pipeline::seal::digest(&[&bytes])), None), Some(error.on(name))),
    }
}

/// What kept records say of segments, each once.
fn refs_of(links: &[Link]) -> Vec<SegmentRef> {
    let mut refs: Vec<SegmentRef> = Vec::new();
    links.iter().for_each(|link| refs.extend_from_slice(link.record.segments()));
    refs.sort_unstable_by_key(|sent| sent.segment);
    refs.dedup();
    refs
}

/// Every slot from 0 to the newest is listed or covered.
fn check_slots(
    server: &ServerId,
    inventory: &Inventory,
    state: &ChainState,
    findings: &Findings,
) -> Result<(), Error> {
    let mut next = 0;
    let mut missing = Vec::new();
    for slot in &inventory.slots {
        while next < *slot && missing.len() <= MISSING_MAX {
            match state.upkeep.gap_of(next) {
                Some(gap) => next = gap.last.saturating_add(1),
                None => {
                    missing.push(next);
                    next += 1;
                }
            }
        }
        next = slot.saturating_add(1);
    }
    for slot in missing {
        let error = Error::missing(names::chain_slot(server, slot)).remedy(
            "it was not pruned, somebody deleted it: bring it back from a copy of the vault",
        );
        findings.object(&error)?;
    }
    Ok(())
}

/// Each record links to the one before it, and its trail goes on from that one's.
fn check_links(server: &ServerId, state: &ChainState, findings: &Findings) -> Result<(), Error> {
    let mut before: Option<&Link> = None;
    for link in &state.links {
        let slot = link.record.slot;
        let name = || names::chain_slot(server, slot);
        let known = match slot.checked_sub(1) {
            None => Some(Digest([0; 32])),
            Some(previous) => state.digest(previous),
        };
        let neighbour = before.filter(|before| before.record.slot + 1 == slot);
        if known.is_some_and(|known| known != link.record.previous) {
            // Where the one before is damaged, that is the finding.
            let opened = slot == 0 || neighbour.is_some() || state.covers(slot - 1);
            if opened {
                findings.object(
                    &Error::corrupt(
                        name(),
                        "does not follow the record before it: one of the two was swapped or rolled back",
                    )
                    .remedy("compare the vault with a copy from before"),
                )?;
            }
        }
        if let Some(neighbour) = neighbour
            && neighbour.record.trail_after() != link.record.trail
        {
            findings.object(
                &Error::corrupt(
                    name(),
                    "says otherwise than the record before it where the newest records are",
                )
                .remedy("another program wrote into this chain: compare it with a copy"),
            )?;
        }
        before = Some(link);
    }
    Ok(())
}

/// A map's height follows from its disk's size.
fn check_heights(state: &ChainState, findings: &Findings) -> Result<(), Error> {
    for (link, manifest) in state.manifests() {
        for disk in &manifest.disks {
            if disk.root.height != height_of(blocks_of(disk.bytes)) {
                let name = names::chain_slot(&link.record.server, link.record.slot);
                let what = format!("the height of the map of {} does not fit its size", disk.name);
                findings.object(&Error::corrupt(name, what))?;
            }
        }
    }
    Ok(())
}

impl ChainState {
    /// Points, and the newest checkpoint where it is newer than they are: what must stay readable.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&Link, &Manifest)> {
        let newest = self.links.last().and_then(|link| link.record.trail_after().checkpoint);
        self.links.iter().filter_map(move |link| {
            let kept = link.record.point().is_some() || newest == Some(link.record.slot);
            Some((link, link.record.manifest().filter(|_| kept)?))
        })
    }

    /// The maps to walk.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        jobs(self.manifests().flat_map(|(_, manifest)| &manifest.disks))
    }

    /// What a kept record vouches for of a segment.
    pub(crate) fn reference(&self, segment: &pipeline::ids::SegmentId) -> Option<&SegmentRef> {
        let at = self.refs.binary_search_by_key(segment, |sent| sent.segment).ok()?;
        self.refs.get(at)
    }

    /// The digest of a slot: as read, or as the gap that ends with it says.
    pub(crate) fn digest(&self, slot: u64) -> Option<Digest> {
        match self.upkeep.gap_of(slot) {
            Some(gap) => (gap.last == slot).then_some(gap.last_digest),
            None => self.digests.get(&slot).copied(),
        }
    }

    /// Whether a slot is pruned.
    pub(crate) fn covers(&self, slot: u64) -> bool {
        self.upkeep.gap_of(slot).is_some()
    }
}

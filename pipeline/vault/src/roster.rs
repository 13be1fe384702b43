//! What slots a chain has and what is in them, found by few calls: a listing, the newest upkeep record, indexes, and
//! a read for every slot that no index tells of.
//!
//! Every slot up to the head is there or covered by a gap, or it is an error; records that are read must follow
//! their predecessors. Whether every record still opens and links is what verifying says, not this.

use std::collections::{BTreeMap, HashSet};

use pipeline::ids::{Digest, SegmentId, ServerId};

use crate::access::Access;
use crate::chain::{Chain, Link};
use crate::error::Error;
use crate::index::{self, Entry, Index, Summary};
use crate::names;
use crate::parallel;
use crate::record::{Body, Upkeep};
use crate::store::list_all;

/// How often a chain is read anew that changes while it is read.
const TRIES: u32 = 4;
/// An index is worth reading where it tells of so many slots at least; fewer are read one by one.
pub(crate) const INDEX_WORTH: usize = 8;

/// A chain as far as it was looked at.
pub struct Roster {
    /// Whose chain.
    pub server: ServerId,
    /// What every slot holds that is part of the chain, by slot.
    pub entries: BTreeMap<u64, Entry>,
    /// The newest state of upkeep.
    pub upkeep: Upkeep,
    /// The newest slot.
    pub head: Option<u64>,
    /// Bytes of every slot's object that is there, covered ones too; 0 for slots taken in later.
    pub(crate) objects: BTreeMap<u64, u64>,
    /// Indexes that were read.
    pub(crate) indexes: Vec<Index>,
    /// Segments that records introduced which left the chain since it was read.
    pub(crate) departed: HashSet<SegmentId>,
}

/// The points of a server, oldest first.
pub fn points(access: &Access, server: ServerId) -> Result<Vec<Entry>, Error> {
    let roster = Roster::open(access, server)?.1;
    Ok(roster.entries.into_values().filter(|entry| entry.point().is_some()).collect())
}

impl Roster {
    /// Opens a chain and finds out what is in it.
    pub fn open(access: &Access, server: ServerId) -> Result<(Chain, Self), Error> {
        Self::open_since(access, server, 0)
    }

    /// Like `open`, but leaves slots out that were written before `since` by the store's clock.
    pub(crate) fn open_since(
        access: &Access,
        server: ServerId,
        since: u64,
    ) -> Result<(Chain, Self), Error> {
        let mut tries = 0;
        loop {
            let chain = Chain::open(access, server)?;
            tries += 1;
            match Self::read(&chain, since) {
                // What was there is gone: pruned and deleted since the chain was opened, or stolen.
                Err(error) if error.is_missing() && tries < TRIES => {}
                read => return read.map(|roster| (chain, roster)),
            }
        }
    }

    fn read(chain: &Chain, since: u64) -> Result<Self, Error> {
        let (access, server) = (chain.access(), chain.server());
        let head = chain.head().map(|link| link.record.slot);
        let mut roster = Self {
            server,
            entries: BTreeMap::new(),
            upkeep: chain.upkeep()?,
            head,
            objects: BTreeMap::new(),
            indexes: Vec::new(),
            departed: HashSet::new(),
        };
        let Some(head) = head else { return Ok(roster) };
        for facts in list_all(&*access.store, &names::chain_prefix(&server))? {
            let slot = names::slot_of(&server, &facts.name)?;
            if slot <= head {
                roster.objects.insert(slot, facts.bytes);
            }
        }
        roster.check_complete(head)?;
        roster.read_indexes(access, since)?;
        roster.read_slots(chain, since)?;
        Ok(roster)
    }

    /// Every slot is there or covered.
    fn check_complete(&self, head: u64) -> Result<(), Error> {
        let mut next = 0;
        while next <= head {
            next = match (self.objects.contains_key(&next), self.upkeep.gap_of(next)) {
                (_, Some(gap)) => gap.last.saturating_add(1),
                (true, None) => next + 1,
                (false, None) => {
                    let name = names::chain_slot(&self.server, next);
                    return Err(Error::missing(name).remedy(
                        "it was not pruned, so somebody deleted it: restore it from a copy of the vault; nothing was changed",
                    ));
                }
            };
        }
        Ok(())
    }

    fn uncovered(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.objects.keys().copied().filter(|slot| self.upkeep.gap_of(*slot).is_none())
    }

    fn read_indexes(&mut self, access: &Access, since: u64) -> Result<(), Error> {
        let mut missing = self.uncovered().count();
        if missing < INDEX_WORTH {
            return Ok(());
        }
        for name in index::names_of(access, &self.server)? {
            let index = index::read(access, &self.server, &name)?;
            for entry in &index.entries {
                let here = self.objects.contains_key(&entry.slot)
                    && self.upkeep.gap_of(entry.slot).is_none();
                if here && self.entries.insert(entry.slot, entry.clone()).is_none() {
                    missing -= 1;
                }
            }
            let newest = index.entries.iter().map(|entry| entry.store_time).max().unwrap_or(since);
            self.indexes.push(index);
            // The names go back in time.
            if missing == 0 || newest < since {
                break;
            }
        }
        Ok(())
    }

    /// Reads every slot that is not known yet, the newest first, until one is older than `since`.
    fn read_slots(&mut self, chain: &Chain, since: u64) -> Result<(), Error> {
        let threads = chain.access().store.parallel();
        let unknown: Vec<u64> =
            self.uncovered().filter(|slot| !self.entries.contains_key(slot)).collect();
        let mut previous = Vec::with_capacity(unknown.len());
        for slots in unknown.rchunks(4 * threads.max(16)) {
            let links = parallel::each(slots, threads, |slot| chain.read(*slot))?;
            let oldest = links.first().map_or(0, |link| link.record.store_time);
            for link in links {
                previous.push((link.record.slot, link.record.previous));
                self.entries.insert(link.record.slot, Entry::of(&link));
            }
            if oldest < since {
                break;
            }
        }
        previous.into_iter().try_for_each(|(slot, previous)| self.check_link(slot, previous))?;
        if since > 0 {
            let known =
                |slot: &u64| self.entries.get(slot).is_some_and(|entry| entry.store_time >= since);
            // No hole may be left in what is kept, even if clocks jumped.
            let first = self.uncovered().rev().take_while(known).last().unwrap_or(u64::MAX);
            self.entries.retain(|slot, _| *slot >= first);
        }
        Ok(())
    }

    /// A record must follow the one before it, where that one is known.
    fn check_link(&self, slot: u64, previous: Digest) -> Result<(), Error> {
        let Some(before) = slot.checked_sub(1) else { return Ok(()) };
        let gap = self.upkeep.gap_of(before).map(|gap| gap.last_digest);
        let known = gap.or_else(|| self.entries.get(&before).map(|entry| entry.digest));
        if known.is_none_or(|digest| digest == previous) {
            return Ok(());
        }
        Err(Error::corrupt(
            names::chain_slot(&self.server, slot),
            "does not follow the record before it: one of the two was swapped or rolled back",
        )
        .remedy("compare the vault with a copy from before; nothing was changed"))
    }

    /// Takes in a record that was published after the roster was read.
    pub(crate) fn take(&mut self, link: &Link) -> Result<(), Error> {
        self.check_link(link.record.slot, link.record.previous)?;
        if let Body::Upkeep(upkeep) = &link.record.body {
            self.upkeep = upkeep.clone();
            let gone = self.entries.extract_if(.., |slot, _| upkeep.gap_of(*slot).is_some());
            let summaries = gone.filter_map(|(_, entry)| entry.summary().cloned());
            self.departed.extend(summaries.flat_map(|summary| summary.segments));
        }
        let slot = link.record.slot;
        self.objects.insert(slot, 0);
        self.entries.insert(slot, Entry::of(link));
        self.head = Some(slot);
        Ok(())
    }

    /// Takes in every record that the chain has got since.
    pub(crate) fn catch_up(&mut self, chain: &mut Chain) -> Result<bool, Error> {
        chain.refresh()?;
        let newest = chain.head().map(|link| link.record.slot);
        let first = self.head.map_or(0, |slot| slot + 1);
        let mut upkeep_moved = false;
        for slot in first..newest.map_or(0, |slot| slot + 1) {
            let link = chain.read(slot)?;
            upkeep_moved |= matches!(link.record.body, Body::Upkeep(_));
            self.take(&link)?;
        }
        Ok(upkeep_moved)
    }

    /// The points, oldest first.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = (&Entry, &Summary)> {
        self.entries.values().filter_map(|entry| entry.point().map(|summary| (entry, summary)))
    }

    /// The newest point's slot.
    pub fn newest_point(&self) -> Option<u64> {
        self.points().next_back().map(|(entry, _)| entry.slot)
    }

    /// Checkpoints after the newest point, oldest first: a run that goes on, or was interrupted.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = (&Entry, &Summary)> {
        let first = self.newest_point().map_or(0, |slot| slot + 1);
        self.entries.range(first..).filter_map(|(_, entry)| match &entry.holds {
            index::Holds::Checkpoint(summary) => Some((entry, summary)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;

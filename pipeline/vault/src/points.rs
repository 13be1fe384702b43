//! The points of a server as its chain has them, and the one that a person means.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use pipeline::ids::ServerId;

use crate::access::Access;
use crate::chain::{Chain, Link, read_slot};
use crate::error::{Blame, Error};
use crate::names;
use crate::parallel;
use crate::record::{Body, Upkeep};
use crate::store::list_all;

/// So many of the newest slots are read at once, whether or not they turn out to be pruned.
const AHEAD_SLOTS_MAX: usize = 256;
/// And no more than so many bytes of them; most records have a few hundred.
const AHEAD_BYTES_MAX: u64 = 1024 * 1024;
/// How often a chain is read anew that is pruned while it is read.
const TRIES: u32 = 4;

/// A chain as a reader finds it: the records that exist, and the state of upkeep.
pub struct ChainView {
    /// Whose chain.
    pub server: ServerId,
    /// Records in ascending order of their slots; pruned ones are left out.
    pub links: Vec<Link>,
    /// The newest state of upkeep.
    pub upkeep: Upkeep,
}

/// Reads every record of a chain that is not pruned.
///
/// Errors: a record that does not open or a slot that is missing and not covered by a gap.
pub fn read_chain(access: &Access, server: ServerId) -> Result<ChainView, Error> {
    let (view, problem) = read_chain_leniently(access, server)?;
    match problem {
        Some(error) => Err(error),
        None => Ok(view),
    }
}

/// Like `read_chain`, but goes on past what is missing or damaged and hands the first such error over:
/// what still stands may be all that is left.
pub fn read_chain_leniently(
    access: &Access,
    server: ServerId,
) -> Result<(ChainView, Option<Error>), Error> {
    let mut tries = 1;
    loop {
        let (view, problem) = read_once(access, server)?;
        match problem {
            // What was listed is gone: pruned and deleted in the meantime, or stolen. A new look tells.
            Some(error) if error.is_missing() && tries < TRIES => tries += 1,
            problem => return Ok((view, problem)),
        }
    }
}

/// Slots that were read, or why one was not.
type Slots = BTreeMap<u64, Result<Link, Error>>;

fn read_once(access: &Access, server: ServerId) -> Result<(ChainView, Option<Error>), Error> {
    let mut slots = Vec::new();
    for facts in list_all(&*access.store, &names::chain_prefix(&server))? {
        slots.push((names::slot_of(&server, &facts.name)?, facts.bytes));
    }
    slots.sort_unstable();
    // Far away, one read after the other costs more than a few in vain: the newest are read before it is known which
    // of them count.
    let mut room = AHEAD_BYTES_MAX;
    let ahead = slots.iter().rev().take(AHEAD_SLOTS_MAX).take_while(|(slot, bytes)| {
        let fits = room >= *bytes || slots.last().is_some_and(|(newest, _)| newest == slot);
        room = room.saturating_sub(*bytes);
        fits
    });
    let ahead: Vec<u64> = ahead.map(|(slot, _)| *slot).collect();
    let mut slots: Vec<u64> = slots.into_iter().map(|(slot, _)| slot).collect();
    let mut read = read_slots(access, server, &ahead)?;
    // What is covered is no part of the chain any more: it may vanish while this reads, and a writer that slept
    // for too long may have put something in its place.
    let upkeep = newest_upkeep(access, &server, &slots, &mut read)?;
    slots.retain(|slot| upkeep.gap_of(*slot).is_none());
    let rest: Vec<u64> = slots.iter().copied().filter(|slot| !read.contains_key(slot)).collect();
    read.extend(read_slots(access, server, &rest)?);
    let mut problem = None;
    let mut links: Vec<Link> = Vec::with_capacity(slots.len());
    for link in slots.iter().filter_map(|slot| read.remove(slot)) {
        match link {
            Ok(link) => links.push(link),
            Err(error) => {
                problem.get_or_insert(error);
            }
        }
    }
    if let Some(error) = check_links(&server, &links, &upkeep) {
        problem.get_or_insert(error);
    }
    Ok((ChainView { server, links, upkeep }, problem))
}

/// Several slots at once.
fn read_slots(access: &Access, server: ServerId, slots: &[u64]) -> Result<Slots, Error> {
    let read = parallel::each(slots, access.store.parallel(), |slot| {
        match read_slot(access, &server, *slot) {
            Err(error) if error.blame == Blame::Device => Err(error),
            read => Ok((*slot, read)),
        }
    })?;
    Ok(read.into_iter().collect())
}

/// The newest state of upkeep, as the newest record that opens has it or leads to it.
fn newest_upkeep(
    access: &Access,
    server: &ServerId,
    slots: &[u64],
    read: &mut Slots,
) -> Result<Upkeep, Error> {
    let mut look = |slot: u64| match read.entry(slot) {
        Vacant(place) => match read_slot(access, server, slot) {
            Err(error) if error.blame == Blame::Device => Err(error),
            read => Ok(place.insert(read).clone()),
        },
        Occupied(known) => Ok(known.get().clone()),
    };
    for slot in slots.iter().rev() {
        // Damaged: the one before it may know.
        let Ok(link) = look(*slot)? else { continue };
        if let Body::Upkeep(upkeep) = &link.record.body {
            return Ok(upkeep.clone());
        }
        let Some(slot) = link.record.trail.upkeep else { break };
        if let Ok(link) = look(slot)?
            && let Body::Upkeep(upkeep) = &link.record.body
        {
            return Ok(upkeep.clone());
        }
    }
    Ok(Upkeep::default())
}

/// Every slot from 0 to the newest is there or covered, and each links to the one before it.
fn check_links(server: &ServerId, links: &[Link], upkeep: &Upkeep) -> Option<Error> {
    let mut next = 0;
    let mut before = None;
    for link in links {
        let slot = link.record.slot;
        while next < slot {
            let Some(gap) = upkeep.gap_of(next) else {
                return Some(
                    Error::corrupt(
                        names::chain_slot(server, next),
                        "is missing and was not pruned",
                    )
                    .remedy("somebody deleted it: restore it from a copy of the vault"),
                );
            };
            if gap.last < slot {
                before = Some(gap.last_digest);
            } else {
                before = None;
            }
            next = gap.last.saturating_add(1).min(slot);
        }
        if let Some(before) = before
            && link.record.previous != before
        {
            return Some(
                Error::corrupt(
                    names::chain_slot(server, slot),
                    "does not follow the record before it: one of the two was swapped or rolled back",
                )
                .remedy("compare the vault with a copy from before"),
            );
        }
        before = Some(link.digest);
        next = slot + 1;
    }
    None
}

/// How a chain was when it was read.
pub(crate) struct LookAgain {
    server: ServerId,
    newest: Option<u64>,
    /// The state of upkeep then.
    pub(crate) upkeep: Upkeep,
}

impl LookAgain {
    /// The newest state of upkeep now.
    pub(crate) fn upkeep_now(&self, access: &Access) -> Result<Upkeep, Error> {
        let prefix = names::chain_prefix(&self.server);
        let newest = access.store.list(&prefix, None, 1)?.objects.into_iter().next();
        let newest = newest.map(|facts| names::slot_of(&self.server, &facts.name)).transpose()?;
        if newest.is_some() && newest == self.newest {
            return Ok(self.upkeep.clone());
        }
        Chain::open(access, self.server)?.upkeep()
    }
}

impl ChainView {
    /// The newest state of upkeep now: one listing, and no more where nothing was added since this was read.
    pub fn upkeep_now(&self, access: &Access) -> Result<Upkeep, Error> {
        self.look_again().upkeep_now(access)
    }

    /// What such a look needs, without the chain.
    pub(crate) fn look_again(&self) -> LookAgain {
        let newest = self.links.last().map(|link| link.record.slot);
        LookAgain { server: self.server, newest, upkeep: self.upkeep.clone() }
    }

    /// The points, oldest first.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = &Link> {
        self.links.iter().filter(|link| link.record.point().is_some())
    }

    /// The point that `text` means: `latest`, or the first digits of an identity that only one point has.
    pub fn find(&self, text: &str) -> Result<&Link, Error> {
        let unknown = |what: String| {
            Error::misuse(format!("point {text}"), what).remedy("`lifeboat points` lists them")
        };
        if text == "latest" {
            return self.points().next_back().ok_or_else(|| {
                Error::misuse(format!("server {}", self.server), "has no recovery point yet")
                    .remedy("protect it first")
            });
        }
        let lower = text.to_ascii_lowercase();
        let starts = |link: &&Link| {
            link.record.point().is_some_and(|point| point.id.to_string().starts_with(&lower))
        };
        let mut found = self.points().filter(starts);
        let first = found.next().filter(|_| !lower.is_empty());
        let first = first.ok_or_else(|| unknown("is not in the vault".to_owned()))?;
        match found.next() {
            None => Ok(first),
            Some(_) => Err(unknown("is the start of several points' identities".to_owned())),
        }
    }
}

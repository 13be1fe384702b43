//! The points of a server as its chain has them, and the one that a person means.

use pipeline::ids::ServerId;

use crate::access::Access;
use crate::chain::{Chain, Link, read_slot};
use crate::error::{Blame, Error};
use crate::names;
use crate::parallel;
use crate::record::{Body, Upkeep};
use crate::store::list_all;

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

fn read_once(access: &Access, server: ServerId) -> Result<(ChainView, Option<Error>), Error> {
    let mut slots = Vec::new();
    for facts in list_all(&*access.store, &names::chain_prefix(&server))? {
        slots.push(names::slot_of(&server, &facts.name)?);
    }
    slots.sort_unstable();
    // What is covered is no part of the chain any more: it may vanish while this reads, and a writer that slept
    // for too long may have put something in its place.
    let mut head = None;
    let upkeep = newest_upkeep(access, &server, &slots, &mut head)?;
    slots.retain(|slot| upkeep.gap_of(*slot).is_none());
    let read = parallel::each(&slots, access.store.parallel(), |slot| {
        if let Some(head) = head.as_ref().filter(|head| head.record.slot == *slot) {
            return Ok(Ok(head.clone()));
        }
        match read_slot(access, &server, *slot) {
            Err(error) if error.blame == Blame::Device => Err(error),
            read => Ok(read),
        }
    })?;
    let mut problem = None;
    let mut links: Vec<Link> = Vec::with_capacity(slots.len());
    for link in read {
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

/// The newest state of upkeep, as the newest record that opens has it or leads to it; that record becomes `head`.
fn newest_upkeep(
    access: &Access,
    server: &ServerId,
    slots: &[u64],
    head: &mut Option<Link>,
) -> Result<Upkeep, Error> {
    for slot in slots.iter().rev() {
        let link = match read_slot(access, server, *slot) {
            Ok(link) => link,
            Err(error) if error.blame == Blame::Device => return Err(error),
            // Damaged: the one before it may know.
            Err(_) => continue,
        };
        let link = &*head.insert(link);
        if let Body::Upkeep(upkeep) = &link.record.body {
            return Ok(upkeep.clone());
        }
        let Some(slot) = link.record.trail.upkeep else { break };
        match read_slot(access, server, slot).map(|link| link.record) {
            Ok(record) => {
                if let Body::Upkeep(upkeep) = &record.body {
                    return Ok(upkeep.clone());
                }
            }
            Err(error) if error.blame == Blame::Device => return Err(error),
            Err(_) => {}
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

impl ChainView {
    /// The newest state of upkeep now: one listing, and no more where nothing was added since this was read.
    pub fn upkeep_now(&self, access: &Access) -> Result<Upkeep, Error> {
        let prefix = names::chain_prefix(&self.server);
        let newest = access.store.list(&prefix, None, 1)?.objects.into_iter().next();
        let newest = newest.map(|facts| names::slot_of(&self.server, &facts.name)).transpose()?;
        if newest.is_some() && newest == self.links.last().map(|link| link.record.slot) {
            return Ok(self.upkeep.clone());
        }
        Chain::open(access, self.server)?.upkeep()
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

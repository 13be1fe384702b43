//! The points of a server as its chain has them, and the one that a person means.

use pipeline::ids::ServerId;

use crate::access::Access;
use crate::chain::{Link, open_record};
use crate::error::Error;
use crate::names;
use crate::record::{Body, Upkeep};
use crate::store::list_all;

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
    let mut slots = Vec::new();
    for facts in list_all(&*access.store, &names::chain_prefix(&server))? {
        slots.push(names::slot_of(&server, &facts.name)?);
    }
    slots.sort_unstable();
    let mut problem = None;
    let mut links: Vec<Link> = Vec::with_capacity(slots.len());
    for slot in &slots {
        let name = names::chain_slot(&server, *slot);
        let read = access.store.read_all(&name, crate::sealed::SEALED_BYTES_MAX as u64);
        match read.and_then(|bytes| open_record(access, &server, *slot, &bytes)) {
            Ok(link) => links.push(link),
            Err(error) if error.blame == crate::Blame::Device => return Err(error),
            Err(error) => {
                problem.get_or_insert(error);
            }
        }
    }
    let upkeep = links.iter().rev().find_map(|link| match &link.record.body {
        Body::Upkeep(upkeep) => Some(upkeep.clone()),
        _ => None,
    });
    let upkeep = upkeep.unwrap_or_default();
    if let Some(error) = check_links(&server, &links, &upkeep) {
        problem.get_or_insert(error);
    }
    links.retain(|link| upkeep.gap_of(link.record.slot).is_none());
    Ok((ChainView { server, links, upkeep }, problem))
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

//! What somebody knows of a chain from elsewhere, held against the chain: a point on a recovery kit, a head that
//! this machine saw, an age that the newest point should not have.
//!
//! A vault that was put back to an older state is whole in itself. Only this notices.

use core::fmt;

use pipeline::ids::PointId;

use crate::access::Access;
use crate::chain::Link;
use crate::error::Error;
use crate::names;
use crate::points::ChainView;
use crate::record::{Action, Body, KnownHead, Upkeep};
use crate::vault::known::Head;

#[cfg(test)]
mod tests;

/// What became of a point that somebody expects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// It is in the chain.
    Kept,
    /// It was pruned on purpose: the record that says so is in this slot.
    Pruned {
        /// The upkeep record that names it.
        by_slot: u64,
    },
}

/// Fails unless the point that `text` names (its identity, or the first digits of it) is in the chain, or a
/// record of the chain says that it was pruned.
pub fn point(view: &ChainView, text: &str) -> Result<Expected, Error> {
    let lower = text.trim().to_ascii_lowercase();
    let is_digits = lower.bytes().all(|digit| digit.is_ascii_hexdigit());
    if lower.is_empty() || lower.len() > 32 || !is_digits {
        return Err(Error::misuse(format!("--expect-point {text}"), "is no point's identity")
            .remedy("take it from the recovery kit, a report or `lifeboat points`"));
    }
    if view.points().any(|link| {
        link.record.point().is_some_and(|point| point.id.to_string().starts_with(&lower))
    }) {
        return Ok(Expected::Kept);
    }
    let pruned = view.links.iter().rev().find(|link| match &link.record.body {
        Body::Upkeep(Upkeep { action: Action::Prune { removed }, .. }) => {
            removed.iter().any(|removed| removed.id.to_string().starts_with(&lower))
        }
        _ => false,
    });
    match pruned {
        Some(link) => Ok(Expected::Pruned { by_slot: link.record.slot }),
        None => Err(not_there(view, text)),
    }
}

fn not_there(view: &ChainView, text: &str) -> Error {
    let newest = view.points().next_back().and_then(|link| link.record.point());
    let ends = newest.map_or_else(
        || String::from("it holds no point at all"),
        |newest| format!("its newest point is {}", newest.id),
    );
    // The record that pruned a point is itself superseded by later upkeep, so an old identity proves less.
    let (or, remedy) = if view.upkeep.gaps.is_empty() {
        ("", "nothing was ever pruned here: find out who put an older state in place")
    } else {
        (
            ", or the point was pruned long ago",
            "expect the newest point that you know of; if that one is gone too, find out who put an older state in place",
        )
    };
    Error::corrupt(
        format!("server {}", view.server),
        format!("the vault was rolled back{or}: point {text} is not in the chain, {ends}"),
    )
    .remedy(remedy)
}

/// Fails unless the chain goes through a slot that somebody saw.
pub fn head(view: &ChainView, seen: &KnownHead) -> Result<(), Error> {
    let newest = view.links.last().map(|link| link.record.slot);
    if newest.is_none_or(|newest| newest < seen.slot) {
        let ends = newest.map_or_else(
            || String::from("it is empty"),
            |slot| format!("it ends with slot {slot}"),
        );
        return Err(Error::corrupt(
            names::chain_prefix(&view.server),
            format!("the vault was rolled back: {ends}, and slot {} was seen before", seen.slot),
        )
        .remedy(
            "find out who put an older state in place; newer points are in a copy of the vault",
        ));
    }
    let found = view.links.iter().find(|link| link.record.slot == seen.slot);
    let digest = match (found, view.upkeep.gap_of(seen.slot)) {
        (Some(link), _) => Some(link.digest),
        (None, Some(gap)) if gap.last == seen.slot => Some(gap.last_digest),
        _ => None,
    };
    if digest.is_none_or(|digest| digest == seen.digest) {
        return Ok(());
    }
    Err(Error::corrupt(
        names::chain_slot(&view.server, seen.slot),
        "was replaced: another record was seen in this slot before",
    )
    .remedy("the vault was rolled back and written again; compare it with a copy"))
}

/// The newest slot of a chain, for remembering.
#[must_use]
pub fn head_of(view: &ChainView) -> Option<Head> {
    let link = view.links.last()?;
    let point = view.points().next_back().and_then(|link| link.record.point());
    Some(Head {
        server: view.server,
        slot: link.record.slot,
        digest: link.digest,
        point: point.map(|point| (point.id, point.started)),
    })
}

impl From<&Head> for KnownHead {
    fn from(head: &Head) -> Self {
        Self { server: head.server, slot: head.slot, digest: head.digest }
    }
}

/// How old the newest point of a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The newest point.
    pub point: PointId,
    /// Milliseconds since its instant.
    pub age_millis: u64,
    /// The clocks of this machine and of the store differ by more than an hour.
    pub clocks_differ: bool,
}

/// Clocks that differ by more than this are told, milliseconds.
const CLOCKS_DIFFER: u64 = 3_600_000;

/// How old the newest point is by the store's clock, so that a wrong clock here or at the source does not matter.
pub fn freshness(access: &Access, view: &ChainView) -> Result<Option<Freshness>, Error> {
    let Some(link) = view.points().next_back() else { return Ok(None) };
    let Some(point) = link.record.point() else { return Ok(None) };
    let store_now = access.store.now()?;
    let here = access.clock.now().0;
    Ok(Some(Freshness {
        point: point.id,
        age_millis: store_now.saturating_sub(instant(link, point.started)),
        clocks_differ: store_now.abs_diff(here) > CLOCKS_DIFFER,
    }))
}

/// The point's instant by the store's clock: when it was published, less what making it took.
fn instant(link: &Link, started: u64) -> u64 {
    let record = &link.record;
    record.store_time.saturating_sub(record.local_time.saturating_sub(started))
}

impl fmt::Display for Freshness {
    /// A sentence without its full stop: "newest point 3 h 12 min old".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "newest point {} old", Age(self.age_millis))?;
        if self.clocks_differ {
            f.write_str(
                " by the store's clock, from which this machine's differs by more than an hour",
            )?;
        }
        Ok(())
    }
}

/// A length of time as people say it, from milliseconds: its two largest parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, ..) => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

//! A chain, what is known of it, and how a step of upkeep is published: computed from the newest record, and computed
//! again whenever another record came first.

use pipeline::ids::ServerId;
use pipeline::limits::RECORD_BYTES_MAX;

use super::{Options, Scope};
use crate::access::Access;
use crate::chain::{Chain, Published};
use crate::error::{Error, Retry};
use crate::record::{Body, Upkeep};
use crate::retain::Policy;
use crate::roster::Roster;

/// How often a step is computed again because a writer published in between.
const TRIES: u32 = 100;
/// While there are fewer gaps than this, a superseded record leaves the chain although it makes a gap of its own;
/// then only where it joins one, because every gap is in every upkeep record from then on.
const LONE_GAPS_MAX: usize = 1024;

/// Why a run ends early.
pub(super) enum Stop {
    /// Another run of upkeep published: everything is to be looked at again.
    Overtaken,
    /// It cannot go on.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// One run of upkeep.
pub(super) struct Session<'a> {
    pub(super) access: Access,
    pub(super) server: ServerId,
    pub(super) policy: &'a Policy,
    pub(super) options: &'a Options,
    pub(super) chain: Chain,
    pub(super) roster: Roster,
}

impl<'a> Session<'a> {
    pub(super) fn open(
        access: &Access,
        server: ServerId,
        policy: &'a Policy,
        options: &'a Options,
    ) -> Result<Self, Error> {
        let since = match options.scope {
            Scope::Whole => 0,
            Scope::Recent(length) => access.store.now()?.saturating_sub(length).max(1),
        };
        let (chain, roster) = Roster::open_since(access, server, since)?;
        Ok(Self { access: access.clone(), server, policy, options, chain, roster })
    }

    /// Publishes what `step` makes of the chain as it is; `None` means there is nothing to say. Gives whether a
    /// record was published.
    pub(super) fn publish(
        &mut self,
        step: &mut dyn FnMut(&Self) -> Result<Option<Upkeep>, Stop>,
    ) -> Result<Option<u64>, Stop> {
        for _ in 0..TRIES {
            let Some(mut next) = step(self)? else { return Ok(None) };
            let covered = self.cover_superseded(&mut next)?;
            self.tidy_leaving(&mut next)?;
            self.check_size(&next)?;
            let published = self.chain.publish(Body::Upkeep(next))?;
            let link = self.chain.head().cloned();
            if let Some(link) = &link {
                self.roster.take(link)?;
            }
            match published {
                Published::Slot(_) => return Ok(Some(covered)),
                Published::Moved(record) if matches!(record.body, Body::Upkeep(_)) => {
                    return Err(Stop::Overtaken);
                }
                Published::Moved(_) => {}
            }
        }
        let busy =
            Error::refused(format!("server {}", self.server), "its chain moves on without end");
        Err(Stop::Failed(
            busy.retry(Retry::Later).remedy("run again when fewer programs write to it"),
        ))
    }

    /// Puts superseded records into the gaps: checkpoints before the newest point, all upkeep and epoch-opens but the
    /// newest. The head stays, because the next record links to it.
    fn cover_superseded(&self, next: &mut Upkeep) -> Result<u64, Error> {
        let trail = self.chain.trail();
        let newest_point = trail.point.unwrap_or(0);
        let head = self.roster.head;
        let now = self.access.store.now()?;
        let mut covered = 0;
        for entry in self.roster.entries.values() {
            use crate::index::Holds;
            let slot = entry.slot;
            let superseded = match entry.holds {
                Holds::Point(_) => false,
                Holds::Checkpoint(_) => slot < newest_point,
                Holds::EpochOpen => trail.epoch != Some(slot),
                Holds::Upkeep => true,
            };
            if !superseded || head == Some(slot) || next.gap_of(slot).is_some() {
                continue;
            }
            let joins = next.gap_of(slot + 1).is_some()
                || slot.checked_sub(1).is_some_and(|before| next.gap_of(before).is_some());
            if joins || next.gaps.len() < LONE_GAPS_MAX {
                next.cover(slot, entry.digest);
                next.leave(slot, now);
                covered += 1;
            }
        }
        Ok(covered)
    }

    /// Slots whose objects are gone need not leave any more; objects in gaps that nobody sends away are what a writer
    /// made that had slept for longer than the grace: they leave too.
    fn tidy_leaving(&self, next: &mut Upkeep) -> Result<(), Error> {
        let now = self.access.store.now()?;
        for run in core::mem::take(&mut next.leaving) {
            for (slot, _) in self.roster.objects.range(run.first..=run.last) {
                next.leave(*slot, run.since);
            }
        }
        let strays = self.roster.objects.keys().filter(|slot| next.gap_of(**slot).is_some());
        for slot in strays.copied().collect::<Vec<_>>() {
            next.leave(slot, now);
        }
        Ok(())
    }

    /// The list of what is to be known of upkeep must fit one record; what makes it long is moved frames.
    fn check_size(&self, next: &Upkeep) -> Result<(), Error> {
        let bytes = encoded_bytes(next);
        if bytes <= RECORD_BYTES_MAX - 4096 {
            return Ok(());
        }
        Err(Error::exhausted(
            format!("server {}", self.server),
            format!("its upkeep record would be {bytes} bytes long, more than the 16 MiB it may be"),
        )
        .remedy("keep fewer points, or make fewer: every kept point between pruned ones costs 40 bytes there"))
    }
}

/// Length of an upkeep record.
pub(super) fn encoded_bytes(upkeep: &Upkeep) -> usize {
    postcard::to_allocvec(upkeep).map_or(usize::MAX, |bytes| bytes.len())
}

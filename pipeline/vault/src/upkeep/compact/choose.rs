//! Which segments are worth rewriting: small ones when there are many, and sparse ones, within what one run may do.

use std::collections::HashMap;

use pipeline::ids::SegmentId;
use pipeline::segment::{HEADER_BYTES, SegmentHeader};

use crate::error::{Blame, Error};
use crate::names;
use crate::parallel;
use crate::upkeep::Scope;
use crate::upkeep::condemn::condemned_set;
use crate::upkeep::session::Session;
use crate::upkeep::survey::{Survey, moved};

/// A segment to be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) segment: SegmentId,
    pub(super) bytes: u64,
    /// It is rewritten because it is small, however much of it is live.
    pub(super) small: bool,
}

/// Who can have frames in an object: itself, and the segments whose frames were carried there.
struct Residents<'a> {
    moved: HashMap<SegmentId, &'a Vec<SegmentId>>,
    carried: HashMap<SegmentId, Vec<SegmentId>>,
}

impl Session<'_> {
    pub(super) fn choose(&self, survey: &mut Survey) -> Result<Vec<Chosen>, Error> {
        let moved = moved(&self.roster.upkeep);
        let mut carried: HashMap<SegmentId, Vec<SegmentId>> = HashMap::new();
        for (from, into) in &moved {
            into.iter().for_each(|holder| carried.entry(*holder).or_default().push(*from));
        }
        let residents = Residents { moved, carried };
        let condemned = condemned_set(&self.roster.upkeep);
        let needed = survey.needed(&self.roster.upkeep)?;
        // A run that goes on reads its own segments, and gives up when one of them is condemned.
        let running = self.running();
        let mut small = Vec::new();
        let mut large = Vec::new();
        for (segment, facts) in &survey.objects {
            let exact = residents.of(segment).all(|resident| survey.is_exact(&resident));
            let free = !condemned.contains(segment) && !running.contains(segment);
            if !exact || !free || !needed.contains(segment) {
                continue;
            }
            let is_small = facts.bytes < self.options.small_bytes_max;
            let chosen = Chosen { segment: *segment, bytes: facts.bytes, small: is_small };
            if is_small { small.push((facts.modified, chosen)) } else { large.push(chosen) }
        }
        small.sort_unstable_by_key(|(modified, chosen)| (*modified, chosen.segment));
        let mut chosen: Vec<Chosen> = small.into_iter().map(|(_, chosen)| chosen).collect();
        if chosen.len() < self.options.merge_count_min.max(2) {
            chosen.clear();
        }
        if self.options.scope == Scope::Whole {
            chosen.extend(self.sparse(survey, &residents, large)?);
        }
        let mut room = self.options.compact_bytes_max;
        chosen.retain(|chosen| {
            let fits = chosen.bytes <= room;
            room -= if fits { chosen.bytes } else { 0 };
            fits
        });
        Ok(chosen)
    }

    /// The sparsest first. How many frames a segment has stands in its header, how many are live is known.
    fn sparse(
        &self,
        survey: &Survey,
        residents: &Residents<'_>,
        mut large: Vec<Chosen>,
    ) -> Result<Vec<Chosen>, Error> {
        large.sort_unstable_by_key(|chosen| chosen.segment);
        if large.len() > self.options.header_reads_max {
            // Another part every time: identities are random, so a random one is a fair place to start.
            let start = SegmentId(self.access.random_id()?);
            let at = large.partition_point(|chosen| chosen.segment < start);
            let count = large.len();
            large.rotate_left(at % count);
            large.truncate(self.options.header_reads_max);
        }
        let limit = self.options.live_percent_min;
        let shares = parallel::each(&large, self.access.store.parallel(), |chosen| {
            self.live_percent(survey, residents, chosen.segment)
        })?;
        let mut sparse: Vec<(u32, Chosen)> = shares
            .into_iter()
            .zip(large)
            .filter_map(|(share, chosen)| share.filter(|share| *share < limit).zip(Some(chosen)))
            .collect();
        sparse.sort_unstable_by_key(|(share, chosen)| (*share, chosen.segment));
        Ok(sparse.into_iter().map(|(_, chosen)| chosen).collect())
    }

    /// The share of live frames by number; `None` where it cannot be told.
    fn live_percent(
        &self,
        survey: &Survey,
        residents: &Residents<'_>,
        segment: SegmentId,
    ) -> Result<Option<u32>, Error> {
        let spread =
            |resident: SegmentId| residents.moved.get(&resident).is_some_and(|into| into.len() > 1);
        let (live, all) = if residents.of(&segment).any(spread) {
            // Its residents live in other objects too: only the table tells who is where.
            let opened = match survey.frames.table(&segment) {
                Ok(opened) => opened,
                Err(error) => return unknown(&error),
            };
            let live =
                opened.table.entries().filter(|entry| survey.live.class(entry.address).is_some());
            (live.count() as u64, opened.table.len() as u64)
        } else {
            let live =
                residents.of(&segment).map(|resident| u64::from(survey.live.count(&resident)));
            let mut bytes = [0; HEADER_BYTES];
            let name = names::segment(&self.server, &segment);
            if let Err(error) = self.access.store.read(&name, 0, &mut bytes) {
                return unknown(&error);
            }
            // Unsealed, so only a hint: the table is opened before anything is moved.
            let Ok(header) = SegmentHeader::parse(&bytes) else { return Ok(None) };
            (live.sum(), header.frames() as u64)
        };
        Ok(u32::try_from(live * 100 / all.max(1)).ok())
    }
}

/// A segment that cannot be read is left alone: verifying is what finds damage. No answer ends the run.
fn unknown(error: &Error) -> Result<Option<u32>, Error> {
    match error.blame {
        Blame::Device => Err(error.clone()),
        _ => {
            log::warn!("{error}: it is not rewritten");
            Ok(None)
        }
    }
}

impl Residents<'_> {
    fn of(&self, object: &SegmentId) -> impl Iterator<Item = SegmentId> + use<'_> {
        let itself = (!self.moved.contains_key(object)).then_some(*object);
        itself.into_iter().chain(self.carried.get(object).into_iter().flatten().copied())
    }
}

//! Carries the live frames of sparse and of small segments into new ones and says where they are now.
//!
//! Maps never change: a relocation tells by the segment that maps name where its live frames are. Frames are carried as
//! they were sealed, after each was opened once, so that nothing damaged gets a new and healthy-looking home.
//!
//! New segments are grouped by who needs the frames (`live::Class`): what the newest point needs stays until its block
//! is overwritten, what only points of the last days need goes with them in a few days, what weekly and monthly points
//! need stays for long. Kept apart, most segments die whole, and a dead segment costs one delete where a sparse one costs
//! reading and writing what is left of it. Finer classes would make more small segments and save little more: within a
//! class frames lie in the order of their origin, so frames that were made together stay together.

/// Reads, checks and carries frames.
mod carry;
/// Which segments are worth it.
mod choose;

use std::collections::{BTreeMap, HashMap, HashSet};

use pipeline::ids::SegmentId;

use super::Report;
use super::session::{Session, Stop, encoded_bytes};
use super::survey::{Survey, moved};
use crate::error::Error;
use crate::record::{Action, Condemned, Relocation, SegmentRef, Upkeep};
use carry::Carried;

/// Relocations are in every upkeep record: beyond so many bytes of it nothing more is moved.
const UPKEEP_BYTES_MAX: usize = 12 * 1024 * 1024;

impl Session<'_> {
    /// Chooses, carries and publishes, in one record.
    pub(super) fn compact(&mut self, survey: &mut Survey, report: &mut Report) -> Result<(), Stop> {
        if encoded_bytes(&self.roster.upkeep) > UPKEEP_BYTES_MAX / 2 {
            report.relocations_full = true;
            return Ok(());
        }
        let chosen = self.choose(survey)?;
        if chosen.is_empty() {
            return Ok(());
        }
        let carried = self.carry(survey, &chosen, report)?;
        if carried.moved.is_empty() {
            return Ok(());
        }
        let counts = carried.counts(survey);
        let mut full = false;
        let covered = self.publish(&mut |session| {
            survey.extend(session)?;
            // A point that came in between cannot reach a frame that was dead, because writers only know what the
            // newest point reaches and what they made. If one does all the same, begin anew.
            if carried.counts(survey) != counts {
                return Err(Stop::Overtaken);
            }
            let next = session.relocating(survey, &carried)?;
            full = encoded_bytes(&next) > UPKEEP_BYTES_MAX;
            Ok(Some(next).filter(|_| !full))
        })?;
        report.relocations_full = full;
        if let Some(covered) = covered {
            survey.frames.relocate(&self.roster.upkeep);
            report.records_covered += covered;
            report.segments_moved += carried.moved.len() as u64;
            report.segments_written += carried.written.len() as u64;
            report.written_bytes +=
                carried.written.iter().map(|made| u64::from(made.bytes)).sum::<u64>();
        }
        Ok(())
    }

    /// The state of upkeep with the carried frames where they are now and the old segments condemned. Both in one
    /// record: were a moved segment not condemned, a writer might salvage a dead frame of it.
    fn relocating(&self, survey: &Survey, carried: &Carried) -> Result<Upkeep, Error> {
        let since = self.access.store.now()?;
        let mut next = self.roster.upkeep.clone();
        let old: HashMap<SegmentId, Vec<SegmentId>> =
            moved(&next).into_iter().map(|(from, into)| (from, into.clone())).collect();
        let gone: HashSet<SegmentId> = carried.moved.iter().copied().collect();
        let mut relocations: BTreeMap<SegmentId, Vec<SegmentId>> = BTreeMap::new();
        for (from, into) in &old {
            relocations.insert(*from, into.clone());
        }
        for from in carried.origins() {
            let holders = old.get(&from).cloned().unwrap_or_else(|| vec![from]);
            let mut into = carried.holders_of(&from);
            into.extend(holders.into_iter().filter(|holder| !gone.contains(holder)));
            relocations.insert(from, into);
        }
        relocations.retain(|from, into| {
            let dead = survey.is_exact(from) && survey.live.count(from) == 0;
            !dead && !into.is_empty() && into[..] != [*from]
        });
        next.relocations =
            relocations.into_iter().map(|(from, into)| Relocation { from, into }).collect();
        next.condemned
            .extend(carried.moved.iter().map(|segment| Condemned { segment: *segment, since }));
        let segments: Vec<SegmentRef> = carried.written.clone();
        next.action = Action::Relocate { segments };
        Ok(next)
    }
}

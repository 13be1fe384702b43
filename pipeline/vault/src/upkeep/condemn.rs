//! Lists segments that nothing reaches, so that writers keep their hands off them and a later run deletes them.

use std::collections::HashSet;

use pipeline::ids::SegmentId;

use super::Report;
use super::session::{Session, Stop};
use super::survey::Survey;
use crate::error::Error;
use crate::record::{Action, Condemned, Upkeep};

/// So many dead entries of moved segments are worth a record of their own.
const DROPPED_WORTH: usize = 1024;

impl Session<'_> {
    /// Condemns what is dead now, in one record; on a dry run only counts it.
    pub(super) fn condemn(&mut self, survey: &mut Survey, report: &mut Report) -> Result<(), Stop> {
        let mut dead: Vec<SegmentId> = Vec::new();
        let dry = self.options.dry_run;
        let covered = self.publish(&mut |session| {
            survey.extend(session)?;
            dead = session.dead(survey)?;
            let next = session.condemning(survey, &dead)?;
            let dropped = session.roster.upkeep.relocations.len() - next.relocations.len();
            let worth = !dead.is_empty() || dropped >= DROPPED_WORTH;
            Ok(Some(next).filter(|_| worth && !dry))
        })?;
        if covered.is_some() || dry {
            let bytes = |segment| survey.objects.get(segment).map_or(0, |facts| facts.bytes);
            report.segments_condemned += dead.len() as u64;
            report.condemned_bytes += dead.iter().map(bytes).sum::<u64>();
            report.records_covered += covered.unwrap_or(0);
        }
        Ok(())
    }

    /// Segments that nothing reaches and nobody may be about to name.
    fn dead(&self, survey: &mut Survey) -> Result<Vec<SegmentId>, Error> {
        let now = self.access.store.now()?;
        let needed = survey.needed(&self.roster.upkeep)?;
        let condemned = condemned_set(&self.roster.upkeep);
        let running = self.running();
        let named = self.named();
        let mut dead = Vec::new();
        for (segment, facts) in &survey.objects {
            let spared = needed.contains(segment)
                || condemned.contains(segment)
                || running.contains(segment);
            // A segment that no record names may be on its way into one: it must be old.
            let old = facts.modified.saturating_add(self.options.orphan_grace) <= now;
            if !spared && (old || named.contains(segment)) {
                dead.push(*segment);
            }
        }
        dead.sort_unstable();
        Ok(dead)
    }

    /// Segments of a run that goes on or was interrupted: the next checkpoint or point may name what the newest
    /// checkpoint does not reach, and a writer that finds one of its own condemned gives up.
    pub(super) fn running(&self) -> HashSet<SegmentId> {
        let checkpoints = self.roster.checkpoints();
        checkpoints.flat_map(|(_, summary)| summary.segments.iter().copied()).collect()
    }

    /// Segments that a finished run or an earlier compaction published: no writer will name them anew.
    fn named(&self) -> HashSet<SegmentId> {
        let newest = self.roster.newest_point().unwrap_or(0);
        let entries = self.roster.entries.range(..=newest);
        let introduced = entries.filter_map(|(_, entry)| entry.summary());
        let mut named: HashSet<SegmentId> =
            introduced.flat_map(|summary| summary.segments.iter().copied()).collect();
        named.extend(&self.roster.departed);
        for relocation in &self.roster.upkeep.relocations {
            named.insert(relocation.from);
            named.extend(&relocation.into);
        }
        named
    }

    fn condemning(&self, survey: &Survey, dead: &[SegmentId]) -> Result<Upkeep, Error> {
        // Asked after the chain and the pins were read: a reader that pinned before this counts as earlier.
        let since = self.access.store.now()?;
        let mut next = self.roster.upkeep.clone();
        next.relocations.retain(|moved| survey.live.count(&moved.from) > 0);
        let gone: HashSet<&SegmentId> = dead.iter().collect();
        for moved in &mut next.relocations {
            // Of what is spread over several objects, some may hold nothing that lives any more.
            moved.into.retain(|holder| !gone.contains(holder));
            assert!(!moved.into.is_empty(), "what lives has a home: `needed` said so");
        }
        next.condemned.extend(dead.iter().map(|segment| Condemned { segment: *segment, since }));
        next.action = Action::Condemn;
        Ok(next)
    }
}

/// The condemned segments, for many questions.
pub(super) fn condemned_set(upkeep: &Upkeep) -> HashSet<SegmentId> {
    upkeep.condemned.iter().map(|condemned| condemned.segment).collect()
}

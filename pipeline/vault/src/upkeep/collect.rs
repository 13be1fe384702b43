//! Deletes what the grace is over for: condemned segments, objects of slots that left the chain, pins that ended.

use std::collections::HashSet;

use pipeline::ids::SegmentId;

use super::Report;
use super::session::{Session, Stop};
use super::survey::Survey;
use crate::error::{Blame, Error};
use crate::names;
use crate::record::Action;

/// Names in one call: what Azure takes.
const DELETE_NAMES_MAX: usize = 256;

/// What became of a list of names to delete.
pub(super) struct Deleted {
    /// Which are gone now, in the order of the names.
    pub(super) gone: Vec<bool>,
    /// What kept the store from answering, if it did.
    pub(super) failed: Option<Error>,
}

impl Session<'_> {
    /// Looks at chain and pins again, rescues what is reached after all, deletes, and says so.
    pub(super) fn collect(&mut self, survey: &mut Survey, report: &mut Report) -> Result<(), Stop> {
        if self.roster.catch_up(&mut self.chain)? {
            return Err(Stop::Overtaken);
        }
        survey.look_at_pins(self)?;
        self.rescue(survey, report)?;
        let mut failed = self.delete_segments(survey, report)?;
        if failed.is_none() {
            failed = self.delete_slots(survey, report)?;
        }
        if failed.is_none() && !survey.expired.is_empty() {
            failed = self.delete(&survey.expired, report).failed;
        }
        failed.map_or(Ok(()), |error| Err(Stop::Failed(error)))
    }

    /// By the protocol no record ever reaches again what is condemned. A pin may: one that arrived after its point was
    /// pruned. Its reader looks again and gives up; until the pin is gone, what it reaches stays.
    fn rescue(&mut self, survey: &mut Survey, report: &mut Report) -> Result<(), Stop> {
        let mut rescued = 0;
        let covered = self.publish(&mut |session| {
            survey.extend(session)?;
            let needed = survey.needed(&session.roster.upkeep)?;
            let mut next = session.roster.upkeep.clone();
            let taken =
                next.condemned.extract_if(.., |condemned| needed.contains(&condemned.segment));
            let segments: Vec<SegmentId> = taken.map(|condemned| condemned.segment).collect();
            rescued = segments.len() as u64;
            next.action = Action::Rescue { segments };
            Ok(Some(next).filter(|_| rescued > 0))
        })?;
        if let Some(covered) = covered {
            log::warn!(
                "{rescued} condemned segments of server {} are reached and stay",
                self.server
            );
            report.segments_rescued += rescued;
            report.records_covered += covered;
        }
        Ok(())
    }

    fn delete_segments(
        &mut self,
        survey: &mut Survey,
        report: &mut Report,
    ) -> Result<Option<Error>, Stop> {
        let now = self.access.store.now()?;
        let reader = survey.oldest_reader();
        let mut doomed: Vec<SegmentId> = Vec::new();
        let mut absent: HashSet<SegmentId> = HashSet::new();
        for condemned in &self.roster.upkeep.condemned {
            if !survey.objects.contains_key(&condemned.segment) {
                absent.insert(condemned.segment);
            } else if condemned.since.saturating_add(self.options.grace) > now {
            } else if reader.is_some_and(|reader| reader <= condemned.since) {
                report.segments_pinned += 1;
            } else {
                doomed.push(condemned.segment);
            }
        }
        let names: Vec<String> =
            doomed.iter().map(|segment| names::segment(&self.server, segment)).collect();
        let deleted = self.delete(&names, report);
        let mut gone = absent;
        for (segment, _) in doomed.iter().zip(&deleted.gone).filter(|(_, gone)| **gone) {
            report.deleted_bytes += survey.objects.remove(segment).map_or(0, |facts| facts.bytes);
            gone.insert(*segment);
        }
        self.publish_collected(&gone, report)?;
        Ok(deleted.failed)
    }

    fn publish_collected(
        &mut self,
        gone: &HashSet<SegmentId>,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let covered = self.publish(&mut |session| {
            let mut next = session.roster.upkeep.clone();
            let taken =
                next.condemned.extract_if(.., |condemned| gone.contains(&condemned.segment));
            let deleted: Vec<SegmentId> = taken.map(|condemned| condemned.segment).collect();
            let any = !deleted.is_empty();
            next.action = Action::Collect { deleted };
            Ok(Some(next).filter(|_| any))
        })?;
        report.records_covered += covered.unwrap_or(0);
        Ok(())
    }

    /// Deletes objects of covered slots. What is gone needs no record: the listing says so.
    fn delete_slots(
        &mut self,
        survey: &Survey,
        report: &mut Report,
    ) -> Result<Option<Error>, Stop> {
        let now = self.access.store.now()?;
        let reader = survey.oldest_reader();
        let mut slots = Vec::new();
        for run in &self.roster.upkeep.leaving {
            let young = run.since.saturating_add(self.options.grace) > now;
            if young || reader.is_some_and(|reader| reader <= run.since) {
                continue;
            }
            slots.extend(self.roster.objects.range(run.first..=run.last).map(|(slot, _)| *slot));
        }
        let pinned: HashSet<u64> =
            survey.pins.iter().filter_map(|pin| pin.pin.as_ref().map(|pin| pin.slot)).collect();
        slots.retain(|slot| !pinned.contains(slot) && self.roster.upkeep.gap_of(*slot).is_some());
        let names: Vec<String> =
            slots.iter().map(|slot| names::chain_slot(&self.server, *slot)).collect();
        let deleted = self.delete(&names, report);
        for (slot, _) in slots.iter().zip(&deleted.gone).filter(|(_, gone)| **gone) {
            report.deleted_bytes += self.roster.objects.remove(slot).unwrap_or(0);
        }
        Ok(deleted.failed)
    }

    /// Deletes in calls of many names. A refusal leaves that object and goes on; no answer ends it.
    pub(super) fn delete(&self, names: &[String], report: &mut Report) -> Deleted {
        let mut deleted = Deleted { gone: Vec::with_capacity(names.len()), failed: None };
        for names in names.chunks(DELETE_NAMES_MAX) {
            if deleted.failed.is_some() {
                break;
            }
            for answer in self.access.store.delete(names) {
                deleted.gone.push(answer.is_ok());
                match answer {
                    Ok(existed) => report.objects_deleted += u64::from(existed),
                    Err(error) if error.blame == Blame::Refused => {
                        report.deletes_refused += 1;
                        report.trouble(&error);
                    }
                    Err(error) => {
                        deleted.failed.get_or_insert(error);
                    }
                }
            }
        }
        deleted
    }
}

//! Writes indexes of hours and days that are over, and removes those that tell of too little to be worth reading.

use std::collections::BTreeSet;

use super::session::{Session, Stop};
use super::{Report, Scope};
use crate::index::{self, Entry};
use crate::roster::INDEX_WORTH;

/// Records may land a little after the hour that they are of, milliseconds.
const SETTLED: u64 = 10 * 60_000;
/// An index is written for so many slots at least; removed below half of what makes it worth reading.
const WRITE_WORTH: usize = 2 * INDEX_WORTH;

impl Session<'_> {
    /// Writes what is due, and takes the hours away whose day is written.
    pub(super) fn indexes(&mut self, report: &mut Report) -> Result<(), Stop> {
        let now = self.access.store.now()?.saturating_sub(SETTLED);
        let known: BTreeSet<String> =
            index::names_of(&self.access, &self.server)?.into_iter().collect();
        // What knows only the last hours cannot write a whole day's.
        let whole = self.options.scope == Scope::Whole;
        let due = index::due(&self.server, self.roster.entries.values(), now, whole, &known);
        let mut superseded = Vec::new();
        for (name, entries) in due {
            let hourly = name.len() > self.day_name_bytes();
            let there = known.contains(&name);
            if !there && entries.len() >= WRITE_WORTH {
                let entries: Vec<Entry> = entries.into_iter().cloned().collect();
                let written = index::write(&self.access, self.server, &name, entries)?;
                report.indexes_written += u64::from(written);
                if !written {
                    continue;
                }
            } else if !there {
                continue;
            }
            if !hourly {
                let hours = known.iter().filter(|hour| hour.len() > name.len());
                superseded.extend(hours.filter(|hour| hour.starts_with(&name)).cloned());
            }
        }
        let idle = self.roster.indexes.iter().filter(|index| self.is_idle(index));
        superseded.extend(idle.map(|index| index.name.clone()));
        superseded.sort_unstable();
        superseded.dedup();
        // An index that stays because this identity may not delete costs a little and harms nothing.
        let mut ignored = Report::default();
        let deleted = self.delete(&superseded, &mut ignored);
        report.objects_deleted += ignored.objects_deleted;
        deleted.failed.map_or(Ok(()), |error| Err(Stop::Failed(error)))
    }

    /// Too few of its slots are still part of the chain.
    fn is_idle(&self, index: &index::Index) -> bool {
        let alive = |entry: &&Entry| {
            self.roster.objects.contains_key(&entry.slot)
                && self.roster.upkeep.gap_of(entry.slot).is_none()
        };
        index.entries.iter().filter(alive).count() < INDEX_WORTH / 2
    }

    fn day_name_bytes(&self) -> usize {
        crate::names::day_index(&self.server, 0).len()
    }
}

//! When the next point begins: so early that it is in the vault before the newest one there is as old as the policy's
//! interval; pure.
//!
//! From the beginning of a point to the word that the vault has it goes its pre-copy, its freeze, its way through the spool
//! and the vault's own time. How long that will be is known from the last points, and from how much was written since.

use std::collections::VecDeque;

use hal::time::Moment;

/// Points whose length is remembered: the longest of them counts, so that one quiet point does not make the next late.
const POINTS_KEPT: usize = 8;
/// What is not foreseen: half of what was, and a moment.
const MARGIN_PERCENT: u64 = 50;
const MARGIN_MILLIS: u64 = 250;
/// The share of the interval that a point begins earlier at most. Where it takes longer than that nothing early helps, and
/// points that crowd would only take more.
const LEAD_PERCENT_MAX: u64 = 50;
/// The share of the interval that is left to everything else, whatever a point took.
const REST_PERCENT: u64 = 25;
/// Points of fewer blocks say nothing of how long a block takes.
const BLOCKS_WORTH: u64 = 64;
/// Until that was measured: 64 MB/s.
const MICROS_OF_BLOCK_FIRST: u64 = 1000;
/// Points that the vault does not have and whose length is still to be known.
const UNDER_WAY_MAX: usize = 64;

/// A point when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Begun {
    /// When.
    pub(super) at: Moment,
    /// Blocks that were written to until then, since tracking began.
    pub(super) written: u64,
}

/// How long a point took, and of how many blocks it was.
#[derive(Clone, Copy, Debug)]
struct Took {
    millis: u64,
    blocks: u64,
}

/// When points are due.
#[derive(Debug)]
pub(super) struct Schedule {
    interval_millis: u64,
    /// The instant of the newest point, and whether it was a group's.
    newest: Option<(Moment, bool)>,
    /// Blocks that had been written to when it began.
    written: u64,
    /// No point begins before.
    due_from: Moment,
    /// When the newest was said: everything else gets its share of the interval from then on.
    said: Option<Moment>,
    /// Said, and not in the vault: epoch, when it began, and its blocks.
    under_way: VecDeque<(u64, Moment, u64)>,
    took: VecDeque<Took>,
}

impl Schedule {
    /// The first point is due now.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            interval_millis: 0,
            newest: None,
            written: 0,
            due_from: now,
            said: None,
            under_way: VecDeque::new(),
            took: VecDeque::new(),
        }
    }

    /// No point is to be older than this when the next is in the vault.
    pub(super) fn set_interval(&mut self, millis: u64) {
        self.interval_millis = millis;
    }

    /// The next point is due, whatever was before.
    pub(super) fn due_at_once(&mut self, now: Moment) {
        self.newest = None;
        self.due_from = now;
        self.said = None;
    }

    /// When the next point is to begin, where so many blocks were written to since tracking began.
    pub(super) fn due(&self, written: u64) -> Moment {
        let Some((instant, of_group)) = self.newest else { return self.due_from };
        let wait = if of_group {
            // The appliance says when a group's next is made; this one by itself only where that does not come.
            self.interval_millis.saturating_add(self.interval_millis / 2)
        } else {
            self.interval_millis.saturating_sub(self.lead(written.saturating_sub(self.written)))
        };
        // By the interval that holds now: a shorter one counts at once.
        let rested = self.said.map(|said| said.after(share(self.interval_millis, REST_PERCENT)));
        instant.after(wait).max(rested.unwrap_or(self.due_from))
    }

    /// A point was made and said.
    pub(super) fn made(
        &mut self,
        epoch: u64,
        begun: Begun,
        (instant, of_group): (Moment, bool),
        now: Moment,
    ) {
        // What was written before the first is not all sent with it.
        let since = self.newest.map_or(begun.written, |_| self.written);
        let blocks = begun.written.saturating_sub(since);
        if self.under_way.len() == UNDER_WAY_MAX {
            self.under_way.pop_front();
        }
        self.under_way.push_back((epoch, begun.at, blocks));
        self.newest = Some((instant, of_group));
        self.written = begun.written;
        self.said = Some(now);
    }

    /// The vault has everything up to this epoch.
    pub(super) fn vaulted(&mut self, epoch: u64, now: Moment) {
        while let Some((_, began, blocks)) =
            self.under_way.front().copied().filter(|(said, ..)| *said <= epoch)
        {
            self.under_way.pop_front();
            if self.took.len() == POINTS_KEPT {
                self.took.pop_front();
            }
            self.took.push_back(Took { millis: now.since(began), blocks });
        }
    }

    /// How long an outage is says nothing of how long points take.
    pub(super) fn session_lost(&mut self) {
        self.under_way.clear();
    }

    /// How long before it is to be in the vault a point of so many blocks begins.
    fn lead(&self, blocks: u64) -> u64 {
        let longest = self.took.iter().map(|took| took.millis).max().unwrap_or(0);
        let told = self.took.iter().filter(|took| took.blocks >= BLOCKS_WORTH);
        let slowest = told.map(|took| took.millis.saturating_mul(1000) / took.blocks).max();
        let micros = blocks.saturating_mul(slowest.unwrap_or(MICROS_OF_BLOCK_FIRST));
        let foreseen = longest.max(micros / 1000);
        let margin = share(foreseen, MARGIN_PERCENT).saturating_add(MARGIN_MILLIS);
        let lead = foreseen.saturating_add(margin);
        lead.min(share(self.interval_millis, LEAD_PERCENT_MAX))
    }
}

fn share(whole: u64, percent: u64) -> u64 {
    whole.saturating_mul(percent) / 100
}

#[cfg(test)]
mod tests;

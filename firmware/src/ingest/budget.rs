//! What ingest may use of the machine's memory: all that it is good for, or what a small appliance has.

use pipeline::limits::SEGMENT_BYTES_MAX;

const MIB: u64 = 1024 * 1024;
/// What the kernel, everything else of this program and one job of it need.
const OTHERS: u64 = 192 * MIB;
/// With less it is no use: one agent's messages, and a few segments on their way.
const LEAST: u64 = 32 * MIB;

/// Segments of a piece beside those of its workers.
const SEGMENTS_BESIDE: usize = 3;
/// More workers of one piece are no faster.
const WORKERS_MAX: usize = 4;

/// Bytes of memory, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What all agents together may have on their way.
    pub credit: u64,
    /// The ring in memory, where there is no disk for the spool.
    pub ring: u64,
    /// Segments of each piece that goes to the vault; a few there always are.
    pub segments: u64,
    /// What is remembered of the vault for each server, twice: blocks that are known, and map pages.
    pub remembered: u64,
}

impl Budget {
    /// All that is of use.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            credit: super::hub::CREDIT_ALL,
            ring: 320 * MIB,
            segments: 64 * MIB,
            remembered: 4 * MIB,
        }
    }

    /// How many workers fill those segments, of so many processors. Each has one that it fills, and one more is being read
    /// into; two are on their way.
    #[must_use]
    pub fn workers(&self, processors: usize) -> usize {
        let segments = usize::try_from(self.segments).unwrap_or(usize::MAX) / SEGMENT_BYTES_MAX;
        segments.saturating_sub(SEGMENTS_BESIDE).min(processors).clamp(1, WORKERS_MAX)
    }

    /// What a machine has that does nothing else, of so many bytes of memory in all.
    #[must_use]
    pub fn of_machine(bytes: u64) -> Self {
        let (spare, whole) = (bytes.saturating_sub(OTHERS).max(LEAST), Self::whole());
        Self {
            credit: (spare / 8).min(whole.credit),
            ring: (spare / 4).min(whole.ring),
            segments: (spare / 16).min(whole.segments),
            remembered: (spare / 512).min(whole.remembered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::drain::{WORKERS, WRITERS_MAX};

    #[test]
    fn a_small_machine_keeps_half_of_what_it_has_for_others_and_a_large_one_uses_what_is_of_use() {
        for mib in [192, 256, 512, 1024, 4096, 1 << 20] {
            let budget = Budget::of_machine(mib * MIB);
            let segments = (budget.workers(64) + SEGMENTS_BESIDE) * SEGMENT_BYTES_MAX;
            let segments = budget.segments.max(segments as u64);
            let workers = WORKERS as u64 * segments;
            let writers = WRITERS_MAX as u64 * 2 * budget.remembered;
            let all = budget.credit + budget.ring + workers + writers;
            assert!(all <= mib * MIB / 2, "{mib} MiB: {budget:?}");
            assert!(budget.ring >= 8 * MIB && budget.credit >= 4 * MIB, "{mib} MiB: {budget:?}");
        }
        assert_eq!(Budget::of_machine(64 << 30), Budget::whole());
        assert_eq!((Budget::whole().workers(1), Budget::whole().workers(64)), (1, WORKERS_MAX));
    }
}

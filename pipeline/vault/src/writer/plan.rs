//! Which blocks of a disk must be read: all of them, or only those that a tracker marked.

use pipeline::limits::BLOCK_BYTES;

use crate::error::Error;
use crate::map::{LEAF_BLOCKS, blocks_of, leaves_of};

/// What to read of one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Everything; content decides what changed.
    Whole,
    /// Only these runs of blocks: ascending, disjoint, non-adjacent (first block, one past the last).
    Changed(Vec<(u64, u64)>),
}

impl Plan {
    /// A plan from byte ranges (offset, length) in any order; they may overlap and need no alignment.
    pub fn from_bytes(ranges: &[(u64, u64)], disk_bytes: u64, disk: &str) -> Result<Self, Error> {
        let block = BLOCK_BYTES as u64;
        let mut runs = Vec::with_capacity(ranges.len());
        for (offset, length) in ranges.iter().filter(|(_, length)| *length > 0) {
            let end = offset.checked_add(*length).filter(|end| *end <= disk_bytes);
            let Some(end) = end else {
                return Err(Error::misuse(
                    disk,
                    format!("a changed range ({offset}, {length} bytes) lies beyond its {disk_bytes} bytes"),
                )
                .remedy("give ranges of this disk only, or protect it without --changed"));
            };
            runs.push((offset / block, end.div_ceil(block)));
        }
        Ok(Self::Changed(joined(runs)))
    }

    /// The same plan plus every block from `first` to the disk's end: what a disk that grew or shrank needs.
    #[must_use]
    pub fn with_tail(self, first: u64, disk_bytes: u64) -> Self {
        match self {
            Self::Whole => Self::Whole,
            Self::Changed(_) => self.with_runs(vec![(first, u64::MAX)], disk_bytes),
        }
    }

    /// The same plan plus these runs of blocks (first, one past the last), as far as the disk goes.
    #[must_use]
    pub fn with_runs(self, more: Vec<(u64, u64)>, disk_bytes: u64) -> Self {
        match self {
            Self::Whole => Self::Whole,
            Self::Changed(mut runs) => {
                let end = blocks_of(disk_bytes);
                let inside = more.into_iter().map(|(first, past)| (first, past.min(end)));
                runs.extend(inside.filter(|(first, past)| first < past));
                Self::Changed(joined(runs))
            }
        }
    }

    /// How many blocks the plan reads at most.
    pub fn blocks(&self, disk_bytes: u64) -> u64 {
        match self {
            Self::Whole => blocks_of(disk_bytes),
            Self::Changed(runs) => runs.iter().map(|(first, end)| end - first).sum(),
        }
    }

    /// The first leaf at or after `leaf` that the plan touches.
    pub fn next_leaf(&self, leaf: u64, disk_bytes: u64) -> Option<u64> {
        match self {
            Self::Whole => (leaf < leaves_of(disk_bytes)).then_some(leaf),
            Self::Changed(runs) => {
                let block = leaf.checked_mul(LEAF_BLOCKS)?;
                let run = runs.get(runs.partition_point(|(_, end)| *end <= block))?;
                Some(leaf.max(run.0 / LEAF_BLOCKS))
            }
        }
    }

    /// The runs of blocks to read within one leaf, as (first, one past the last) inside the leaf.
    pub fn runs_in(&self, leaf: u64, disk_bytes: u64) -> Vec<(u64, u64)> {
        let first = leaf * LEAF_BLOCKS;
        let end = (first + LEAF_BLOCKS).min(blocks_of(disk_bytes));
        match self {
            Self::Whole => vec![(0, end.saturating_sub(first))],
            Self::Changed(runs) => {
                let start = runs.partition_point(|(_, run_end)| *run_end <= first);
                let inside = runs[start..].iter().take_while(|(run_first, _)| *run_first < end);
                inside.map(|(a, b)| ((*a).max(first) - first, (*b).min(end) - first)).collect()
            }
        }
    }
}

fn joined(mut runs: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    runs.sort_unstable();
    let mut kept: Vec<(u64, u64)> = Vec::with_capacity(runs.len());
    for (first, end) in runs {
        match kept.last_mut() {
            Some(last) if first <= last.1 => last.1 = last.1.max(end),
            _ => kept.push((first, end)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: u64 = 1000 * 65_536 + 512;

    #[test]
    fn byte_ranges_become_whole_blocks_joined_and_sorted() {
        let plan =
            Plan::from_bytes(&[(65_536 * 9 + 1, 1), (0, 65_537), (65_536, 1), (5, 0)], DISK, "sda");
        assert_eq!(plan, Ok(Plan::Changed(vec![(0, 2), (9, 10)])));
        assert!(Plan::from_bytes(&[(DISK - 1, 2)], DISK, "sda").is_err());
        assert!(Plan::from_bytes(&[(u64::MAX, 2)], DISK, "sda").is_err());
    }

    #[test]
    fn leaves_without_changes_are_passed_over() {
        let plan = Plan::Changed(vec![(3, 4), (255, 513)]);
        assert_eq!(plan.next_leaf(0, DISK), Some(0));
        assert_eq!(plan.runs_in(0, DISK), [(3, 4), (255, 256)]);
        assert_eq!(plan.runs_in(1, DISK), [(0, 256)]);
        assert_eq!(plan.runs_in(2, DISK), [(0, 1)]);
        assert_eq!(plan.next_leaf(3, DISK), None);
        assert_eq!(Plan::Whole.runs_in(3, DISK), [(0, 1001 - 768)]);
        assert_eq!(Plan::Whole.next_leaf(4, DISK), None);
    }

    #[test]
    fn a_tail_is_added_once() {
        let plan = Plan::Changed(vec![(3, 4)]).with_tail(999, DISK);
        assert_eq!(plan, Plan::Changed(vec![(3, 4), (999, 1001)]));
        assert_eq!(plan.blocks(DISK), 3);
    }
}

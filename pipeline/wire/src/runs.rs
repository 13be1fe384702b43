//! Blocks of a disk as ascending, disjoint runs: what a message names.

use serde::{Deserialize, Serialize};

/// Blocks from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    /// The first block.
    pub first: u64,
    /// How many, at least 1.
    pub blocks: u32,
}

impl Run {
    /// One past the last block; `None` where there is no such number.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.first.checked_add(u64::from(self.blocks))
    }
}

/// How many blocks runs name, where they are what a message may hold: ascending, disjoint, none empty, all below
/// `disk_blocks`.
#[must_use]
pub fn checked_blocks(runs: &[Run], disk_blocks: u64) -> Option<u64> {
    let (mut next, mut sum) = (0_u64, 0_u64);
    for run in runs {
        let end = run.end().filter(|end| *end <= disk_blocks)?;
        if run.blocks == 0 || run.first < next {
            return None;
        }
        next = end;
        sum += u64::from(run.blocks);
    }
    Some(sum)
}

/// Ascending block numbers as the fewest runs.
#[must_use]
pub fn runs_of(blocks: impl IntoIterator<Item = u64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(last) if last.end() == Some(block) && last.blocks < u32::MAX => last.blocks += 1,
            _ => runs.push(Run { first: block, blocks: 1 }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_run() {
        let runs = runs_of([1, 2, 3, 7, 9, 10]);
        let pairs: Vec<(u64, u32)> = runs.iter().map(|run| (run.first, run.blocks)).collect();
        assert_eq!(pairs, [(1, 3), (7, 1), (9, 2)]);
        assert_eq!(checked_blocks(&runs, 11), Some(6));
        assert_eq!(checked_blocks(&runs, 10), None);
    }

    #[test]
    fn runs_that_overlap_go_back_or_are_empty_are_refused() {
        let run = |first, blocks| Run { first, blocks };
        for bad in [
            vec![run(3, 2), run(4, 1)],
            vec![run(3, 1), run(1, 1)],
            vec![run(3, 0)],
            vec![run(u64::MAX, 2)],
        ] {
            assert_eq!(checked_blocks(&bad, u64::MAX), None, "{bad:?}");
        }
    }
}

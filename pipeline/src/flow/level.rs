//! The compression level follows the bottleneck: an idle processor compresses harder, an idle link less hard.

/// Which levels may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelPolicy {
    /// Always this one.
    Fixed(i32),
    /// Between the two, both included.
    Between {
        /// The least effort.
        floor: i32,
        /// The most effort.
        ceiling: i32,
    },
}

impl Default for LevelPolicy {
    /// 1 to 9: below 1 frames grow too much for what is kept for years; above 9 zstd is slower than any link.
    fn default() -> Self {
        Self::Between { floor: 1, ceiling: 9 }
    }
}

impl LevelPolicy {
    /// The default, and below level 1 too where the link outruns the cores.
    #[must_use]
    pub const fn with_fast_levels() -> Self {
        Self::Between { floor: -5, ceiling: 9 }
    }
}

/// Observations on one side before the level moves: queues swing with every segment.
const PATIENCE: i32 = 4;
/// The upload queue is this full (of 100) when the link is the bottleneck...
const LINK_BOUND_PERCENT: u32 = 75;
/// ... and at most this full when the processor is.
const CPU_BOUND_PERCENT: u32 = 25;
/// Observations that a level is left alone after it proved too slow: the wait doubles each time, to this at most.
const PENALTY_MAX: u32 = 1024;

/// Picks the level for the next frames from how full the queue between compressing and uploading is.
#[derive(Clone, Debug)]
pub struct LevelGovernor {
    policy: LevelPolicy,
    level: i32,
    /// Above zero: so many observations in a row said "link bound"; below: "processor bound".
    lean: i32,
    /// Observations until the next step up is tried.
    wait: u32,
    penalty: u32,
    went_up: bool,
}

impl LevelGovernor {
    /// Begins at the policy's floor, but not below 1: speed first, and size where there is time for it.
    #[must_use]
    pub fn new(policy: LevelPolicy) -> Self {
        let level = match policy {
            LevelPolicy::Fixed(level) => level,
            LevelPolicy::Between { floor, ceiling } => 1.clamp(floor, ceiling.max(floor)),
        };
        Self { policy, level, lean: 0, wait: 0, penalty: PATIENCE.unsigned_abs(), went_up: false }
    }

    /// The level to use now. Never 0: zstd means its default by it.
    #[must_use]
    pub fn level(&self) -> i32 {
        self.level
    }

    /// Tells how many of the queue's places are taken, when a segment enters it. Gives the level to use now.
    /// `places` counts those that a queue can really fill: buffers that workers are still filling are none.
    ///
    /// A full queue: the link is the bottleneck, so there is processor time to make less of it. An empty one:
    /// the link idles, so frames must come faster.
    pub fn observe(&mut self, queued: usize, places: usize) -> i32 {
        let LevelPolicy::Between { floor, ceiling } = self.policy else {
            return self.level;
        };
        let percent = percent(queued, places);
        self.wait = self.wait.saturating_sub(1);
        self.lean = if percent >= LINK_BOUND_PERCENT {
            self.lean.max(0) + 1
        } else if percent <= CPU_BOUND_PERCENT {
            self.lean.min(0) - 1
        } else {
            0
        };
        if self.lean >= PATIENCE {
            self.lean = 0;
            self.step_up(ceiling.max(floor));
        } else if self.lean <= -PATIENCE {
            self.lean = 0;
            self.step_down(floor);
        }
        self.level
    }

    fn step_up(&mut self, ceiling: i32) {
        if self.level >= ceiling || self.wait > 0 {
            return;
        }
        if self.went_up {
            // Two steps up in a row: the link is far slower, so the last penalty was about another time.
            self.penalty = PATIENCE.unsigned_abs();
        }
        self.level = past_zero(self.level, 1).min(ceiling);
        self.went_up = true;
    }

    fn step_down(&mut self, floor: i32) {
        if self.level <= floor {
            return;
        }
        if self.went_up {
            // The level just tried is too slow here: try it again later and later, else the level swings.
            self.penalty = (self.penalty * 2).min(PENALTY_MAX);
            self.wait = self.penalty;
        }
        self.level = past_zero(self.level, -1).max(floor);
        self.went_up = false;
    }
}

fn past_zero(level: i32, step: i32) -> i32 {
    let next = level.saturating_add(step);
    if next == 0 { next + step } else { next }
}

fn percent(queued: usize, places: usize) -> u32 {
    let of = places.max(1);
    u32::try_from(queued.min(of).saturating_mul(100) / of).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn observe_times(governor: &mut LevelGovernor, queued: usize, times: usize) -> Vec<i32> {
        (0..times).map(|_| governor.observe(queued, 8)).collect()
    }

    #[test]
    fn a_slow_link_raises_the_level_to_the_ceiling_and_no_further() {
        let mut governor = LevelGovernor::new(LevelPolicy::default());
        let levels = observe_times(&mut governor, 8, 100);
        assert_eq!(levels[0], 1);
        assert!(levels.is_sorted());
        assert_eq!(levels[99], 9);
    }

    #[test]
    fn a_fast_link_brings_it_back_to_the_floor_and_no_further() {
        let mut governor = LevelGovernor::new(LevelPolicy::default());
        observe_times(&mut governor, 8, 100);
        let levels = observe_times(&mut governor, 0, 100);
        assert_eq!(*levels.last().unwrap(), 1);
        assert!(levels.iter().rev().is_sorted());
    }

    #[test]
    fn levels_below_one_need_the_policy_and_zero_is_skipped() {
        let mut governor = LevelGovernor::new(LevelPolicy::with_fast_levels());
        assert_eq!(governor.level(), 1);
        let levels = observe_times(&mut governor, 0, 100);
        assert!(!levels.contains(&0));
        assert_eq!(governor.level(), -5);
        let levels = observe_times(&mut governor, 8, 200);
        assert!(!levels.contains(&0));
        assert_eq!(governor.level(), 9);
    }

    #[test]
    fn one_odd_observation_moves_nothing() {
        let mut governor = LevelGovernor::new(LevelPolicy::default());
        for _ in 0..100 {
            observe_times(&mut governor, 8, 3);
            observe_times(&mut governor, 4, 1);
        }
        assert_eq!(governor.level(), 1);
    }

    #[test]
    fn a_fixed_level_stays() {
        let mut governor = LevelGovernor::new(LevelPolicy::Fixed(3));
        observe_times(&mut governor, 8, 50);
        observe_times(&mut governor, 0, 50);
        assert_eq!(governor.level(), 3);
    }

    #[test]
    fn an_empty_queue_without_places_counts_as_idle_link() {
        let mut governor = LevelGovernor::new(LevelPolicy::default());
        for _ in 0..20 {
            governor.observe(0, 0);
        }
        assert_eq!(governor.level(), 1);
    }

    /// A link that level 4 feeds just too fast and level 5 just too slowly: without patience the level would
    /// swing for ever.
    #[test]
    fn between_two_levels_it_settles_on_the_faster_one() {
        let mut governor = LevelGovernor::new(LevelPolicy::default());
        let mut changes_late = 0;
        let mut at_fast = 0;
        for round in 0..4000 {
            let before = governor.level();
            let queued = if before >= 5 { 0 } else { 8 };
            let after = governor.observe(queued, 8);
            if round >= 2000 {
                changes_late += usize::from(after != before);
                at_fast += usize::from(after == 4);
            }
        }
        assert!(changes_late <= 8, "{changes_late} changes");
        assert!(at_fast >= 1900, "{at_fast} of 2000 at the right level");
    }

    #[test]
    fn a_link_that_turns_slow_later_is_followed_within_the_longest_wait() {
        let mut governor = LevelGovernor::new(LevelPolicy::default());
        for _ in 0..4000 {
            let queued = if governor.level() >= 3 { 0 } else { 8 };
            governor.observe(queued, 8);
        }
        observe_times(&mut governor, 8, PENALTY_MAX as usize + 100);
        assert_eq!(governor.level(), 9);
    }
}

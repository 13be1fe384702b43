//! How wild a history is, and what it came to.

use hal_sim::random::Random;

/// How often what happens, of a million; drawn anew for every history, so that some are calm in one way and wild in another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) fails: u32,
    pub(crate) reply_lost: u32,
    pub(crate) done_twice: u32,
    pub(crate) lands_late: u32,
    pub(crate) kills: u32,
    pub(crate) sleeps: u32,
    pub(crate) time: u32,
    pub(crate) copies: u32,
    /// Whether time may pass by more than an hour while somebody is in the middle of something.
    pub(crate) long_times: bool,
}

impl Rates {
    pub(crate) fn drawn(random: &mut Random) -> Self {
        let mut some = |most: u32| if random.happens(400_000) { most } else { 0 };
        Self {
            fails: some(10_000),
            reply_lost: some(15_000),
            done_twice: some(20_000),
            lands_late: some(15_000),
            kills: some(10_000),
            sleeps: some(40_000),
            time: 15_000 + some(60_000),
            copies: some(300_000),
            long_times: some(1) == 1,
        }
    }
}

/// What a history came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) calls: u64,
    pub(crate) points: u64,
    pub(crate) acknowledged: u64,
    pub(crate) pruned: u64,
    pub(crate) restored: u64,
    pub(crate) copies: u64,
    pub(crate) seals: u64,
    pub(crate) deleted: u64,
    pub(crate) moved: u64,
}

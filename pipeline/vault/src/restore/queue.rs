//! Who does what next in a restore: leaves are looked at first, a window of them yields what is wanted of each
//! segment, and whoever is free brings one segment's share. So a segment is asked for once a window, however many
//! leaves it lies in, and what is remembered does not grow with the disk.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use pipeline::ids::SegmentId;

use super::fetch::Wanted;
use crate::error::Error;

/// Leaves in a window: 256 MiB of disk.
const WINDOW_LEAVES: u64 = 16;
/// So many shares for each worker lie ready before more leaves are looked at.
const AHEAD: usize = 2;

/// What to do next.
pub(super) enum Task {
    /// Find out what is wanted of this leaf.
    Look(u64),
    /// Bring these blocks, all of one segment.
    Bring(SegmentId, Vec<Wanted>),
}

/// The work of one restore, shared by its workers.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    leaves: u64,
    workers: usize,
}

#[derive(Default)]
struct State {
    /// The first leaf that nobody has taken.
    next: u64,
    windows: BTreeMap<u64, Window>,
    shares: VecDeque<(SegmentId, Vec<Wanted>)>,
    /// Tasks that somebody is at.
    busy: usize,
    ended: bool,
    failed: Option<Error>,
}

/// Leaves that are looked at together.
struct Window {
    /// Leaves that are not looked at yet.
    left: u64,
    wanted: HashMap<SegmentId, Vec<Wanted>>,
}

impl Queue {
    /// The work on a disk of so many leaves.
    pub(super) fn new(leaves: u64, workers: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), leaves, workers: workers.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task; waits while only others can find more. `None` where all is done, failed or ended.
    pub(super) fn next(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.ended || state.failed.is_some() {
                return None;
            }
            let enough = state.shares.len() >= AHEAD * self.workers;
            let task = if !enough && state.next < self.leaves {
                let leaf = state.next;
                state.next += 1;
                Task::Look(leaf)
            } else if let Some((segment, wanted)) = state.shares.pop_front() {
                Task::Bring(segment, wanted)
            } else if state.busy > 0 {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            } else {
                return None;
            };
            state.busy += 1;
            return Some(task);
        }
    }

    /// A leaf was looked at; this is wanted of it.
    pub(super) fn looked(&self, leaf: u64, wanted: &[Wanted]) {
        let number = leaf / WINDOW_LEAVES;
        let mut state = self.lock();
        let window = state.windows.entry(number).or_insert_with(|| Window {
            left: leaves_of_window(number, self.leaves),
            wanted: HashMap::new(),
        });
        for one in wanted {
            window.wanted.entry(one.1.address.segment).or_default().push(*one);
        }
        window.left -= 1;
        if window.left == 0
            && let Some(window) = state.windows.remove(&number)
        {
            let mut shares: Vec<_> = window.wanted.into_iter().collect();
            // In the order of the disk: targets that turn are written forwards.
            shares.sort_unstable_by_key(|(_, wanted)| wanted.iter().map(|one| one.0).min());
            state.shares.extend(shares);
        }
        self.done(state);
    }

    /// A share was brought.
    pub(super) fn brought(&self) {
        self.done(self.lock());
    }

    fn done(&self, mut state: MutexGuard<'_, State>) {
        state.busy -= 1;
        drop(state);
        self.changed.notify_all();
    }

    /// No task is handed out any more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// The same, because of this; the first reason counts.
    pub(super) fn fail(&self, error: Error) {
        self.lock().failed.get_or_insert(error);
        self.changed.notify_all();
    }

    /// How it went: whether everything was done.
    pub(super) fn finish(self) -> Result<bool, Error> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failed {
            Some(error) => Err(error),
            None => Ok(state.next >= self.leaves && state.shares.is_empty() && state.busy == 0),
        }
    }
}

fn leaves_of_window(number: u64, leaves: u64) -> u64 {
    leaves.saturating_sub(number * WINDOW_LEAVES).min(WINDOW_LEAVES)
}

#[cfg(test)]
mod tests {
    use pipeline::ids::{Fingerprint, FrameAddress};

    use super::*;
    use crate::map::BlockRef;

    fn block(number: usize, segment: u8) -> Wanted {
        let address = FrameAddress { segment: SegmentId([segment; 16]), ordinal: 0 };
        (number, BlockRef { address, index: 0, fingerprint: Fingerprint([0; 16]) })
    }

    #[test]
    fn a_segment_is_brought_once_a_window_in_the_order_of_the_disk() {
        let queue = Queue::new(WINDOW_LEAVES + 3, 2);
        let mut looked = 0;
        let mut shares = Vec::new();
        while let Some(task) = queue.next() {
            match task {
                Task::Look(leaf) => {
                    assert_eq!(leaf, looked, "leaves are taken in order");
                    looked += 1;
                    let number = usize::try_from(leaf).unwrap() * 256;
                    queue.looked(leaf, &[block(number, 9), block(number + 1, 7)]);
                }
                Task::Bring(segment, wanted) => {
                    shares.push((segment.0[0], wanted.len()));
                    queue.brought();
                }
            }
        }
        assert_eq!(looked, WINDOW_LEAVES + 3);
        assert_eq!(shares, [(9, 16), (7, 16), (9, 3), (7, 3)]);
        assert_eq!(queue.finish(), Ok(true));
    }

    #[test]
    fn workers_wait_for_each_other_and_all_end() {
        let queue = Queue::new(1000, 4);
        let brought = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(task) = queue.next() {
                        match task {
                            Task::Look(leaf) => {
                                queue.looked(leaf, &[block(usize::try_from(leaf).unwrap(), 1)]);
                            }
                            Task::Bring(_, wanted) => {
                                *brought.lock().unwrap() += wanted.len();
                                queue.brought();
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(brought.into_inner().unwrap(), 1000);
        assert_eq!(queue.finish(), Ok(true));
    }

    #[test]
    fn what_lies_ready_does_not_grow_with_the_disk() {
        let queue = Queue::new(1 << 20, 1);
        let mut most = 0;
        for _ in 0..100_000 {
            match queue.next() {
                Some(Task::Look(leaf)) => {
                    queue.looked(leaf, &[block(0, u8::try_from(leaf % 16).unwrap())]);
                }
                Some(Task::Bring(..)) => queue.brought(),
                None => break,
            }
            let state = queue.lock();
            most = most.max(state.shares.len() + state.windows.len());
        }
        assert!(most <= 2 + 16 + 1, "{most} lay ready");
    }

    #[test]
    fn an_end_or_a_failure_reaches_whoever_waits() {
        let queue = Queue::new(1, 2);
        assert!(matches!(queue.next(), Some(Task::Look(0))));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.next().is_none());
            queue.fail(Error::misuse("target", "broke"));
            assert!(waiting.join().unwrap());
        });
        assert!(queue.next().is_none());
        assert_eq!(queue.finish(), Err(Error::misuse("target", "broke")));
        let stopped = Queue::new(5, 1);
        stopped.end();
        assert!(stopped.next().is_none());
        assert_eq!(stopped.finish(), Ok(false));
    }
}

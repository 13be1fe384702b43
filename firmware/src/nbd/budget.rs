//! How much the requests of all clients may hold in memory at once; who asks for more waits its turn.

use std::sync::Arc;

use smol::lock::{Mutex, Semaphore, SemaphoreGuardArc};

/// What one permit stands for: 1 MiB. Every request takes at least one, so requests are bounded too.
const UNIT_BYTES: u32 = 1024 * 1024;

/// Memory that is shared by all clients.
#[derive(Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    size: usize,
    /// Who holds this collects permits; without it two large requests could each wait for the other's.
    turn: Mutex<()>,
}

/// A share of the budget; it goes back when dropped.
#[derive(Debug)]
pub struct Share {
    _units: Vec<SemaphoreGuardArc>,
}

impl Budget {
    /// A budget of so many MiB.
    #[must_use]
    pub fn new(mebibytes: usize) -> Self {
        Self { units: Arc::new(Semaphore::new(mebibytes)), size: mebibytes, turn: Mutex::new(()) }
    }

    /// Waits until `bytes` are free; a request larger than the whole budget gets all of it.
    pub async fn take(&self, bytes: u32) -> Share {
        let wanted = usize::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        let wanted = wanted.clamp(1, self.size);
        let _turn = self.turn.lock().await;
        let mut units = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            units.push(self.units.acquire_arc().await);
        }
        Share { _units: units }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use smol::future;

    use super::*;

    async fn waits(budget: &Budget, bytes: u32) -> bool {
        let wait = async {
            async_io::Timer::after(Duration::from_millis(20)).await;
            true
        };
        future::or(
            async {
                drop(budget.take(bytes).await);
                false
            },
            wait,
        )
        .await
    }

    #[test]
    fn what_is_taken_must_come_back_first() {
        smol::block_on(async {
            let budget = Budget::new(4);
            let three = budget.take(3 * UNIT_BYTES - 5).await;
            assert!(!waits(&budget, 1).await);
            assert!(waits(&budget, 2 * UNIT_BYTES).await);
            drop(three);
            assert!(!waits(&budget, 4 * UNIT_BYTES).await);
        });
    }

    #[test]
    fn a_request_beyond_the_budget_gets_all_of_it() {
        smol::block_on(async {
            let budget = Budget::new(2);
            let all = budget.take(u32::MAX).await;
            assert!(waits(&budget, 0).await);
            drop(all);
        });
    }

    #[test]
    fn two_large_requests_do_not_lock_each_other() {
        smol::block_on(async {
            let budget = Budget::new(3);
            let first = budget.take(UNIT_BYTES).await;
            let both = future::zip(async { drop(budget.take(3 * UNIT_BYTES).await) }, async {
                drop(budget.take(3 * UNIT_BYTES).await)
            });
            let release = async {
                async_io::Timer::after(Duration::from_millis(10)).await;
                drop(first);
            };
            future::zip(both, release).await;
        });
    }
}

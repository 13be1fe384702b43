//! The same work over many things on several threads; the first failure ends it for all.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Retry};

/// Runs `work` over all of `items`, each thread with a state of its own.
pub(crate) fn each<T: Sync, S>(
    items: &[T],
    workers: usize,
    stop: &AtomicBool,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                let mut state = state();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = if stop.load(Ordering::Relaxed) {
                        Err(stopped())
                    } else {
                        work(&mut state, item)
                    };
                    if let Err(error) = result {
                        next.store(items.len(), Ordering::Relaxed);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// The run was told to stop.
pub(crate) fn stopped() -> Error {
    Error::misuse("verify", "was stopped")
        .retry(Retry::Now)
        .remedy("nothing was changed; run it again")
}

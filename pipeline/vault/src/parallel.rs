//! The same call for many things, several at once: how latency is hidden where order does not matter.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// Processors of this machine that this program may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Calls `work` for every item on at most `threads` threads; the answers are in the order of the items.
/// The first failure ends it; what was begun is finished.
pub(crate) fn each<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let threads = threads.clamp(1, 64).min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Result<Vec<(usize, R)>, Error>> = Mutex::new(Ok(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    match (&mut *done, result) {
                        (Ok(answers), Ok(answer)) => answers.push((at, answer)),
                        (Ok(_), Err(error)) => *done = Err(error),
                        (Err(_), _) => return,
                    }
                }
            });
        }
    });
    let mut answers = done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    answers.sort_unstable_by_key(|(at, _)| *at);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// Does two things at once where the store takes several calls at once, otherwise one after the other.
pub(crate) fn both<A, B: Send>(
    threads: usize,
    one: impl FnOnce() -> A,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    if threads <= 1 {
        return (one(), other());
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        let one = one();
        (one, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_things_are_done_at_once_only_where_the_store_takes_that() {
        let order = Mutex::new(Vec::new());
        let note = |name| order.lock().expect("nobody panics").push(name);
        assert_eq!(both(1, || note(1), || note(2)), ((), ()));
        assert_eq!(*order.lock().expect("nobody panics"), [1, 2]);
        let (tell, told) = std::sync::mpsc::channel();
        // One that waits for the other ends only if both run.
        let (heard, ()) = both(2, || told.recv(), || tell.send(7).expect("somebody listens"));
        assert_eq!(heard, Ok(7));
    }

    #[test]
    fn answers_keep_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        let doubled = each(&items, 7, |item| Ok(item * 2)).expect("nothing fails");
        assert!(items.iter().zip(&doubled).all(|(item, answer)| item * 2 == *answer));
        assert_eq!(each(&[], 7, |item: &u32| Ok(*item)), Ok(vec![]));
    }

    #[test]
    fn a_failure_is_the_answer_and_ends_the_work() {
        let items: Vec<u32> = (0..100_000).collect();
        let calls = AtomicUsize::new(0);
        let failed = each(&items, 4, |item| {
            calls.fetch_add(1, Ordering::Relaxed);
            if *item == 50 { Err(Error::misuse("50", "is not liked")) } else { Ok(()) }
        });
        assert_eq!(failed, Err(Error::misuse("50", "is not liked")));
        assert!(calls.into_inner() < 100_000);
    }
}

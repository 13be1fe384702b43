//! Who has the opened spool: the service that looks after its disk, or replication, to which it is lent. Never both.
//!
//! It refuses to know what a spool is: it says whose turn it is.

use core::time::Duration;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use core::sync::atomic::{AtomicBool, Ordering};

/// Which disk it is, and which of all that ever bore its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// What the disk is called everywhere.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: String,
    /// The kernel's name of the disk.
    pub(crate) kernel_name: String,
    /// The kernel's number of the device: another one that took its name has another.
    pub(crate) number: String,
}

struct Held<S> {
    label: Label,
    /// `None` while it is lent.
    spool: Option<S>,
}

struct Inner<S> {
    held: Option<Held<S>>,
    /// Whoever has it on loan is to give it back.
    recalled: bool,
}

/// The spool, where there is one.
pub(crate) struct Place<S> {
    inner: Mutex<Inner<S>>,
    returned: Condvar,
    /// Something changed: everything is to be looked at anew.
    changed: AtomicBool,
    /// It was looked for at least once.
    looked: AtomicBool,
}

impl<S> Default for Place<S> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner { held: None, recalled: false }),
            returned: Condvar::new(),
            changed: AtomicBool::new(false),
            looked: AtomicBool::new(false),
        }
    }
}

impl<S> Place<S> {
    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything is to be looked at anew.
    pub(crate) fn touch(&self) {
        self.changed.store(true, Ordering::SeqCst);
    }

    /// Whether it was, since the last time that this was asked.
    pub(crate) fn was_touched(&self) -> bool {
        self.changed.swap(false, Ordering::SeqCst)
    }

    /// Notes that it was looked for.
    pub(crate) fn note_look(&self) {
        self.looked.store(true, Ordering::SeqCst);
    }

    /// Whether it was looked for at all.
    pub(crate) fn was_looked_for(&self) -> bool {
        self.looked.load(Ordering::SeqCst)
    }

    /// The kernel's name of its disk: no job may take that.
    pub(crate) fn disk(&self) -> Option<String> {
        self.lock().held.as_ref().map(|held| held.label.kernel_name.clone())
    }

    /// What there is to see of it, whoever has it; the spool itself is only seen while it is not lent.
    pub(crate) fn see<T>(&self, look: impl FnOnce(&Label, Option<&S>) -> T) -> Option<T> {
        let inner = self.lock();
        inner.held.as_ref().map(|held| look(&held.label, held.spool.as_ref()))
    }

    /// Whether there is one that is not lent.
    pub(crate) fn is_free(&self) -> bool {
        self.lock().held.as_ref().is_some_and(|held| held.spool.is_some())
    }

    /// Whether whoever has it on loan is to give it back.
    pub(crate) fn is_recalled(&self) -> bool {
        self.lock().recalled
    }

    /// Lends it to one borrower, until the loan is dropped: by then the borrower must have dropped the spool and all that it
    /// made of it.
    pub(crate) fn lend(&self) -> Option<(S, Loan<'_, S>)> {
        let spool = self.lock().held.as_mut()?.spool.take()?;
        Some((spool, Loan(self)))
    }

    /// Has the spool let go of, and nobody gets one while the answer lasts. Who has it on loan is asked to give it back and
    /// waited for so long; `None` where it is not back by then.
    pub(crate) fn let_go(&self, patience: Duration) -> Option<Vacant<'_, S>> {
        let is_lent =
            |inner: &mut Inner<S>| inner.held.as_ref().is_some_and(|held| held.spool.is_none());
        let mut inner = self.lock();
        inner.recalled = is_lent(&mut inner);
        let waited = self.returned.wait_timeout_while(inner, patience, is_lent);
        let (mut inner, late) = waited.unwrap_or_else(PoisonError::into_inner);
        if late.timed_out() && is_lent(&mut inner) {
            return None;
        }
        inner.held = None;
        Some(Vacant(inner))
    }
}

/// Proof that nobody has a spool, and nobody gets one while it lasts.
pub(crate) struct Vacant<'a, S>(MutexGuard<'a, Inner<S>>);

impl<S> Vacant<'_, S> {
    /// Has a spool from now on.
    pub(crate) fn fill(mut self, label: Label, spool: S) {
        self.0.held = Some(Held { label, spool: Some(spool) });
    }
}

/// The spool is lent as long as this lasts.
pub(crate) struct Loan<'a, S>(&'a Place<S>);

impl<S> Drop for Loan<'_, S> {
    /// What comes back is not the spool, which may have failed, but its disk: that is looked at anew.
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        *inner = Inner { held: None, recalled: false };
        drop(inner);
        self.0.touch();
        self.0.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn label(name: &str) -> Label {
        let [name, path, kernel_name, number] = [name, "/dev/sdb", "sdb", "7"].map(str::to_owned);
        Label { name, path, kernel_name, number }
    }

    fn filled() -> Place<u32> {
        let place = Place::default();
        let vacant: Vacant<'_, u32> = place.let_go(Duration::ZERO).unwrap();
        vacant.fill(label("S1"), 5);
        place
    }

    #[test]
    fn it_is_lent_to_one_and_seen_by_all() {
        let place = filled();
        let seen = || place.see(|label, spool| (label.name.clone(), spool.copied()));
        assert_eq!((seen(), place.is_free()), (Some(("S1".to_owned(), Some(5))), true));
        let (spool, loan) = place.lend().unwrap();
        assert_eq!((spool, place.is_free()), (5, false));
        assert!(place.lend().is_none(), "one at a time");
        assert_eq!(seen(), Some(("S1".to_owned(), None)));
        assert_eq!(place.disk().as_deref(), Some("sdb"), "no job takes the disk meanwhile");
        assert!(!place.was_touched() && !place.is_recalled());
        drop(loan);
        assert!(place.was_touched(), "its disk is looked at anew");
        assert!(place.disk().is_none() && place.lend().is_none());
    }

    #[test]
    fn who_has_it_is_asked_for_it_and_nobody_gets_it_before() {
        let place = Arc::new(filled());
        let (_, loan) = place.lend().unwrap();
        assert!(place.let_go(Duration::ZERO).is_none(), "it is still lent");
        assert!(place.is_recalled() && place.disk().is_some());
        let other = Arc::clone(&place);
        let waiting = std::thread::spawn(move || {
            let vacant = other.let_go(Duration::from_secs(60)).unwrap();
            vacant.fill(label("S2"), 6);
        });
        drop(loan);
        waiting.join().unwrap();
        assert!(!place.is_recalled());
        assert_eq!(place.lend().map(|(spool, _)| spool), Some(6));
    }

    #[test]
    fn nobody_borrows_while_it_is_let_go() {
        let place = filled();
        let vacant = place.let_go(Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let borrowing = scope.spawn(|| place.lend().is_some());
            drop(vacant);
            assert!(!borrowing.join().unwrap());
        });
    }
}

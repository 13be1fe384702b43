//! Warm seeds and the copies that orders make of them, by what they hold in words; and who reads one at the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// What is in the account.
#[derive(Default)]
pub(crate) struct Account {
    /// Points of seeds, by disk.
    pub(crate) seeds: BTreeMap<String, String>,
    /// Contents of copies, by address.
    pub(crate) copies: BTreeMap<String, String>,
    /// Copies that Azure makes disks of at the moment.
    pub(crate) read: BTreeSet<String>,
    /// So often a copy cannot be brought to its point.
    pub(crate) refuses: u32,
    /// So often a copy cannot be taken away.
    pub(crate) keeps: u32,
}

/// The account, shared by the region and whoever writes into it.
#[derive(Clone, Default)]
pub(crate) struct Seeds(Arc<Mutex<Account>>);

impl Seeds {
    pub(crate) fn account(&self) -> MutexGuard<'_, Account> {
        self.0.lock().expect("nobody panics")
    }

    /// Azure begins to read a copy.
    pub(crate) fn begin(&self, uri: &str) {
        self.account().read.insert(uri.to_owned());
    }

    /// Azure has read it; what is in the disk.
    pub(crate) fn end(&self, uri: &str) -> Option<String> {
        let mut account = self.account();
        account.read.remove(uri);
        account.copies.get(uri).cloned()
    }

    /// Writes to a copy.
    ///
    /// # Panics
    /// Where Azure reads it.
    pub(crate) fn write(&self, uri: &str, content: String) {
        let mut account = self.account();
        assert!(!account.read.contains(uri), "{uri} is written to while a disk is made of it");
        account.copies.insert(uri.to_owned(), content);
    }
}

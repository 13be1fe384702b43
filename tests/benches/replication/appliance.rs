//! The real `lifeboat serve`, with a vault and a large spool in files.

use std::path::Path;

use tests::program::Place;
use tests::serving::Serving;

use super::server::NAME;

const SPOOL_BYTES: u64 = 4 << 30;

/// A running appliance.
pub(crate) struct Appliance(Serving);

impl Appliance {
    /// The server reaches this machine at `host`.
    pub(crate) fn start(folder: &Path, host: &'static str) -> Self {
        let mut serving = Serving::new(Place::in_folder(folder), host, Some(SPOOL_BYTES));
        serving.go_on();
        Self(serving)
    }

    /// A token for the server.
    pub(crate) fn token(&self) -> String {
        self.0.token(&[])
    }

    /// What it says of its servers.
    pub(crate) fn list(&self) -> String {
        self.0.vault(&["server", "list"])
    }

    pub(crate) fn policy(&self, words: &[&str]) {
        self.0.vault(&[&["server", "policy", NAME], words].concat());
    }
}

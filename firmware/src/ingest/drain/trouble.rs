//! What a piece that did not go comes to: tried again after a pause, sent again by its agent, or everything compared.

use core::sync::atomic::Ordering;

use pipeline::ids::{PointId, ServerId};
use pipeline_vault::{Error, Retry};

use super::{Drain, PAUSE_MILLIS_MAX};
use crate::ingest::backlog::Backlog;
use crate::ingest::ledger;
use crate::spool::Mark;

/// The first pause after a failure; it doubles.
const PAUSE_MILLIS: u64 = 1000;
/// Failures in a row after which a server whose pieces take the room of others starts over.
const FAILURES_MAX: u32 = 10;
/// How long it is then kept out.
const KEPT_OUT_MILLIS: u64 = 10 * 60 * 1000;

/// Why a piece did not go.
pub(super) enum Trouble {
    /// The vault, or this machine: later again.
    Vault(Error),
    /// What the spool has of this server is worth nothing: in words.
    Lost(String),
    /// Another writer took the chain over: what comes now is no longer what came after the newest point of this one.
    Fenced(Error),
    /// The server was failed over meanwhile, or that ended: it goes into another chain, or once more into its own, as it is.
    Forked(Error),
    /// What its agent was told to be in the vault is not: this is the newest point there.
    Gone(Option<PointId>),
    /// The end has come.
    End,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Vault(error)
    }
}

impl Drain {
    pub(super) fn lose(&self, backlog: &mut Backlog, after: Mark) -> Vec<(ServerId, u64)> {
        let token = self.loss();
        log::error!(
            "records of the spool are damaged: everybody who has something in it sends it again"
        );
        let servers = backlog.lose(after, token);
        servers.into_iter().map(|server| (server, token)).collect()
    }

    pub(super) fn tell_lost(&self, lost: &[(ServerId, u64)]) {
        if lost.is_empty() {
            return;
        }
        // First durably: a kill in between must not make anybody believe that nothing is missing.
        let needed = self.backlog().needed_from();
        if self.release(needed, Vec::new(), lost.to_vec()).is_ok() {
            self.hub.lost(lost, "records of the spool are damaged");
        }
    }

    /// What the spool has of a server is worth nothing: its agent sends everything that the vault does not have.
    pub(super) fn start_over(&self, server: ServerId, words: &str, pause_millis: u64) {
        let token = self.loss();
        log::error!("server {server}: {words}: it sends again");
        let needed = {
            let mut backlog = self.backlog();
            backlog.drop_server(server, token);
            backlog.failed(server, self.now().saturating_add(pause_millis));
            backlog.needed_from()
        };
        if self.release(needed, Vec::new(), vec![(server, token)]).is_ok() {
            self.hub.lost(&[(server, token)], words);
        }
    }

    /// What an agent was told to be in the vault is not in its chain: it compares everything with this point.
    pub(super) fn compare_all(&self, server: ServerId, newest: Option<PointId>) {
        let token = ledger::whole_loss(self.token());
        let words = "what it was told to be in the vault is not in its chain now";
        log::warn!("server {server}: {words}: everything of it is compared");
        let needed = {
            let mut backlog = self.backlog();
            backlog.drop_server(server, token);
            backlog.failed(server, self.now());
            backlog.needed_from()
        };
        let epoch = self.hub.vaulted_epoch(server);
        let vaulted = newest.map(|point| (server, epoch, point));
        if self.release(needed, vaulted.into_iter().collect(), vec![(server, token)]).is_ok() {
            newest.into_iter().for_each(|point| self.hub.rebase(server, point));
            self.hub.lost(&[(server, token)], words);
        }
    }

    pub(super) fn fail(&self, server: ServerId, error: &Error) {
        let now = self.now();
        let (failures, hopeless) = {
            let mut writers = self.writers();
            let open = writers.entry(server).or_default();
            open.failures = open.failures.saturating_add(1);
            let since = *open.failing_since.get_or_insert(now);
            let tried = error.retry == Retry::Never || open.failures >= FAILURES_MAX;
            // Where others go on, it is not the vault that is away.
            (open.failures, tried && self.succeeded.load(Ordering::Relaxed) > since)
        };
        if hopeless && self.holds_others_up() {
            self.start_over(
                server,
                &format!("what it sent has no way into the vault: {error}"),
                PAUSE_MILLIS_MAX,
            );
            self.hub.keep_out(server, KEPT_OUT_MILLIS);
            return;
        }
        let doubled = PAUSE_MILLIS.saturating_mul(1 << failures.min(10).saturating_sub(1));
        let pause = doubled.min(PAUSE_MILLIS_MAX);
        if failures == 1 || pause == PAUSE_MILLIS_MAX {
            log::warn!("server {server}: {error}; tried again in {} s", pause / 1000);
        }
        self.backlog().failed(server, now.saturating_add(pause));
    }

    /// Whether what waits takes the room of others.
    fn holds_others_up(&self) -> bool {
        let usage = self.hub.usage();
        usage.used > usage.bytes / 2 || !self.backlog().has_room()
    }
}

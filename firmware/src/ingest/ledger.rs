//! Where every server stands, as the entries of the journal say one after another.

use std::collections::BTreeMap;

use pipeline::ids::{PointId, ServerId};

use super::journal::{Entry, KeptCut, Life, Standing};

/// The sum of a journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    standings: BTreeMap<ServerId, Standing>,
}

impl Ledger {
    /// Goes on by one entry. What contradicts what was before is passed over: it was written by no version of ours.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Begin(life, disks) => {
                let old = self.standings.get(&life.server);
                let (epoch, vaulted) = old.map_or((0, None), |old| (old.epoch, old.vaulted));
                let lost = outlives_runs(old.and_then(|old| old.lost));
                let standing = Standing::begin(*life, disks.clone());
                self.standings.insert(life.server, Standing { epoch, vaulted, lost, ..standing });
            }
            Entry::Blocks(life, blocks) => {
                if let Some(standing) = self.of(life) {
                    standing.sequence = standing.sequence.max(blocks.sequence);
                }
            }
            Entry::Cuts(cuts) => {
                for KeptCut { life, cut, .. } in cuts {
                    if let Some(standing) = self.of(life) {
                        standing.sequence = standing.sequence.max(cut.sequence);
                        standing.epoch = standing.epoch.max(cut.epoch);
                        standing.lost = standing.lost.filter(|token| !answers(cut.group, *token));
                    }
                }
            }
            Entry::Standings(all) => {
                for standing in all {
                    self.standings.insert(standing.life.server, standing.clone());
                }
            }
        }
    }

    /// The vault has the point of this epoch.
    pub fn vaulted(&mut self, server: ServerId, epoch: u64, point: PointId) {
        if let Some(standing) = self.standings.get_mut(&server) {
            standing.vaulted = Some((epoch, point));
            standing.epoch = standing.epoch.max(epoch);
        }
    }

    /// Something of these servers was lost, and is to be sent again.
    pub fn lost(&mut self, servers: &[(ServerId, u64)]) {
        for (server, token) in servers {
            if let Some(standing) = self.standings.get_mut(server) {
                standing.lost = Some(*token);
            }
        }
    }

    /// Where a server stands.
    #[must_use]
    pub fn standing(&self, server: &ServerId) -> Option<&Standing> {
        self.standings.get(server)
    }

    /// Where each stands.
    pub fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.standings.values()
    }

    fn of(&mut self, life: &Life) -> Option<&mut Standing> {
        self.standings.get_mut(&life.server).filter(|standing| standing.life == *life)
    }
}

/// Set in the tokens of losses, and in no group's: no cut of a group answers a loss.
pub const LOSS: u64 = 1 << 63;

/// Set in the tokens of losses after which everything is compared: what the vault was said to have, it does not.
pub const COMPARE: u64 = 1 << 62;

/// The token of a loss, made of a number that was not given to anything.
#[must_use]
pub fn loss(token: u64) -> u64 {
    (token & !COMPARE) | LOSS
}

/// The token of one after which everything is compared.
#[must_use]
pub fn whole_loss(token: u64) -> u64 {
    token | LOSS | COMPARE
}

/// Whether everything is to be compared after a loss.
#[must_use]
pub fn is_whole(token: u64) -> bool {
    token & (LOSS | COMPARE) == LOSS | COMPARE
}

/// What stays of a loss when another run begins. A run names by itself what changed since the newest point that it was
/// told of; it does not know that this is not there.
#[must_use]
pub fn outlives_runs(lost: Option<u64>) -> Option<u64> {
    lost.filter(|token| is_whole(*token))
}

/// Whether a cut is the one that was asked for under this token.
#[must_use]
pub fn answers(group: Option<(u64, bool)>, token: u64) -> bool {
    group.is_some_and(|(asked, _)| asked == token)
}

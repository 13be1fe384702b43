//! From sessions into the queue: what is in its order, the cuts of groups together, and what never comes given up.

use std::sync::mpsc;

use pipeline::ids::ServerId;
use pipeline_wire::message::FromAppliance;

use super::{Mark, Member, Release, State, makes_no_sense};
use crate::ingest::group::Effect;
use crate::ingest::journal::{Entry, KeptCut, Life, Verdict};
use crate::ingest::ledger::loss;
use crate::ingest::session::{Next, Nonsense};

impl State {
    pub(super) fn of(&mut self, life: &Life) -> Option<&mut Member> {
        let member = self.members.get_mut(&life.server)?;
        (member.session.standing().life == *life).then_some(member)
    }

    pub(super) fn enqueue(&mut self, entry: Entry, payload: Vec<u8>) {
        self.queued_bytes += payload.len() as u64;
        self.queue.push_back((entry, payload));
    }

    /// Moves what is in order from a session into the queue.
    pub(super) fn admit(&mut self, server: ServerId) -> Result<(), Nonsense> {
        loop {
            let Some(member) = self.members.get_mut(&server) else { return Ok(()) };
            let lost = member.session.standing().lost;
            match member.session.following()? {
                Next::Nothing => return Ok(()),
                Next::Keep(entry, payload) => {
                    if let Some(token) = lost.filter(|_| member.session.standing().lost.is_none()) {
                        member.session.owe(FromAppliance::GroupResult { token, valid: true });
                    }
                    self.enqueue(entry, payload);
                }
                Next::Group(token, frozen) => {
                    let effects = self.groups.cut(server, token, frozen);
                    if effects.is_empty() {
                        return Ok(());
                    }
                    // Either way this session goes on, and so do the others of the group.
                    self.carry_out(effects);
                    return Ok(());
                }
            }
        }
    }

    /// Agents that wait for what never comes: the spool that knew of it is gone.
    pub(super) fn look_for_stuck(&mut self, token: &dyn Fn() -> u64) {
        let mut stuck = Vec::new();
        for (server, member) in &mut self.members {
            let here = !member.lines.is_empty();
            if here && let Some(token) = member.session.is_stuck(&|| loss(token())) {
                stuck.push((*server, token));
                member.wake();
            }
        }
        if stuck.is_empty() {
            return;
        }
        // Durably before anything of it: no cut holds until everything was sent again.
        let (done, _) = mpsc::sync_channel(1);
        let (vaulted, former) = (Vec::new(), Vec::new());
        let servers: Vec<ServerId> = stuck.iter().map(|(server, _)| *server).collect();
        self.releases.push_back(Release {
            up_to: Mark::default(),
            vaulted,
            lost: stuck,
            former,
            done,
        });
        self.admit_all(&servers);
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Tell(server, message) => {
                    if let Some(member) = self.members.get_mut(&server) {
                        member.session.owe(message);
                        member.wake();
                    }
                }
                Effect::Hold(token, servers) => {
                    let mut cuts: Vec<KeptCut> = Vec::new();
                    for server in &servers {
                        let Some(member) = self.members.get_mut(server) else { continue };
                        cuts.extend(member.session.group_cut());
                    }
                    // All of them or none.
                    let all = cuts.len() == servers.len()
                        && cuts.iter().all(|kept| kept.verdict == Verdict::Point);
                    if all {
                        let parts = cuts.iter().map(|kept| (kept.life.server, kept.cut.epoch));
                        self.leads.held(token, parts);
                    } else {
                        cuts.iter_mut().for_each(|kept| kept.verdict = Verdict::Void);
                    }
                    self.enqueue(Entry::Cuts(cuts), Vec::new());
                    self.admit_all(&servers);
                }
                Effect::Void(token, servers) => {
                    for server in &servers {
                        if let Some(member) = self.members.get_mut(server) {
                            member.session.void(token);
                        }
                    }
                    self.admit_all(&servers);
                }
            }
        }
    }

    fn admit_all(&mut self, servers: &[ServerId]) {
        for server in servers {
            if let Err(nonsense) = self.admit(*server)
                && let Some(member) = self.members.get_mut(server)
            {
                member.end_lines(&makes_no_sense(&nonsense));
            }
        }
    }
}

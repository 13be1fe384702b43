//! Servers that were failed over, or are about to be: what their agents are told, and what they say.

use pipeline::ids::{PointId, ServerId};
use pipeline_wire::message::{Demotion, Drained, FromAppliance, Refused, VERSION_FORK, Why};

use super::join::later;
use super::{Hub, Life, Member};
use crate::ingest::roll::wakes::Card;

/// Cards that are remembered of one server.
const CARDS_MAX: usize = 16;

/// What was ordered for a planned failover, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Draining {
    /// The order, as agents are asked by it: with what tells this asking from every other.
    pub order: String,
    /// Whether the machine is switched off in the end.
    pub power_off: bool,
    /// What its agent answered; nothing yet. Words say why it could not be done.
    pub answer: Option<Result<Drained, String>>,
    /// Whose answer it is: the fingerprint of the key of that agent's certificate.
    pub by: Option<[u8; 32]>,
    /// The answer is kept where it survives.
    pub is_noted: bool,
}

impl Hub {
    /// A server was failed over: its agent is told.
    pub fn demote(&self, server: ServerId, demotion: &Demotion) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(&server) else { return };
        if member.demotion.as_ref() == Some(demotion) {
            return;
        }
        member.demotion = Some(demotion.clone());
        if member.speaks < VERSION_FORK {
            member.end_lines(&demoted(demotion));
        } else {
            member.session.owe(FromAppliance::Demoted(demotion.clone()));
            member.wake();
        }
    }

    /// The failover of a server ended: its agent comes back, and goes on as before.
    pub fn promote(&self, server: ServerId) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(&server) else { return };
        if member.demotion.take().is_some() {
            member.end_lines(&later("the failover of this server has ended"));
        }
    }

    /// Servers that were failed over, as far as that is known here.
    #[must_use]
    pub fn demoted(&self) -> Vec<ServerId> {
        let state = self.lock();
        let demoted = state.members.iter().filter(|(_, member)| member.demotion.is_some());
        demoted.map(|(server, _)| *server).collect()
    }

    /// What an agent goes on from is this point now, whatever it was told before.
    pub fn rebase(&self, server: ServerId, point: PointId) {
        let mut state = self.lock();
        if let Some(member) = state.members.get_mut(&server) {
            member.session.rebase(point);
            // What was seen of its maps before is of another chain.
            member.pieces += 1;
        }
    }

    /// The newest epoch of a server that is called vaulted.
    #[must_use]
    pub fn vaulted_epoch(&self, server: ServerId) -> u64 {
        let state = self.lock();
        let member = state.members.get(&server);
        member.and_then(|member| member.session.standing().vaulted).map_or(0, |(epoch, _)| epoch)
    }

    /// A drain is ordered, or called off where there is none. Its agent is told what changed.
    pub fn order_drain(&self, server: ServerId, wanted: Option<&Draining>) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(&server) else { return };
        let before = member.drain.as_ref().map(|drain| drain.order.clone());
        match (before, wanted) {
            (Some(before), Some(wanted)) if before == wanted.order => return,
            (None, None) => return,
            (before, wanted) => {
                member.drain = wanted.cloned();
                if member.knows_drains() {
                    let abort = before.filter(|_| wanted.is_none());
                    abort.into_iter().for_each(|order| {
                        member.session.owe(FromAppliance::Abort { order });
                    });
                }
                member.owe_drain();
            }
        }
        member.wake();
    }

    /// An agent tells the hardware addresses of its machine's cards; those that could be none are left out.
    pub fn cards(&self, life: Life, cards: &[Card]) {
        if let Some(member) = self.lock().of(&life) {
            let is_one = |card: &&Card| **card != Card::default() && card[0] & 1 == 0;
            member.cards = cards.iter().filter(is_one).take(CARDS_MAX).copied().collect();
        }
    }

    /// What a server's agent told of its cards.
    #[must_use]
    pub fn cards_of(&self, server: ServerId) -> Vec<Card> {
        let state = self.lock();
        state.members.get(&server).map(|member| member.cards.clone()).unwrap_or_default()
    }

    /// Whether a server's agent is connected.
    #[must_use]
    pub fn is_connected(&self, server: ServerId) -> bool {
        let state = self.lock();
        state.members.get(&server).is_some_and(|member| !member.lines.is_empty())
    }

    /// An agent answers a drain, by the key of its certificate. What proves nothing is no answer that a machine is switched
    /// off for, whoever gives it.
    pub fn drained(&self, life: Life, by: [u8; 32], order: &str, answer: Result<Drained, String>) {
        let mut state = self.lock();
        let Some(member) = state.of(&life) else { return };
        if member.drain.as_ref().is_some_and(|drain| drain.order == order) {
            member.answer(Some(by), answer.and_then(proven));
        }
    }

    /// The answer to a drain was not kept: it is asked for again, where it still stands.
    pub fn unanswered(&self, server: ServerId, order: &str) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(&server) else { return };
        if let Some(drain) = member.drain.as_mut().filter(|drain| drain.order == order) {
            (drain.answer, drain.by) = (None, None);
        }
    }

    /// What is known of each drain.
    #[must_use]
    pub fn draining(&self) -> Vec<(ServerId, Draining)> {
        let state = self.lock();
        let all = state.members.iter();
        all.filter_map(|(server, member)| Some((*server, member.drain.clone()?))).collect()
    }

    /// The answer to a drain is kept where it survives: its agent is told.
    pub fn note_drained(&self, server: ServerId, order: &str) {
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(&server) else { return };
        let drain = member.drain.as_mut().filter(|drain| drain.order == order);
        if let Some(drain) = drain.filter(|drain| !drain.is_noted) {
            drain.is_noted = true;
            member.owe_drain();
            member.wake();
        }
    }
}

impl Member {
    /// What stands behind each welcome.
    pub(super) fn owe_standing(&mut self) {
        if let Some(demotion) = self.demotion.clone().filter(|_| self.knows_drains()) {
            self.session.owe(FromAppliance::Demoted(demotion));
        }
        self.owe_drain();
    }

    fn knows_drains(&self) -> bool {
        self.speaks >= VERSION_FORK
    }

    fn owe_drain(&mut self) {
        if !self.knows_drains() {
            let is_open = self.drain.as_ref().is_some_and(|drain| drain.answer.is_none());
            // Where nobody is connected, the next one may know.
            if is_open && !self.lines.is_empty() {
                self.answer(None, Err("its agent is too old to be drained: update it".to_owned()));
            }
            return;
        }
        let Some(Draining { order, power_off, answer, is_noted, .. }) = self.drain.clone() else {
            return;
        };
        match answer {
            None => self.session.owe(FromAppliance::Drain { order, power_off }),
            Some(Ok(_)) if is_noted => self.session.owe(FromAppliance::DrainNoted { order }),
            Some(_) => {}
        }
    }

    fn answer(&mut self, by: Option<[u8; 32]>, answer: Result<Drained, String>) {
        if let Some(drain) = &mut self.drain {
            (drain.answer, drain.by) = (Some(answer), by);
        }
    }
}

/// Only a proof; why it is none.
fn proven(drained: Drained) -> Result<Drained, String> {
    if drained.is_proof() {
        return Ok(drained);
    }
    let written = drained.written_after.saturating_sub(drained.written_at_cut);
    let state = if drained.read_only { "" } else { ", and can still be written to" };
    Err(format!(
        "it was written to after its last point: {written} bytes, {} blocks{state}",
        drained.changed_blocks
    ))
}

/// What an agent is told that does not know the word.
#[must_use]
pub fn demoted(demotion: &Demotion) -> Refused {
    Refused {
        why: Why::Demoted,
        words: format!(
            "this server was failed over by order {}: it runs elsewhere",
            demotion.order
        ),
        remedy: "update the agent, and what it writes is kept beside; or, where this is the server again: lifeboat server accept --after-failover".to_owned(),
    }
}

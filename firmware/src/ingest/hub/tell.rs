//! What is told of servers, and when groups are due.

use core::net::IpAddr;
use std::collections::BTreeSet;

use hal::time::Moment;
use pipeline::ids::ServerId;
use pipeline::limits::BLOCK_BYTES;

use super::{Hub, State};
use crate::ingest::ledger::LOSS;
use crate::ingest::measures::Told;

/// How long the members of a group wait for each other.
const PATIENCE_MILLIS: u32 = 2000;

impl Hub {
    /// How each server fares.
    #[must_use]
    pub fn told(&self) -> Vec<(ServerId, Told)> {
        let now = self.clock.moment();
        let state = self.lock();
        let all = state.members.iter().map(|(server, member)| {
            let disks = &member.session.standing().disks;
            let names: Vec<String> = disks.iter().map(|disk| disk.hello.name.clone()).collect();
            let mut told = member.measures.told(&names, now);
            told.connected = !member.lines.is_empty();
            told.doing.clone_from(&member.status.doing);
            let bytes = |blocks: u64| blocks.saturating_mul(BLOCK_BYTES as u64);
            told.compare_done_bytes = bytes(member.status.compare_done);
            told.compare_bytes = bytes(member.status.compare_blocks);
            told.troubles.clone_from(&member.status.troubles);
            if member.session.standing().lost.is_some() {
                told.troubles.push("something was lost in the spool; it is sent again".to_owned());
            }
            (*server, told)
        });
        all.collect()
    }

    /// A server's agent connects from there.
    pub fn came_from(&self, server: ServerId, address: IpAddr) {
        if let Some(member) = self.lock().members.get_mut(&server) {
            member.measures.came_from(address);
        }
    }

    /// How many servers are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.lock().members.values().filter(|member| !member.lines.is_empty()).count()
    }
}

impl State {
    /// Asks the groups that are due for a cut. All their members must be here: a group with one missing has no point.
    pub(super) fn begin_groups(&mut self, token: &dyn Fn() -> u64, now: Moment) {
        let names: BTreeSet<String> =
            self.members.values().filter_map(|member| member.group.clone()).collect();
        self.leads.retain(&names);
        for name in &names {
            let members: Vec<ServerId> = self.of_group(name).map(|(server, _)| *server).collect();
            let here = self.of_group(name).all(|(_, member)| !member.lines.is_empty());
            let paused = self
                .of_group(name)
                .any(|(_, member)| member.policy.as_ref().is_none_or(|policy| policy.paused));
            let intervals = self.of_group(name).filter_map(|(_, member)| member.policy.as_ref());
            let Some(interval) = intervals.map(|policy| policy.interval_seconds).min() else {
                continue;
            };
            let due = self.leads.due(name, u64::from(interval) * 1000);
            if !here || paused || members.len() < 2 || now < due || self.groups.is_running(name) {
                continue;
            }
            let token = token() & !LOSS;
            self.leads.asked(name, token, now);
            let effects = self.groups.begin(name, token, &members, PATIENCE_MILLIS, now);
            self.carry_out(effects);
        }
    }

    fn of_group<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a ServerId, &'a super::Member)> {
        self.members.iter().filter(move |(_, member)| member.group.as_deref() == Some(name))
    }
}

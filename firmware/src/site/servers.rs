//! Servers at a glance and whole, and their points.

use std::collections::BTreeMap;
use std::sync::Arc;

use firmware_web::api::site::Answer;
use firmware_web::api::views::recovery::LastDrill;
use firmware_web::api::views::servers::{
    DiskView, Health, Overview, PointView, PolicyView, SeedView, ServerRow, ServerView,
};
use firmware_web::api::views::vault::JobState;
use pipeline::ids::ServerId;
use pipeline_vault::points::read_chain;
use pipeline_vault::record::Consistency;
use pipeline_wire::policy::Policy;

use super::health::{self, Verdict};
use super::refuse::{missing, refusal};
use super::sight::{ChainSight, PointSight, Sight};
use super::{LiveSite, lock};
use crate::ingest::measures::Told;
use crate::ingest::roll::{Listed, Roll};

/// An overview is so old at most, milliseconds.
const FRESH_MILLIS: u64 = 1000;
/// Points of one answer.
const POINTS_MAX: usize = 1000;

/// One server, and where everything of it is.
pub(super) struct One<'a> {
    pub(super) name: &'a str,
    pub(super) server: ServerId,
    pub(super) listed: Option<&'a Listed>,
    pub(super) chain: Option<&'a ChainSight>,
    pub(super) told: Option<&'a Told>,
}

impl LiveSite {
    /// What ingest tells of servers, asked once a second at most.
    pub(super) fn told(&self) -> Arc<BTreeMap<String, Told>> {
        let mut told = lock(&self.told);
        let now = self.moment();
        if let Some((at, known)) = &*told
            && now.since(*at) < FRESH_MILLIS
        {
            return Arc::clone(known);
        }
        let fresh = self.facts.agents.view().map(|view| view.told()).unwrap_or_default();
        let fresh: Arc<BTreeMap<String, Told>> = Arc::new(fresh.into_iter().collect());
        *told = Some((now, Arc::clone(&fresh)));
        fresh
    }

    /// The overview, made once a second at most, by one of those who ask.
    pub(super) fn overview_now(&self) -> Arc<Overview> {
        let mut known = lock(&self.overview);
        let now = self.moment();
        if let Some((at, overview)) = &*known
            && now.since(*at) < FRESH_MILLIS
        {
            return Arc::clone(overview);
        }
        let fresh = Arc::new(self.fresh_overview());
        *known = Some((now, Arc::clone(&fresh)));
        fresh
    }

    pub(super) fn fresh_overview(&self) -> Overview {
        let (sight, told) = (self.sight(), self.told());
        let (vault, vault_cause) = self.vault_health(&sight);
        let usage = self.facts.agents.view().map(|view| view.usage()).unwrap_or_default();
        let rows = sight.servers.iter().map(|(name, server)| {
            let one = one(&sight, &told, name, *server);
            self.row(&sight, &one).0
        });
        let running = |state: JobState| state == JobState::Running;
        Overview {
            name: self.facts.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now_millis: self.now(),
            vault,
            vault_cause,
            spool_bytes: usage.bytes,
            spool_used_bytes: usage.used,
            spool_left_seconds: spool_left(&usage, &told),
            servers: rows.collect(),
            jobs: self.jobs.list().into_iter().filter(|job| running(job.state)).collect(),
        }
    }

    /// A server at a glance, and the verdict on it.
    pub(super) fn row(&self, sight: &Sight, one: &One<'_>) -> (ServerRow, Verdict) {
        let now = self.now();
        let newest = one.chain.and_then(|chain| chain.points.back());
        let age = newest.map(|point| now.saturating_sub(point.at_millis) / 1000);
        let vaulted = one.told.and_then(|told| told.vaulted_age_seconds);
        let rpo_seconds = vaulted.or(age);
        let facts = self.health_facts(sight, one, rpo_seconds);
        let verdict = health::judge(&facts);
        let row = ServerRow {
            server: one.server.to_string(),
            name: one.name.to_owned(),
            health: verdict.health,
            cause: verdict.cause.clone(),
            connected: facts.connected,
            rpo_seconds,
            rpo_target_seconds: facts.target_seconds,
            rpo_recent_seconds: self.history.recent(one.name, now),
            newest_point_millis: newest.map(|point| point.at_millis),
            backlog_bytes: facts.backlog_bytes,
            last_drill: last_drill(sight, one.server),
            first_copy: if verdict.health == Health::Working { facts.first_copy } else { None },
        };
        (row, verdict)
    }

    fn health_facts(&self, sight: &Sight, one: &One<'_>, rpo: Option<u64>) -> health::Facts {
        let told = one.told;
        let usage = self.facts.agents.view().map(|view| view.usage()).unwrap_or_default();
        let policy = one.listed.map(|listed| &listed.policy);
        let problems = lock(&self.readiness);
        let problems = problems.get(&one.server).map(|ready| ready.problems.clone());
        let watched = lock(&self.watched);
        let seen = watched.servers.get(one.name);
        let drill = sight.targets.get(&one.server).and_then(|target| target.last_drill());
        health::Facts {
            vault_trouble: sight.trouble.clone(),
            chain_trouble: one.chain.and_then(|chain| chain.trouble.clone()),
            revoked: one.listed.is_some_and(|listed| listed.revoked),
            paused: policy.is_some_and(|policy| policy.paused),
            failed_over: one
                .chain
                .and_then(|chain| chain.fork.as_ref().map(|fork| fork.order.clone())),
            has_agent: one.listed.is_some() && self.facts.takes_agents,
            connected: told.is_some_and(|told| told.connected),
            away_seconds: seen.map_or(0, |seen| seen.away_seconds(self.moment())),
            points: one.chain.map_or(0, |chain| chain.count),
            rpo_seconds: rpo,
            target_seconds: policy.map_or(0, |policy| u64::from(policy.interval_seconds)),
            first_copy: told.and_then(|told| seen.and_then(|seen| seen.first_copy(told))),
            troubles: told.map(|told| told.troubles.clone()).unwrap_or_default(),
            backlog_bytes: told.map_or(0, |told| told.backlog_bytes),
            spool_bytes: usage.bytes,
            spool_used_bytes: usage.used,
            unread_blocks: one
                .chain
                .map_or(0, |chain| chain.disks.iter().map(|disk| disk.unread_blocks).sum()),
            drill: drill.map(|drill| (drill.at_millis, drill.up)),
            problems: problems.unwrap_or_default(),
            now_millis: self.now(),
        }
    }

    /// One server whole.
    pub(super) fn server_view(&self, name: &str) -> Answer<ServerView> {
        let server = self.server_id(name)?;
        let (mut sight, told) = (self.sight(), self.told());
        if !sight.seen && sight.roll.is_none() {
            // Nobody has looked yet. A policy that is not known is not taken for none: it may ask for a second person.
            let roll = self.roll_now()?;
            sight = Arc::new(Sight { roll, ..Sight::clone(&sight) });
        }
        let one = one(&sight, &told, name, server);
        let (row, _) = self.row(&sight, &one);
        let told = one.told.cloned().unwrap_or_default();
        Ok(ServerView {
            row,
            disks: disk_views(&one),
            policy: policy_view(sight.roll.as_deref(), server, one.listed),
            doing: told.doing,
            troubles: told.troubles,
            revoked: one.listed.is_some_and(|listed| listed.revoked),
            accepts_another_machine: one.listed.is_some_and(|listed| listed.accepts),
            failed_over: one
                .chain
                .and_then(|chain| chain.fork.as_ref().map(|fork| fork.order.clone())),
            frozen_micros_max: told.frozen_micros_max,
            frozen_micros_median: told.frozen_micros_median,
            stored_percent: told.stored_percent,
            points: one.chain.map_or(0, |chain| chain.count),
            seed: crate::seeds::stands(server).map(|seed| SeedView {
                at_millis: seed.at_millis,
                words: seed.words,
                trouble: seed.trouble,
            }),
        })
    }

    fn roll_now(&self) -> Answer<Option<Arc<Roll>>> {
        if let Some(view) = self.facts.agents.view() {
            return Ok(Some(view.roll().roll()));
        }
        let opened = self.opened()?;
        let mut session = opened.vault.session();
        let vault = session.vault().map_err(refusal)?;
        Ok(Roll::of(vault).map_err(refusal)?.map(Arc::new))
    }

    /// Points, the newest first.
    pub(super) fn point_views(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Answer<Vec<PointView>> {
        let server = self.server_id(name)?;
        let limit = limit.clamp(1, POINTS_MAX);
        let sight = self.sight();
        let chain = sight.chains.get(&server).map(Arc::as_ref);
        let fits = |point: &&PointSight| before.is_none_or(|before| point.at_millis <= before);
        if let Some(known) = chain {
            let found: Vec<PointView> = known
                .points
                .iter()
                .rev()
                .filter(fits)
                .take(limit)
                .map(|point| point_view(chain, point))
                .collect();
            if found.len() == limit || known.is_whole() {
                return Ok(found);
            }
        }
        // Older than what is remembered.
        let points = self.points_of(server)?;
        let found = points.iter().rev().filter(fits).take(limit);
        Ok(found.map(|point| point_view(chain, point)).collect())
    }

    /// One point of a server, by its whole identity.
    pub(super) fn point(&self, name: &str, server: ServerId, id: &str) -> Answer<PointSight> {
        let is_it = |point: &&PointSight| point.id.to_string() == id;
        let known = self.sight().chains.get(&server).and_then(|chain| {
            let found = chain.points.iter().find(is_it).cloned();
            if found.is_none() && chain.is_whole() { Some(Err(())) } else { found.map(Ok) }
        });
        let found = match known {
            Some(found) => found.ok(),
            None => self.points_of(server)?.iter().find(is_it).cloned(),
        };
        found.ok_or_else(|| missing(format!("point {id} of server {name}"), "is not in the vault"))
    }

    fn points_of(&self, server: ServerId) -> Answer<Vec<PointSight>> {
        let opened = self.opened()?;
        let access = opened.vault.session().access();
        let view = read_chain(&access, server).map_err(refusal)?;
        opened.vault.session().believe(&view).map_err(refusal)?;
        let of = |link: &pipeline_vault::chain::Link| {
            Some(PointSight::of(link.record.slot, link.record.point()?))
        };
        Ok(view.points().filter_map(of).collect())
    }
}

/// Puts together what is known of a server.
pub(super) fn one<'a>(
    sight: &'a Sight,
    told: &'a BTreeMap<String, Told>,
    name: &'a str,
    server: ServerId,
) -> One<'a> {
    One {
        name,
        server,
        listed: sight.roll.as_ref().and_then(|roll| roll.server(server)),
        chain: sight.chains.get(&server).map(Arc::as_ref),
        told: told.get(name),
    }
}

/// At the pace of the last hour, how long the spool lasts without the vault.
pub(super) fn spool_left(
    usage: &crate::spool::Usage,
    told: &BTreeMap<String, Told>,
) -> Option<u64> {
    let hour: u64 = told.values().map(|told| told.hour_bytes).sum();
    let free = u128::from(usage.bytes.saturating_sub(usage.used));
    let seconds = (free * 3600).checked_div(u128::from(hour))?;
    Some(u64::try_from(seconds).unwrap_or(u64::MAX)).filter(|_| usage.bytes > 0)
}

pub(super) fn last_drill(sight: &Sight, server: ServerId) -> Option<LastDrill> {
    let drill = sight.targets.get(&server)?.last_drill()?;
    Some(LastDrill {
        order: drill.order.to_string(),
        at_millis: drill.at_millis,
        up: drill.up,
        rto_millis: drill.rto_millis,
    })
}

pub(super) fn word(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Crash => "crash",
        Consistency::Application => "application",
        Consistency::Fuzzy => "fuzzy",
        _ => "unknown",
    }
}

pub(super) fn point_view(chain: Option<&ChainSight>, point: &PointSight) -> PointView {
    let holds = chain.map(|chain| chain.holds.as_slice()).unwrap_or_default();
    let hold = holds.iter().find(|(slot, _)| *slot == point.slot);
    PointView {
        id: point.id.to_string(),
        at_millis: point.at_millis,
        consistency: word(point.consistency).to_owned(),
        read_bytes: point.read_bytes,
        stored_bytes: point.stored_bytes,
        new_blocks: point.new_blocks,
        known_blocks: point.known_blocks,
        frozen_micros: point.frozen_micros,
        unread_blocks: point.unread_blocks,
        remarks: point.remarks.to_vec(),
        pinned: hold.map(|(_, why)| why.clone()),
    }
}

fn disk_views(one: &One<'_>) -> Vec<DiskView> {
    let told = one.told.map(|told| told.disks.as_slice()).unwrap_or_default();
    let hour =
        |name: &str| told.iter().find(|(known, _)| known == name).map_or(0, |(_, bytes)| *bytes);
    let left_out: &[String] = one.listed.map(|listed| &*listed.policy.left_out).unwrap_or_default();
    let disks = one.chain.map(|chain| chain.disks.as_slice()).unwrap_or_default();
    let mut views: Vec<DiskView> = disks
        .iter()
        .map(|disk| DiskView {
            name: disk.name.clone(),
            identity: disk.identity.clone(),
            bytes: disk.bytes,
            left_out: left_out.contains(&disk.name),
            hour_bytes: hour(&disk.name),
            unread_blocks: disk.unread_blocks,
        })
        .collect();
    // What the agent has and no point does yet, and what is left out of all of them.
    let names = told.iter().map(|(name, _)| name).chain(left_out);
    for name in names {
        if views.iter().all(|view| view.name != *name) {
            views.push(DiskView {
                name: name.clone(),
                left_out: left_out.contains(name),
                hour_bytes: hour(name),
                ..DiskView::default()
            });
        }
    }
    views
}

/// How a server is protected, as the API has it.
pub(super) fn policy_view(
    roll: Option<&Roll>,
    server: ServerId,
    listed: Option<&Listed>,
) -> PolicyView {
    let policy = listed.map_or_else(Policy::default, |listed| listed.policy.clone());
    PolicyView {
        interval_seconds: policy.interval_seconds,
        freeze_budget_millis: policy.freeze_budget_millis,
        freeze_limit_millis: policy.freeze_limit_millis,
        application_every: policy.application_every,
        left_out: policy.left_out,
        compare_bytes_per_second: policy.compare_bytes_per_second,
        send_bytes_per_second: policy.send_bytes_per_second,
        paused: policy.paused,
        keep: listed.and_then(|listed| listed.keep.clone()),
        group: listed.and_then(|listed| listed.group.clone()),
        second_person: roll.is_some_and(|roll| roll.needs_second(server)),
    }
}

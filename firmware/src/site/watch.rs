//! Who looks at the vault, and who measures: one thread each, however many want to know.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use firmware_web::api::site::Answer;
use firmware_web::api::views::servers::{Figure, Health, Progress};
use hal::time::Moment;
use pipeline::ids::ServerId;
use pipeline_vault::Error;

use super::events::Note;
use super::facts::is_worse;
use super::health::Verdict;
use super::refuse::refusal;
use super::servers::one;
use super::sight::{ChainSight, Sight};
use super::{LiveSite, Opened, lock};
use crate::ingest::measures::Told;
use crate::serve::watch::Sight as Summary;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(2);
/// How often figures are measured.
const MEASURE_MILLIS: u64 = 10_000;
/// How often what was measured and noted is kept.
const KEEP_MILLIS: u64 = 5 * 60_000;
const KEEP_EVENTS_MILLIS: u64 = 2 * 60_000;
/// How often a vault nearby and one far away are looked at: a chain whose server has a new point, any chain, the roll and the
/// documents.
const NEAR: [u64; 3] = [10_000, 60_000, 10_000];
const FAR: [u64; 3] = [60_000, 300_000, 60_000];
/// Every so often profiles are read again although no order of theirs has ended here.
const ALL_MILLIS: u64 = 10 * 60_000;
/// Documents are looked at so often while an order is at work here.
const AT_WORK_MILLIS: u64 = 3000;
/// A spool fuller than this is told, in percent, and a nearly full one told again.
const SPOOL_PERCENTS: [u64; 2] = [80, 95];

/// What is remembered of servers and of everything else from one measurement to the next.
#[derive(Default)]
pub(super) struct Watched {
    /// By name.
    pub(super) servers: BTreeMap<String, Seen>,
    vault: Option<Health>,
    spool_step: usize,
}

/// What is remembered of one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    verdict: Option<Verdict>,
    connected: bool,
    /// Since when its agent is away.
    away_since: Option<Moment>,
    /// Where its first copy was when it was seen first.
    copy: Option<(Moment, u64)>,
    copy_at: Moment,
    hour_bytes: u64,
}

impl Seen {
    pub(super) fn away_seconds(&self, now: Moment) -> u64 {
        self.away_since.map_or(0, |since| now.since(since) / 1000)
    }

    /// How far the first copy is, at the pace since it was seen first.
    pub(super) fn first_copy(&self, told: &Told) -> Option<Progress> {
        let (done_bytes, total_bytes) = (told.compare_done_bytes, told.compare_bytes);
        if total_bytes == 0 {
            return None;
        }
        let (since, from) = self.copy?;
        let (took, went) = (self.copy_at.since(since), done_bytes.saturating_sub(from));
        let left = u128::from(total_bytes.saturating_sub(done_bytes));
        let millis = (left * u128::from(took)).checked_div(u128::from(went));
        let left_seconds = millis.and_then(|millis| u64::try_from(millis / 1000).ok());
        Some(Progress { done_bytes, total_bytes, left_seconds: left_seconds.filter(|_| took > 0) })
    }

    fn note(&mut self, told: Option<&Told>, now: Moment) {
        self.connected = told.is_some_and(|told| told.connected);
        self.away_since = if self.connected { None } else { self.away_since.or(Some(now)) };
        self.copy_at = now;
        match told.filter(|told| told.compare_bytes > 0) {
            Some(told) => {
                let begun = (now, told.compare_done_bytes);
                let again = self.copy.is_none_or(|(_, from)| from > told.compare_done_bytes);
                self.copy = if again { Some(begun) } else { self.copy };
            }
            None => self.copy = None,
        }
    }
}

/// When what is due next.
#[derive(Default)]
struct Due {
    roll: Option<Moment>,
    documents: Option<Moment>,
    profiles: Option<Moment>,
    /// Jobs that had ended at the last look.
    jobs: u64,
    chains: BTreeMap<ServerId, Moment>,
    /// The newest cut that the vault has, as it was told at the last look.
    cuts: BTreeMap<ServerId, u64>,
}

fn is_due(last: Option<Moment>, every: u64, now: Moment) -> bool {
    last.is_none_or(|last| now.since(last) >= every)
}

impl LiveSite {
    /// Looks at the vault until the end.
    pub(super) fn look(&self) {
        let mut due = Due::default();
        while !self.is_over() {
            if let Err(words) = self.look_once(&mut due) {
                let mut sight = Sight::clone(&self.sight());
                if sight.trouble.as_ref() != Some(&words) {
                    log::warn!("{words}");
                }
                sight.trouble = Some(words);
                self.show(sight);
                self.rest(TICK * 5);
            }
            if self.rest(TICK) {
                due.documents = None;
                due.roll = None;
            }
        }
    }

    /// Waits; whether somebody wants a look at once.
    fn rest(&self, pause: Duration) -> bool {
        let woken = lock(&self.wake.0);
        let waited =
            self.wake.1.wait_timeout_while(woken, pause, |woken| !*woken && !self.is_over());
        let mut woken = waited.unwrap_or_else(PoisonError::into_inner).0;
        core::mem::take(&mut *woken)
    }

    fn show(&self, sight: Sight) {
        *self.sight.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(sight);
    }

    fn look_once(&self, due: &mut Due) -> Result<(), String> {
        let opened = self.opened().map_err(|refusal| {
            let remedy = refusal.remedy.unwrap_or_default();
            format!("{}: {}; {remedy}", refusal.title, refusal.detail)
        })?;
        let before = self.sight();
        let mut sight = Sight::clone(&before);
        self.look_at(&opened, &mut sight, due).map_err(|error| error.to_string())?;
        (sight.seen, sight.trouble, sight.looked) = (true, None, self.moment());
        // What a person pinned meanwhile is newer than what was seen of it here.
        for (server, now) in &self.sight().chains {
            let is_new = before.chains.get(server).is_none_or(|old| !Arc::ptr_eq(old, now));
            if let Some(chain) = sight.chains.get_mut(server).filter(|_| is_new) {
                Arc::make_mut(chain).holds.clone_from(&now.holds);
            }
        }
        self.show(sight);
        Ok(())
    }

    fn look_at(&self, opened: &Opened, sight: &mut Sight, due: &mut Due) -> Result<(), Error> {
        let now = self.moment();
        let near = opened.vault.session().access().store.is_near();
        let [quick, slow, roll] = if near { NEAR } else { FAR };
        if is_due(due.roll, roll, now) {
            let kept = self.facts.agents.view().map(|view| view.roll().roll());
            sight.look_at_roll(&opened.vault, kept)?;
            due.roll = Some(now);
        }
        if let Some(view) = self.facts.agents.view() {
            sight.roll = Some(view.roll().roll());
        }
        let ended = self.jobs.ended();
        if core::mem::replace(&mut due.jobs, ended) != ended {
            // What it did to an order is to be seen at once.
            due.documents = None;
        }
        let at_work = sight.orders.iter().any(|order| self.jobs.is_at(&order.id.to_string()));
        if is_due(due.documents, if at_work { AT_WORK_MILLIS } else { roll }, now) {
            let all = is_due(due.profiles, ALL_MILLIS, now);
            sight.look_at_documents(&opened.vault, all)?;
            due.documents = Some(now);
            due.profiles = if all { Some(now) } else { due.profiles };
        }
        self.look_at_chains(opened, sight, due, [quick, slow])
    }

    fn look_at_chains(
        &self,
        opened: &Opened,
        sight: &mut Sight,
        due: &mut Due,
        [quick, slow]: [u64; 2],
    ) -> Result<(), Error> {
        let (told, room) = (self.told(), sight.room());
        for (name, server) in sight.servers.clone() {
            let now = self.moment();
            let age = told.get(&name).and_then(|told| told.vaulted_age_seconds);
            let cut = age.map_or(0, |age| (now.0 / 1000).saturating_sub(age));
            let is_new = due.cuts.get(&server).is_some_and(|known| cut > known.saturating_add(1));
            let every = if is_new { quick } else { slow };
            if !is_due(due.chains.get(&server).copied(), every, now) || self.is_over() {
                continue;
            }
            let mut chain = sight
                .chains
                .get(&server)
                .map_or_else(ChainSight::default, |known| ChainSight::clone(known));
            // Pins are looked at with the slow looks: few are made, and who makes one here looks at once.
            let access = opened.vault.session().access();
            let looked = chain.look(&opened.vault, server, room).and_then(|is_new| {
                Ok(is_new | (every == slow && chain.look_at_holds(&access, server)?))
            });
            match looked {
                Ok(false) if sight.chains.contains_key(&server) => {}
                Ok(_) => drop(sight.chains.insert(server, Arc::new(chain))),
                Err(error) if error.blame == pipeline_vault::Blame::Device => return Err(error),
                Err(error) => {
                    chain.trouble = Some(error.to_string());
                    sight.chains.insert(server, Arc::new(chain));
                }
            }
            due.chains.insert(server, now);
            due.cuts.insert(server, cut);
            // Whoever looks for the first time shall not wait for the last of many.
            if !sight.seen {
                self.show(sight.clone());
            }
        }
        Ok(())
    }

    /// Looks at a server's pins at once.
    pub(super) fn look_at_holds(&self, server: ServerId) -> Answer<()> {
        let access = self.opened()?.vault.session().access();
        let known = self.sight().chains.get(&server).cloned().unwrap_or_default();
        let mut chain = ChainSight::clone(&known);
        chain.look_at_holds(&access, server).map_err(refusal)?;
        let mut sight = self.sight.write().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = Sight::clone(&sight);
        fresh.chains.insert(server, Arc::new(chain));
        *sight = Arc::new(fresh);
        Ok(())
    }

    /// Measures until the end, and keeps what was measured.
    pub(super) fn measure(&self) {
        let (mut measured, mut kept, mut noted) = (None, self.moment(), self.moment());
        while !self.is_over() {
            let now = self.moment();
            if is_due(measured, MEASURE_MILLIS, now) {
                self.measure_once(now);
                // Milliseconds since the kernel started, as its log counts.
                lock(&self.ailing).look(now.0);
                measured = Some(now);
            }
            if now.since(kept) >= KEEP_MILLIS {
                self.keep_all();
                kept = now;
            }
            if now.since(noted) >= KEEP_EVENTS_MILLIS {
                self.keep_events();
                noted = now;
            }
            std::thread::sleep(TICK / 8);
        }
    }

    pub(super) fn measure_once(&self, now: Moment) {
        let (sight, told) = (self.sight(), self.told());
        for (name, server) in &sight.servers {
            let one = one(&sight, &told, name, *server);
            let was = {
                let mut watched = lock(&self.watched);
                let seen = watched.servers.entry(name.clone()).or_default();
                let was = seen.clone();
                seen.note(one.told, now);
                was
            };
            let (row, verdict) = self.row(&sight, &one);
            let mut figures = Vec::new();
            figures.extend(row.rpo_seconds.map(|rpo| (Figure::Rpo, rpo)));
            if let Some(told) = one.told {
                let hour = told.hour_bytes;
                figures.push((Figure::Backlog, told.backlog_bytes));
                // The last hour's bytes are dropped in slots: between two looks they grow by what came.
                let came = hour.saturating_sub(was.hour_bytes) * 1000 / MEASURE_MILLIS;
                figures
                    .push((Figure::Churn, if was.hour_bytes > hour { hour / 3600 } else { came }));
                figures.extend(told.stored_percent.map(|percent| (Figure::StoredPercent, percent)));
                figures.extend(told.frozen_micros_max.map(|micros| (Figure::Frozen, micros)));
            }
            self.history.note(name, self.now(), &figures);
            self.tell_changes(name, &was, one.told, &verdict, sight.seen);
            let mut watched = lock(&self.watched);
            if let Some(seen) = watched.servers.get_mut(name) {
                seen.verdict = Some(verdict);
                seen.hour_bytes = one.told.map_or(0, |told| told.hour_bytes);
            }
        }
        if sight.seen && sight.trouble.is_none() {
            lock(&self.watched).servers.retain(|name, _| sight.servers.contains_key(name));
            self.history.keep_only(&|name| sight.servers.contains_key(name));
        }
        self.tell_vault(&sight);
        self.tell_spool();
    }

    fn tell_changes(
        &self,
        name: &str,
        was: &Seen,
        told: Option<&Told>,
        verdict: &Verdict,
        seen: bool,
    ) {
        let object = format!("server {name}");
        let connected = told.is_some_and(|told| told.connected);
        if connected != was.connected {
            let (kind, words) = match connected {
                true => ("agent_came", "Its agent is connected."),
                false => ("agent_left", "Its agent is away."),
            };
            let health = Health::Good;
            let (object, words) = (object.clone(), words.to_owned());
            self.tell(Note { health, kind, object, words, by: None });
        }
        let before = was.verdict.as_ref();
        if !seen || before.is_some_and(|before| before.kind == verdict.kind) {
            return;
        }
        // At a start only what somebody should know is said.
        let says = before.is_some() || is_worse(verdict.health, Health::Working);
        if says {
            self.tell(Note {
                health: verdict.health,
                kind: verdict.kind,
                object,
                words: verdict.cause.clone(),
                by: None,
            });
        }
    }

    fn tell_vault(&self, sight: &Sight) {
        let (health, cause) = self.vault_health(sight);
        let before = lock(&self.watched).vault.replace(health);
        if before == Some(health) || (before.is_none() && !is_worse(health, Health::Working)) {
            return;
        }
        let kind = if health == Health::Good { "vault_readable" } else { "vault_refused" };
        self.tell(Note { health, kind, object: "vault".to_owned(), words: cause, by: None });
    }

    fn tell_spool(&self) {
        let Some(usage) = self.facts.agents.view().map(|view| view.usage()) else { return };
        let percent = usage.used.saturating_mul(100).checked_div(usage.bytes).unwrap_or(0);
        let step = SPOOL_PERCENTS.iter().filter(|limit| percent >= **limit).count();
        let before = core::mem::replace(&mut lock(&self.watched).spool_step, step);
        if step > before {
            let health = if step == SPOOL_PERCENTS.len() { Health::Bad } else { Health::Attention };
            let words =
                format!("The spool is {percent} % full: the vault takes less than comes in.");
            let object = "spool".to_owned();
            self.tell(Note { health, kind: "spool_filling", object, words, by: None });
        }
    }

    fn keep_events(&self) {
        if let Err(error) = self.facts.events.save(&*self.facts.keep) {
            log::warn!("{error}");
        }
    }

    /// Keeps what was measured and noted.
    pub(super) fn keep_all(&self) {
        self.keep_events();
        if let Err(error) = self.history.save(&*self.facts.keep) {
            log::warn!("{error}");
        }
    }

    /// What everybody may know of the vault, for the status of this machine.
    #[must_use]
    pub fn summary(&self) -> Summary {
        use firmware_web::VaultState;
        let sight = self.sight();
        let newest = sight.chains.values().filter_map(|chain| chain.points.back());
        Summary {
            state: match (sight.seen, &sight.trouble) {
                (_, Some(_)) => VaultState::Trouble,
                (true, None) => VaultState::Readable,
                (false, None) => VaultState::Unknown,
            },
            servers: sight.servers.len() as u64,
            points: sight.chains.values().map(|chain| chain.count).sum(),
            newest: newest.map(|point| point.at_millis).max(),
            looked: sight.looked.0 * 1_000_000,
        }
    }
}

//! What is counted of the vault once a day, and what is known of it that no vault tells: kept in a small document.

use core::time::Duration;

use firmware_recovery::order::old;
use firmware_web::api::views::vault::{DayBytes, JobState, JobView};
use serde::{Deserialize, Serialize};

use super::judging::{Judging, Outcome};
use super::packed;
use super::{LiveSite, lock};
use crate::admin::keep::Keep;
use crate::child;
use crate::ingest::retention;

const NAME: &str = "vault-ledger";
const PLAIN_BYTES_MAX: usize = 1024 * 1024;
/// Days of growth that are kept.
const DAYS_MAX: usize = 366;
const DAY_MILLIS: u64 = 86_400_000;
/// Points that are no longer kept go so often.
const PRUNE_MILLIS: u64 = 3_600_000;
/// How long until counting is tried again where it failed.
const AGAIN_MILLIS: u64 = 600_000;
/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_millis(500);

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Of which vault.
    pub(super) vault: String,
    pub(super) counted_millis: Option<u64>,
    pub(super) bytes: u64,
    pub(super) objects: u64,
    pub(super) month_millidollars: Option<u64>,
    pub(super) cost_says: String,
    /// The oldest first.
    pub(super) growth: Vec<DayBytes>,
    pub(super) verified: Option<JobView>,
    pub(super) key_confirmed_millis: Option<u64>,
}

impl Ledger {
    /// What was kept.
    pub(super) fn load(keep: &dyn Keep) -> Self {
        let kept = keep.read(NAME).unwrap_or_else(|error| {
            log::warn!("{error}");
            None
        });
        let plain = kept.and_then(|bytes| packed::unpack(&bytes, PLAIN_BYTES_MAX));
        plain.and_then(|plain| serde_json::from_slice(&plain).ok()).unwrap_or_default()
    }

    fn save(&self, keep: &dyn Keep) {
        let mut kept = self.clone();
        let written = loop {
            let packed = serde_json::to_vec(&kept).map(|plain| packed::pack(&plain));
            match packed {
                // The last verification's list can be long; the oldest days are wanted least.
                Ok(bytes) if bytes.len() > keep.room(NAME) && !kept.growth.is_empty() => {
                    kept.verified = kept.verified.map(|job| JobView { result: None, ..job });
                    kept.growth.drain(..kept.growth.len().div_ceil(4));
                }
                Ok(bytes) => break keep.write(NAME, &bytes).map_err(|error| error.to_string()),
                Err(error) => break Err(error.to_string()),
            }
        };
        if let Err(words) = written {
            log::warn!("what is known of the vault is not kept: {words}");
        }
    }

    /// It is of this vault, or begins anew.
    fn be_of(&mut self, vault: &str) {
        if self.vault != vault {
            *self = Self { vault: vault.to_owned(), ..Self::default() };
        }
    }

    /// What `vault info` told.
    fn note(&mut self, info: &serde_json::Value, now: u64) {
        let total = &info["total"];
        (self.bytes, self.objects) =
            (total["bytes"].as_u64().unwrap_or(0), total["objects"].as_u64().unwrap_or(0));
        self.counted_millis = Some(now);
        let in_cloud = info["place"].as_str().is_some_and(|place| place.starts_with("azure:"));
        let cost = &info["cost"];
        let month = cost["month"].as_f64().filter(|_| in_cloud);
        // Rounded by its own printing: an amount is no count of anything.
        self.month_millidollars =
            month.and_then(|month| format!("{:.0}", month * 1000.0).parse().ok());
        let source = cost["prices"]["source"].as_str().unwrap_or_default();
        self.cost_says = if in_cloud {
            format!(
                "{source}; keeping what is there for a month, and writing as much as in the last 30 days"
            )
        } else {
            "A folder costs nothing by the month.".to_owned()
        };
        let same_day =
            self.growth.last().is_some_and(|last| last.at_millis / DAY_MILLIS == now / DAY_MILLIS);
        if same_day {
            self.growth.pop();
        }
        self.growth.push(DayBytes { at_millis: now, bytes: self.bytes });
        let many = self.growth.len().saturating_sub(DAYS_MAX);
        self.growth.drain(..many);
    }
}

impl LiveSite {
    /// Counts the vault once a day, and judges servers when it is their turn, until the end.
    pub(super) fn count(&self) {
        let (mut tried, mut forgot, mut pruned) = (None, None, None);
        let mut judging = Judging::default();
        while !self.is_over() {
            std::thread::sleep(LOOK);
            self.note_verified();
            if !self.sight().seen {
                continue;
            }
            let (now, moment) = (self.now(), self.moment());
            let last = lock(&self.ledger).counted_millis;
            let due = last.is_none_or(|at| now.saturating_sub(at) >= DAY_MILLIS || at > now);
            let again = tried.is_none_or(|at| moment.since(at) >= AGAIN_MILLIS);
            if due && again {
                self.count_once();
                tried = Some(moment);
            }
            if pruned.is_none_or(|at| moment.since(at) >= PRUNE_MILLIS) {
                self.enforce_retention();
                pruned = Some(moment);
            }
            self.judge_due(&mut judging);
            if forgot.is_none_or(|at| moment.since(at) >= DAY_MILLIS) {
                self.forget_orders();
                forgot = Some(moment);
            }
        }
    }

    /// Prunes where no ingest does it.
    fn enforce_retention(&self) {
        let said = self.sight().roll.as_ref().is_some_and(|roll| {
            let own = roll.servers.iter().any(|listed| listed.keep.is_some());
            own || roll.rules.keep.is_some()
        });
        if self.facts.takes_agents || !said {
            return;
        }
        match self.kept_roll() {
            Ok(roll) => retention::enforce(&roll, &|| self.is_over()),
            Err(refusal) => log::warn!("points are not pruned: {}", refusal.detail),
        }
    }

    fn count_once(&self) {
        let Ok(opened) = self.opened() else { return };
        lock(&self.ledger).be_of(&opened.id);
        let verb = self.verb(&opened, &["vault", "info"]);
        match child::run(&verb, &|| self.is_over(), &mut |_| {}) {
            Ok(answer) => {
                let now = self.now();
                let mut ledger = lock(&self.ledger);
                ledger.note(&answer.value, now);
                ledger.save(&*self.facts.keep);
            }
            Err(_) if self.is_over() => {}
            Err(failed) => log::warn!("the vault is not counted: {}", failed.words),
        }
    }

    /// Orders of recovery that are over and old go.
    fn forget_orders(&self) {
        let Ok(opened) = self.opened() else { return };
        match old::forget(&opened.vault) {
            Ok(0) => {}
            Ok(count) => log::info!("{count} old recovery orders were removed"),
            // An identity that may only create leaves that to prune.
            Err(error) => log::debug!("{error}"),
        }
    }

    /// Judges every server whose turn it is, with Azure where somebody said a place of recovery for it.
    fn judge_due(&self, judging: &mut Judging) {
        let sight = self.sight();
        for (name, server) in &sight.servers {
            let points = sight.chains.get(server).map_or(0, |chain| chain.count);
            let profile = sight.targets.get(server).and_then(|target| target.profile.as_ref());
            // Without a profile nobody said that it is to be recovered.
            let is_meant = points > 0 && profile.is_some();
            if !is_meant || !judging.is_due(*server, profile, self.moment()) {
                continue;
            }
            if self.is_over() {
                return;
            }
            let asks = judging.asks_azure(self.moment());
            let judged = self.judge_daily(name, asks);
            let outcome = match &judged {
                Ok((_, true)) => Outcome::Whole,
                Ok((_, false)) => Outcome::WithoutAzure,
                Err(_) => Outcome::Failed,
            };
            judging.note(*server, profile, outcome, self.moment());
            match judged {
                Ok((ready, _)) => ready.problems.iter().for_each(|problem| {
                    log::warn!("readiness of {name}: {problem}");
                }),
                Err(refusal) => log::warn!("readiness of {name}: {}", refusal.detail),
            }
        }
    }

    /// The newest check of the vault is remembered beside it.
    fn note_verified(&self) {
        let jobs = self.jobs.list();
        let ended = |job: &&JobView| job.kind == "verify" && job.state != JobState::Running;
        let Some(newest) = jobs.iter().find(ended) else { return };
        let mut ledger = lock(&self.ledger);
        let known = ledger.verified.as_ref().map_or(0, |job| job.began_millis);
        if newest.began_millis > known {
            let long = |value: &serde_json::Value| value.to_string().len() > 16 * 1024;
            let mut newest = newest.clone();
            newest.result.take_if(|value| long(value));
            ledger.verified = Some(newest);
            ledger.save(&*self.facts.keep);
        }
    }

    /// Somebody showed that the recovery key is at hand.
    pub fn note_key_confirmed(&self) {
        let now = self.now();
        let mut ledger = lock(&self.ledger);
        ledger.key_confirmed_millis = Some(now);
        ledger.save(&*self.facts.keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::keep::MemoryKeep;

    #[test]
    fn growth_has_one_count_a_day_for_a_year_and_is_of_one_vault() {
        let info = serde_json::json!({
            "place": "azure://account/container",
            "total": {"bytes": 5 << 30, "objects": 77},
            "cost": {"month": 12.3456, "prices": {"source": "estimate: a list"}},
        });
        let (mut ledger, keep) = (Ledger::default(), MemoryKeep::default());
        ledger.be_of("ab");
        for hour in 0..24 * 400 {
            ledger.note(&info, hour * 3_600_000);
        }
        assert_eq!((ledger.growth.len(), ledger.objects), (DAYS_MAX, 77));
        assert_eq!(ledger.month_millidollars, Some(12_346));
        ledger.save(&keep);
        assert_eq!(Ledger::load(&keep), ledger);
        ledger.be_of("ab");
        assert_eq!(ledger.growth.len(), DAYS_MAX);
        ledger.be_of("cd");
        assert!(ledger.growth.is_empty());
        let folder =
            serde_json::json!({"place": "dir:/srv/vault", "total": {"bytes": 1, "objects": 1}});
        ledger.note(&folder, 5);
        assert_eq!(ledger.month_millidollars, None);
    }
}

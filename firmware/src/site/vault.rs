//! The vault: how it fares, how large it is and what it costs, checked and pruned, and its recovery kit.

use firmware_web::api::Caller;
use firmware_web::api::site::Answer;
use firmware_web::api::views::servers::Health;
use firmware_web::api::views::vault::{JobState, JobView, KitPage, Retention, VaultView};
use pipeline_vault::keys::kit::{Kit, KitHead};

use super::jobs::Wanted;
use super::refuse::refusal;
use super::sight::Sight;
use super::{LiveSite, lock};

impl LiveSite {
    /// How the vault fares, and why.
    pub(super) fn vault_health(&self, sight: &Sight) -> (Health, String) {
        if let Some(trouble) = &sight.trouble {
            let health = if sight.seen { Health::Bad } else { Health::Attention };
            return (health, format!("It cannot be read: {trouble}"));
        }
        if !sight.seen {
            return (Health::Working, "It is being looked at.".to_owned());
        }
        let damaged = sight.chains.values().find_map(|chain| chain.trouble.as_ref());
        if let Some(trouble) = damaged.or(sight.damage.first()) {
            return (Health::Bad, format!("Something in it cannot be read: {trouble}"));
        }
        let verified = lock(&self.ledger).verified.clone();
        if let Some(job) = verified.filter(|job| job.state == JobState::Failed) {
            return (Health::Attention, format!("The last check of it failed: {}", job.words));
        }
        (Health::Good, "It is readable.".to_owned())
    }

    pub(super) fn vault_view(&self) -> Answer<VaultView> {
        let sight = self.sight();
        let (health, cause) = self.vault_health(&sight);
        let vaulted = (self.facts.vault)();
        let ledger = lock(&self.ledger).clone();
        let id = lock(&self.opened).as_ref().map(|opened| opened.id.clone()).unwrap_or_default();
        let own = |listed: &crate::ingest::roll::Listed| Retention {
            server: Some(listed.name.clone()),
            keep: listed.keep.clone(),
        };
        let mut retention = Vec::new();
        if let Some(roll) = &sight.roll {
            retention.push(Retention { server: None, keep: roll.rules.keep.clone() });
            retention.extend(roll.servers.iter().map(own));
        }
        Ok(VaultView {
            place: vaulted.map(|vaulted| vaulted.shown).unwrap_or_default(),
            vault: id,
            health,
            cause,
            bytes: ledger.bytes,
            objects: ledger.objects,
            counted_millis: ledger.counted_millis,
            month_millidollars: ledger.month_millidollars,
            cost_says: ledger.cost_says,
            growth: ledger.growth,
            retention,
            verified: ledger.verified,
            key_confirmed_millis: ledger.key_confirmed_millis,
        })
    }

    pub(super) fn begin_verify(&self, by: &Caller, deep: bool) -> Answer<JobView> {
        let words: &[&str] = if deep { &["verify", "--deep"] } else { &["verify"] };
        self.begin(by, "verify", words)
    }

    pub(super) fn begin_prune(&self, by: &Caller, dry_run: bool) -> Answer<JobView> {
        let words: &[&str] = match dry_run {
            true => &["prune", "--as-kept", "--dry-run"],
            false => &["prune", "--as-kept"],
        };
        self.begin(by, "prune", words)
    }

    fn begin(&self, by: &Caller, kind: &'static str, words: &[&str]) -> Answer<JobView> {
        let opened = self.opened()?;
        let job = self.jobs.begin(Wanted {
            kind,
            object: "vault".to_owned(),
            by: by.name.clone(),
            verb: self.verb(&opened, words),
            order: None,
        })?;
        self.tell_of(by, "job_begun", "vault".to_owned(), format!("{kind}: begun."));
        self.wake();
        Ok(job)
    }

    /// The kit without the key: that is with whoever wrote it down.
    pub(super) fn kit_page(&self) -> Answer<KitPage> {
        let opened = self.opened()?;
        let sight = self.sight();
        let head = |(name, server): (&String, &pipeline::ids::ServerId)| {
            let newest = sight.chains.get(server)?.points.back()?;
            let name = Some(name.clone());
            Some(KitHead { server: *server, name, point: newest.id, time: newest.at_millis })
        };
        let heads: Vec<KitHead> = sight.servers.iter().filter_map(head).collect();
        let vault = opened.vault.session().vault().map_err(refusal)?.id();
        let kit =
            Kit { place: &opened.vaulted.shown, vault, key: None, heads: &heads, made: self.now() };
        Ok(KitPage { text: kit.text().to_string() })
    }
}

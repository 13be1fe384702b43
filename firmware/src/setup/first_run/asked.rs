//! What is asked: each call checked, done, and kept.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use firmware_web::api::setup::{
    CertificateAsked, CertificateView, CredentialAsked, How, KeyAnswer, KeyTyped, NetworkAsked,
    NetworkView, Pairing, Setup, SetupView, Stage, TimeAsked, VaultAnswer, VaultAsked, VaultTest,
    VaultTestAsked,
};
use firmware_web::api::site::Answer;
use firmware_web::api::{Caller, Refusal};
use pipeline_vault::Error;

use super::{FirstRun, KEY_FILE};
use crate::cli::Opening;
use crate::ingest::roll::kept::KeptRoll;
use crate::serve::identity::own::Own;
use crate::session::{Machine, Session};
use crate::setup::code::Tried;
use crate::setup::credential::Credential;
use crate::setup::documents::{self, CertificateKept, NetworkKept, TimeKept, VaultKept};
use crate::setup::network::Change;
use crate::setup::{calendar, probe, refused, vault};
use crate::vault_uri::VaultUri;

/// The folder of what is not known to be any good yet; one for each trial, since two may be under way.
const TRIAL_FOLDER: &str = "trial";
/// Longest place.
const PLACE_BYTES_MAX: usize = 1024;
/// Longest name of a zone.
const ZONE_BYTES_MAX: usize = 64;
/// Time servers at most.
const SERVERS_MAX: usize = 4;
const MINUTES: core::ops::RangeInclusive<i16> = -720..=840;
impl Setup for FirstRun {
    fn stage(&self) -> Stage {
        if self.parts.administrators.exist() { self.answered() } else { Stage::Pair }
    }

    fn view(&self) -> Answer<SetupView> {
        Ok(SetupView { stage: self.stage(), set: Some(self.facts()?) })
    }

    fn pair(&self, asked: Pairing) -> Answer<Caller> {
        const TITLE: &str = "the pairing code";
        let _one = self.changing();
        if self.parts.administrators.exist() {
            let paired = refused::conflict("this machine", "has an administrator already");
            return Err(refused::remedy(
                paired,
                "sign in; whoever stands at its console can have the administrator forgotten",
            ));
        }
        let (now, entropy) = (self.parts.clock.moment(), &*self.parts.entropy);
        let tried = match &mut self.answers().code {
            Some(code) => {
                code.attempt(asked.code.expose(), now, entropy).map_err(refused::plain)?
            }
            None => return Err(refused::conflict(TITLE, "is not made yet")),
        };
        let wrong = |detail: String, remedy: &str| {
            let refusal = refused::field("/code", TITLE, detail);
            Err(refused::remedy(Refusal { status: 403, ..refusal }, remedy))
        };
        match tried {
            Tried::Right => {}
            Tried::Wrong(left) => {
                return wrong(
                    format!("is another one; tries left: {left}"),
                    "read it from the machine's console",
                );
            }
            Tried::UsedUp => {
                self.parts.ground.show_code(self.code().as_deref());
                return wrong(
                    "was wrong too often: there is a new one".to_owned(),
                    "wait half a minute, and read the new one from the machine's console",
                );
            }
            Tried::Paused(seconds) => {
                let refusal = refused::field(
                    "/code",
                    TITLE,
                    format!("was wrong too often; it may be tried again in {seconds} s"),
                );
                return Err(Refusal { status: 429, retry_seconds: Some(seconds), ..refusal });
            }
        }
        let caller = self.parts.administrators.make_first(&asked.name, &asked.password)?;
        self.answers().code = None;
        self.parts.ground.show_code(None);
        log::info!("this machine is paired: {} manages it", caller.name);
        Ok(caller)
    }

    fn network(&self) -> Answer<NetworkView> {
        self.parts.ground.network()
    }

    fn set_network(&self, _by: &Caller, asked: &NetworkAsked) -> Answer<NetworkView> {
        let _one = self.changing();
        let change = Change::of(asked)?;
        let view = match change {
            Change::Keep => self.parts.ground.network()?,
            _ => self.parts.ground.set_network(&change)?,
        };
        if matches!(change, Change::Keep | Change::Confirm) && !self.answers().network {
            self.keep(&NetworkKept { answered: true })?;
            self.answers().network = true;
        }
        Ok(view)
    }

    fn test_vault(&self, asked: VaultTestAsked) -> Answer<VaultTest> {
        let given = (&asked.credential, asked.authority.as_deref());
        self.on_trial(&asked.place, given, |uri, credential, machine| {
            probe::walk(&*self.parts.ground, uri, credential, machine)
        })
    }

    fn set_vault(&self, by: &Caller, asked: VaultAsked) -> Answer<VaultAnswer> {
        const TITLE: &str = "the vault";
        let _one = self.changing();
        if let Some(named) = self.parts.ground.named() {
            let who = if named.by == "file" { "lifeboat.toml" } else { "the command line" };
            return Err(refused::conflict(
                TITLE,
                format!("is named by {who}, which counts first: {}", named.place),
            ));
        }
        self.not_before(Stage::Vault, TITLE)?;
        match (self.answered() == Stage::Done, asked.how) {
            (true, How::Renew) => return self.renew(by, &asked),
            (true, _) => return Err(refused::conflict(TITLE, "is chosen, and in use")),
            (false, How::Renew) => return Err(refused::conflict(TITLE, "is not in use yet")),
            (false, _) => {}
        }
        let given = (&asked.credential, asked.authority.as_deref());
        let answer = self.on_trial(&asked.place, given, |uri, credential, machine| {
            if matches!(uri, VaultUri::Azure(_)) {
                self.parts.ground.clock().map_err(|words| Refusal {
                    status: 503,
                    ..refused::conflict("this machine's clock", words)
                })?;
            }
            let opened = probe::Place::open(uri, machine)
                .map_err(|error| refused::of(error, "/credential/value"))?;
            match asked.how {
                How::Adopt => self.adopt(&asked, credential, &opened, machine),
                _ => self.make(asked.place.trim(), credential, &opened, machine),
            }
        })?;
        log::info!("{} chose the vault {}", by.name, asked.place);
        Ok(answer)
    }

    fn confirm_key(&self, by: &Caller, typed: KeyTyped) -> Answer<KeyAnswer> {
        let _one = self.changing();
        let kept = self.answers().vault.clone().filter(|kept| kept.stands && !kept.confirmed);
        let Some(mut kept) = kept else {
            return Err(refused::conflict("recovery key", "is not asked for now"));
        };
        if typed.again {
            log::warn!("{} had the recovery key shown once more", by.name);
            let key = Some(vault::shown(&kept).map_err(refused::plain)?);
            return Ok(KeyAnswer { stage: self.stage(), key });
        }
        vault::compare(&kept, typed.typed.expose())?;
        kept.confirmed = true;
        self.keep_vault(&kept)?;
        Ok(KeyAnswer { stage: self.stage(), key: None })
    }

    fn set_time(&self, _by: &Caller, asked: &TimeAsked) -> Answer<SetupView> {
        const TITLE: &str = "the time";
        let _one = self.changing();
        self.not_before(Stage::Time, TITLE)?;
        let zone = asked.zone.trim();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "/_+-".contains(letter);
        if zone.is_empty() || zone.len() > ZONE_BYTES_MAX || !zone.chars().all(plain) {
            let wrong = refused::field("/zone", TITLE, "has a zone that is none");
            return Err(refused::remedy(wrong, "write it like Europe/Berlin or UTC"));
        }
        if !MINUTES.contains(&asked.zone_minutes) {
            return Err(refused::field(
                "/zone_minutes",
                TITLE,
                "has a zone further from UTC than any: -720 to 840",
            ));
        }
        if asked.servers.len() > SERVERS_MAX {
            return Err(refused::field(
                "/servers",
                TITLE,
                format!("has more than {SERVERS_MAX} servers"),
            ));
        }
        self.set_pace(asked)?;
        self.parts.ground.set_time_servers(&asked.servers)?;
        let kept = TimeKept {
            zone: zone.to_owned(),
            zone_minutes: asked.zone_minutes,
            servers: asked.servers.clone(),
            calendar: asked.calendar.clone(),
        };
        self.keep(&kept)?;
        self.answers().time = Some(kept);
        if let Some(chosen) = self.chosen() {
            self.parts.ground.take(&chosen);
        }
        self.view()
    }

    fn set_certificate(&self, _by: &Caller, asked: CertificateAsked) -> Answer<CertificateView> {
        let _one = self.changing();
        let keep = &*self.parts.keep;
        if asked.chain.trim().is_empty() && asked.key.expose().trim().is_empty() {
            documents::clear::<CertificateKept>(keep).map_err(refused::plain)?;
            self.parts.identity.set_own(None);
            return Ok(self.certificates());
        }
        let own = Own::parse(&asked.chain, asked.key.expose(), self.parts.clock.now().0);
        let own = own.map_err(|wrong| {
            let title = if wrong.field == "key" { "the key" } else { "the certificate" };
            refused::remedy(
                refused::field(&format!("/{}", wrong.field), title, wrong.what),
                wrong.remedy,
            )
        })?;
        let kept =
            CertificateKept { chain: asked.chain.clone(), key: asked.key.expose().to_owned() };
        // What is not kept is not shown either: it would be gone at the next start.
        self.keep(&kept)?;
        self.parts.identity.set_own(Some(own));
        Ok(self.certificates())
    }
}

impl FirstRun {
    /// The machine with a credential and authorities that nobody knows to be any good yet.
    fn on_trial<T>(
        &self,
        place: &str,
        (asked, authority): (&CredentialAsked, Option<&str>),
        work: impl FnOnce(&VaultUri, &Credential, &Machine) -> Answer<T>,
    ) -> Answer<T> {
        if place.trim().is_empty()
            || place.len() > PLACE_BYTES_MAX
            || place.chars().any(char::is_control)
        {
            let wrong =
                refused::field("/place", "the vault", "is named by nothing that could be a place");
            return Err(refused::remedy(wrong, "write azure://ACCOUNT/CONTAINER or dir:FOLDER"));
        }
        let uri = self.parts.ground.ready(place.trim())?;
        static TRIALS: AtomicU64 = AtomicU64::new(0);
        let credential = Credential::of(asked, &uri)?.trusting(authority, &uri)?;
        let trial = format!("{TRIAL_FOLDER}-{}", TRIALS.fetch_add(1, Ordering::Relaxed));
        let folder = self.parts.ground.secrets().join(trial);
        let laid = credential.lay_out(&folder).map_err(|error| {
            refused::plain(Error::device(folder.display().to_string(), error.to_string()))
        });
        let machine =
            laid.and_then(|()| self.parts.ground.dressed(&uri, &credential.table(&folder)));
        let done = machine.and_then(|machine| work(&uri, &credential, &machine));
        // Only what is kept stays; most have no files, and no folder.
        let _ = std::fs::remove_dir_all(&folder);
        done
    }

    /// A new vault; or once more the key of the one that was made before, as long as nobody showed that it is written down.
    fn make(
        &self,
        place: &str,
        credential: &Credential,
        opened: &probe::Place,
        machine: &Machine,
    ) -> Answer<VaultAnswer> {
        let mine =
            |kept: &&VaultKept| kept.place == place && kept.how == How::New && !kept.confirmed;
        let before = self.answers().vault.as_ref().filter(mine).cloned();
        if let Some(before) = before
            && vault::stands(&before, opened.store(), machine)
        {
            let mut kept = before;
            (kept.stands, kept.credential) = (true, credential.clone());
            self.keep_vault(&kept)?;
            return self.made(&kept);
        }
        let (plan, mut kept) = vault::plan(&*opened.store(), place, credential.clone(), machine)?;
        // From here on the vault may exist, so its key does too.
        self.keep_vault(&kept)?;
        vault::build(&plan, opened.store(), machine)?;
        kept.stands = true;
        self.keep_vault(&kept)?;
        self.made(&kept)
    }

    fn made(&self, kept: &VaultKept) -> Answer<VaultAnswer> {
        self.lay_out(kept);
        let key = Some(vault::shown(kept).map_err(refused::plain)?);
        Ok(VaultAnswer { stage: self.stage(), found: None, key })
    }

    fn adopt(
        &self,
        asked: &VaultAsked,
        credential: &Credential,
        opened: &probe::Place,
        machine: &Machine,
    ) -> Answer<VaultAnswer> {
        let (found, kept) = vault::look(asked, credential.clone(), &opened.store(), machine)?;
        match &asked.confirm {
            None => {}
            Some(vault) if *vault == found.vault => {
                self.keep_vault(&kept)?;
                self.lay_out(&kept);
            }
            Some(_) => {
                let wrong = refused::field(
                    "/confirm",
                    "the vault",
                    format!("is {}, which is another one than what was confirmed", found.vault),
                );
                return Err(refused::remedy(wrong, "look at what was found, and confirm that"));
            }
        }
        Ok(VaultAnswer { stage: self.stage(), found: Some(found), key: None })
    }

    /// The vault in use, opened by another credential from now on: once the way with it leads to the end, and what
    /// lies there is the same vault.
    fn renew(&self, by: &Caller, asked: &VaultAsked) -> Answer<VaultAnswer> {
        let kept = self.answers().vault.clone();
        let Some(mut kept) = kept.filter(|kept| kept.place.trim() == asked.place.trim()) else {
            let other = refused::field("/place", "the vault", "in use is at another place");
            return Err(refused::remedy(
                other,
                "leave its place as it is: what opens it is changed",
            ));
        };
        let given = (&asked.credential, asked.authority.as_deref());
        kept.credential = self.on_trial(&asked.place, given, |uri, credential, machine| {
            let tested = probe::walk(&*self.parts.ground, uri, credential, machine)?;
            vault::lets_in(&tested)?;
            let opened = probe::Place::open(uri, machine)
                .map_err(|error| refused::of(error, "/credential/value"))?;
            vault::check_same(&kept, opened.store(), machine)?;
            Ok(credential.clone())
        })?;
        self.keep_vault(&kept)?;
        self.lay_out(&kept);
        self.parts.ground.take(&self.way_of(&kept));
        log::info!("{}: the vault is opened by {} from now on", by.name, kept.credential.words());
        Ok(VaultAnswer { stage: self.stage(), found: None, key: None })
    }

    /// The vault, whoever named it, as the machine opens it.
    fn opening(&self) -> Answer<(Opening, Machine)> {
        let ground = &self.parts.ground;
        if ground.named().is_some() {
            return ground.named_way();
        }
        let kept = self.answers().vault.clone();
        let kept = kept.ok_or_else(|| refused::conflict("the vault", "is not chosen yet"))?;
        let vault = ground.ready(&kept.place)?;
        let machine = ground.dressed(&vault, &self.way_of(&kept).credential)?;
        let key_file = ground.secrets().join(KEY_FILE);
        Ok((Opening { vault, key_file, passphrase_file: None, older_key: false }, machine))
    }

    /// Limits go into the vault, where every appliance of it looks for them.
    fn set_pace(&self, asked: &TimeAsked) -> Answer<()> {
        let pace = calendar::pace(&asked.calendar, asked.zone_minutes)?;
        let before = self.answers().time.clone().unwrap_or_default();
        let same_zone = before.zone_minutes == asked.zone_minutes || asked.calendar.rows.is_empty();
        if before.calendar == asked.calendar && same_zone {
            return Ok(());
        }
        let (opening, machine) = self.opening()?;
        let set = Session::open(&opening, &machine)
            .and_then(|session| KeptRoll::open(session, Arc::clone(&machine.clock)))
            .and_then(|roll| {
                roll.change(&mut |roll| {
                    roll.pace.clone_from(&pace);
                    Ok(())
                })
            });
        set.map_err(|error| refused::of(error, "/calendar"))
    }
}

//! The stages, put together: what is asked follows from what was kept, and each answer is checked, done and kept before the next
//! question is asked.
//!
//! A power cut between any two of these leaves a stage that is asked again, and never a vault whose key nobody has: the key is
//! kept before the vault is made, and shown again until somebody typed it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_web::api::setup::{
    CertificateView, OwnCertificate, Setup as _, SetupFacts, Stage, TimeView, VaultChosen,
};
use firmware_web::api::site::Answer;
use hal::time::{Clock, Entropy};
use pipeline_vault::Error;
use zeroize::Zeroizing;

use super::code::Code;
use super::documents::{self, CertificateKept, NetworkKept, TimeKept, VaultKept};
use super::ground::{Administrators, Chosen, Ground};
use super::refused;
use crate::admin::keep::Keep;
use crate::serve::identity::Identity;
use crate::serve::identity::own::Own;

/// What is asked.
mod asked;

/// The file of the recovery key while it is needed.
pub const KEY_FILE: &str = "recovery.key";
/// What first run works with.
pub struct Parts {
    /// Where answers are kept.
    pub keep: Arc<dyn Keep>,
    /// The machine.
    pub ground: Arc<dyn Ground>,
    /// Who manages it.
    pub administrators: Arc<dyn Administrators>,
    /// Its certificates.
    pub identity: Arc<Identity>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The random generator.
    pub entropy: Arc<dyn Entropy>,
}

/// What was answered so far, and the code.
#[derive(Default)]
struct Answers {
    code: Option<Code>,
    network: bool,
    vault: Option<VaultKept>,
    time: Option<TimeKept>,
}

/// First run.
pub struct FirstRun {
    parts: Parts,
    answers: Mutex<Answers>,
    /// Held while something is changed: a vault is made once.
    changing: Mutex<()>,
}

impl core::fmt::Debug for FirstRun {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FirstRun({:?})", self.stage())
    }
}

impl FirstRun {
    /// Goes on where it was; shows the code that pairs where nobody owns the machine yet.
    ///
    /// Errors: what was kept cannot be read. It is never taken for nothing.
    pub fn open(parts: Parts) -> Result<Self, Error> {
        let keep = &*parts.keep;
        let network = documents::read::<NetworkKept>(keep)?.is_some_and(|kept| kept.answered);
        let answers = Answers {
            code: None,
            network,
            vault: documents::read(keep)?,
            time: documents::read(keep)?,
        };
        if let Some(kept) = documents::read::<CertificateKept>(keep)? {
            match Own::parse(&kept.chain, &kept.key, parts.clock.now().0) {
                Ok(own) => parts.identity.set_own(Some(own)),
                Err(wrong) => log::warn!(
                    "the page's own certificate {}; {}: the machine's is shown instead",
                    wrong.what,
                    wrong.remedy
                ),
            }
        }
        let run = Self { parts, answers: Mutex::new(answers), changing: Mutex::default() };
        run.take_up();
        if !run.parts.administrators.exist() {
            run.new_code()?;
        }
        Ok(run)
    }

    /// The vault that was chosen, once everything is answered; none where one is named, which counts first.
    #[must_use]
    pub fn chosen(&self) -> Option<Chosen> {
        if self.parts.ground.named().is_some() || self.answered() != Stage::Done {
            return None;
        }
        self.answers().vault.as_ref().map(|kept| self.way_of(kept))
    }

    /// Minutes that the zone is east of UTC.
    #[must_use]
    pub fn zone_minutes(&self) -> i16 {
        self.answers().time.as_ref().map_or(0, |time| time.zone_minutes)
    }

    /// Somebody at the console wants the machine to have no administrator any more: a new one may pair.
    pub fn forget_administrator(&self) -> Answer<()> {
        let _one = self.changing();
        self.parts.administrators.forget()?;
        self.new_code().map_err(refused::plain)
    }

    /// The code as the console shows it, while there is one.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        self.answers().code.as_ref().map(Code::shown)
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What follows from what was kept, whoever may be asked.
    fn answered(&self) -> Stage {
        let named = self.parts.ground.named().is_some();
        let answers = self.answers();
        let vault = answers.vault.as_ref();
        if !answers.network {
            Stage::Network
        } else if !named && !vault.is_some_and(|vault| vault.stands) {
            Stage::Vault
        } else if !named && !vault.is_some_and(|vault| vault.confirmed) {
            Stage::Key
        } else if answers.time.is_none() {
            Stage::Time
        } else {
            Stage::Done
        }
    }

    /// Refuses what comes before its time.
    fn not_before(&self, stage: Stage, title: &str) -> Answer<()> {
        let now = self.answered();
        if now >= stage {
            return Ok(());
        }
        let before = match now {
            Stage::Network => "the network",
            Stage::Vault => "the vault",
            _ => "the recovery key",
        };
        Err(refused::conflict(title, format!("comes after {before}, which is not answered yet")))
    }

    /// Puts to use what was answered.
    fn take_up(&self) {
        let (kept, time) = {
            let answers = self.answers();
            (answers.vault.clone(), answers.time.clone())
        };
        if let Some(kept) = kept.filter(|kept| kept.stands) {
            self.lay_out(&kept);
            let folder = self.parts.ground.secrets();
            if let Err(error) = kept.credential.tidy(&folder) {
                log::warn!("{}: old certificates stay: {error}", folder.display());
            }
        }
        if let Some(time) = time
            && let Err(refusal) = self.parts.ground.set_time_servers(&time.servers)
        {
            log::warn!("time servers: {}", refusal.detail);
        }
        if let Some(chosen) = self.chosen() {
            self.parts.ground.take(&chosen);
        }
    }

    /// Key and certificates where requests look for them.
    fn lay_out(&self, kept: &VaultKept) {
        let folder = self.parts.ground.secrets();
        let laid = put(&folder, KEY_FILE, kept.key.as_bytes())
            .and_then(|()| kept.credential.lay_out(&folder));
        if let Err(error) = laid {
            log::error!("{}: the vault's key cannot be laid out: {error}", folder.display());
        }
    }

    fn way_of(&self, kept: &VaultKept) -> Chosen {
        let folder = self.parts.ground.secrets();
        Chosen {
            place: kept.place.clone(),
            key: Zeroizing::new(kept.key.clone()),
            credential: kept.credential.table(&folder),
        }
    }

    fn new_code(&self) -> Result<(), Error> {
        let code = Code::new(&*self.parts.entropy)?;
        self.parts.ground.show_code(Some(&code.shown()));
        self.answers().code = Some(code);
        Ok(())
    }

    fn keep<D: documents::Document>(&self, document: &D) -> Answer<()> {
        documents::write(&*self.parts.keep, document).map_err(refused::plain)
    }

    fn keep_vault(&self, kept: &VaultKept) -> Answer<()> {
        self.keep(kept)?;
        self.answers().vault = Some(kept.clone());
        Ok(())
    }

    fn facts(&self) -> Answer<SetupFacts> {
        let network = self.network()?;
        let named = self.parts.ground.named();
        let answers = self.answers();
        let chosen = answers.vault.as_ref().filter(|kept| kept.stands).map(|kept| VaultChosen {
            place: kept.place.clone(),
            vault: Some(kept.vault.clone()),
            named_by: "setup".to_owned(),
            credential: kept.credential.words(),
            key_confirmed: kept.confirmed,
        });
        let named = named.map(|named| VaultChosen {
            place: named.place,
            named_by: named.by.to_owned(),
            key_confirmed: true,
            ..VaultChosen::default()
        });
        let time = answers.time.clone().unwrap_or_default();
        let time = TimeView {
            now_millis: self.parts.clock.now().0,
            zone: time.zone,
            zone_minutes: time.zone_minutes,
            servers: time.servers,
            calendar: time.calendar,
        };
        Ok(SetupFacts { network, vault: named.or(chosen), time, certificate: self.certificates() })
    }

    fn certificates(&self) -> CertificateView {
        let own = self.parts.identity.own().map(|own| OwnCertificate {
            names: own.names.clone(),
            issuer: own.issuer.clone(),
            sha256: own.sha256.clone(),
            ends_millis: own.ends_millis,
        });
        CertificateView { machine_sha256: self.parts.identity.fingerprint(), own }
    }
}

/// A secret file for its owner only, whole at once.
pub(super) fn put(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::create_dir_all(folder)?;
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, &path)
}

#[cfg(test)]
mod tests;

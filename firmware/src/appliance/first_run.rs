//! First run on the appliance: its console shows the code, its state partition keeps the answers, its network is tried and kept.
//!
//! What `lifeboat.toml` says counts first: a medium that names a vault and what opens it is asked for neither.

use core::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use firmware_web::api::Refusal;
use firmware_web::api::setup::NetworkView;
use firmware_web::api::site::Answer;
use hal_linux::{SystemClock, SystemEntropy};
use image_layout::command_line::Role;

use super::vault_place::{self, VaultPlace, Wanted};
use super::{Appliance, network, page, roles};
use crate::admin::accounts::Accounts;
use crate::admin::audit::Room;
use crate::admin::keep::Keep;
use crate::cli::Opening;
use crate::session::Machine;
use crate::setup::first_run::{FirstRun, Parts};
use crate::setup::ground::{Administrators, Chosen, Ground, Named};
use crate::setup::network::Change;
use crate::setup::refused;
use crate::vault_uri::VaultUri;

/// Begins it, or goes on where it was. What cannot be read is told on the console, and nobody is let in by it.
pub(crate) fn begin(appliance: &Arc<Appliance>) {
    if roles::chosen(appliance) != Role::Appliance {
        return;
    }
    if let Err(words) = open(appliance) {
        log::error!("first run: {words}");
        appliance.board.update(|view| view.last_error = Some(words));
    }
}

fn open(appliance: &Arc<Appliance>) -> Result<(), String> {
    let keep = Arc::clone(&appliance.memory) as Arc<dyn Keep>;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let accounts =
        Accounts::new(Arc::clone(&keep), clock.clone(), entropy.clone(), Room::PARTITION);
    let accounts = Arc::clone(appliance.accounts.get_or_init(|| Arc::new(accounts)));
    let parts = Parts {
        keep,
        ground: Arc::new(Here(Arc::clone(appliance))),
        administrators: accounts as Arc<dyn Administrators>,
        identity: page::identity(appliance)?,
        clock,
        entropy,
    };
    let run = FirstRun::open(parts).map_err(|error| error.to_string())?;
    // It is begun once, before any service runs.
    let run = appliance.first_run.get_or_init(|| Arc::new(run));
    super::managed::begin(appliance, run)
}

/// What a person at the console wishes: nobody manages the machine any more, and whoever reads the next code does.
pub(crate) fn forget_administrator(appliance: &Appliance) -> Result<(), String> {
    const WORD: &str = "forget";
    let Some(run) = appliance.first_run.get() else {
        return Err("this machine has no administrator to forget".to_owned());
    };
    let words = [
        "Every user, session and token is forgotten, and whoever reads the next code from this console manages the machine. Vault, servers and settings stay.",
        "Type the word forget:",
    ];
    let kind = super::board::Kind::Text(String::new());
    match vault_place::ask(&appliance.board, "Forget the administrator?", &words, kind) {
        Some(typed) if typed == WORD => {
            run.forget_administrator().map_err(|refusal| refusal.detail)
        }
        _ => Ok(()),
    }
}

/// The appliance as the machine that is set up.
struct Here(Arc<Appliance>);

impl Ground for Here {
    fn named(&self) -> Option<Named> {
        let wanted = Wanted::of_file(&self.0);
        let place = wanted.address.clone().filter(|_| wanted.is_complete())?;
        Some(Named { by: "file", place })
    }

    fn named_way(&self) -> Answer<(Opening, Machine)> {
        let prepared = VaultPlace::prepare(&self.0, &Wanted::of_file(&self.0));
        let prepared = prepared.map_err(|words| refused::conflict("the vault", words))?;
        Ok(prepared.opening())
    }

    fn take(&self, chosen: &Chosen) {
        // Whoever wants a vault looks for it by itself.
        log::info!("the vault of this appliance: {}", chosen.place);
    }

    fn ready(&self, place: &str) -> Answer<VaultUri> {
        let wrong = |words: String| refused::field("/place", "the vault", words);
        if place.starts_with("dir:") {
            let here =
                wrong("would be in this machine's memory, and gone at the next start".to_owned());
            return Err(refused::remedy(
                here,
                "write azure://ACCOUNT/CONTAINER or disk:NAME/FOLDER",
            ));
        }
        vault_place::locate(&self.0, place).map(|(uri, _)| uri).map_err(wrong)
    }

    fn dressed(&self, uri: &VaultUri, credential: &[(String, String)]) -> Answer<Machine> {
        let table = vault_place::dressed(&self.0, uri, credential);
        let table = table.map_err(|words| refused::conflict("the network", words))?;
        Ok(Machine::with_table(table))
    }

    fn secrets(&self) -> PathBuf {
        PathBuf::from(vault_place::KEY_FOLDER)
    }

    fn clock(&self) -> Result<(), String> {
        self.0.belief.check()
    }

    fn show_code(&self, code: Option<&str>) {
        self.0.board.update(|view| view.pairing = code.map(str::to_owned));
        let fingerprint = page::identity(&self.0).map(|identity| identity.fingerprint());
        let fingerprint = fingerprint.unwrap_or_default();
        // Such lines are for tests alone: the kernel's command line asks for them.
        let code = code.unwrap_or("none");
        self.0.events.say("pair", &[("fingerprint", &fingerprint), ("code", &code)]);
    }

    fn network(&self) -> Answer<NetworkView> {
        Ok(network::trial::view(&self.0))
    }

    fn set_network(&self, change: &Change<'_>) -> Answer<NetworkView> {
        network::trial::change(&self.0, change)
    }

    fn set_time_servers(&self, servers: &[IpAddr]) -> Result<(), Refusal> {
        *self.0.time_servers.lock().unwrap_or_else(PoisonError::into_inner) = servers.to_vec();
        Ok(())
    }
}

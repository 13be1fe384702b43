//! `lifeboat serve` as the machine that is set up: another system keeps its network and its clock, and its folders are places
//! for a vault too.

use core::net::IpAddr;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmware_web::api::setup::NetworkView;
use firmware_web::api::site::Answer;

use super::first_run::KEY_FILE;
use super::ground::{Chosen, Ground, Named};
use super::in_use::{InUse, Way};
use super::network::{Change, not_here};
use super::refused;
use crate::cli::Opening;
use crate::session::Machine;
use crate::site::facts::kernel_links;
use crate::vault_uri::VaultUri;

/// Key and certificate lie in this folder of the state folder.
const SECRETS: &str = "secrets";
/// What requests look for that only a credential may say.
const CREDENTIALS: [&str; 7] = [
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
];

/// Says the code to whoever started the program; `None` says nothing.
pub type Teller = Box<dyn Fn(Option<&str>) + Send + Sync>;

/// The program's machine.
pub struct Program {
    opening: Option<Opening>,
    machine: Machine,
    state: PathBuf,
    in_use: InUse,
    tell: Teller,
}

impl Program {
    /// With the vault of the command line, if it names one, and what it keeps in a folder.
    #[must_use]
    pub fn new(
        opening: Option<Opening>,
        machine: &Machine,
        state: &Path,
        in_use: &InUse,
        tell: Teller,
    ) -> Self {
        if let Some(opening) = &opening {
            in_use.set(Way::of(opening, machine));
        }
        let (machine, state, in_use) = (machine.clone(), state.to_path_buf(), in_use.clone());
        Self { opening, machine, state, in_use, tell }
    }
}

impl core::fmt::Debug for Program {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Program({})", self.state.display())
    }
}

impl Ground for Program {
    fn named(&self) -> Option<Named> {
        let opening = self.opening.as_ref()?;
        Some(Named { by: "command", place: opening.vault.to_string() })
    }

    fn named_way(&self) -> Answer<(Opening, Machine)> {
        let opening = self.opening.clone();
        let opening = opening.ok_or_else(|| refused::conflict("the vault", "is not named"))?;
        Ok((opening, self.machine.clone()))
    }

    fn take(&self, chosen: &Chosen) {
        let way = self.ready(&chosen.place).and_then(|vault| {
            let machine = self.dressed(&vault, &chosen.credential)?;
            let key_file = self.secrets().join(KEY_FILE);
            let opening = Opening { vault, key_file, passphrase_file: None, older_key: false };
            let environment = chosen.credential.clone();
            Ok(Way { place: chosen.place.clone(), opening, machine, environment })
        });
        match way {
            Ok(way) => self.in_use.set(way),
            Err(refusal) => log::error!("the vault {}: {}", chosen.place, refusal.detail),
        }
    }

    fn ready(&self, place: &str) -> Answer<VaultUri> {
        let uri = place.parse::<VaultUri>();
        let uri = uri.map_err(|what| refused::field("/place", "the vault", what))?;
        match &uri {
            VaultUri::Directory(path) if !path.is_absolute() => {
                let wrong = refused::field(
                    "/place",
                    "the vault",
                    "is in a folder named from nowhere in particular",
                );
                Err(refused::remedy(wrong, "write the whole path: dir:/srv/vault"))
            }
            _ => Ok(uri),
        }
    }

    fn dressed(&self, _uri: &VaultUri, credential: &[(String, String)]) -> Answer<Machine> {
        let (table, around) = (credential.to_vec(), Arc::clone(&self.machine.settings));
        let settings = move |name: &str| {
            let given = table.iter().find(|(known, _)| known == name);
            match given {
                Some((_, value)) => Some(OsString::from(value)),
                // Whose credential it is was answered; what lies about in the environment is somebody else's.
                None if CREDENTIALS.contains(&name) => None,
                None => around(name),
            }
        };
        let machine = &self.machine;
        let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
        Ok(Machine { clock, entropy, settings: Arc::new(settings) })
    }

    fn secrets(&self) -> PathBuf {
        self.state.join(SECRETS)
    }

    fn clock(&self) -> Result<(), String> {
        Ok(())
    }

    fn show_code(&self, code: Option<&str>) {
        (self.tell)(code);
    }

    fn network(&self) -> Answer<NetworkView> {
        let failed = |error: hal::net::nic::NetError| {
            refused::plain(pipeline_vault::Error::device("the network", error.to_string()))
        };
        let links = kernel_links().map_err(failed)?;
        let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let servers = servers.lines().filter_map(|line| line.strip_prefix("nameserver "));
        Ok(NetworkView {
            links,
            dns: servers.map(|server| server.trim().to_owned()).collect(),
            source: "system".to_owned(),
            ..NetworkView::default()
        })
    }

    fn set_network(&self, _change: &Change<'_>) -> Answer<NetworkView> {
        Err(not_here())
    }

    fn set_time_servers(&self, servers: &[IpAddr]) -> Answer<()> {
        match servers {
            [] => Ok(()),
            _ => Err(refused::field(
                "/servers",
                "the time",
                "is kept by this machine's own system: name no servers",
            )),
        }
    }
}

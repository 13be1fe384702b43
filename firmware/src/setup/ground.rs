//! What the machine is that is set up: the appliance with its console and its disks, or a program beside others. And who may
//! manage it.

use core::fmt;
use core::net::IpAddr;
use std::path::PathBuf;

use firmware_web::api::Caller;
use firmware_web::api::setup::{NetworkView, Secret};
use firmware_web::api::site::Answer;
use zeroize::{Zeroize as _, Zeroizing};

use super::network::Change;
use crate::cli::Opening;
use crate::session::Machine;
use crate::vault_uri::VaultUri;

/// A vault that was named before anybody asked: that counts first.
#[derive(Clone, Debug)]
pub struct Named {
    /// `file` or `command`.
    pub by: &'static str,
    /// As it was written.
    pub place: String,
}

/// The vault that first run chose.
#[derive(Clone)]
pub struct Chosen {
    /// As it was typed.
    pub place: String,
    /// The content of its key file.
    pub key: Zeroizing<String>,
    /// What opens the storage, as names and values of an environment.
    pub credential: Vec<(String, String)>,
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chosen({})", self.place)
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.credential.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// The machine.
pub trait Ground: Send + Sync {
    /// The vault that `lifeboat.toml` or the command line names.
    fn named(&self) -> Option<Named>;
    /// How to get at it.
    fn named_way(&self) -> Answer<(Opening, Machine)>;
    /// The vault that was chosen is to be used from now on.
    fn take(&self, chosen: &Chosen);
    /// A place as it is typed, made ready: its disk mounted. The refusal is about the field `/place`.
    fn ready(&self, place: &str) -> Answer<VaultUri>;
    /// The machine with this credential, and with the proxies of its network.
    fn dressed(&self, uri: &VaultUri, credential: &[(String, String)]) -> Answer<Machine>;
    /// Where the key and a certificate lie while they are needed.
    fn secrets(&self) -> PathBuf;
    /// Whether the clock is worth checking certificates by.
    fn clock(&self) -> Result<(), String>;
    /// The code that pairs stands in front of whoever owns the machine; `None` once nobody needs it.
    fn show_code(&self, code: Option<&str>);
    /// The network.
    fn network(&self) -> Answer<NetworkView>;
    /// It is changed, or refused.
    fn set_network(&self, change: &Change<'_>) -> Answer<NetworkView>;
    /// Time servers beside those that DHCP names.
    fn set_time_servers(&self, servers: &[IpAddr]) -> Answer<()>;
}

/// Who manages the machine, as far as first run has to know.
pub trait Administrators: Send + Sync {
    /// Whether there is anybody.
    fn exist(&self) -> bool;
    /// The first one. Refused are names and passwords that nobody may have, with their field.
    fn make_first(&self, name: &str, password: &Secret) -> Answer<Caller>;
    /// There is none any more, as somebody at the console wants it.
    fn forget(&self) -> Answer<()>;
}

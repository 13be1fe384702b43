//! What the machine is that is set up: the appliance with its console and its disks, or a program beside others. And who may
//! manage it.

use core::net::IpAddr;
use std::path::PathBuf;

use firmware_web::api::setup::{NetworkAsked, NetworkView, Secret};
use firmware_web::api::site::Answer;
use firmware_web::api::{Caller, Refusal};

use super::in_use::Way;
use crate::session::Machine;
use crate::vault_uri::VaultUri;

/// A vault that was named before anybody asked: that counts first.
#[derive(Clone, Debug)]
pub struct Named {
    /// `file` or `command`.
    pub by: &'static str,
    /// As it was written.
    pub place: String,
    /// How to get at it; `None` where somebody else of the machine sees to that.
    pub way: Option<Way>,
}

/// The machine.
pub trait Ground: Send + Sync {
    /// The vault that `lifeboat.toml` or the command line names.
    fn named(&self) -> Option<Named>;
    /// A place as it is typed, made ready: its disk mounted. The refusal is about the field `/place`.
    fn ready(&self, place: &str) -> Result<VaultUri, Refusal>;
    /// The machine with this credential, and with the proxies of its network: as names and values, and for this process.
    fn dressed(&self, uri: &VaultUri, credential: Vec<(String, String)>) -> Answer<(Machine, Vec<(String, String)>)>;
    /// Where the key and a certificate lie while they are needed.
    fn secrets(&self) -> PathBuf;
    /// Whether the clock is worth checking certificates by.
    fn clock(&self) -> Result<(), String>;
    /// The code that pairs stands in front of whoever owns the machine; `None` once nobody needs it.
    fn show_code(&self, code: Option<&str>);
    /// The network.
    fn network(&self) -> Answer<NetworkView>;
    /// It is changed, or refused.
    fn set_network(&self, asked: &NetworkAsked) -> Answer<NetworkView>;
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

//! Where the appliance differs: what `lifeboat serve` and the image each know of their opening, memory and network.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmware_web::api::views::appliance::{MachineDisk, MachineLink, UpdateView};
use firmware_web::api::views::servers::Health;
use hal::inventory::DiskFacts;
use hal::net::facts::{AddressState, LinkKind};
use hal::net::nic::{NetError, Stack as _};
use hal_linux::LinuxStack;

use super::events::Events;
use super::temperature::{DISKS, celsius};
use crate::admin::keep::Keep;
use crate::child::Verb;
use crate::cli::Opening;
use crate::disk_facts::identity;
use crate::serve::identity::Identity;
use crate::serve::replication::Seen;
use crate::session::Machine;
use crate::setup::in_use::Way;

/// A vault as it is opened, by this process and by the verbs that it runs.
#[derive(Clone)]
pub struct Vaulted {
    /// What opens it.
    pub opening: Opening,
    /// What it is opened on: with the credentials that it takes.
    pub machine: Machine,
    /// The whole environment of verbs: the same credentials.
    pub environment: Vec<(String, String)>,
    /// Where it is, as a person wrote it; without credentials.
    pub shown: String,
}

impl Vaulted {
    /// The vault in use. `beside` is the environment that verbs have anyway.
    #[must_use]
    pub fn of(way: Way, beside: &[(String, String)]) -> Self {
        let mut environment = beside.to_vec();
        environment.retain(|(name, _)| way.environment.iter().all(|(own, _)| own != name));
        environment.extend(way.environment);
        Self { opening: way.opening, machine: way.machine, environment, shown: way.place }
    }

    /// A verb on this vault. What opens it stands in files and in the environment, never on a command line.
    pub(super) fn verb(&self, words: &[&str], program: Option<&PathBuf>) -> Verb {
        let mut all: Vec<OsString> = words.iter().map(Into::into).collect();
        all.extend(["--vault".into(), self.opening.vault.to_string().into()]);
        all.extend(["--key-file".into(), self.opening.key_file.clone().into()]);
        if let Some(path) = &self.opening.passphrase_file {
            all.extend(["--passphrase-file".into(), path.clone().into()]);
        }
        if self.opening.older_key {
            all.push("--older-key".into());
        }
        let environment = self.environment.clone();
        Verb { words: all, environment, program: program.cloned() }
    }

    /// Whether it is the same vault, opened the same way.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            let opening = &one.opening;
            let files = (opening.key_file.clone(), opening.passphrase_file.clone());
            (opening.vault.to_string(), files, opening.older_key, one.environment.clone())
        };
        of(self) == of(other)
    }
}

/// Asked whenever something is to be known.
pub type Ask<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// Words and environment of a verb that is run as a process.
pub type Command = (Vec<OsString>, Vec<(String, String)>);

/// The updates of a machine.
pub trait Updates: Send + Sync {
    /// What runs.
    fn view(&self) -> UpdateView;
    /// Words and environment of the verb that puts in an update from an address or a file.
    ///
    /// Errors: none can be put in, and what to do instead.
    fn verb(&self, from: &str) -> Result<Command, String>;
    /// Starts the machine anew.
    fn restart(&self, why: String);
    /// Where pipes stand: memory, on the appliance; what stands there is a name.
    fn folder(&self) -> &Path {
        Path::new("/run")
    }
}

/// What the site is told of where it runs.
pub struct Facts {
    /// What it is called.
    pub name: String,
    /// `appliance`, or `program` where it runs beside others.
    pub role: &'static str,
    /// The clocks and randomness.
    pub machine: Machine,
    /// The vault, where one is named just now.
    pub vault: Ask<Option<Vaulted>>,
    /// Ingest, as far as agents are taken.
    pub agents: Seen,
    /// Whether agents are taken here at all.
    pub takes_agents: bool,
    /// Who the machine is to browsers and agents.
    pub identity: Arc<Identity>,
    /// Where the page is reached, each `address:port`.
    pub pages: Ask<Vec<String>>,
    /// Network cards.
    pub links: Ask<Vec<MachineLink>>,
    /// The spool in words.
    pub spool: Ask<String>,
    /// What a disk is used for, by the kernel's name of it: `medium`, `spool`, `vault`, or empty.
    pub used: Arc<dyn Fn(&str) -> &'static str + Send + Sync>,
    /// Disks that the machine misses or cannot use: kernel's names, or what they are used for where they are not here; and what is
    /// wrong.
    pub troubles: Ask<Vec<(String, String)>>,
    /// The time zone, minutes east of UTC.
    pub zone_minutes: Ask<i16>,
    /// Where small documents are kept.
    pub keep: Arc<dyn Keep>,
    /// What happened.
    pub events: Arc<Events>,
    /// How the machine is updated, where it can be from here.
    pub updates: Option<Arc<dyn Updates>>,
    /// The program whose verbs are run, where it is not this one.
    pub program: Option<PathBuf>,
}

impl core::fmt::Debug for Facts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Facts({})", self.name)
    }
}

/// The network cards of this machine as its kernel has them, loopback left out, with the addresses that may be used.
pub fn kernel_links() -> Result<Vec<MachineLink>, NetError> {
    let mut stack = LinuxStack::open()?;
    let (links, addresses) = (stack.links()?, stack.addresses()?);
    let own = links.iter().filter(|link| link.kind != LinkKind::Loopback);
    let told = own.map(|link| {
        let here = addresses.iter().filter(|address| address.link == link.index);
        let usable = here.filter(|address| address.state == AddressState::Usable);
        MachineLink {
            name: link.name.clone(),
            mac: link.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            carrier: link.carrier,
            speed_mbit: link.speed_mbit.map(u64::from),
            addresses: usable.map(|address| address.address.to_string()).collect(),
        }
    });
    Ok(told.collect())
}

/// The same; none where the kernel does not tell.
#[must_use]
pub fn links_of_kernel() -> Vec<MachineLink> {
    kernel_links().inspect_err(|error| log::debug!("{error}")).unwrap_or_default()
}

/// A disk of the machine as the page shows it.
pub(super) fn disk_view(facts: &DiskFacts, used: &'static str) -> MachineDisk {
    let name = facts.kernel_name().to_owned();
    MachineDisk {
        celsius: celsius(Path::new(DISKS), &name),
        model: facts.model.clone().unwrap_or_default().trim().to_owned(),
        serial: facts.serial.clone().unwrap_or_else(|| identity(facts)).trim().to_owned(),
        bytes: facts.geometry.bytes,
        used: used.to_owned(),
        name,
        ..MachineDisk::default()
    }
}

/// Whether something is worse than it was.
pub(super) fn is_worse(health: Health, before: Health) -> bool {
    let rank = |health: Health| match health {
        Health::Off | Health::Good => 0,
        Health::Working => 1,
        Health::Attention => 2,
        Health::Bad => 3,
    };
    rank(health) > rank(before)
}

//! The target profile: where in Azure a server is recovered to, with what, and how it says that it is up.

use core::net::IpAddr;
use std::collections::BTreeMap;

use pipeline_azure::AzureAddress;
use pipeline_azure::arm::disk::Generation;
use serde::{Deserialize, Serialize};

/// Where a server is recovered to. A person writes it as TOML; it is kept sealed in the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The subscription's identity.
    pub subscription: String,
    /// The region, as Azure writes it: `westeurope`.
    pub location: String,
    /// The resource group of a failover. It must be there.
    pub group: String,
    /// What the virtual machine is called; the server's name where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The virtual network that a failover joins.
    pub network: String,
    /// The resource group of that network; `group` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_group: Option<String>,
    /// Its subnet.
    pub subnet: String,
    /// The address in it.
    #[serde(default)]
    pub address: Address,
    /// The zone, where it shall be in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Sizes of the virtual machine, the best first: the next is tried where Azure has no room for one.
    pub sizes: Vec<String>,
    /// Type of the disk that it starts from.
    #[serde(default = "premium")]
    pub system_disk: String,
    /// Type of all other disks.
    #[serde(default = "premium")]
    pub data_disks: String,
    /// Types of single disks, by the names they were protected under.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disk_types: BTreeMap<String, String>,
    /// The disk that it starts from, by name, where that is not the first one with a boot loader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_from: Option<String>,
    /// What guards its start.
    #[serde(default)]
    pub security: Security,
    /// Firmware, where what is on its disks shall not decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// A licence that is brought along: `Windows_Server`, `RHEL_BYOS`, `SLES_BYOS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Whether a failover gets a public address. A drill never does.
    #[serde(default)]
    pub public_address: bool,
    /// A network security group of `network_group` for its interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_group: Option<String>,
    /// Tags for everything that is made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// How it says that it is up: all of these must come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Signal>,
    /// Seconds within which they must.
    #[serde(default = "a_quarter_of_an_hour")]
    pub signal_within_s: u32,
    /// Who may order a failover, as `USER` or `USER@HOST`; empty: whoever has the recovery key. It keeps from slips, not
    /// from malice: who has the key can change it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub who_may: Vec<String>,
    /// A resource group that drills use, where this identity may make none. It must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_group: Option<String>,
    /// The network that a drill makes and nothing else reaches.
    #[serde(default = "drill_range")]
    pub drill_range: String,
    /// Whether its disks are kept warm: page blobs in Azure that follow the vault, of which disks are made in minutes.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub seed: bool,
    /// The container that they are in, as `azure://ACCOUNT/CONTAINER`; `seeds` in the vault's account where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_container: Option<String>,
    /// The resource group of that account; `group` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_group: Option<String>,
    /// MiB a second that they are brought forward with at most.
    #[serde(default = "seed_pace", skip_serializing_if = "is_seed_pace")]
    pub seed_mib_per_s: u32,
}

/// The address of the network interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Address {
    /// Azure gives one.
    #[default]
    Dynamic,
    /// This one.
    Given(IpAddr),
    /// The one that the server has at home, which the subnet must hold; found in its own settings where it is not said.
    Retained(Option<IpAddr>),
}

/// An address as a person writes it.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "give \"dynamic\", \"retained\", { given = \"10.1.0.7\" } or { retained = \"10.1.0.7\" }"
)]
enum Written {
    Word(Word),
    Named(Named),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Dynamic,
    Retained,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Named {
    Given(IpAddr),
    Retained(IpAddr),
}

impl From<Written> for Address {
    fn from(written: Written) -> Self {
        match written {
            Written::Word(Word::Dynamic) => Self::Dynamic,
            Written::Word(Word::Retained) => Self::Retained(None),
            Written::Named(Named::Given(address)) => Self::Given(address),
            Written::Named(Named::Retained(address)) => Self::Retained(Some(address)),
        }
    }
}

impl From<Address> for Written {
    fn from(address: Address) -> Self {
        match address {
            Address::Dynamic => Self::Word(Word::Dynamic),
            Address::Given(address) => Self::Named(Named::Given(address)),
            Address::Retained(None) => Self::Word(Word::Retained),
            Address::Retained(Some(address)) => Self::Named(Named::Retained(address)),
        }
    }
}

/// What guards the start of a virtual machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// Nothing more.
    #[default]
    Standard,
    /// Secure boot and a virtual TPM; only for servers that start by UEFI.
    TrustedLaunch,
}

/// How a server says that it is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// This text on its serial console.
    Console(String),
    /// A connection to this TCP port.
    Tcp(u16),
    /// An answer by HTTP.
    Http {
        /// The port.
        port: u16,
        /// The path, from `/` on.
        path: String,
        /// Text that the answer must hold; empty: any answer of the 200s does.
        #[serde(default)]
        contains: String,
    },
}

impl Signal {
    /// Whether it is asked for over the network, and so never comes out of a closed one.
    #[must_use]
    pub fn is_by_network(&self) -> bool {
        !matches!(self, Self::Console(_))
    }
}

fn premium() -> String {
    "Premium_LRS".to_owned()
}

fn a_quarter_of_an_hour() -> u32 {
    900
}

fn drill_range() -> String {
    "10.255.0.0/24".to_owned()
}

/// Half of what Azure takes of one page blob.
fn seed_pace() -> u32 {
    30
}

fn is_seed_pace(pace: &u32) -> bool {
    *pace == seed_pace()
}

impl Profile {
    /// The profile of a server of which nobody has said where it is recovered to. No order can be given with it.
    #[must_use]
    pub fn nowhere() -> Self {
        Self {
            subscription: String::new(),
            location: String::new(),
            group: String::new(),
            name: None,
            network: String::new(),
            network_group: None,
            subnet: String::new(),
            address: Address::default(),
            zone: None,
            sizes: Vec::new(),
            system_disk: premium(),
            data_disks: premium(),
            disk_types: BTreeMap::new(),
            starts_from: None,
            security: Security::default(),
            generation: None,
            licence: None,
            public_address: false,
            security_group: None,
            tags: BTreeMap::new(),
            signals: Vec::new(),
            signal_within_s: a_quarter_of_an_hour(),
            who_may: Vec::new(),
            drill_group: None,
            drill_range: drill_range(),
            seed: false,
            seed_container: None,
            seed_group: None,
            seed_mib_per_s: seed_pace(),
        }
    }

    /// What is wrong with it in itself, each with the field's name. Azure was not asked.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut name = |field: &str, text: &str, length_max: usize| {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.()".contains(letter);
            if text.is_empty() || text.len() > length_max || !text.chars().all(plain) {
                problems.push(format!(
                    "{field} is «{text}»: give 1 to {length_max} letters, digits, - _ . ( )"
                ));
            }
        };
        name("subscription", &self.subscription, 36);
        name("location", &self.location, 60);
        name("group", &self.group, 90);
        name("network", &self.network, 64);
        name("subnet", &self.subnet, 80);
        let may = [("name", &self.name, 64), ("network_group", &self.network_group, 90)];
        let may = may.into_iter().chain([
            ("security_group", &self.security_group, 80),
            ("drill_group", &self.drill_group, 90),
            ("seed_group", &self.seed_group, 90),
            ("zone", &self.zone, 3),
            ("licence", &self.licence, 40),
        ]);
        may.for_each(|(field, text, max)| text.iter().for_each(|text| name(field, text, max)));
        self.sizes.iter().for_each(|size| name("sizes", size, 60));
        let types = [&self.system_disk, &self.data_disks].into_iter();
        types.chain(self.disk_types.values()).for_each(|text| name("disk type", text, 20));
        problems.extend(self.contradictions());
        problems
    }

    fn contradictions(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut no = |wrong: bool, text: &str| {
            if wrong {
                problems.push(text.to_owned());
            }
        };
        no(self.sizes.is_empty(), "sizes is empty: name at least one size of virtual machine");
        no(self.sizes.len() > 16, "sizes has more than 16");
        no(self.tags.len() > 40, "tags are more than 40: Azure takes 50, and some are ours");
        no(
            self.tags.iter().any(|(key, value)| key.len() > 512 || value.len() > 256),
            "a tag is longer than Azure takes: 512 letters of name, 256 of value",
        );
        no(
            self.tags.keys().any(|key| key.starts_with("lifeboat-")),
            "tags named lifeboat- are ours",
        );
        no(
            self.security == Security::TrustedLaunch && self.generation == Some(Generation::V1),
            "security is trusted_launch, which wants generation V2",
        );
        no(
            self.system_disk.contains("Ultra") || self.system_disk.contains("PremiumV2"),
            "system_disk must not be Ultra or PremiumV2: Azure starts from neither",
        );
        no(self.signal_within_s == 0, "signal_within_s is 0");
        no(self.seed_mib_per_s == 0, "seed_mib_per_s is 0: a seed that stands still is none");
        let container = self.seed_container.as_deref();
        no(
            container.is_some_and(|text| AzureAddress::parse(text).is_err()),
            "seed_container is no azure://ACCOUNT/CONTAINER",
        );
        no(self.signals.len() > 8, "signals are more than 8");
        no(
            self.signals.iter().any(|signal| {
                matches!(signal, Signal::Console(text) if text.is_empty() || text.len() > 256)
                    || matches!(signal, Signal::Http { path, .. } if !path.starts_with('/'))
            }),
            "a signal is empty, longer than 256 letters, or its path does not begin with /",
        );
        no(
            range(&self.drill_range).is_none(),
            "drill_range is no IPv4 range such as 10.255.0.0/24",
        );
        problems
    }

    /// Why a drill of it could prove nothing, where that is so.
    #[must_use]
    pub fn cannot_be_drilled(&self) -> Option<&'static str> {
        let blind = !self.signals.is_empty() && self.signals.iter().all(Signal::is_by_network);
        blind.then_some(
            "its signals are all by the network, and nothing reaches into the closed network of a drill: add a line of its console, as in signals = [{ console = \"login:\" }]",
        )
    }

    /// The address that it gets, where that is known before.
    #[must_use]
    pub fn known_address(&self) -> Option<IpAddr> {
        match self.address {
            Address::Dynamic => None,
            Address::Given(address) => Some(address),
            Address::Retained(address) => address,
        }
    }

    /// The resource group that holds its network.
    #[must_use]
    pub fn network_group(&self) -> &str {
        self.network_group.as_deref().unwrap_or(&self.group)
    }

    /// The type of a disk.
    #[must_use]
    pub fn disk_type(&self, name: &str, is_system: bool) -> &str {
        let usual = if is_system { &self.system_disk } else { &self.data_disks };
        self.disk_types.get(name).unwrap_or(usual)
    }

    /// Whether somebody, as `USER@HOST`, may order a failover.
    #[must_use]
    pub fn lets(&self, who: &str) -> bool {
        let user = who.split('@').next().unwrap_or(who);
        self.who_may.is_empty() || self.who_may.iter().any(|may| may == who || may == user)
    }
}

/// An address range of IPv4 that a network can have: its first address and how many bits are fixed.
#[must_use]
pub fn range(text: &str) -> Option<(u32, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: core::net::Ipv4Addr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok().filter(|bits| (8..=29).contains(bits))?;
    Some((address.to_bits() & (u32::MAX << (32 - bits)), bits))
}

#[cfg(test)]
mod tests;

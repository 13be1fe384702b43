//! What is asked of Azure about each thing of an order: names that follow from the order, tags by which it is found again.

use core::fmt;

use pipeline_azure::arm::disk::{self, DiskState, NewDisk, Source};
use pipeline_azure::arm::id::{GroupId, Kind as What, ResourceId, SubnetId};
use pipeline_azure::arm::interface::{self, NewInterface};
use pipeline_azure::arm::machine::{self, AfterDelete, NewMachine};
use pipeline_azure::arm::tags::Tags;
use pipeline_azure::arm::{Call, group, network};
use pipeline_vault::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DiskPlan, Import, Kind, Order};
use crate::profile::{Profile, Security};

/// The tag that names an order, or the run of a plan.
pub const ORDER_TAG: &str = "lifeboat-order";
/// The tag that names the vault.
pub const VAULT_TAG: &str = "lifeboat-vault";
/// The tag that names the server, by its identity.
pub const SERVER_TAG: &str = "lifeboat-server";

/// Smallest disk that Azure takes by upload.
const DISK_BYTES_MIN: u64 = 20 << 20;
/// Disks have whole mebibytes.
const MEBIBYTE: u64 = 1 << 20;
/// For how long a signature lets a disk be written to; another is asked for where that was too short.
const SIGNATURE_SECONDS: u32 = 24 * 3600;
/// Longest name of a virtual machine.
const MACHINE_LETTERS_MAX: usize = 64;

/// Something in Azure that an order makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    /// A resource group.
    Group(GroupId),
    /// A resource in one.
    Resource(ResourceId),
}

impl Thing {
    /// Things go in this order: what holds others first, the group last.
    #[must_use]
    pub fn rank(&self) -> (bool, Option<What>) {
        match self {
            Self::Group(_) => (true, None),
            Self::Resource(id) => (false, Some(id.kind())),
        }
    }

    /// What kind of thing, as a person calls it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Group(_) => "resource group",
            Self::Resource(id) => id.kind().word(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Group(group) => group.name(),
            Self::Resource(id) => id.name(),
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "resource group {}", group.name()),
            Self::Resource(id) => {
                write!(f, "{} {} in {}", id.kind().word(), id.name(), id.group().name())
            }
        }
    }
}

/// Looks at a thing.
pub(crate) fn get(thing: &Thing) -> Call {
    match thing {
        Thing::Group(id) => group::look(id),
        Thing::Resource(id) => group::look_at(id),
    }
}

/// Takes a thing away; a group with all that is in it.
pub(crate) fn remove(thing: &Thing) -> Call {
    match thing {
        Thing::Group(id) => group::delete(id),
        Thing::Resource(id) => group::remove(id),
    }
}

/// Gives back the signature of a disk; nothing for other things.
pub(crate) fn revoke(thing: &Thing) -> Option<Call> {
    match thing {
        Thing::Resource(id) => disk::end_access(id).ok(),
        Thing::Group(_) => None,
    }
}

/// Asks for a signature that lets a disk be written to.
pub(crate) fn grant(id: &ResourceId) -> Result<Call, Error> {
    disk::begin_access(id, disk::Access::Write, SIGNATURE_SECONDS)
}

/// Whether somebody holds a signature of a disk.
pub(crate) fn is_open(disk: &Value) -> bool {
    matches!(DiskState::of(disk), DiskState::ActiveUpload | DiskState::ActiveSas)
}

/// Whether a thing is the order's own, or its plan's.
pub(crate) fn is_ours(thing: &Value, order: &Order) -> bool {
    let tags = Tags::of(thing);
    let run = order.shared.as_ref().map(|shared| shared.run.to_string());
    tags.value(ORDER_TAG)
        .is_some_and(|tag| tag == order.id.to_string() || run.is_some_and(|run| run == tag))
}

/// The first letters of an order's identity, for names.
fn short(id: &impl fmt::Display) -> String {
    id.to_string().chars().take(8).collect()
}

/// Letters that Azure takes in every name.
fn plain(text: &str) -> String {
    let letters = text.chars().map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    });
    let letters: String = letters.collect();
    let letters = letters.trim_matches('-');
    if letters.is_empty() { "server".to_owned() } else { letters.to_owned() }
}

/// A name of at most so many letters whose end is kept.
fn fitted(begin: &str, end: &str, letters_max: usize) -> String {
    let room = letters_max.saturating_sub(end.len());
    let begin: String = begin.chars().take(room).collect();
    format!("{}{end}", begin.trim_end_matches('-'))
}

impl Order {
    /// What its resources' names end in: the plan's run where the resource is the plan's.
    fn mark(&self) -> String {
        short(&self.id)
    }

    fn shared_mark(&self) -> String {
        self.shared.as_ref().map_or_else(|| self.mark(), |shared| short(&shared.run))
    }

    /// The group that holds what it makes.
    pub fn group(&self) -> Result<GroupId, Error> {
        let profile = &self.profile;
        let name = match (self.kind, &profile.drill_group) {
            (Kind::Failover | Kind::Planned, _) => profile.group.clone(),
            (Kind::Drill, Some(group)) => group.clone(),
            (Kind::Drill, None) => format!("lifeboat-drill-{}", self.shared_mark()),
        };
        GroupId::new(&profile.subscription, &name)
    }

    /// Whether that group is made for it.
    #[must_use]
    pub fn makes_group(&self) -> bool {
        self.kind == Kind::Drill && self.profile.drill_group.is_none()
    }

    fn base(&self) -> String {
        let given = self.profile.name.as_deref().unwrap_or(&self.server_name);
        let base = plain(given);
        match self.kind {
            Kind::Drill => fitted(&base, &format!("-drill-{}", self.mark()), MACHINE_LETTERS_MAX),
            Kind::Failover | Kind::Planned => fitted(&base, "", MACHINE_LETTERS_MAX),
        }
    }

    /// The machine.
    pub fn machine(&self) -> Result<ResourceId, Error> {
        self.group()?.resource(What::Machine, &self.base())
    }

    /// The network interface.
    pub fn interface(&self) -> Result<ResourceId, Error> {
        let name = fitted(&self.base(), &format!("-nic-{}", self.mark()), 80);
        self.group()?.resource(What::Interface, &name)
    }

    /// The public address, where it gets one.
    pub fn public_address(&self) -> Result<Option<ResourceId>, Error> {
        if self.kind == Kind::Drill || !self.profile.public_address {
            return Ok(None);
        }
        let name = fitted(&self.base(), &format!("-ip-{}", self.mark()), 80);
        self.group()?.resource(What::PublicAddress, &name).map(Some)
    }

    /// The network that a drill makes, and the rules that close it.
    pub fn drill_network(&self) -> Result<Option<(ResourceId, ResourceId)>, Error> {
        if self.kind != Kind::Drill {
            return Ok(None);
        }
        let name = format!("lifeboat-drill-{}", self.shared_mark());
        let group = self.group()?;
        let rules = group.resource(What::SecurityGroup, &name)?;
        Ok(Some((group.resource(What::Network, &name)?, rules)))
    }

    /// The subnet that its interface is in.
    pub fn subnet(&self) -> Result<SubnetId, Error> {
        if let Some((network, _)) = self.drill_network()? {
            return SubnetId::new(&network, "drill");
        }
        let group = GroupId::new(&self.profile.subscription, self.profile.network_group())?;
        let network = group.resource(What::Network, &self.profile.network)?;
        SubnetId::new(&network, &self.profile.subnet)
    }

    /// A disk, by its place.
    pub fn disk(&self, place: usize) -> Result<ResourceId, Error> {
        let name = self.disks.get(place).map_or("disk", |disk| disk.name.as_str());
        let end = format!("-{place}-{}-{}", self.mark(), self.round);
        let begin = format!("{}-{}", self.base(), plain(name));
        self.group()?.resource(What::Disk, &fitted(&begin, &end, 80))
    }

    /// Whether a thing is its plan's: made by whoever comes first, taken away by the plan.
    #[must_use]
    pub(crate) fn is_shared(&self, thing: &Thing) -> bool {
        self.shared.is_some()
            && match thing {
                Thing::Group(_) => true,
                Thing::Resource(id) => matches!(id.kind(), What::Network | What::SecurityGroup),
            }
    }

    fn tags_of(&self, shared: bool) -> Result<Tags, Error> {
        let run = self.shared.as_ref().filter(|_| shared).map(|shared| shared.run);
        let order = run.unwrap_or(self.id).to_string();
        let tags = Tags::new().with(ORDER_TAG, &order)?.with(VAULT_TAG, &self.vault)?;
        let tags = match run {
            Some(_) => tags,
            None => tags.with(SERVER_TAG, &self.server.to_string())?,
        };
        self.profile.tags.iter().try_fold(tags, |tags, (name, value)| tags.with(name, value))
    }

    /// Makes the group of a drill.
    pub(crate) fn create_group(&self) -> Result<Call, Error> {
        group::create(&self.group()?, &self.profile.location, &self.tags_of(true)?)
    }

    /// Makes a disk to upload into.
    pub(crate) fn create_disk(&self, place: usize, plan: &DiskPlan) -> Result<Call, Error> {
        let profile = &self.profile;
        let new = NewDisk {
            location: profile.location.clone(),
            zone: profile.zone.clone(),
            sku: plan.kind.clone(),
            source: plan.source(),
            system: plan.starts.then_some((self.system, self.generation)),
            trusted_launch: plan.starts && trusted(profile),
            tags: self.tags_of(false)?,
        };
        disk::create(&self.disk(place)?, &new)
    }

    /// Makes the rules that close a drill's network.
    pub(crate) fn create_rules(&self, rules: &ResourceId) -> Result<Call, Error> {
        let (location, tags) = (&self.profile.location, self.tags_of(true)?);
        if self.shared.is_some() {
            // The servers of a plan are one thing: an application that does not reach its database proves nothing.
            network::create_closed_around(rules, location, &self.profile.drill_range, &tags)
        } else {
            network::create_closed(rules, location, &tags)
        }
    }

    /// Makes a drill's network.
    pub(crate) fn create_network(&self, rules: &ResourceId) -> Result<Call, Error> {
        let (location, range) = (&self.profile.location, &self.profile.drill_range);
        network::create(&self.subnet()?, location, range, rules, &self.tags_of(true)?)
    }

    /// Makes the public address.
    pub(crate) fn create_public_address(&self, id: &ResourceId) -> Result<Call, Error> {
        let zone = self.profile.zone.as_deref();
        interface::create_public(id, &self.profile.location, zone, &self.tags_of(false)?)
    }

    /// Makes the network interface.
    pub(crate) fn create_interface(&self) -> Result<Call, Error> {
        let profile = &self.profile;
        let drill = self.kind == Kind::Drill;
        let group = GroupId::new(&profile.subscription, profile.network_group())?;
        let rules = profile.security_group.as_deref().filter(|_| !drill);
        let new = NewInterface {
            location: profile.location.clone(),
            subnet: self.subnet()?,
            address: self.wanted_address(),
            security: rules.map(|name| group.resource(What::SecurityGroup, name)).transpose()?,
            public: self.public_address()?,
            accelerated: false,
            tags: self.tags_of(false)?,
        };
        interface::create(&self.interface()?, &new)
    }

    /// The address that its interface asks for. A drill keeps it where its own network holds it.
    pub(crate) fn wanted_address(&self) -> Option<core::net::IpAddr> {
        let known = self.profile.known_address()?;
        let holds = network::range_holds(&self.profile.drill_range, known);
        (self.kind != Kind::Drill || holds).then_some(known)
    }

    /// Makes the machine, of the size that is at turn.
    pub(crate) fn create_machine(&self, size: &str) -> Result<Call, Error> {
        let profile = &self.profile;
        let starts = self.disks.iter().position(|disk| disk.starts).unwrap_or(0);
        let others = (0..self.disks.len()).filter(|place| *place != starts);
        let new = NewMachine {
            location: profile.location.clone(),
            zone: profile.zone.clone(),
            size: size.to_owned(),
            system: (self.system, self.generation),
            os_disk: self.disk(starts)?,
            data_disks: others.map(|place| self.disk(place)).collect::<Result<_, Error>>()?,
            interfaces: vec![self.interface()?],
            trusted_launch: trusted(profile),
            secure_boot: false,
            licence: profile.licence.clone(),
            // Each is the order's own and goes by its own word, so that nothing depends on how the machine went.
            after_delete: AfterDelete::Detach,
            tags: self.tags_of(false)?,
        };
        machine::create(&self.machine()?, &new)
    }
}

fn trusted(profile: &Profile) -> bool {
    profile.security == Security::TrustedLaunch
}

impl DiskPlan {
    /// Where its bytes come from.
    fn source(&self) -> Source {
        match self.import.clone() {
            Some(Import { uri, account }) => Source::Import { uri, account },
            None => Source::Upload { bytes: self.upload_bytes() },
        }
    }

    /// The size of the disk in Azure: whole mebibytes, and no less than it takes.
    #[must_use]
    pub fn upload_bytes(&self) -> u64 {
        self.bytes.div_ceil(MEBIBYTE).saturating_mul(MEBIBYTE).max(DISK_BYTES_MIN)
    }
}

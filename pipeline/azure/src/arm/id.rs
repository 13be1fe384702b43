//! Ids of resources, taken apart and put together, and names by Azure's rules, checked before they are sent.

use core::fmt;

use pipeline_vault::Error;
use serde::{Deserialize, Serialize};

use super::action::Action;

/// The provider of networks, and the version that calls are written for.
const NETWORK: (&str, &str) = ("Microsoft.Network", "2024-03-01");
/// The same of disks and snapshots.
const DISKS: (&str, &str) = ("Microsoft.Compute", "2024-03-02");
/// The same of machines.
const MACHINES: (&str, &str) = ("Microsoft.Compute", "2024-07-01");
/// Longest id that is read: Azure's own are far shorter.
const ID_CHARS_MAX: usize = 4096;

/// Kinds of resources that recovery makes, in the order in which they can be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A virtual machine.
    Machine,
    /// A network interface.
    Interface,
    /// A managed disk.
    Disk,
    /// A snapshot of a disk.
    Snapshot,
    /// A public address.
    PublicAddress,
    /// A virtual network.
    Network,
    /// A network security group.
    SecurityGroup,
}

/// What is known of a kind.
struct Facts {
    provider: (&'static str, &'static str),
    kind: &'static str,
    /// For messages.
    word: &'static str,
    name_chars_max: usize,
    /// Whether names may hold dots.
    dots: bool,
    /// Looking at it, and deleting it.
    read: &'static [Action],
    delete: &'static [Action],
}

impl Kind {
    /// All of them, in the order in which they can be deleted.
    pub const ALL: [Self; 7] = [
        Self::Machine,
        Self::Interface,
        Self::Disk,
        Self::Snapshot,
        Self::PublicAddress,
        Self::Network,
        Self::SecurityGroup,
    ];

    fn facts(self) -> Facts {
        let facts = |provider, kind, word, name_chars_max, dots, read, delete| Facts {
            provider,
            kind,
            word,
            name_chars_max,
            dots,
            read,
            delete,
        };
        match self {
            Self::Machine => facts(
                MACHINES,
                "virtualMachines",
                "machine",
                64,
                true,
                &[Action::MachineRead],
                &[Action::MachineDelete],
            ),
            Self::Interface => facts(
                NETWORK,
                "networkInterfaces",
                "network interface",
                80,
                true,
                &[Action::InterfaceRead],
                &[Action::InterfaceDelete],
            ),
            Self::Disk => {
                facts(DISKS, "disks", "disk", 80, false, &[Action::DiskRead], &[Action::DiskDelete])
            }
            Self::Snapshot => facts(
                DISKS,
                "snapshots",
                "snapshot",
                80,
                false,
                &[Action::SnapshotRead],
                &[Action::SnapshotDelete],
            ),
            Self::PublicAddress => facts(
                NETWORK,
                "publicIPAddresses",
                "public address",
                80,
                true,
                &[Action::PublicAddressRead],
                &[Action::PublicAddressDelete],
            ),
            Self::Network => facts(
                NETWORK,
                "virtualNetworks",
                "network",
                64,
                true,
                &[Action::NetworkRead],
                &[Action::NetworkDelete],
            ),
            Self::SecurityGroup => facts(
                NETWORK,
                "networkSecurityGroups",
                "network security group",
                80,
                true,
                &[Action::SecurityGroupRead],
                &[Action::SecurityGroupDelete],
            ),
        }
    }

    /// What a person calls it.
    pub fn word(self) -> &'static str {
        self.facts().word
    }

    /// Provider and kind as Azure writes them: `Microsoft.Compute/disks`.
    pub fn type_name(self) -> String {
        let facts = self.facts();
        format!("{}/{}", facts.provider.0, facts.kind)
    }

    /// The version that calls about it are written for.
    pub fn api_version(self) -> &'static str {
        self.facts().provider.1
    }

    /// What looking at one needs leave for.
    pub(crate) fn read_actions(self) -> &'static [Action] {
        self.facts().read
    }

    /// What deleting one needs leave for.
    pub(crate) fn delete_actions(self) -> &'static [Action] {
        self.facts().delete
    }

    fn check_name(self, name: &str) -> Result<(), Error> {
        let facts = self.facts();
        let begins = name.chars().next().is_some_and(|first| first.is_ascii_alphanumeric());
        let ends =
            name.chars().last().is_some_and(|last| last.is_ascii_alphanumeric() || last == '_');
        let inside = name.chars().all(|char| {
            char.is_ascii_alphanumeric() || matches!(char, '-' | '_') || (facts.dots && char == '.')
        });
        let two = !matches!(self, Self::Network) || name.len() >= 2;
        if begins && ends && inside && two && name.len() <= facts.name_chars_max {
            return Ok(());
        }
        let dots = if facts.dots { ", dots" } else { "" };
        Err(Error::misuse(
            format!("{} «{}»", facts.word, printable(name)),
            format!(
                "has a name that Azure does not take: {} to {} letters of ASCII, digits, hyphens, underscores{dots}, \
                 a letter or digit first, no hyphen last",
                if matches!(self, Self::Network) { 2 } else { 1 },
                facts.name_chars_max
            ),
        ))
    }
}

/// A resource group: the subscription's id and the group's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupId {
    subscription: String,
    name: String,
}

impl GroupId {
    /// The group of that name. Errors: no UUID of a subscription, or a name that Azure does not take.
    pub fn new(subscription: &str, name: &str) -> Result<Self, Error> {
        check_subscription(subscription)?;
        let fits =
            |char: char| char.is_alphanumeric() || matches!(char, '-' | '_' | '.' | '(' | ')');
        let sound = (1..=90).contains(&name.chars().count())
            && name.chars().all(fits)
            && !name.ends_with('.');
        if !sound {
            return Err(Error::misuse(
                format!("resource group «{}»", printable(name)),
                "has a name that Azure does not take: up to 90 letters, digits and -_.(), no dot last",
            ));
        }
        Ok(Self { subscription: subscription.to_owned(), name: name.to_owned() })
    }

    /// The subscription's id.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A resource in it. Errors: a name that Azure does not take.
    pub fn resource(&self, kind: Kind, name: &str) -> Result<ResourceId, Error> {
        kind.check_name(name)?;
        Ok(ResourceId { group: self.clone(), kind, name: name.to_owned() })
    }

    /// The path of calls about it.
    pub(crate) fn path(&self) -> String {
        format!("/subscriptions/{}/resourceGroups/{}", self.subscription, self.name)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl TryFrom<String> for GroupId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let parts = parts_of(&text)?;
        match parts.as_slice() {
            [key, subscription, groups, name]
                if key.eq_ignore_ascii_case("subscriptions")
                    && groups.eq_ignore_ascii_case("resourceGroups") =>
            {
                Self::new(subscription, name)
            }
            _ => Err(no_id(&text)),
        }
    }
}

impl From<GroupId> for String {
    fn from(id: GroupId) -> Self {
        id.path()
    }
}

/// A resource of one of our kinds.
///
/// Azure does not tell cases apart in ids; neither does the comparison here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    group: GroupId,
    kind: Kind,
    name: String,
}

impl ResourceId {
    /// Reads an id as Azure writes it. Errors: no id, or none of our kinds.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parts = parts_of(text)?;
        let [key, subscription, groups, group, providers, provider, kind, name] = parts.as_slice()
        else {
            return Err(no_id(text));
        };
        let keys = key.eq_ignore_ascii_case("subscriptions")
            && groups.eq_ignore_ascii_case("resourceGroups")
            && providers.eq_ignore_ascii_case("providers");
        let written = format!("{provider}/{kind}");
        let kind =
            Kind::ALL.into_iter().find(|kind| kind.type_name().eq_ignore_ascii_case(&written));
        match kind.filter(|_| keys) {
            Some(kind) => GroupId::new(subscription, group)?.resource(kind, name),
            None => Err(no_id(text)),
        }
    }

    /// Its group.
    pub fn group(&self) -> &GroupId {
        &self.group
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id as Azure writes it, and the path of calls about it.
    pub(crate) fn path(&self) -> String {
        format!("{}/providers/{}/{}", self.group.path(), self.kind.type_name(), self.name)
    }

    /// How a person names it: «disk «a» in group «b»».
    pub(crate) fn shown(&self) -> String {
        format!("{} «{}» in resource group «{}»", self.kind.word(), self.name, self.group.name)
    }

    /// Refuses where a call is about another kind.
    pub(crate) fn expect(&self, kind: Kind) -> Result<(), Error> {
        if self.kind == kind {
            return Ok(());
        }
        Err(Error::misuse(self.shown(), format!("is no {}", kind.word())))
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.name.eq_ignore_ascii_case(&other.name)
            && self.group.name.to_lowercase() == other.group.name.to_lowercase()
            && self.group.subscription.eq_ignore_ascii_case(&other.group.subscription)
    }
}

impl Eq for ResourceId {}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl TryFrom<String> for ResourceId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.path()
    }
}

/// A subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubnetId {
    network: ResourceId,
    name: String,
}

impl SubnetId {
    /// The subnet of that name in a network. Errors: no network, or a name that Azure does not take.
    pub fn new(network: &ResourceId, name: &str) -> Result<Self, Error> {
        network.expect(Kind::Network)?;
        // Subnets go by the rules of security groups: 80 characters, dots allowed.
        if Kind::SecurityGroup.check_name(name).is_err() {
            return Err(Error::misuse(
                format!("subnet «{}»", printable(name)),
                "has a name that Azure does not take",
            ));
        }
        Ok(Self { network: network.clone(), name: name.to_owned() })
    }

    /// Reads an id as Azure writes it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let found = text.rsplit_once('/').and_then(|(rest, name)| {
            let (network, key) = rest.rsplit_once('/')?;
            key.eq_ignore_ascii_case("subnets").then_some((network, name))
        });
        let Some((network, name)) = found else { return Err(no_id(text)) };
        Self::new(&ResourceId::parse(network)?, name)
    }

    /// Its network.
    pub fn network(&self) -> &ResourceId {
        &self.network
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> String {
        format!("{}/subnets/{}", self.network.path(), self.name)
    }
}

impl fmt::Display for SubnetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl TryFrom<String> for SubnetId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<SubnetId> for String {
    fn from(id: SubnetId) -> Self {
        id.path()
    }
}

/// Refuses what is no id of a subscription.
pub(crate) fn check_subscription(text: &str) -> Result<(), Error> {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let digits = text.chars().all(|char| char.is_ascii_hexdigit() || char == '-');
    if digits && groups == [8, 4, 4, 4, 12] {
        return Ok(());
    }
    Err(Error::misuse(format!("subscription «{}»", printable(text)), "is no subscription's id")
        .remedy("copy the id from the portal: it looks like 00000000-0000-0000-0000-000000000000"))
}

/// Refuses what is no name of an Azure region, such as `westeurope`.
pub(crate) fn check_location(text: &str) -> Result<(), Error> {
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if plain && (1..=64).contains(&text.len()) {
        return Ok(());
    }
    Err(Error::misuse(format!("location «{}»", printable(text)), "is no name of an Azure region")
        .remedy("write it as `az account list-locations` does: westeurope"))
}

/// Refuses what is no number of a zone.
pub(crate) fn check_zone(text: &str) -> Result<(), Error> {
    if text.len() == 1 && text.bytes().all(|byte| (b'1'..=b'9').contains(&byte)) {
        return Ok(());
    }
    Err(Error::misuse(format!("zone «{}»", printable(text)), "is no number from 1 to 9"))
}

/// What stands between the slashes.
fn parts_of(text: &str) -> Result<Vec<&str>, Error> {
    let rest = text.strip_prefix('/').filter(|_| text.len() <= ID_CHARS_MAX);
    rest.map(|rest| rest.split('/').collect()).ok_or_else(|| no_id(text))
}

fn no_id(text: &str) -> Error {
    Error::misuse(format!("id «{}»", printable(text)), "is no id of a resource that recovery knows")
        .remedy(
            "copy it from the portal («JSON view», «Resource ID»): it begins with /subscriptions/",
        )
}

/// The text as a message may show it.
fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests;

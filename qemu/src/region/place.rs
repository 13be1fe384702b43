//! Where a request goes: the path of a resource, taken apart.

/// Kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A managed disk.
    Disk,
    /// A snapshot of one.
    Snapshot,
    /// A virtual machine.
    Machine,
    /// A network interface.
    Interface,
    /// A virtual network.
    Network,
    /// A part of one.
    Subnet,
    /// Rules of what may pass.
    SecurityGroup,
    /// A public address.
    PublicAddress,
    /// A storage account.
    StorageAccount,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Disk,
        Self::Snapshot,
        Self::Machine,
        Self::Interface,
        Self::Network,
        Self::Subnet,
        Self::SecurityGroup,
        Self::PublicAddress,
        Self::StorageAccount,
    ];

    /// Provider and type, as Azure writes them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "Microsoft.Compute/disks",
            Self::Snapshot => "Microsoft.Compute/snapshots",
            Self::Machine => "Microsoft.Compute/virtualMachines",
            Self::Interface => "Microsoft.Network/networkInterfaces",
            Self::Network => "Microsoft.Network/virtualNetworks",
            Self::Subnet => "Microsoft.Network/virtualNetworks/subnets",
            Self::SecurityGroup => "Microsoft.Network/networkSecurityGroups",
            Self::PublicAddress => "Microsoft.Network/publicIPAddresses",
            Self::StorageAccount => "Microsoft.Storage/storageAccounts",
        }
    }

    /// The provider alone.
    pub(crate) fn provider(self) -> &'static str {
        self.name().split('/').next().unwrap_or_default()
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

/// A resource's identifier, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// The whole, as it was written.
    pub whole: String,
    /// Its subscription.
    pub subscription: String,
    /// Its group.
    pub group: String,
    /// What it is.
    pub kind: Kind,
    /// Its name; a subnet's own.
    pub name: String,
    /// A subnet's network.
    pub parent: Option<String>,
}

impl Id {
    /// Takes one apart. `None` where it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        match Place::parse(text) {
            Place::Resource { id, action: None } => Some(id),
            _ => None,
        }
    }

    /// What it is found by: identifiers are the same in any case.
    pub fn key(&self) -> String {
        self.whole.to_ascii_lowercase()
    }

    /// The network of a subnet.
    pub(crate) fn network(&self) -> Option<Self> {
        let at = self.key().rfind("/subnets/")?;
        Self::parse(self.whole.get(..at)?)
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A subscription itself, or what lies below it outside of groups: the segments after it, as written.
    Subscription { subscription: String, rest: Vec<String> },
    /// A group.
    Group { subscription: String, group: String },
    /// What is in a group, of a kind or of all.
    InGroup { subscription: String, group: String, kind: Option<Kind> },
    /// Something of a group that is no resource: the segments after it.
    OfGroup { group: String, rest: Vec<String> },
    /// A resource, or something to be done with it.
    Resource { id: Id, action: Option<String> },
    /// Nothing here.
    Nowhere,
}

impl Place {
    pub(crate) fn parse(path: &str) -> Self {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let is = |at: usize, word: &str| {
            words.get(at).is_some_and(|has: &&str| has.eq_ignore_ascii_case(word))
        };
        let owned = |from: usize| words.iter().skip(from).map(|word| (*word).to_owned()).collect();
        let Some(subscription) = words.get(1).map(|word| (*word).to_owned()) else {
            return Self::Nowhere;
        };
        if !is(0, "subscriptions") {
            return Self::Nowhere;
        }
        let Some(group) = words.get(3).map(|word| (*word).to_owned()) else {
            return Self::Subscription { subscription, rest: owned(2) };
        };
        if !is(2, "resourcegroups") {
            return Self::Subscription { subscription, rest: owned(2) };
        }
        if words.len() == 4 {
            return Self::Group { subscription, group };
        }
        if is(4, "resources") && words.len() == 5 {
            return Self::InGroup { subscription, group, kind: None };
        }
        let (Some(provider), Some(kind)) = (words.get(5), words.get(6)) else {
            return Self::OfGroup { group, rest: owned(4) };
        };
        let Some(kind) = Kind::of(&format!("{provider}/{kind}")).filter(|_| is(4, "providers"))
        else {
            return Self::OfGroup { group, rest: owned(4) };
        };
        let Some(name) = words.get(7).map(|word| (*word).to_owned()) else {
            return Self::InGroup { subscription, group, kind: Some(kind) };
        };
        let whole =
            |segments: usize| format!("/{}", words.get(..segments).unwrap_or_default().join("/"));
        if kind == Kind::Network
            && is(8, "subnets")
            && let Some(subnet) = words.get(9)
        {
            let (parent, name) = (Some(name), (*subnet).to_owned());
            let id = Id { whole: whole(10), subscription, group, kind: Kind::Subnet, name, parent };
            return Self::Resource { id, action: words.get(10).map(|word| (*word).to_owned()) };
        }
        let id = Id { whole: whole(8), subscription, group, kind, name, parent: None };
        Self::Resource { id, action: words.get(8).map(|word| (*word).to_owned()) }
    }
}

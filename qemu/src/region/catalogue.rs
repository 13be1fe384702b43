//! What is offered: places, sizes of machines, kinds of disks, and how much of it one may use. Shapes as in Microsoft's
//! published examples; the figures are those of the sizes' documentation, the choice is made so that every refusal can be had.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::http::Response;
use super::place::Kind;
use super::refusal::Refusal;
use super::{Region, deed::Generation};

/// Places that exist.
const LOCATIONS: [(&str, &str); 2] =
    [("westeurope", "West Europe"), ("northeurope", "North Europe")];

/// A size of machines.
#[derive(Debug)]
pub struct Size {
    /// Azure's name of it.
    pub name: &'static str,
    /// The family whose processors are counted together.
    pub family: &'static str,
    /// Processors.
    pub processors: u32,
    /// Memory.
    pub memory_mib: u32,
    /// Data disks that it takes.
    pub data_disks_max: u32,
    /// Network interfaces that it takes.
    pub interfaces_max: u32,
    /// Whether it starts by BIOS.
    pub bios: bool,
    /// Whether it starts by UEFI.
    pub uefi: bool,
    /// Whether it takes premium disks.
    pub premium: bool,
    /// Zones in which it is offered.
    pub zones: &'static [&'static str],
    /// Whether this subscription may have it.
    pub offered: bool,
}

const fn size(
    name: &'static str,
    family: &'static str,
    (processors, memory_gib): (u32, u32),
    (data_disks_max, interfaces_max): (u32, u32),
) -> Size {
    Size {
        name,
        family,
        processors,
        memory_mib: memory_gib * 1024,
        data_disks_max,
        interfaces_max,
        bios: true,
        uefi: true,
        premium: true,
        zones: &["1", "2", "3"],
        offered: true,
    }
}

/// Every size.
pub const SIZES: [Size; 11] = [
    size("Standard_B1ms", "standardBSFamily", (1, 2), (2, 2)),
    size("Standard_B2s", "standardBSFamily", (2, 4), (4, 3)),
    size("Standard_D2s_v5", "standardDSv5Family", (2, 8), (4, 2)),
    size("Standard_D4s_v5", "standardDSv5Family", (4, 16), (8, 2)),
    size("Standard_D8s_v5", "standardDSv5Family", (8, 32), (16, 4)),
    size("Standard_E4s_v5", "standardESv5Family", (4, 32), (8, 2)),
    // Without premium disks.
    Size { premium: false, ..size("Standard_D2_v5", "standardDv5Family", (2, 8), (4, 2)) },
    // In two zones of three.
    Size { zones: &["2", "3"], ..size("Standard_F4s_v2", "standardFSv2Family", (4, 8), (8, 2)) },
    // UEFI alone.
    Size { bios: false, ..size("Standard_DC2s_v3", "standardDCSv3Family", (2, 16), (4, 2)) },
    // BIOS alone.
    Size { uefi: false, ..size("Standard_A2_v2", "standardAv2Family", (2, 4), (4, 2)) },
    // Not for this subscription.
    Size { offered: false, ..size("Standard_M8ms", "standardMSFamily", (8, 219), (8, 4)) },
];

/// Kinds of disks.
pub(crate) const DISK_KINDS: [&str; 7] = [
    "Standard_LRS",
    "StandardSSD_LRS",
    "StandardSSD_ZRS",
    "Premium_LRS",
    "Premium_ZRS",
    "PremiumV2_LRS",
    "UltraSSD_LRS",
];

/// The size of this name.
pub(crate) fn find(name: &str) -> Option<&'static Size> {
    SIZES.iter().find(|size| size.name.eq_ignore_ascii_case(name))
}

impl Size {
    pub(crate) fn starts(&self, generation: Generation) -> bool {
        match generation {
            Generation::V1 => self.bios,
            Generation::V2 => self.uefi,
        }
    }
}

pub(crate) fn is_location(name: &str) -> bool {
    LOCATIONS.iter().any(|(has, _)| has.eq_ignore_ascii_case(name))
}

pub(crate) fn subscription(number: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{number}"), "subscriptionId": number, "state": "Enabled",
        "displayName": "Stand-in", "tenantId": "11111111-1111-1111-1111-111111111111",
    })
}

pub(crate) fn locations(subscription: &str) -> Value {
    let shown = LOCATIONS.map(|(name, words)| {
        json!({
            "id": format!("/subscriptions/{subscription}/locations/{name}"),
            "name": name, "displayName": words, "regionalDisplayName": words,
        })
    });
    json!({ "value": shown })
}

pub(crate) fn provider(subscription: &str, name: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{subscription}/providers/{name}"),
        "namespace": name, "registrationState": "Registered", "resourceTypes": [],
    })
}

/// Sizes and kinds of disks, in one place or in all.
pub(crate) fn skus(filter: Option<&str>) -> Value {
    let wanted = filter.and_then(|filter| filter.split('\'').nth(1)).map(str::to_ascii_lowercase);
    let places = LOCATIONS.iter().map(|(name, _)| *name);
    let places: Vec<&str> =
        places.filter(|name| wanted.as_deref().is_none_or(|wanted| wanted == *name)).collect();
    let mut all = Vec::new();
    for place in places {
        all.extend(SIZES.iter().map(|size| sku(size, place)));
        all.extend(DISK_KINDS.iter().map(|name| {
            let tier = name.split('_').next().unwrap_or_default();
            json!({
                "resourceType": "disks", "name": name, "tier": tier, "locations": [place],
                "locationInfo": [{ "location": place, "zones": ["1", "2", "3"] }],
                "capabilities": [{ "name": "MaxSizeGiB", "value": "32767" }], "restrictions": [],
            })
        }));
    }
    json!({ "value": all })
}

fn sku(size: &Size, place: &str) -> Value {
    let mut generations = Vec::new();
    if size.bios {
        generations.push("V1");
    }
    if size.uefi {
        generations.push("V2");
    }
    let memory = if size.memory_mib.is_multiple_of(1024) {
        (size.memory_mib / 1024).to_string()
    } else {
        format!("{:.1}", f64::from(size.memory_mib) / 1024.0)
    };
    let capability = |name: &str, value: String| json!({ "name": name, "value": value });
    let restrictions = if size.offered {
        json!([])
    } else {
        json!([{
            "type": "Location", "values": [place], "restrictionInfo": { "locations": [place] },
            "reasonCode": "NotAvailableForSubscription",
        }])
    };
    json!({
        "resourceType": "virtualMachines",
        "name": size.name,
        "tier": "Standard",
        "size": size.name.trim_start_matches("Standard_"),
        "family": size.family,
        "locations": [place],
        "locationInfo": [{ "location": place, "zones": size.zones }],
        "capabilities": [
            capability("vCPUs", size.processors.to_string()),
            capability("MemoryGB", memory),
            capability("MaxDataDiskCount", size.data_disks_max.to_string()),
            capability("MaxNetworkInterfaces", size.interfaces_max.to_string()),
            capability("HyperVGenerations", generations.join(",")),
            capability("PremiumIO", if size.premium { "True" } else { "False" }.to_owned()),
            capability("OSVhdSizeMB", "1047552".to_owned()),
            capability("CpuArchitectureType", "x64".to_owned()),
            capability("DiskControllerTypes", "SCSI".to_owned()),
        ],
        "restrictions": restrictions,
    })
}

/// How much may be used, by Azure's names.
#[derive(Debug)]
pub(crate) struct Limits(BTreeMap<String, u64>);

impl Default for Limits {
    fn default() -> Self {
        let mut limits = BTreeMap::new();
        for (name, limit) in [
            ("cores", 100),
            ("virtualMachines", 25_000),
            ("PremiumDiskCount", 50_000),
            ("StandardSSDDiskCount", 50_000),
            ("StandardDiskCount", 50_000),
            ("VirtualNetworks", 1000),
            ("NetworkInterfaces", 65_536),
            ("NetworkSecurityGroups", 5000),
            ("PublicIPAddresses", 1000),
        ] {
            limits.insert(name.to_owned(), limit);
        }
        limits.extend(SIZES.iter().map(|size| (size.family.to_owned(), 50)));
        Self(limits)
    }
}

impl Limits {
    pub(crate) fn set(&mut self, name: &str, limit: u64) {
        self.0.insert(name.to_owned(), limit);
    }

    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

impl Region {
    /// How much of something is used.
    pub(crate) fn used(&self, name: &str) -> u64 {
        let count = |kind: Kind| {
            let found = self.resources.values().filter(|resource| resource.id.kind == kind).count();
            u64::try_from(found).unwrap_or(u64::MAX)
        };
        let disks = |begin: &str| {
            let found = self.resources.values().filter(|resource| {
                resource.id.kind == Kind::Disk
                    && resource.word("/sku/name").unwrap_or("Standard_LRS").starts_with(begin)
            });
            u64::try_from(found.count()).unwrap_or(u64::MAX)
        };
        match name {
            "virtualMachines" => count(Kind::Machine),
            "VirtualNetworks" => count(Kind::Network),
            "NetworkInterfaces" => count(Kind::Interface),
            "NetworkSecurityGroups" => count(Kind::SecurityGroup),
            "PublicIPAddresses" => count(Kind::PublicAddress),
            "PremiumDiskCount" => disks("Premium_"),
            "StandardSSDDiskCount" => disks("StandardSSD_"),
            "StandardDiskCount" => disks("Standard_"),
            // Deallocated machines use none.
            _ => {
                let machines = self.resources.values().filter_map(|resource| resource.machine());
                let running = machines.filter(|machine| machine.uses_processors());
                let sizes = running.filter_map(|machine| find(&machine.size));
                let counted = sizes.filter(|size| name == "cores" || size.family == name);
                counted.map(|size| u64::from(size.processors)).sum()
            }
        }
    }

    pub(crate) fn usages(
        &self,
        subscription: &str,
        provider: &str,
        location: &str,
    ) -> Result<Response, Refusal> {
        if !is_location(location) {
            let words = format!("The provided location '{location}' is not available.");
            return Err(Refusal::new(400, "NoRegisteredProviderFound", words));
        }
        let of_network =
            ["VirtualNetworks", "NetworkInterfaces", "NetworkSecurityGroups", "PublicIPAddresses"];
        let network = provider.eq_ignore_ascii_case("Microsoft.Network");
        let mut value = Vec::new();
        for (name, limit) in &self.limits.0 {
            if of_network.contains(&name.as_str()) != network {
                continue;
            }
            let mut usage = json!({
                "unit": "Count", "currentValue": self.used(name), "limit": limit,
                "name": { "value": name, "localizedValue": name },
            });
            if network {
                let id = format!(
                    "/subscriptions/{subscription}/providers/Microsoft.Network/locations/{location}/usages/{name}"
                );
                super::resource::set(&mut usage, "id", json!(id));
            }
            value.push(usage);
        }
        Ok(Response::json(200, &json!({ "value": value })))
    }

    /// Refuses what would use more than may be used.
    pub(crate) fn within_limit(&self, name: &str, more: u64) -> Result<(), Refusal> {
        let (used, limit) = (self.used(name), self.limits.of(name));
        if used.saturating_add(more) <= limit {
            return Ok(());
        }
        let words = format!(
            "Operation could not be completed as it results in exceeding approved {name} quota. Additional details - \
             Deployment Model: Resource Manager, Location: westeurope, Current Limit: {limit}, Current Usage: {used}, \
             Additional Required: {more}, (Minimum) New Limit Required: {}.",
            used.saturating_add(more)
        );
        let code = if name == "cores" || name.ends_with("Family") {
            "OperationNotAllowed"
        } else {
            "QuotaExceeded"
        };
        Err(Refusal::new(409, code, words))
    }
}

//! Sizes of machines: which are offered where, what they can carry, and what is left of a quota.

use pipeline_vault::Error;
use serde_json::Value;

use super::Call;
use super::action::Action;
use super::group::items;
use super::id::{Kind, check_location, check_subscription};
use crate::request::Method;

/// The version that calls about sizes are written for.
const API_VERSION: &str = "2021-07-01";

/// Lists what is offered in a region.
pub fn offered(subscription: &str, location: &str) -> Result<Call, Error> {
    check_subscription(subscription)?;
    check_location(location)?;
    let path = format!("/subscriptions/{subscription}/providers/Microsoft.Compute/skus");
    let act = format!("listing the sizes of region «{location}»");
    let call = Call::new(Method::Get, path, API_VERSION, &[Action::SizesRead], act);
    Ok(call.with_query("$filter", format!("location eq '{location}'")))
}

/// Lists what is used of each quota in a region.
pub fn used(subscription: &str, location: &str) -> Result<Call, Error> {
    check_subscription(subscription)?;
    check_location(location)?;
    let path = format!(
        "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/usages"
    );
    let act = format!("listing the quotas of region «{location}»");
    Ok(Call::new(Method::Get, path, Kind::Machine.api_version(), &[Action::UsagesRead], act))
}

/// One size of machines, as offered in one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Its name: `Standard_D4s_v5`.
    pub name: String,
    /// The family whose quota it uses.
    pub family: String,
    /// Processors.
    pub cores: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Disks besides the OS disk.
    pub data_disks_max: u32,
    /// Network interfaces.
    pub interfaces_max: u32,
    /// Whether machines of generation 1, and of generation 2, can have it.
    pub generations: [bool; 2],
    /// Whether it takes premium disks.
    pub premium: bool,
    /// Whether it takes Trusted Launch.
    pub trusted_launch: bool,
    /// Whether it takes accelerated networking.
    pub accelerated: bool,
    /// Whether its disks are NVMe only, which needs that driver in the guest.
    pub nvme_only: bool,
    /// Zones that have it.
    pub zones: Vec<String>,
    /// Zones that have it, but not for this subscription.
    pub closed_zones: Vec<String>,
    /// Why this subscription cannot have it at all in the region: Azure's reason.
    pub closed: Option<String>,
}

impl Size {
    /// Why a machine in that zone cannot have this size; `None` where it can.
    pub fn refuses(&self, zone: Option<&str>) -> Option<String> {
        if let Some(reason) = &self.closed {
            return Some(format!("{} is closed to this subscription ({reason})", self.name));
        }
        let zone = zone?;
        if self.closed_zones.iter().any(|closed| closed == zone) {
            return Some(format!("{} is closed to this subscription in zone {zone}", self.name));
        }
        if !self.zones.iter().any(|has| has == zone) {
            return Some(format!("{} is not offered in zone {zone}", self.name));
        }
        None
    }
}

/// The sizes that `offered` was answered with; whatever else is offered is left out.
pub fn sizes(answer: &Value, location: &str) -> Vec<Size> {
    let machines = items(answer)
        .filter(|item| item.get("resourceType").and_then(Value::as_str) == Some("virtualMachines"));
    machines.filter_map(|item| size(item, location)).collect()
}

fn size(item: &Value, location: &str) -> Option<Size> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_here =
        |place: &Value| place.as_str().is_some_and(|has| has.eq_ignore_ascii_case(location));
    let locations = item.get("locations").and_then(Value::as_array);
    if !locations.is_some_and(|locations| locations.iter().any(is_here)) {
        return None;
    }
    let infos = item.get("locationInfo").and_then(Value::as_array).into_iter().flatten();
    let zones = infos
        .filter(|info| info.get("location").is_some_and(is_here))
        .flat_map(|info| strings(info.get("zones")))
        .collect();
    let can = |name: &str| capability(item, name);
    let yes = |name: &str| can(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    // Sizes that say nothing of it are older than generation 2.
    let generations = can("HyperVGenerations").unwrap_or("V1");
    let controllers = can("DiskControllerTypes").unwrap_or("SCSI");
    let mut size = Size {
        name: text("name"),
        family: text("family"),
        cores: can("vCPUs").and_then(|value| value.parse().ok()).unwrap_or(0),
        memory_mib: can("MemoryGB").and_then(mebibytes).unwrap_or(0),
        data_disks_max: can("MaxDataDiskCount").and_then(|value| value.parse().ok()).unwrap_or(0),
        interfaces_max: can("MaxNetworkInterfaces")
            .and_then(|value| value.parse().ok())
            .unwrap_or(1),
        generations: ["V1", "V2"].map(|name| generations.split(',').any(|has| has.trim() == name)),
        premium: yes("PremiumIO"),
        trusted_launch: generations.contains("V2") && !yes("TrustedLaunchDisabled"),
        accelerated: yes("AcceleratedNetworkingEnabled"),
        nvme_only: !controllers.to_ascii_uppercase().contains("SCSI"),
        zones,
        closed_zones: Vec::new(),
        closed: None,
    };
    restrict(&mut size, item);
    Some(size)
}

fn restrict(size: &mut Size, item: &Value) {
    let restrictions = item.get("restrictions").and_then(Value::as_array).into_iter().flatten();
    for restriction in restrictions {
        let reason = restriction.get("reasonCode").and_then(Value::as_str).unwrap_or("restricted");
        match restriction.get("type").and_then(Value::as_str) {
            Some("Zone") => {
                size.closed_zones.extend(strings(restriction.pointer("/restrictionInfo/zones")));
            }
            _ => size.closed = Some(reason.to_owned()),
        }
    }
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
}

fn capability<'a>(item: &'a Value, name: &str) -> Option<&'a str> {
    let all = item.get("capabilities").and_then(Value::as_array)?;
    let found = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name))?;
    found.get("value")?.as_str()
}

/// «3.5» GiB in MiB, without floating point.
fn mebibytes(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits: String = part.chars().chain("000".chars()).take(3).collect();
    let thousandths: u64 = digits.parse().ok()?;
    Some(whole.parse::<u64>().ok()?.checked_mul(1024)? + thousandths * 1024 / 1000)
}

/// What is used of one quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its name at Azure: a family, or `cores` for all families together.
    pub name: String,
    /// The same for a person.
    pub shown: String,
    /// How much of it is used.
    pub used: u64,
    /// How much there is.
    pub limit: u64,
}

impl Usage {
    /// How much is left.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// What `used` was answered with.
pub fn usages(answer: &Value) -> Vec<Usage> {
    items(answer)
        .filter_map(|item| {
            let name = item.pointer("/name/value")?.as_str()?.to_owned();
            let shown = item.pointer("/name/localizedValue").and_then(Value::as_str);
            Some(Usage {
                shown: shown.unwrap_or(&name).to_owned(),
                name,
                used: item.get("currentValue")?.as_u64()?,
                limit: item.get("limit")?.as_u64()?,
            })
        })
        .collect()
}

/// Why so many cores of a family are not left: family or region; `None` where they are.
pub fn missing_cores(usages: &[Usage], family: &str, cores: u32) -> Option<String> {
    for name in [family, "cores"] {
        let usage = usages.iter().find(|usage| usage.name.eq_ignore_ascii_case(name));
        if let Some(usage) = usage.filter(|usage| usage.left() < u64::from(cores)) {
            return Some(format!(
                "{}: {cores} needed, {} of {} left, {} missing; ask for more under «Quotas» in Azure's portal",
                usage.shown,
                usage.left(),
                usage.limit,
                u64::from(cores) - usage.left()
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        let capability = |name: &str, value: &str| json!({"name": name, "value": value});
        json!({"value": [
            {"resourceType": "disks", "name": "Premium_LRS", "locations": ["westeurope"]},
            {
                "resourceType": "virtualMachines", "name": "Standard_D2s_v5",
                "family": "standardDSv5Family", "locations": ["westeurope"],
                "locationInfo": [{"location": "WestEurope", "zones": ["1", "2", "3"]}],
                "capabilities": [
                    capability("vCPUs", "2"), capability("MemoryGB", "3.5"),
                    capability("MaxDataDiskCount", "4"), capability("HyperVGenerations", "V1,V2"),
                    capability("PremiumIO", "True"), capability("DiskControllerTypes", "NVMe"),
                ],
                "restrictions": [{
                    "type": "Zone", "values": ["westeurope"], "reasonCode": "NotAvailableForSubscription",
                    "restrictionInfo": {"locations": ["westeurope"], "zones": ["3"]},
                }],
            },
            {
                "resourceType": "virtualMachines", "name": "Standard_M64", "locations": ["westeurope"],
                "restrictions": [{"type": "Location", "reasonCode": "QuotaId"}],
            },
            {"resourceType": "virtualMachines", "name": "Elsewhere", "locations": ["eastus"]},
        ]})
    }

    #[test]
    fn sizes_say_what_they_carry_and_where_they_are() {
        let sizes = sizes(&answer(), "westeurope");
        let [small, large] = sizes.as_slice() else { panic!("{sizes:?}") };
        assert_eq!((small.cores, small.memory_mib, small.data_disks_max), (2, 3584, 4));
        assert!(small.generations == [true, true] && small.premium && small.nvme_only);
        assert_eq!(small.refuses(Some("1")), None);
        assert_eq!(small.refuses(None), None);
        assert!(small.refuses(Some("3")).unwrap().contains("closed"));
        assert!(small.refuses(Some("4")).unwrap().contains("not offered"));
        assert!(large.generations == [true, false] && !large.nvme_only);
        assert!(large.refuses(None).unwrap().contains("QuotaId"));
    }

    #[test]
    fn cores_that_are_missing_are_counted() {
        let usage = |name: &str, used: u64, limit: u64| {
            json!({"unit": "Count", "currentValue": used, "limit": limit,
                   "name": {"value": name, "localizedValue": format!("Shown {name}")}})
        };
        let usages = usages(
            &json!({"value": [usage("cores", 90, 100), usage("standardDSv5Family", 4, 10), {}]}),
        );
        assert_eq!(missing_cores(&usages, "StandardDSv5Family", 6), None);
        let family = missing_cores(&usages, "standardDSv5Family", 8).unwrap();
        assert!(
            family.contains("Shown standardDSv5Family") && family.contains("2 missing"),
            "{family}"
        );
        assert!(missing_cores(&usages, "unknown", 11).unwrap().contains("Shown cores"));
    }
}

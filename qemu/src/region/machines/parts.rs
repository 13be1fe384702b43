//! What a machine may be made of: everything that Azure refuses before it begins.

use serde_json::{Value, json};

use crate::region::Region;
use crate::region::catalogue::{self, Size};
use crate::region::place::{Id, Kind};
use crate::region::refusal::Refusal;
use crate::region::resource::{
    Disk, DiskState, Machine, Power, Provisioning, Resource, list, word,
};

/// The largest disk that a machine starts from.
const BOOT_DISK_BYTES_MAX: u64 = 4095 << 30;
/// Numbers of data disks.
const LUNS: u64 = 64;

impl Region {
    /// Its parts, or why there can be no such machine.
    pub(super) fn parts(&self, id: &Id, body: &Value) -> Result<Machine, Refusal> {
        if id.name.len() > 64 {
            return Err(Refusal::invalid(format!(
                "The VM name '{}' is longer than 64 characters.",
                id.name
            )));
        }
        let size = self.offered(body)?;
        if body.pointer("/properties/osProfile").is_some() {
            return Err(Refusal::invalid("Parameter 'osProfile' is not allowed."));
        }
        let (boot_disk, mut takes_along) = self.boot_disk(id, body, size)?;
        let data_disks = self.data_disks(id, body, size, &boot_disk, &mut takes_along)?;
        let interfaces = self.interfaces(id, body, size, &mut takes_along)?;
        Ok(Machine {
            power: Power::Starting,
            size: size.name.to_owned(),
            boot_disk,
            data_disks,
            interfaces,
            takes_along,
        })
    }

    /// The size, where it is offered.
    fn offered(&self, body: &Value) -> Result<&'static Size, Refusal> {
        let name = word(body, "/properties/hardwareProfile/vmSize").unwrap_or_default();
        let Some(size) = catalogue::find(name) else {
            let known: Vec<&str> = catalogue::SIZES.iter().map(|size| size.name).collect();
            return Err(Refusal::invalid(format!(
                "The value {name} provided for the VM size is not valid. The valid sizes in the current region are: {}.",
                known.join(",")
            )));
        };
        let zones: Vec<&str> = list(body, "/zones").iter().filter_map(Value::as_str).collect();
        if zones.len() > 1 {
            return Err(Refusal::invalid("A virtual machine is in one zone at most."));
        }
        let missing = zones.iter().find(|zone| !size.zones.contains(zone));
        if !size.offered || missing.is_some() {
            let location = word(body, "/location").unwrap_or_default();
            let place = missing.map_or_else(String::new, |zone| format!(" zone '{zone}'"));
            return Err(Refusal::new(
                409,
                "SkuNotAvailable",
                format!(
                    "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: {}' is currently \
                 not available in location '{location}'{place}. Please try another size or deploy to a different location \
                 or different zone. See https://aka.ms/azureskunotavailable for details.",
                    size.name
                ),
            ));
        }
        Ok(size)
    }

    /// The disk that it starts from, and what goes with the machine.
    fn boot_disk(
        &self,
        id: &Id,
        body: &Value,
        size: &Size,
    ) -> Result<(String, Vec<String>), Refusal> {
        let Some(asked) = body.pointer("/properties/storageProfile/osDisk") else {
            return Err(Refusal::invalid(
                "Required parameter 'storageProfile.osDisk' is missing (null).",
            ));
        };
        if word(asked, "/osType").is_none_or(|kind| !["Linux", "Windows"].contains(&kind)) {
            return Err(Refusal::invalid("Required parameter 'osDisk.osType' is missing (null)."));
        }
        let (key, resource, disk) = self.attachable(id, body, asked, "osDisk", size)?;
        if !size.starts(disk.generation) {
            let number = disk.generation.word().trim_start_matches('V');
            return Err(Refusal::new(
                400,
                "BadRequest",
                format!(
                    "The selected VM size '{}' cannot boot Hypervisor Generation '{number}'. If this was a Create operation please \
                 check that the Hypervisor Generation of the Image matches the Hypervisor Generation of the selected VM Size.",
                    size.name
                ),
            ));
        }
        if disk.bytes > BOOT_DISK_BYTES_MAX {
            return Err(Refusal::invalid(format!(
                "Disk {} of {} GiB is larger than the 4095 GiB that an OS disk may have.",
                resource.name(),
                disk.bytes >> 30
            )));
        }
        if ["PremiumV2_LRS", "UltraSSD_LRS"]
            .contains(&resource.word("/sku/name").unwrap_or_default())
        {
            return Err(Refusal::invalid(format!(
                "Disk {} of this kind cannot be an OS disk.",
                resource.name()
            )));
        }
        let wanted = word(body, "/properties/securityProfile/securityType").unwrap_or("Standard");
        let has = resource.word("/properties/securityProfile/securityType").unwrap_or("Standard");
        if wanted != has {
            return Err(Refusal::new(
                400,
                "BadRequest",
                format!(
                    "The security type '{wanted}' of the virtual machine does not match the security type '{has}' of disk {}.",
                    resource.name()
                ),
            ));
        }
        let along = deleted_with(asked).then(|| key.clone());
        Ok((key, along.into_iter().collect()))
    }

    fn data_disks(
        &self,
        id: &Id,
        body: &Value,
        size: &Size,
        boot_disk: &str,
        takes_along: &mut Vec<String>,
    ) -> Result<Vec<(u32, String)>, Refusal> {
        let asked = list(body, "/properties/storageProfile/dataDisks");
        if asked.len() > usize::try_from(size.data_disks_max).unwrap_or(0) {
            return Err(Refusal::not_allowed(format!(
                "The maximum number of data disks allowed to be attached to a VM of this size is {}.",
                size.data_disks_max
            )));
        }
        let mut found: Vec<(u32, String)> = Vec::new();
        for disk in asked {
            let lun = disk.get("lun").and_then(Value::as_u64).filter(|lun| *lun < LUNS);
            let Some(lun) = lun.and_then(|lun| u32::try_from(lun).ok()) else {
                return Err(Refusal::invalid(
                    "The value of parameter 'dataDisk.lun' is invalid: 0 to 63.",
                ));
            };
            if found.iter().any(|(taken, _)| *taken == lun) {
                return Err(Refusal::invalid(format!(
                    "Cannot attach two data disks at LUN {lun}."
                )));
            }
            let (key, _, _) = self.attachable(id, body, disk, "dataDisk", size)?;
            if key == boot_disk || found.iter().any(|(_, taken)| *taken == key) {
                return Err(Refusal::new(
                    409,
                    "ConflictingUserInput",
                    format!("Disk {key} is named twice."),
                ));
            }
            if deleted_with(disk) {
                takes_along.push(key.clone());
            }
            found.push((lun, key));
        }
        found.sort();
        Ok(found)
    }

    /// A disk that this machine can be given.
    fn attachable(
        &self,
        id: &Id,
        body: &Value,
        asked: &Value,
        parameter: &str,
        size: &Size,
    ) -> Result<(String, &Resource, &Disk), Refusal> {
        if word(asked, "/createOption") != Some("Attach") {
            let words =
                format!("This stand-in has no images: '{parameter}.createOption' must be Attach.");
            return Err(Refusal::invalid(words));
        }
        let named = word(asked, "/managedDisk/id").unwrap_or_default();
        let disk_id = Id::parse(named).filter(|id| id.kind == Kind::Disk);
        let found = disk_id.and_then(|id| self.resources.get(&id.key()));
        let missing = || Refusal::new(404, "NotFound", format!("Disk {named} is not found."));
        let resource = found.ok_or_else(missing)?;
        let disk = resource.disk().ok_or_else(missing)?;
        free_for(id, resource, disk)?;
        let name = resource.name();
        let location = word(body, "/location").unwrap_or_default();
        if !resource.location.eq_ignore_ascii_case(location) {
            return Err(Refusal::new(
                400,
                "BadRequest",
                format!(
                    "Disk {name} is in location {} and the virtual machine in {location}.",
                    resource.location
                ),
            ));
        }
        let zones = |value: &Value| value.get("zones").cloned().unwrap_or_else(|| json!([]));
        let redundant = resource.word("/sku/name").is_some_and(|kind| kind.ends_with("_ZRS"));
        if !redundant && zones(&resource.body) != zones(body) {
            return Err(Refusal::new(
                400,
                "BadRequest",
                format!(
                    "Virtual machine {} and disk {name} are in different availability zones: {} and {}.",
                    id.name,
                    zones(body),
                    zones(&resource.body)
                ),
            ));
        }
        let premium = resource.word("/sku/name").is_some_and(|kind| kind.starts_with("Premium"));
        if premium && !size.premium {
            return Err(Refusal::invalid(format!(
                "Requested operation cannot be performed because the VM size {} does not support the storage account type \
                 Premium_LRS of disk '{name}'. Consider updating the VM to a size that supports Premium storage.",
                size.name
            )));
        }
        Ok((resource.id.key(), resource, disk))
    }

    fn interfaces(
        &self,
        id: &Id,
        body: &Value,
        size: &Size,
        takes_along: &mut Vec<String>,
    ) -> Result<Vec<String>, Refusal> {
        let asked = list(body, "/properties/networkProfile/networkInterfaces");
        if asked.is_empty() {
            return Err(Refusal::invalid("Required parameter 'networkProfile' is missing (null)."));
        }
        if asked.len() > usize::try_from(size.interfaces_max).unwrap_or(0) {
            let words = format!(
                "A VM of size {} has at most {} interfaces.",
                size.name, size.interfaces_max
            );
            return Err(Refusal::new(400, "NetworkInterfaceCountExceeded", words));
        }
        let mut found: Vec<String> = Vec::new();
        let mut networks: Vec<String> = Vec::new();
        for one in asked {
            let named = word(one, "/id").unwrap_or_default();
            let interface_id = self.referenced(named, Kind::Interface, &id.whole)?;
            self.may_join("Microsoft.Network/networkInterfaces/join/action", &interface_id)?;
            let resource = self.found(&interface_id)?;
            let Some(interface) = resource.interface() else { continue };
            if let Some(owner) = interface.owner.as_ref().filter(|owner| **owner != id.key()) {
                return Err(Refusal::new(
                    400,
                    "NicInUse",
                    format!("Network Interface {named} is used by existing resource {owner}."),
                ));
            }
            if found.contains(&interface_id.key()) {
                return Err(Refusal::invalid(format!("Network interface {named} is named twice.")));
            }
            let location = word(body, "/location").unwrap_or_default();
            if !resource.location.eq_ignore_ascii_case(location) {
                return Err(Refusal::dangling(named, &id.whole));
            }
            let subnets = interface
                .addresses
                .iter()
                .filter_map(|(_, subnet)| subnet.split("/subnets/").next());
            networks.extend(subnets.map(str::to_owned));
            if word(one, "/properties/deleteOption") == Some("Delete") {
                takes_along.push(interface_id.key());
            }
            found.push(interface_id.key());
        }
        networks.dedup();
        if networks.len() > 1 {
            let words = "All interfaces of a virtual machine must be in one virtual network.";
            return Err(Refusal::new(400, "SubnetsNotInSameVnet", words));
        }
        Ok(found)
    }
}

/// Whether a disk is in a state in which this machine can have it.
fn free_for(id: &Id, resource: &Resource, disk: &Disk) -> Result<(), Refusal> {
    let name = resource.name();
    if let Some(owner) = disk.owner.as_ref().filter(|owner| **owner != id.key()) {
        return Err(Refusal::new(
            409,
            "ConflictingUserInput",
            format!(
                "Disk '{name}' cannot be attached as the disk is already owned by VM '{owner}'."
            ),
        ));
    }
    match (resource.state, disk.state) {
        (_, DiskState::ActiveUpload | DiskState::ReadyToUpload) => {
            return Err(Refusal::not_allowed(format!(
                "Disk '{name}' cannot be attached because it is in the state {}. Call EndGetAccess first.",
                disk.state.word()
            )));
        }
        (_, DiskState::ActiveSas) => {
            return Err(Refusal::not_allowed(format!(
                "There is an active shared access signature outstanding for disk {name}. Call EndGetAccess before \
                 attaching or deleting the disk."
            )));
        }
        (Provisioning::Succeeded, _) => (),
        (state, _) => {
            return Err(Refusal::not_allowed(format!(
                "Disk '{name}' cannot be attached: its provisioning state is {}.",
                state.word()
            )));
        }
    }
    Ok(())
}

fn deleted_with(disk: &Value) -> bool {
    word(disk, "/deleteOption") == Some("Delete")
}

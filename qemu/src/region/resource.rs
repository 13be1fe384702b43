//! What exists: groups and resources, as they were asked for and as they are.

use serde_json::{Map, Value, json};

use super::address::Address;
use super::deed::Generation;
use super::place::{Id, Kind};

/// A resource group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) location: String,
    pub(crate) tags: Value,
    pub(crate) deleting: bool,
}

/// How far a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provisioning {
    Creating,
    Updating,
    Deleting,
    Succeeded,
    Failed,
}

impl Provisioning {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A resource.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) id: Id,
    pub(crate) location: String,
    /// Everything but location, name and state, as it was asked for.
    pub(crate) body: Value,
    pub(crate) state: Provisioning,
    pub(crate) facts: Facts,
    pub(crate) version: u64,
    pub(crate) created_ms: u64,
}

/// What a resource is, beyond what was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Facts {
    None,
    Disk(Disk),
    Machine(Machine),
    Interface(Interface),
    Public(Address),
}

/// A managed disk or snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// What lies behind it in the storage.
    pub(crate) blob: String,
    /// Its size as a machine sees it.
    pub(crate) bytes: u64,
    pub(crate) state: DiskState,
    pub(crate) generation: Generation,
    /// The machine that it is attached to.
    pub(crate) owner: Option<String>,
}

/// States of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskState {
    Unattached,
    Attached,
    Reserved,
    ReadyToUpload,
    ActiveUpload,
    /// Read by an address given out; also of an attached disk whose machine is deallocated.
    ActiveSas,
}

impl DiskState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unattached => "Unattached",
            Self::Attached => "Attached",
            Self::Reserved => "Reserved",
            Self::ReadyToUpload => "ReadyToUpload",
            Self::ActiveUpload => "ActiveUpload",
            Self::ActiveSas => "ActiveSAS",
        }
    }
}

/// Whether a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    Starting,
    Running,
    Stopped,
    Deallocated,
}

impl Power {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Deallocated => "deallocated",
        }
    }
}

/// A virtual machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) power: Power,
    pub(crate) size: String,
    pub(crate) boot_disk: String,
    /// Data disks with their numbers.
    pub(crate) data_disks: Vec<(u32, String)>,
    pub(crate) interfaces: Vec<String>,
    /// What goes when it goes.
    pub(crate) takes_along: Vec<String>,
}

/// A network interface.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    /// Each with the key of its subnet, in the order of its configurations.
    pub(crate) addresses: Vec<(Address, String)>,
    pub(crate) mac: [u8; 6],
    pub(crate) owner: Option<String>,
}

impl Resource {
    pub(crate) fn name(&self) -> &str {
        &self.id.name
    }

    pub(crate) fn tags(&self) -> &Value {
        self.body.get("tags").unwrap_or(&Value::Null)
    }

    pub(crate) fn disk(&self) -> Option<&Disk> {
        match &self.facts {
            Facts::Disk(disk) => Some(disk),
            _ => None,
        }
    }

    pub(crate) fn disk_mut(&mut self) -> Option<&mut Disk> {
        match &mut self.facts {
            Facts::Disk(disk) => Some(disk),
            _ => None,
        }
    }

    pub(crate) fn machine(&self) -> Option<&Machine> {
        match &self.facts {
            Facts::Machine(machine) => Some(machine),
            _ => None,
        }
    }

    pub(crate) fn machine_mut(&mut self) -> Option<&mut Machine> {
        match &mut self.facts {
            Facts::Machine(machine) => Some(machine),
            _ => None,
        }
    }

    pub(crate) fn interface(&self) -> Option<&Interface> {
        match &self.facts {
            Facts::Interface(interface) => Some(interface),
            _ => None,
        }
    }

    pub(crate) fn interface_mut(&mut self) -> Option<&mut Interface> {
        match &mut self.facts {
            Facts::Interface(interface) => Some(interface),
            _ => None,
        }
    }

    /// A word of what was asked for.
    pub(crate) fn word(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer).and_then(Value::as_str)
    }

    /// As Azure shows it, without what only its kind knows.
    pub(crate) fn common(&self) -> Value {
        let mut shown = self.body.clone();
        set(&mut shown, "id", json!(self.id.whole));
        set(&mut shown, "name", json!(self.id.name));
        set(&mut shown, "etag", json!(format!("W/\"{:08x}\"", self.version)));
        if self.id.kind != Kind::Subnet {
            set(&mut shown, "type", json!(self.id.kind.name()));
            set(&mut shown, "location", json!(self.location));
        }
        set(properties(&mut shown), "provisioningState", json!(self.state.word()));
        shown
    }
}

/// Sets a member; nothing happens where the value is no object.
pub(crate) fn set(value: &mut Value, name: &str, member: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(name.to_owned(), member);
    }
}

/// The member `properties`, made where it is missing.
pub(crate) fn properties(value: &mut Value) -> &mut Value {
    member(value, "properties")
}

/// A member that is an object, made where it is missing.
pub(crate) fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(object) => {
            let member = object.entry(name).or_insert_with(|| json!({}));
            if !member.is_object() {
                *member = json!({});
            }
            member
        }
        // It was made an object above.
        other => other,
    }
}

/// The members of a list.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A word.
pub(crate) fn word<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

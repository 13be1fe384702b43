//! Virtual machines: made of disks that are there already, started, stopped, looked at.
//!
//! The OS disk is a copy of a real server's, so no provisioning is asked for: nothing waits for an agent in the guest.

use pipeline_vault::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Call;
use super::action::Action;
use super::disk::{Generation, System};
use super::id::{Kind, ResourceId, check_location, check_zone};
use super::tags::Tags;
use crate::request::Method;
use crate::secret::Secret;

/// Longest that a link to a console log is asked to hold, in minutes.
const LINK_MINUTES: &str = "120";

/// What becomes of something when its machine is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterDelete {
    /// It stays.
    Detach,
    /// It goes too.
    Delete,
}

impl AfterDelete {
    fn name(self) -> &'static str {
        match self {
            Self::Detach => "Detach",
            Self::Delete => "Delete",
        }
    }
}

/// A machine to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMachine {
    /// Azure's region.
    pub location: String,
    /// The zone, where its disks are in one.
    pub zone: Option<String>,
    /// Its size: `Standard_D4s_v5`.
    pub size: String,
    /// What its OS disk holds and how that starts.
    pub system: (System, Generation),
    /// Its OS disk.
    pub os_disk: ResourceId,
    /// Its other disks; each one's number is its place here.
    pub data_disks: Vec<ResourceId>,
    /// Its interfaces, the first of them the primary.
    pub interfaces: Vec<ResourceId>,
    /// Whether it starts with Trusted Launch; the OS disk must be made for that.
    pub trusted_launch: bool,
    /// Whether only signed loaders start; with Trusted Launch.
    pub secure_boot: bool,
    /// A licence that one brings: `Windows_Server`, `RHEL_BYOS`, `SLES_BYOS`.
    pub licence: Option<String>,
    /// What becomes of its disks and interfaces when it is deleted.
    pub after_delete: AfterDelete,
    /// Its tags.
    pub tags: Tags,
}

impl NewMachine {
    fn check(&self, machine: &ResourceId) -> Result<(), Error> {
        machine.expect(Kind::Machine)?;
        check_location(&self.location)?;
        for disk in self.data_disks.iter().chain([&self.os_disk]) {
            disk.expect(Kind::Disk)?;
        }
        for interface in &self.interfaces {
            interface.expect(Kind::Interface)?;
        }
        let bad = |what: &str| Err(Error::misuse(machine.shown(), what.to_owned()));
        if self.interfaces.is_empty() {
            return bad("has no network interface, and Azure makes no machine without one");
        }
        let size = self.size.as_str();
        if size.is_empty()
            || !size.chars().all(|char| char.is_ascii_alphanumeric() || "_-".contains(char))
        {
            return bad("has no size that Azure could know");
        }
        if self.trusted_launch && self.system.1 == Generation::V1 {
            return bad("starts by BIOS, and Trusted Launch needs UEFI");
        }
        if self.secure_boot && !self.trusted_launch {
            return bad("is to start signed loaders only, which needs Trusted Launch");
        }
        Ok(())
    }

    fn storage(&self) -> Value {
        let after = self.after_delete.name();
        let data: Vec<Value> = self
            .data_disks
            .iter()
            .enumerate()
            .map(|(lun, disk)| {
                json!({
                    "lun": lun,
                    "createOption": "Attach",
                    "managedDisk": {"id": disk.path()},
                    "deleteOption": after,
                })
            })
            .collect();
        json!({
            "osDisk": {
                "createOption": "Attach",
                "osType": self.system.0.name(),
                "managedDisk": {"id": self.os_disk.path()},
                "deleteOption": after,
            },
            "dataDisks": data,
        })
    }

    fn interfaces(&self) -> Vec<Value> {
        let after = self.after_delete.name();
        self.interfaces
            .iter()
            .enumerate()
            .map(|(at, interface)| {
                let properties = json!({"primary": at == 0, "deleteOption": after});
                json!({"id": interface.path(), "properties": properties})
            })
            .collect()
    }
}

/// Makes a machine; Azure starts it.
pub fn create(machine: &ResourceId, new: &NewMachine) -> Result<Call, Error> {
    new.check(machine)?;
    let mut properties = json!({
        "hardwareProfile": {"vmSize": new.size},
        "storageProfile": new.storage(),
        "networkProfile": {"networkInterfaces": new.interfaces()},
        // Without an account of one's own, Azure keeps the console log itself.
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": true}},
    });
    if new.trusted_launch {
        properties["securityProfile"] = json!({
            "securityType": "TrustedLaunch",
            "uefiSettings": {"secureBootEnabled": new.secure_boot, "vTpmEnabled": true},
        });
    }
    if let Some(licence) = &new.licence {
        properties["licenseType"] = json!(licence);
    }
    let mut body = json!({
        "location": new.location,
        "tags": new.tags.to_json(),
        "properties": properties,
    });
    if let Some(zone) = &new.zone {
        check_zone(zone)?;
        body["zones"] = json!([zone]);
    }
    let act = format!("creating {}", machine.shown());
    let actions = &[Action::MachineWrite, Action::DiskWrite, Action::InterfaceJoin];
    let version = Kind::Machine.api_version();
    Ok(Call::new(Method::Put, machine.path(), version, actions, act).with_body(body))
}

/// Looks at how a machine runs.
pub fn look(machine: &ResourceId) -> Result<Call, Error> {
    let act = "looking at how it runs:";
    about(machine, Method::Get, "instanceView", &[Action::MachineView], act)
}

/// Turns a machine on.
pub fn start(machine: &ResourceId) -> Result<Call, Error> {
    about(machine, Method::Post, "start", &[Action::MachineStart], "starting")
}

/// Turns a machine off at once; it still costs.
pub fn power_off(machine: &ResourceId) -> Result<Call, Error> {
    let call = about(machine, Method::Post, "powerOff", &[Action::MachinePowerOff], "stopping")?;
    Ok(call.with_query("skipShutdown", "true"))
}

/// Lets a machine shut down by itself, then turns it off; it still costs.
pub fn shut_down(machine: &ResourceId) -> Result<Call, Error> {
    let act = "shutting down";
    let call = about(machine, Method::Post, "powerOff", &[Action::MachinePowerOff], act)?;
    Ok(call.with_query("skipShutdown", "false"))
}

/// Turns a machine off and gives its processors back: only its disks cost from then on.
pub fn deallocate(machine: &ResourceId) -> Result<Call, Error> {
    let act = "deallocating";
    about(machine, Method::Post, "deallocate", &[Action::MachineDeallocate], act)
}

/// Asks for links to a machine's console log and screenshot.
pub fn console(machine: &ResourceId) -> Result<Call, Error> {
    let actions = &[Action::MachineConsole];
    let act = "asking for the console of";
    let call = about(machine, Method::Post, "retrieveBootDiagnosticsData", actions, act)?;
    Ok(call.with_query("sasUriExpirationTimeInMinutes", LINK_MINUTES))
}

fn about(
    machine: &ResourceId,
    method: Method,
    what: &str,
    actions: &'static [Action],
    act: &str,
) -> Result<Call, Error> {
    machine.expect(Kind::Machine)?;
    let path = format!("{}/{what}", machine.path());
    let act = format!("{act} {}", machine.shown());
    Ok(Call::new(method, path, Kind::Machine.api_version(), actions, act))
}

/// Links to what a machine's console shows; whole URLs, not to be taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Console {
    /// The log of its serial console.
    pub log: Option<Secret>,
    /// A picture of its screen.
    pub screenshot: Option<Secret>,
}

impl Console {
    /// What the answer to `console` says.
    pub fn of(answer: &Value) -> Self {
        let link = |name: &str| {
            let text = answer.get(name)?.as_str()?;
            (!text.is_empty()).then(|| Secret::new(text))
        };
        Self { log: link("serialConsoleLogBlobUri"), screenshot: link("consoleScreenshotBlobUri") }
    }
}

/// Whether a machine runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// On its way up.
    Starting,
    /// It runs.
    Running,
    /// On its way down.
    Stopping,
    /// Off, and still costs.
    Stopped,
    /// On its way to costing nothing.
    Deallocating,
    /// Off, and its processors are given back.
    Deallocated,
    /// Something that recovery does not know, or nothing was said.
    Other(String),
}

impl Power {
    /// What an instance view says.
    pub fn of(view: &Value) -> Self {
        let statuses = view.get("statuses").and_then(Value::as_array).into_iter().flatten();
        let mut code =
            statuses.filter_map(|one| one.get("code")?.as_str()?.strip_prefix("PowerState/"));
        match code.next_back().unwrap_or_default() {
            "starting" => Self::Starting,
            "running" => Self::Running,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "deallocating" => Self::Deallocating,
            "deallocated" => Self::Deallocated,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What an instance view complains of: every status of the level «Error», in Azure's words.
pub fn complaints(view: &Value) -> Vec<String> {
    let statuses = view.get("statuses").and_then(Value::as_array).into_iter().flatten();
    let bad = statuses.filter(|one| one.get("level").and_then(Value::as_str) == Some("Error"));
    bad.map(|one| {
        let text = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
        let words = if text("message").is_empty() { "displayStatus" } else { "message" };
        format!("{}: {}", text("code"), super::refusal::one_line(text(words)))
    })
    .collect()
}

#[cfg(test)]
mod tests;

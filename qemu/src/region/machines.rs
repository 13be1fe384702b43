//! Virtual machines: made of disks and interfaces that are there, started, looked at, stopped.

use serde_json::{Value, json};

use super::Region;
use super::catalogue;
use super::deed::{Boot, BootDisk, Deed, Wire};
use super::http::{Body, Request, Response};
use super::networks::forbids_all_out;
use super::operations::{Beginning, Effect, Follow, date};
use super::place::Id;
use super::refusal::Refusal;
use super::resource::{
    DiskState, Facts, Machine, Power, Provisioning, Resource, member, properties, set,
};

/// What a machine may be made of.
mod parts;

/// Minutes that a console log can be read at the address given for it.
const SHOWN_MINUTES: u64 = 120;
/// A screen of two points, for machines that are only said to run: the smallest picture that viewers open.
const BLANK_SCREEN: [u8; 62] = {
    let mut bmp = [0_u8; 62];
    bmp[0] = b'B';
    bmp[1] = b'M';
    bmp[2] = 62;
    bmp[10] = 54;
    bmp[14] = 40;
    bmp[18] = 2;
    bmp[22] = 1;
    bmp[26] = 1;
    bmp[28] = 24;
    bmp[34] = 8;
    bmp
};

/// Something that can be read at an address for a while.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    machine: String,
    screen: bool,
    until_ms: u64,
}

impl Machine {
    /// Whether its processors count as used.
    pub(crate) fn uses_processors(&self) -> bool {
        self.power != Power::Deallocated
    }

    /// Every disk, the one that it starts from first, then by number.
    fn disks(&self) -> impl Iterator<Item = (Option<u32>, &String)> {
        let data = self.data_disks.iter().map(|(lun, key)| (Some(*lun), key));
        core::iter::once((None, &self.boot_disk)).chain(data)
    }
}

impl Region {
    /// Makes a machine and starts it; or changes what of one can change.
    pub(crate) fn put_machine(
        &mut self,
        request: &Request,
        id: &Id,
        body: Value,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let machine = self.parts(id, &body)?;
        let key = id.key();
        let there = self.resources.get(&key);
        let works = there.filter(|there| there.state == Provisioning::Succeeded);
        if let Some(before) = works.and_then(Resource::machine) {
            let same = before.boot_disk == machine.boot_disk
                && before.data_disks == machine.data_disks
                && before.interfaces == machine.interfaces
                && before.size == machine.size;
            if !same {
                let words = "Changing disks, interfaces or size of a machine is not allowed by this stand-in.";
                return Err(Refusal::new(409, "PropertyChangeNotAllowed", words));
            }
            let machine = Machine { power: before.power, ..machine };
            self.keep(id, body, Facts::Machine(machine), now_ms);
            return Ok(self.begin_machine(request, id, Effect::Provisioned, None, 200, now_ms));
        }
        let new = there.is_none();
        let size = self.size_of(&machine)?;
        if new {
            self.within_limit("cores", size.processors.into())?;
            self.within_limit(size.family, size.processors.into())?;
            self.within_limit("virtualMachines", 1)?;
        }
        self.keep(id, body, Facts::Machine(machine.clone()), now_ms);
        self.take(&key, &machine);
        let deed = Some(Deed::Boot(Box::new(self.boot(&key, &machine)?)));
        let status = if new { 201 } else { 200 };
        Ok(self.begin_machine(request, id, Effect::Provisioned, deed, status, now_ms))
    }

    fn begin_machine(
        &mut self,
        request: &Request,
        id: &Id,
        effect: Effect,
        deed: Option<Deed>,
        status: u16,
        now_ms: u64,
    ) -> Response {
        // A machine that is made is followed by its status alone, whatever is done to it later by either way.
        let made = matches!(effect, Effect::Provisioned);
        let follow = if made { Follow::Status } else { Follow::Both };
        let provider = "Microsoft.Compute";
        self.begin(
            request,
            Beginning { key: id.key(), effect, deed, follow, provider },
            status,
            now_ms,
        )
    }

    /// Its disks and interfaces are its own from now on.
    fn take(&mut self, key: &str, machine: &Machine) {
        for (_, disk) in machine.disks() {
            if let Some(disk) = self.resources.get_mut(disk).and_then(Resource::disk_mut) {
                disk.owner = Some(key.to_owned());
                disk.state = DiskState::Attached;
            }
        }
        for interface in &machine.interfaces {
            let interface = self.resources.get_mut(interface);
            if let Some(interface) = interface.and_then(Resource::interface_mut) {
                interface.owner = Some(key.to_owned());
            }
        }
    }

    /// What a machine held is free.
    pub(crate) fn let_go(&mut self, key: &str, machine: &Machine) {
        for (_, disk) in machine.disks() {
            let disk = self.resources.get_mut(disk).and_then(Resource::disk_mut);
            if let Some(disk) = disk.filter(|disk| disk.owner.as_deref() == Some(key)) {
                disk.owner = None;
                if disk.state != DiskState::ActiveSas {
                    disk.state = DiskState::Unattached;
                }
            }
        }
        for interface in &machine.interfaces {
            let interface = self.resources.get_mut(interface).and_then(Resource::interface_mut);
            let own = interface.filter(|interface| interface.owner.as_deref() == Some(key));
            if let Some(interface) = own {
                interface.owner = None;
            }
        }
    }

    /// Disks of a machine that is deallocated can be read.
    pub(crate) fn disks_follow(&mut self, key: &str) {
        let Some(machine) = self.resources.get(key).and_then(Resource::machine).cloned() else {
            return;
        };
        let held = machine.power != Power::Deallocated;
        for (_, disk) in machine.disks() {
            let disk = self.resources.get_mut(disk).and_then(Resource::disk_mut);
            if let Some(disk) = disk.filter(|disk| disk.state != DiskState::ActiveSas) {
                disk.state = if held { DiskState::Attached } else { DiskState::Reserved };
            }
        }
    }

    /// What is needed to start it.
    fn boot(&self, key: &str, machine: &Machine) -> Result<Boot, Refusal> {
        let size = self.size_of(machine)?;
        let disk_of = |key: &String| self.resources.get(key).and_then(Resource::disk);
        let Some(first) = disk_of(&machine.boot_disk) else {
            return Err(Refusal::invalid("the disk to start from is gone"));
        };
        let disks = machine.disks().filter_map(|(lun, key)| {
            disk_of(key).map(|disk| BootDisk { blob: disk.blob.clone(), bytes: disk.bytes, lun })
        });
        Ok(Boot {
            machine: key.to_owned(),
            generation: first.generation,
            disks: disks.collect(),
            wires: machine.interfaces.iter().filter_map(|key| self.wire(key)).collect(),
            memory_mib: size.memory_mib,
            processors: size.processors,
        })
    }

    fn wire(&self, key: &str) -> Option<Wire> {
        let resource = self.resources.get(key)?;
        let interface = resource.interface()?;
        let (address, subnet) = interface.addresses.first()?;
        let subnet = self.resources.get(subnet)?;
        let rules = [resource, subnet].map(|of| of.word("/properties/networkSecurityGroup/id"));
        let closed = rules.into_iter().flatten().any(|group| {
            let group = self.resources.get(&group.to_ascii_lowercase());
            group.is_some_and(|group| forbids_all_out(&group.body))
        });
        let range = self.range_of(subnet).ok()?;
        Some(Wire { address: *address, subnet: range, mac: interface.mac, closed })
    }

    /// What is done with a machine that is there.
    pub(crate) fn machine_action(
        &mut self,
        request: &Request,
        id: &Id,
        action: &str,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let resource = self.found(id)?;
        let Some(machine) = resource.machine().cloned() else {
            return Err(Refusal::invalid("no machine"));
        };
        if request.method == "GET" && action == "instanceview" {
            return Ok(Response::json(200, &self.instance_view(resource, now_ms)));
        }
        if request.method == "POST" && action == "retrievebootdiagnosticsdata" {
            return self.diagnostics(request, id, now_ms);
        }
        if request.method != "POST" {
            return Err(super::nowhere(request));
        }
        if !resource.state.is_final() {
            return Err(super::busy(id));
        }
        let key = id.key();
        let cut = request.value("skipShutdown") == Some("true");
        let halt = |cut: bool| Some(Deed::Halt { machine: key.clone(), cut });
        let runs = machine.power == Power::Running;
        let (power, deed) = match action {
            "start" if runs => (Power::Running, None),
            "start" => {
                if machine.power == Power::Deallocated {
                    let size = self.size_of(&machine)?;
                    self.within_limit("cores", size.processors.into())?;
                    self.within_limit(size.family, size.processors.into())?;
                }
                (Power::Running, Some(Deed::Boot(Box::new(self.boot(&key, &machine)?))))
            }
            "restart" => (Power::Running, Some(Deed::Boot(Box::new(self.boot(&key, &machine)?)))),
            "poweroff" => (Power::Stopped, halt(cut)),
            "deallocate" => (Power::Deallocated, halt(cut)),
            _ => return Err(super::nowhere(request)),
        };
        Ok(self.begin_machine(request, id, Effect::Powered(power), deed, 202, now_ms))
    }

    /// A machine has ended by itself.
    pub fn machine_ended(&mut self, key: &str) {
        let machine = self.resources.get_mut(key).and_then(Resource::machine_mut);
        if let Some(machine) = machine.filter(|machine| machine.power == Power::Running) {
            machine.power = Power::Stopped;
        }
    }

    fn instance_view(&self, resource: &Resource, now_ms: u64) -> Value {
        let Some(machine) = resource.machine() else { return Value::Null };
        let time = date(now_ms);
        let state = resource.state.word().to_ascii_lowercase();
        let disks = machine.disks().filter_map(|(_, key)| self.resources.get(key)).map(|disk| {
            let status = json!({
                "code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded", "time": time,
            });
            json!({ "name": disk.name(), "statuses": [status] })
        });
        let disks: Vec<Value> = disks.collect();
        let boot = self.resources.get(&machine.boot_disk).and_then(Resource::disk);
        let generation = boot.map_or("V1", |disk| disk.generation.word());
        let word = machine.power.word();
        json!({
            "hyperVGeneration": generation,
            // None of ours has Azure's agent.
            "vmAgent": {
                "vmAgentVersion": "Unknown",
                "statuses": [{
                    "code": "ProvisioningState/Unavailable", "level": "Warning", "displayStatus": "Not Ready",
                    "message": "VM status blob is found but not yet populated.", "time": time,
                }],
            },
            "disks": disks,
            "bootDiagnostics": {},
            "statuses": [
                {
                    "code": format!("ProvisioningState/{state}"), "level": "Info",
                    "displayStatus": format!("Provisioning {state}"), "time": time,
                },
                { "code": format!("PowerState/{word}"), "level": "Info", "displayStatus": format!("VM {word}") },
            ],
        })
    }

    /// A machine, with its state where that is asked for.
    pub(crate) fn shown_machine(
        &self,
        request: &Request,
        id: &Id,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let resource = self.found(id)?;
        let mut shown = self.describe(resource);
        if request.value("$expand").is_some_and(|what| what.eq_ignore_ascii_case("instanceView")) {
            set(properties(&mut shown), "instanceView", self.instance_view(resource, now_ms));
        }
        Ok(Response::json(200, &shown))
    }

    /// Where console and screen can be read.
    fn diagnostics(
        &mut self,
        request: &Request,
        id: &Id,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let resource = self.found(id)?;
        let on = resource.body.pointer("/properties/diagnosticsProfile/bootDiagnostics/enabled");
        if on != Some(&json!(true)) {
            let words = format!("Boot diagnostics is not enabled for VM '{}'.", id.name);
            return Err(Refusal::new(409, "BootDiagnosticsNotEnabled", words));
        }
        let minutes = match request.value("sasUriExpirationTimeInMinutes") {
            None => SHOWN_MINUTES,
            Some(text) => match text.parse::<u64>() {
                Ok(minutes) if (1..=1440).contains(&minutes) => minutes,
                _ => return Err(Refusal::invalid("sasUriExpirationTimeInMinutes is 1 to 1440.")),
            },
        };
        let until_ms = now_ms.saturating_add(minutes.saturating_mul(60_000));
        self.shows.retain(|_, shown| shown.until_ms > now_ms);
        let mut address = |screen: bool, end: &str| {
            let token = format!("{:012x}", self.number());
            let shown = Shown { machine: id.key(), screen, until_ms };
            self.shows.insert(token.clone(), shown);
            let until = super::http::encode(&date(until_ms));
            format!(
                "{}/stand-in/diagnostics/{token}/{}.{end}?se={until}&sig=stand-in",
                request.origin(),
                id.name
            )
        };
        let body = json!({
            "consoleScreenshotBlobUri": address(true, "screenshot.bmp"),
            "serialConsoleLogBlobUri": address(false, "serialconsole.log"),
        });
        Ok(Response::json(200, &body))
    }

    /// A console log or a screen at its address.
    pub(crate) fn show(&self, token: &str, now_ms: u64) -> Result<Response, Refusal> {
        let Some(shown) = self.shows.get(token) else {
            return Err(Refusal::new(404, "BlobNotFound", "The specified blob does not exist."));
        };
        if shown.until_ms <= now_ms {
            let words =
                "Server failed to authenticate the request. The signature is no longer valid.";
            return Err(Refusal::new(403, "AuthenticationFailed", words));
        }
        let key = shown.machine.clone();
        if self.settings.machines {
            let body = if shown.screen { Body::Screen(key) } else { Body::Console(key) };
            return Ok(Response::of_machine(body));
        }
        let bytes = if shown.screen { BLANK_SCREEN.to_vec() } else { self.told_console(&key) };
        Ok(Response::of_machine(Body::Bytes(bytes)))
    }

    /// What a machine that is only said to run has on its console.
    fn told_console(&self, key: &str) -> Vec<u8> {
        let started = self.resources.get(key).and_then(Resource::machine);
        if started.is_none_or(|machine| machine.power == Power::Starting) {
            return Vec::new();
        }
        let name = key.rsplit('/').next().unwrap_or_default();
        let told = self
            .settings
            .consoles
            .iter()
            .find(|(part, _)| name.contains(&part.to_ascii_lowercase()));
        told.map_or_else(Vec::new, |(_, words)| words.clone().into_bytes())
    }

    pub(crate) fn describe_machine(&self, resource: &Resource, shown: &mut Value) {
        let Some(machine) = resource.machine() else { return };
        let whole = |key: &String| self.resources.get(key).map(|of| of.id.clone());
        let describe = |disk: &mut Value, key: &String| {
            let Some(id) = whole(key) else { return };
            set(disk, "name", json!(id.name));
            if disk.get("caching").is_none() {
                set(disk, "caching", json!("None"));
            }
            if disk.get("deleteOption").is_none() {
                set(disk, "deleteOption", json!("Detach"));
            }
            set(member(disk, "managedDisk"), "id", json!(id.whole));
            if let Some(kind) = self.resources.get(key).and_then(|disk| disk.word("/sku/name")) {
                set(member(disk, "managedDisk"), "storageAccountType", json!(kind));
            }
        };
        let shown = properties(shown);
        set(shown, "vmId", json!(format!("00000000-0000-4000-8000-{:012x}", resource.created_ms)));
        set(shown, "timeCreated", json!(date(resource.created_ms)));
        let storage = member(shown, "storageProfile");
        describe(member(storage, "osDisk"), &machine.boot_disk);
        let data = storage.get_mut("dataDisks").and_then(Value::as_array_mut);
        for disk in data.into_iter().flatten() {
            let lun = disk.get("lun").and_then(Value::as_u64);
            let found =
                machine.data_disks.iter().find(|(number, _)| Some(u64::from(*number)) == lun);
            if let Some((_, key)) = found {
                describe(disk, key);
            }
        }
    }

    fn size_of(&self, machine: &Machine) -> Result<&'static catalogue::Size, Refusal> {
        catalogue::find(&machine.size)
            .ok_or_else(|| Refusal::invalid(format!("no size is called {}", machine.size)))
    }
}

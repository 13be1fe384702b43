//! Questions and orders of a test, below `/stand-in/`: what exists, what was asked, what goes wrong, how a machine is reached.

use serde_json::{Value, json};

use super::Region;
use super::faults::parse_all;
use super::http::{Body, Request, Response};
use super::place::{Id, Kind};
use super::refusal::Refusal;
use super::resource::{Power, Resource};

impl Region {
    pub(crate) fn control(&mut self, request: &Request, now_ms: u64) -> Result<Response, Refusal> {
        let words: Vec<&str> =
            request.path.split('/').filter(|word| !word.is_empty()).skip(1).collect();
        match (request.method.as_str(), words.as_slice()) {
            ("GET", ["diagnostics", token, _]) => self.show(token, now_ms),
            ("GET", ["resources"]) => Ok(Response::json(200, &self.resources())),
            ("GET", ["requests"]) => Ok(Response::json(200, &self.requests())),
            ("DELETE", ["requests"]) => {
                self.forget_requests();
                Ok(Response::empty(204))
            }
            ("PUT", ["faults"]) => {
                let value: Value = serde_json::from_slice(&request.body)
                    .map_err(|error| Refusal::invalid(format!("no JSON: {error}")))?;
                self.set_faults(parse_all(&value).map_err(Refusal::invalid)?);
                Ok(Response::empty(204))
            }
            ("GET", ["faults"]) => Ok(Response::json(200, &json!({ "met": self.faults.met() }))),
            ("PUT", ["limits"]) => {
                let limits = request.object()?;
                for (name, limit) in limits.as_object().into_iter().flatten() {
                    let Some(limit) = limit.as_u64() else {
                        return Err(Refusal::invalid(format!("{name}: {limit} is no number")));
                    };
                    self.set_limit(name, limit);
                }
                Ok(Response::empty(204))
            }
            ("GET", ["platform"]) => Ok(Response::json(200, &platform())),
            ("GET", ["forward"]) => self.forward(request),
            _ => Err(super::nowhere(request)),
        }
    }

    fn forward(&self, request: &Request) -> Result<Response, Refusal> {
        let wanted = request.value("vm").unwrap_or_default();
        let port = request.value("port").and_then(|port| port.parse::<u16>().ok());
        let Some(port) = port else { return Err(Refusal::invalid("which port?")) };
        let machines = self.resources.values().filter(|resource| resource.id.kind == Kind::Machine);
        let mut fits = machines.filter(|resource| match Id::parse(wanted) {
            Some(id) => id.key() == resource.id.key(),
            None => resource.name().eq_ignore_ascii_case(wanted),
        });
        let Some(found) = fits.next() else {
            return Err(Refusal::new(
                404,
                "ResourceNotFound",
                format!("no machine is called {wanted}"),
            ));
        };
        if !self.settings.machines {
            return Err(Refusal::not_allowed("machines are only said to run here"));
        }
        Ok(Response::of_machine(Body::Forward(found.id.key(), port)))
    }
}

/// What a machine is made of, and which drivers of Linux it wants for that: in Azure they are Hyper-V's.
fn platform() -> Value {
    json!({
        "name": "qemu", "drivers": ["virtio_pci", "virtio_blk", "virtio_net"], "disks": "/dev/vda", "console": "ttyS0",
    })
}

/// Everything that exists.
pub(super) fn resources(region: &Region) -> Value {
    let mut all: Vec<Value> = Vec::new();
    for group in region.groups.values() {
        all.push(json!({
            "id": group.id, "type": "Microsoft.Resources/resourceGroups", "tags": group.tags, "billed": false,
            "state": if group.deleting { "Deleting" } else { "Succeeded" },
        }));
    }
    for resource in region.resources.values() {
        let detail = match (resource.disk(), resource.machine()) {
            (Some(disk), _) => disk.state.word(),
            (_, Some(machine)) => machine.power.word(),
            _ => "",
        };
        all.push(json!({
            "id": resource.id.whole, "type": resource.id.kind.name(), "tags": resource.tags(),
            "billed": billed(resource), "state": resource.state.word(), "detail": detail,
        }));
    }
    Value::Array(all)
}

/// Whether it costs while it is there.
fn billed(resource: &Resource) -> bool {
    match resource.id.kind {
        Kind::Disk | Kind::Snapshot | Kind::PublicAddress | Kind::StorageAccount => true,
        Kind::Machine => {
            resource.machine().is_some_and(|machine| machine.power != Power::Deallocated)
        }
        Kind::Interface | Kind::Network | Kind::Subnet | Kind::SecurityGroup => false,
    }
}

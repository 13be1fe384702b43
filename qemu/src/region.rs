//! A stand-in for a region of Azure: its control plane as a state machine, and behind it a server, the storage by Azurite, and
//! machines that really boot from what was uploaded.
//!
//! It refuses what Azure refuses as far as that is documented, and is no proof of what is not. It opens no connection but
//! to its storage, keeps nothing over its end, and is never part of the program that recovers servers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Addresses and ranges.
pub mod address;
/// What is offered, and how much of it.
pub mod catalogue;
/// What is to be done in the world.
pub mod deed;
/// What goes wrong on purpose.
pub mod faults;
/// Requests and responses.
pub mod http;
/// Identifiers of resources.
pub mod place;
/// How it says no.
pub mod refusal;

/// A server over HTTP.
pub mod server;

/// The storage behind disks.
mod azurite;
/// Questions and orders of a test.
mod control;
/// Managed disks and snapshots.
mod disks;
/// The end of an uploaded disk.
mod footer;
/// Groups, and lists of what is in them.
mod groups;
/// Does what is to be done.
mod hands;
/// Tokens.
mod identity;
/// Network interfaces.
mod interfaces;
/// What was asked.
mod log;
/// Virtual machines.
mod machines;
/// Networks, rules and public addresses.
mod networks;
/// What goes on behind answers.
mod operations;
/// What exists.
mod resource;
/// Storage accounts.
mod storage_accounts;

pub use deed::{Deed, Outcome, Ticket};
pub use http::{Body, Request, Response};
pub use refusal::Refusal;
pub use server::Server;

use catalogue::Limits;
use faults::{Drawn, Faults};
use log::Log;
use operations::Operation;
use place::{Id, Kind, Place};
use resource::{Group, Resource};

/// What a region is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Least time that an operation takes, in milliseconds.
    pub operation_ms: u64,
    /// What clients are asked to wait between two looks at an operation, in seconds.
    pub retry_after_s: u32,
    /// Seeds everything that is drawn.
    pub seed: u64,
    /// The storage that disks lie in; without one, disks are only said to exist.
    pub storage: Option<Account>,
    /// Whether machines run; without that, they are only said to.
    pub machines: bool,
    /// Who may have tokens; while nobody is named, any bearer of any token may do all.
    pub applications: Vec<Application>,
    /// What machines that are only said to run have on their consoles: parts of their names, and words. The first that fits
    /// counts.
    pub consoles: Vec<(String, String)>,
    /// Most entries in one answer to a list.
    pub page: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            operation_ms: 0,
            retry_after_s: 0,
            seed: 1,
            storage: None,
            machines: false,
            applications: Vec::new(),
            consoles: Vec::new(),
            page: 100,
        }
    }
}

/// A storage account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its key, base64.
    pub key: String,
    /// Its blob endpoint, such as `http://127.0.0.1:10000/devstoreaccount1`.
    pub endpoint: String,
}

/// An application that logs in with a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Its tenant.
    pub tenant: String,
    /// Its number.
    pub client: String,
    /// Its secret.
    pub secret: String,
}

/// The control plane's state. Time comes with every request, in milliseconds since 1970.
#[derive(Debug)]
pub struct Region {
    settings: Settings,
    groups: BTreeMap<String, Group>,
    resources: BTreeMap<String, Resource>,
    operations: BTreeMap<String, Operation>,
    deeds: Vec<(Ticket, Deed)>,
    faults: Faults,
    limits: Limits,
    tokens: BTreeMap<String, identity::Token>,
    /// Names of things that can be shown for a while: console logs and screens.
    shows: BTreeMap<String, machines::Shown>,
    log: Log,
    next: u64,
    /// What a fault makes of the request at hand.
    twist: Drawn,
}

impl Region {
    /// An empty region.
    pub fn new(settings: Settings) -> Self {
        Self {
            faults: Faults::new(settings.seed),
            settings,
            groups: BTreeMap::new(),
            resources: BTreeMap::new(),
            operations: BTreeMap::new(),
            deeds: Vec::new(),
            limits: Limits::default(),
            tokens: BTreeMap::new(),
            shows: BTreeMap::new(),
            log: Log::default(),
            next: 1,
            twist: Drawn::default(),
        }
    }

    /// Answers a request. What must be done in the world for it is then among the deeds.
    pub fn answer(&mut self, request: &Request, now_ms: u64) -> Response {
        self.settle(now_ms);
        self.twist = Drawn::default();
        let answered = self.consider(request, now_ms);
        let mut response = answered.unwrap_or_else(|refusal| refusal.response());
        response.lost |= self.twist.loses_reply;
        // What is done at once is done before the answer is read.
        self.settle(now_ms);
        let number = self.number();
        response =
            response.with("x-ms-request-id", format!("00000000-0000-4000-8000-{number:012x}"));
        self.log.note(request, &response);
        response
    }

    /// What is to be done now, each once.
    pub fn take_deeds(&mut self) -> Vec<(Ticket, Deed)> {
        core::mem::take(&mut self.deeds)
    }

    /// A deed's outcome.
    pub fn did(&mut self, ticket: Ticket, outcome: Result<Outcome, Refusal>, now_ms: u64) {
        let waiting =
            self.operations.values_mut().find(|operation| operation.ticket == Some(ticket));
        if let Some(operation) = waiting {
            operation.came = Some(outcome);
        }
        self.settle(now_ms);
    }

    /// What goes wrong from now on.
    pub fn set_faults(&mut self, rules: Vec<faults::Rule>) {
        self.faults.set(rules);
    }

    /// How much of something may be used, by Azure's name of it, such as `cores`.
    pub fn set_limit(&mut self, name: &str, limit: u64) {
        self.limits.set(name, limit);
    }

    /// Everything that exists: identifier, kind, state, and whether it costs.
    pub fn resources(&self) -> Value {
        control::resources(self)
    }

    /// Every request so far, with what was answered; the oldest are forgotten.
    pub fn requests(&self) -> Value {
        self.log.shown()
    }

    /// Forgets them.
    pub fn forget_requests(&mut self) {
        self.log.clear();
    }

    fn consider(&mut self, request: &Request, now_ms: u64) -> Result<Response, Refusal> {
        if request.path.starts_with("/stand-in/") {
            return self.control(request, now_ms);
        }
        self.twist = self.faults.draw(request);
        if let Some(refusal) = self.twist.refusal.take() {
            return Err(refusal);
        }
        if let Some(response) = self.identity(request, now_ms) {
            return Ok(response);
        }
        self.authenticate(request, now_ms)?;
        if request.value("api-version").is_none() {
            let words =
                "The api-version query parameter (?api-version=) is required for all requests.";
            return Err(Refusal::new(400, "MissingApiVersionParameter", words));
        }
        let place = Place::parse(&request.path);
        self.authorize(request, &place)?;
        let method = request.method.as_str();
        match place {
            Place::Subscription { subscription, rest } => {
                self.of_subscription(request, &subscription, &rest)
            }
            Place::Group { subscription, group } => {
                self.group(request, &subscription, &group, now_ms)
            }
            Place::InGroup { subscription, group, kind } if method == "GET" => {
                self.listed(request, &subscription, Some(&group), kind)
            }
            Place::OfGroup { group, rest } => self.of_group(&group, &rest),
            Place::Resource { id, action } => {
                self.resource(request, &id, action.as_deref(), now_ms)
            }
            _ => Err(nowhere(request)),
        }
    }

    fn resource(
        &mut self,
        request: &Request,
        id: &Id,
        action: Option<&str>,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        self.in_living_group(id)?;
        match (request.method.as_str(), action) {
            ("GET", None) if id.kind == Kind::Machine => self.shown_machine(request, id, now_ms),
            ("GET", None) => self.shown(id),
            ("PUT", None) => {
                let body = self.checked_body(request, id)?;
                match id.kind {
                    Kind::Disk | Kind::Snapshot => self.put_disk(request, id, body, now_ms),
                    Kind::Machine => self.put_machine(request, id, body, now_ms),
                    Kind::Interface => self.put_interface(request, id, body, now_ms),
                    Kind::Network => self.put_network(request, id, body, now_ms),
                    Kind::Subnet => self.put_subnet(request, id, body, now_ms),
                    Kind::SecurityGroup => self.put_security_group(request, id, body, now_ms),
                    Kind::PublicAddress => self.put_public_address(request, id, body, now_ms),
                    Kind::StorageAccount => self.put_storage_account(id, body, now_ms),
                }
            }
            ("PATCH", None) => self.patch(request, id, now_ms),
            ("DELETE", None) => self.delete(request, id, now_ms),
            (method, Some(action)) => {
                self.found(id)?;
                let action = action.to_ascii_lowercase();
                match (id.kind, method, action.as_str()) {
                    (Kind::Disk | Kind::Snapshot, "POST", "begingetaccess") => {
                        self.grant(request, id, now_ms)
                    }
                    (Kind::Disk | Kind::Snapshot, "POST", "endgetaccess") => {
                        self.revoke(request, id, now_ms)
                    }
                    (Kind::Machine, _, _) => self.machine_action(request, id, &action, now_ms),
                    (Kind::Network, "GET", "checkipaddressavailability") => {
                        self.check_address(request, id)
                    }
                    (Kind::Network, "GET", "subnets") => Ok(self.subnets(id)),
                    (Kind::StorageAccount, "POST", "listkeys") => Ok(self.list_keys()),
                    _ => Err(nowhere(request)),
                }
            }
            _ => Err(nowhere(request)),
        }
    }

    /// The body of a PUT, when everything holds that holds for every kind.
    fn checked_body(&self, request: &Request, id: &Id) -> Result<Value, Refusal> {
        let body = request.object()?;
        if !name_fits(&id.name) {
            let words = format!(
                "Resource name '{}' is invalid: 1 to 80 letters, digits, hyphens, underscores and periods, beginning with a \
                 letter or digit, ending with a letter, digit or underscore.",
                id.name
            );
            return Err(Refusal::new(400, "InvalidResourceName", words));
        }
        if id.kind != Kind::Subnet {
            let location = body.get("location").and_then(Value::as_str).unwrap_or_default();
            if !catalogue::is_location(location) {
                let words = format!(
                    "The provided location '{location}' is not available for resource type '{}'.",
                    id.kind.name()
                );
                return Err(Refusal::new(400, "LocationNotAvailableForResourceType", words));
            }
            if let Some(there) = self.resources.get(&id.key())
                && !there.location.eq_ignore_ascii_case(location)
            {
                let words = format!(
                    "The resource '{}' already exists in location '{}'. A resource with the same name cannot be created \
                     in location '{location}'.",
                    id.name, there.location
                );
                return Err(Refusal::new(409, "InvalidResourceLocation", words));
            }
        }
        if let Some(there) = self.resources.get(&id.key())
            && !there.state.is_final()
        {
            return Err(busy(id));
        }
        Ok(body)
    }

    fn shown(&self, id: &Id) -> Result<Response, Refusal> {
        let resource = self.found(id)?;
        Ok(Response::json(200, &self.describe(resource)))
    }

    /// As Azure shows it.
    fn describe(&self, resource: &Resource) -> Value {
        let mut shown = resource.common();
        match resource.id.kind {
            Kind::Disk | Kind::Snapshot => self.describe_disk(resource, &mut shown),
            Kind::Machine => self.describe_machine(resource, &mut shown),
            Kind::Interface => self.describe_interface(resource, &mut shown),
            Kind::Network => self.describe_network(resource, &mut shown),
            Kind::PublicAddress => self.describe_public_address(resource, &mut shown),
            Kind::StorageAccount => self.describe_storage_account(&mut shown),
            Kind::SecurityGroup => networks::describe_security_group(&mut shown),
            Kind::Subnet => self.describe_subnet(resource, &mut shown),
        }
        shown
    }

    fn found(&self, id: &Id) -> Result<&Resource, Refusal> {
        let kind = id.kind.name();
        let missing = || Refusal::missing(kind, &id.name, &id.group);
        self.resources.get(&id.key()).ok_or_else(missing)
    }

    /// A number that nothing else has.
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn ticket(&mut self, deed: Deed) -> Ticket {
        let ticket = Ticket(self.number());
        self.deeds.push((ticket, deed));
        ticket
    }

    /// Has a deed done that nobody waits for.
    fn ask(&mut self, deed: Deed) {
        if self.really(&deed) {
            self.ticket(deed);
        }
    }

    /// Whether there is somebody to do it.
    fn really(&self, deed: &Deed) -> bool {
        match deed {
            Deed::Boot(_) | Deed::Halt { .. } | Deed::Forget { .. } => self.settings.machines,
            _ => self.settings.storage.is_some(),
        }
    }
}

/// Something else changes the resource just now.
fn busy(id: &Id) -> Refusal {
    let words =
        format!("Another operation on {} is in progress. Retry when it has ended.", id.whole);
    Refusal { retry_after_s: Some(1), ..Refusal::new(409, "AnotherOperationInProgress", words) }
}

fn nowhere(request: &Request) -> Refusal {
    let words = format!("No route of this stand-in is {} {}", request.method, request.path);
    Refusal::new(404, "InvalidResourceType", words)
}

fn name_fits(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let begins = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    let ends = name.chars().last().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    begins && ends && name.len() <= 80 && name.chars().all(inner)
}

/// The error of a body, as operations tell it.
fn error_object(refusal: &Refusal) -> Value {
    json!({ "code": refusal.code, "message": refusal.message })
}

#[cfg(test)]
mod tests;

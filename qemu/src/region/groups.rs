//! Resource groups, lists of what is in them, and what removal means.

use serde_json::{Value, json};

use super::catalogue;
use super::deed::Deed;
use super::http::{Request, Response, encode};
use super::operations::{Beginning, Effect, Follow};
use super::place::{Id, Kind, Place};
use super::refusal::Refusal;
use super::resource::{DiskState, Facts, Group, Provisioning, set};
use super::{Region, busy, nowhere};

impl Region {
    /// Everything below a subscription but groups.
    pub(crate) fn of_subscription(
        &mut self,
        request: &Request,
        subscription: &str,
        rest: &[String],
    ) -> Result<Response, Refusal> {
        if request.method != "GET" {
            return Err(nowhere(request));
        }
        let lower: Vec<String> = rest.iter().map(|word| word.to_ascii_lowercase()).collect();
        let words: Vec<&str> = lower.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => Ok(Response::json(200, &catalogue::subscription(subscription))),
            [.., "operations" | "operationresults", _] => self.operation(request, rest),
            ["resourcegroups"] => self.groups_listed(request),
            ["resources"] => self.listed(request, subscription, None, None),
            ["locations"] => Ok(Response::json(200, &catalogue::locations(subscription))),
            ["providers", "microsoft.compute", "skus"] => {
                Ok(Response::json(200, &catalogue::skus(request.value("$filter"))))
            }
            ["providers", provider, "locations", location, "usages"] => {
                self.usages(subscription, provider, location)
            }
            ["providers", _] => {
                let name = rest.last().map_or("", String::as_str);
                Ok(Response::json(200, &catalogue::provider(subscription, name)))
            }
            ["providers", _, _] => {
                // A list of a kind in all groups, written as a group's list without the group.
                let path = format!("/subscriptions/s/resourceGroups/g/{}", rest.join("/"));
                match Place::parse(&path) {
                    Place::InGroup { kind: Some(kind), .. } => {
                        self.listed(request, subscription, None, Some(kind))
                    }
                    _ => Err(nowhere(request)),
                }
            }
            _ => Err(nowhere(request)),
        }
    }

    /// What a group has that is no resource.
    pub(crate) fn of_group(&self, group: &str, rest: &[String]) -> Result<Response, Refusal> {
        let rest = rest.join("/").to_ascii_lowercase();
        if rest == "providers/microsoft.authorization/permissions" {
            let not: Vec<&str> = self.faults.denied().collect();
            let role = json!({
                "actions": ["*"], "notActions": not, "dataActions": [], "notDataActions": [],
            });
            return Ok(Response::json(200, &json!({ "value": [role] })));
        }
        Err(Refusal::new(404, "InvalidResourceType", format!("{group} has no {rest} here")))
    }

    /// A group itself.
    pub(crate) fn group(
        &mut self,
        request: &Request,
        subscription: &str,
        group: &str,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let key = group_key(subscription, group);
        let missing = || Refusal::missing_group(group);
        match request.method.as_str() {
            "HEAD" => {
                let status = if self.groups.contains_key(&key) { 204 } else { 404 };
                Ok(Response::empty(status))
            }
            "GET" => {
                let group = self.groups.get(&key).ok_or_else(missing)?;
                Ok(Response::json(200, &describe(group)))
            }
            "PUT" => self.put_group(request, key, subscription, group),
            "PATCH" => {
                let tags = request.object()?.get("tags").cloned();
                let group = self.groups.get_mut(&key).ok_or_else(missing)?;
                if let Some(tags) = tags {
                    group.tags = tags;
                }
                Ok(Response::json(200, &describe(group)))
            }
            "DELETE" => {
                let found = self.groups.get_mut(&key).ok_or_else(missing)?;
                found.deleting = true;
                let keys = self.keys_of(&key);
                for key in &keys {
                    self.preempt(key);
                    if let Some(resource) = self.resources.get_mut(key) {
                        resource.state = Provisioning::Deleting;
                    }
                }
                let is_machine = |key: &&String| {
                    self.resources.get(*key).is_some_and(|resource| resource.machine().is_some())
                };
                let machines: Vec<String> = keys.iter().filter(is_machine).cloned().collect();
                let deed = Some(Deed::Forget { machines });
                let effect = Effect::GroupRemoved(keys);
                let beginning =
                    Beginning { key, effect, deed, follow: Follow::Location, provider: "" };
                Ok(self.begin(request, beginning, 202, now_ms))
            }
            _ => Err(nowhere(request)),
        }
    }

    fn put_group(
        &mut self,
        request: &Request,
        key: String,
        subscription: &str,
        name: &str,
    ) -> Result<Response, Refusal> {
        let body = request.object()?;
        let location = body.get("location").and_then(Value::as_str).unwrap_or_default();
        if !catalogue::is_location(location) {
            let words =
                format!("The provided location '{location}' is not available for resource group.");
            return Err(Refusal::new(400, "LocationNotAvailableForResourceGroup", words));
        }
        if !group_name_fits(name) {
            let words =
                format!("The provided resource group name '{name}' has invalid characters.");
            return Err(Refusal::new(400, "InvalidResourceGroup", words));
        }
        let tags = body.get("tags").cloned().unwrap_or_else(|| json!({}));
        let there = self.groups.get(&key);
        if let Some(there) = there {
            if there.deleting {
                let words = format!(
                    "The resource group '{name}' is in deprovisioning state and cannot perform this operation."
                );
                return Err(Refusal::new(409, "ResourceGroupBeingDeleted", words));
            }
            if !there.location.eq_ignore_ascii_case(location) {
                let words = format!(
                    "Invalid resource group location '{location}'. The Resource group already exists in location '{}'.",
                    there.location
                );
                return Err(Refusal::new(409, "InvalidResourceGroupLocation", words));
            }
        }
        let status = if there.is_some() { 200 } else { 201 };
        let group = Group {
            id: format!("/subscriptions/{subscription}/resourceGroups/{name}"),
            name: name.to_owned(),
            location: location.to_owned(),
            tags,
            deleting: false,
        };
        let response = Response::json(status, &describe(&group));
        self.groups.insert(key, group);
        Ok(response)
    }

    fn groups_listed(&self, request: &Request) -> Result<Response, Refusal> {
        let filter = Filter::parse(request.value("$filter"))?;
        let groups = self.groups.values().filter(|group| filter.takes(&group.tags, "", ""));
        self.page(request, groups.map(describe).collect())
    }

    /// What a group or the subscription has, of a kind or of all.
    pub(crate) fn listed(
        &self,
        request: &Request,
        subscription: &str,
        group: Option<&str>,
        kind: Option<Kind>,
    ) -> Result<Response, Refusal> {
        if let Some(group) = group
            && !self.groups.contains_key(&group_key(subscription, group))
        {
            return Err(Refusal::missing_group(group));
        }
        let filter = Filter::parse(request.value("$filter").filter(|_| kind.is_none()))?;
        let mut found = Vec::new();
        for resource in self.resources.values() {
            let id = &resource.id;
            let here = group.is_none_or(|group| id.group.eq_ignore_ascii_case(group))
                && id.subscription.eq_ignore_ascii_case(subscription)
                && kind.map_or(id.kind != Kind::Subnet, |kind| kind == id.kind);
            if !here || !filter.takes(resource.tags(), id.kind.name(), &resource.location) {
                continue;
            }
            found.push(match kind {
                Some(_) => self.describe(resource),
                None => brief(&resource.common()),
            });
        }
        self.page(request, found)
    }

    /// A part of a list, and where the next is.
    pub(crate) fn page(&self, request: &Request, all: Vec<Value>) -> Result<Response, Refusal> {
        let skip: usize = match request.value("$skiptoken") {
            None => 0,
            Some(token) => token
                .parse()
                .map_err(|_| Refusal::invalid(format!("'{token}' is no skip token of ours")))?,
        };
        let count = all.len();
        let shown: Vec<Value> =
            all.into_iter().skip(skip).take(self.settings.page.max(1)).collect();
        let end = skip.saturating_add(shown.len());
        let mut body = json!({ "value": shown });
        if end < count {
            let kept =
                request.query.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"));
            let query: String =
                kept.map(|(name, value)| format!("{}={}&", encode(name), encode(value))).collect();
            let next = format!("{}{}?{query}%24skiptoken={end}", request.origin(), request.path);
            set(&mut body, "nextLink", json!(next));
        }
        Ok(Response::json(200, &body))
    }

    /// Whether things may be made and found there.
    pub(crate) fn in_living_group(&self, id: &Id) -> Result<&Group, Refusal> {
        let group = self.groups.get(&group_key(&id.subscription, &id.group));
        group.ok_or_else(|| Refusal::missing_group(&id.group))
    }

    /// Changes tags, and what else of a resource may change.
    pub(crate) fn patch(
        &mut self,
        request: &Request,
        id: &Id,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        self.found(id)?;
        let change = request.object()?;
        let key = id.key();
        if let Some(resource) = self.resources.get_mut(&key) {
            if !resource.state.is_final() {
                return Err(busy(id));
            }
            if let Some(tags) = change.get("tags") {
                set(&mut resource.body, "tags", tags.clone());
            }
            if let Some(sku) = change.get("sku").filter(|_| id.kind == Kind::Disk) {
                set(&mut resource.body, "sku", sku.clone());
            }
        }
        if id.kind.provider() == "Microsoft.Network" || id.kind == Kind::StorageAccount {
            return self.shown(id);
        }
        let effect = match self.found(id)?.disk() {
            Some(disk) => Effect::Disk(disk.state),
            None => Effect::Provisioned,
        };
        let provider = id.kind.provider();
        let beginning = Beginning { key, effect, deed: None, follow: Follow::Both, provider };
        Ok(self.begin(request, beginning, if id.kind == Kind::Machine { 200 } else { 202 }, now_ms))
    }

    /// Removes a resource.
    pub(crate) fn delete(
        &mut self,
        request: &Request,
        id: &Id,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let key = id.key();
        let Some(resource) = self.resources.get(&key) else { return Ok(Response::empty(204)) };
        self.may_go(id)?;
        let (mut keys, mut deed) = (vec![key.clone()], None);
        if let Some(machine) = resource.machine() {
            keys.extend(machine.takes_along.iter().cloned());
            deed = Some(Deed::Forget { machines: vec![key.clone()] });
        }
        let follow = match id.kind {
            Kind::Disk | Kind::Snapshot => Follow::Location,
            Kind::StorageAccount => {
                self.remove(&key);
                return Ok(Response::empty(200));
            }
            _ => Follow::Both,
        };
        self.preempt(&key);
        if let Some(resource) = self.resources.get_mut(&key) {
            resource.state = Provisioning::Deleting;
        }
        let provider = id.kind.provider();
        let beginning = Beginning { key, effect: Effect::Removed(keys), deed, follow, provider };
        Ok(self.begin(request, beginning, 202, now_ms))
    }

    /// Why a resource cannot go.
    fn may_go(&self, id: &Id) -> Result<(), Refusal> {
        let key = id.key();
        let Some(resource) = self.resources.get(&key) else { return Ok(()) };
        let in_use = |code: &str, by: &str| {
            let words =
                format!("Resource {} cannot be deleted because it is in use by {by}.", id.whole);
            Err(Refusal::new(400, code, words))
        };
        match &resource.facts {
            Facts::Disk(disk) => {
                if let Some(owner) = &disk.owner {
                    let words = format!("Disk {} is attached to VM {owner}.", id.name);
                    return Err(Refusal::not_allowed(words));
                }
                if matches!(disk.state, DiskState::ActiveUpload | DiskState::ActiveSas) {
                    let words = format!(
                        "There is an active shared access signature outstanding for disk {}. Call EndGetAccess before \
                         attaching or deleting the disk.",
                        id.name
                    );
                    return Err(Refusal::not_allowed(words));
                }
                Ok(())
            }
            Facts::Interface(interface) => match &interface.owner {
                Some(owner) => in_use("NicInUse", owner),
                None => Ok(()),
            },
            _ => match (id.kind, self.user_of(id)) {
                (Kind::Network | Kind::Subnet, Some(by)) => {
                    in_use("InUseSubnetCannotBeDeleted", &by)
                }
                (Kind::SecurityGroup, Some(by)) => {
                    in_use("InUseNetworkSecurityGroupCannotBeDeleted", &by)
                }
                (Kind::PublicAddress, Some(by)) => in_use("PublicIPAddressCannotBeDeleted", &by),
                _ => Ok(()),
            },
        }
    }

    /// A resource is gone.
    pub(crate) fn remove(&mut self, key: &str) {
        let Some(resource) = self.resources.remove(key) else { return };
        match &resource.facts {
            Facts::Machine(machine) => {
                self.let_go(key, machine);
                self.ask(Deed::Forget { machines: vec![key.to_owned()] });
            }
            Facts::Disk(disk) => self.ask(Deed::RemoveDisk { blob: disk.blob.clone() }),
            _ => (),
        }
        if resource.id.kind == Kind::Network {
            let below = format!("{key}/");
            self.resources.retain(|key, _| !key.starts_with(&below));
        }
    }

    /// Everything of a group, machines first: what they hold is free then.
    fn keys_of(&self, group: &str) -> Vec<String> {
        let of = |key: &&String| {
            self.resources.get(*key).is_some_and(|resource| {
                group_key(&resource.id.subscription, &resource.id.group) == group
            })
        };
        let mut keys: Vec<String> = self.resources.keys().filter(of).cloned().collect();
        keys.sort_by_key(|key| !key.contains("/virtualmachines/"));
        keys
    }
}

pub(crate) fn group_key(subscription: &str, group: &str) -> String {
    format!("{subscription}/{group}").to_ascii_lowercase()
}

fn group_name_fits(name: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || "-_.()".contains(c);
    name.chars().count() <= 90 && name.chars().all(inner) && !name.ends_with('.')
}

fn describe(group: &Group) -> Value {
    let state = if group.deleting { "Deleting" } else { "Succeeded" };
    json!({
        "id": group.id, "name": group.name, "type": "Microsoft.Resources/resourceGroups",
        "location": group.location, "tags": group.tags, "properties": { "provisioningState": state },
    })
}

/// A resource as a list of all kinds shows it.
fn brief(whole: &Value) -> Value {
    let mut brief = json!({});
    for name in ["id", "name", "type", "location", "tags", "sku"] {
        if let Some(value) = whole.get(name) {
            set(&mut brief, name, value.clone());
        }
    }
    brief
}

/// What a list asks for: the two forms that are used.
#[derive(Debug, Default)]
struct Filter {
    tag: Option<String>,
    tag_value: Option<String>,
    kind: Option<String>,
    location: Option<String>,
}

impl Filter {
    fn parse(text: Option<&str>) -> Result<Self, Refusal> {
        let mut filter = Self::default();
        let Some(text) = text else { return Ok(filter) };
        for clause in text.split(" and ") {
            let (name, value) = clause.split_once(" eq ").unwrap_or((clause, ""));
            let value = value.trim().trim_matches('\'').replace("''", "'");
            match name.trim().to_ascii_lowercase().as_str() {
                "tagname" => filter.tag = Some(value),
                "tagvalue" => filter.tag_value = Some(value),
                "resourcetype" => filter.kind = Some(value),
                "location" => filter.location = Some(value),
                _ => {
                    let words = format!("The filter clause '{clause}' is not supported.");
                    return Err(Refusal::new(400, "InvalidFilterInQueryString", words));
                }
            }
        }
        if filter.tag.is_some() && (filter.kind.is_some() || filter.location.is_some()) {
            let words = "Tag filters cannot be combined with others.";
            return Err(Refusal::new(400, "InvalidFilterInQueryString", words));
        }
        Ok(filter)
    }

    fn takes(&self, tags: &Value, kind: &str, location: &str) -> bool {
        let value = self.tag.as_ref().map(|name| tags.get(name).and_then(Value::as_str));
        let tagged = match (value, &self.tag_value) {
            (None, _) => true,
            (Some(has), None) => has.is_some(),
            (Some(has), Some(wanted)) => has == Some(wanted.as_str()),
        };
        let fits = |wanted: &Option<String>, has: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(has))
        };
        tagged && fits(&self.kind, kind) && fits(&self.location, location)
    }
}

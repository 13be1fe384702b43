//! Virtual networks, their subnets, rules of what may pass, and public addresses.

use serde_json::{Value, json};

use super::Region;
use super::address::{Address, Prefix, prefixes};
use super::http::{Request, Response};
use super::operations::{Beginning, Effect, Follow};
use super::place::{Id, Kind};
use super::refusal::Refusal;
use super::resource::{Facts, Provisioning, Resource, list, properties, set, word};

/// Addresses that a question for one may name besides.
const OTHERS_MAX: usize = 5;

impl Region {
    /// Makes a network, or changes one.
    pub(crate) fn put_network(
        &mut self,
        request: &Request,
        id: &Id,
        mut body: Value,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let space = body.pointer("/properties/addressSpace").cloned().unwrap_or_default();
        let ranges = prefixes(&space)?;
        if ranges.is_empty() {
            let words =
                format!("Virtual network {} must have at least one address prefix.", id.whole);
            return Err(Refusal::new(400, "InvalidRequestFormat", words));
        }
        let subnets: Vec<Value> = list(&body, "/properties/subnets").to_vec();
        if let Some(object) = properties(&mut body).as_object_mut() {
            object.remove("subnets");
        }
        let mut made: Vec<(Id, Value)> = Vec::new();
        let mut taken: Vec<(String, Prefix)> = Vec::new();
        for subnet in subnets {
            let name = word(&subnet, "/name").unwrap_or_default();
            let whole = format!("{}/subnets/{name}", id.whole);
            let Some(subnet_id) = Id::parse(&whole) else {
                return Err(Refusal::new(400, "InvalidRequestFormat", "A subnet without a name."));
            };
            let inner = subnet.get("properties").cloned().unwrap_or_default();
            let of_subnet = self.check_subnet(&subnet_id, &inner, &ranges, &taken)?;
            taken.extend(of_subnet.into_iter().map(|range| (whole.clone(), range)));
            made.push((subnet_id, json!({ "properties": inner })));
        }
        let new = !self.resources.contains_key(&id.key());
        if new {
            self.within_limit("VirtualNetworks", 1)?;
        }
        self.keep(id, body, Facts::None, now_ms);
        for (subnet, body) in made {
            self.keep(&subnet, body, Facts::None, now_ms);
            if let Some(kept) = self.resources.get_mut(&subnet.key()) {
                kept.state = Provisioning::Succeeded;
            }
        }
        Ok(self.begin_network(request, id, Follow::Status, new, now_ms))
    }

    /// Makes a subnet, or changes one.
    pub(crate) fn put_subnet(
        &mut self,
        request: &Request,
        id: &Id,
        body: Value,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let Some(network) = id.network() else { return Err(Refusal::dangling("", &id.whole)) };
        let resource = self.found(&network)?;
        let space = resource.body.pointer("/properties/addressSpace").cloned().unwrap_or_default();
        let ranges = prefixes(&space)?;
        let siblings = self.subnets_of(&network);
        let mut taken = Vec::new();
        for sibling in siblings.iter().filter(|sibling| sibling.id.key() != id.key()) {
            let theirs = sibling.body.get("properties").cloned().unwrap_or_default();
            taken.extend(
                prefixes(&theirs)?.into_iter().map(|range| (sibling.id.whole.clone(), range)),
            );
        }
        let inner = body.get("properties").cloned().unwrap_or_default();
        self.check_subnet(id, &inner, &ranges, &taken)?;
        let new = !self.resources.contains_key(&id.key());
        self.keep(id, json!({ "properties": inner }), Facts::None, now_ms);
        Ok(self.begin_network(request, id, Follow::Status, new, now_ms))
    }

    fn check_subnet(
        &self,
        id: &Id,
        inner: &Value,
        ranges: &[Prefix],
        taken: &[(String, Prefix)],
    ) -> Result<Vec<Prefix>, Refusal> {
        let own = prefixes(inner)?;
        if own.is_empty() {
            let words = format!("Subnet {} has no address prefix.", id.whole);
            return Err(Refusal::new(400, "InvalidRequestFormat", words));
        }
        for range in &own {
            if !ranges.iter().any(|outer| range.within(*outer)) {
                let words = format!(
                    "Subnet '{}' is not valid because its IP address range is outside the IP address range of virtual \
                     network '{}'.",
                    id.name,
                    id.parent.as_deref().unwrap_or_default()
                );
                return Err(Refusal::new(400, "NetcfgInvalidSubnet", words));
            }
            if let Some((other, _)) = taken.iter().find(|(_, other)| other.overlaps(*range)) {
                let words = format!("Subnet {} overlaps with subnet {other}.", id.name);
                return Err(Refusal::new(400, "NetcfgSubnetRangesOverlap", words));
            }
        }
        if let Some(group) = word(inner, "/networkSecurityGroup/id") {
            self.referenced(group, Kind::SecurityGroup, &id.whole)?;
        }
        Ok(own)
    }

    /// Makes rules of what may pass, or changes them.
    pub(crate) fn put_security_group(
        &mut self,
        request: &Request,
        id: &Id,
        body: Value,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let mut seen = Vec::new();
        for rule in list(&body, "/properties/securityRules") {
            let name = word(rule, "/name").unwrap_or_default();
            let priority =
                rule.pointer("/properties/priority").and_then(Value::as_u64).unwrap_or(0);
            let direction = word(rule, "/properties/direction").unwrap_or_default();
            if !(100..=4096).contains(&priority) {
                let words = format!(
                    "Security rule {name} has invalid priority. Value provided: {priority}. Allowed range 100-4096."
                );
                return Err(Refusal::new(400, "SecurityRuleInvalidPriority", words));
            }
            if seen.contains(&(priority, direction)) {
                let words = format!(
                    "Security rule {name} conflicts with another rule of priority {priority}."
                );
                return Err(Refusal::new(400, "SecurityRuleConflict", words));
            }
            seen.push((priority, direction));
        }
        let new = !self.resources.contains_key(&id.key());
        if new {
            self.within_limit("NetworkSecurityGroups", 1)?;
        }
        self.keep(id, body, Facts::None, now_ms);
        Ok(self.begin_network(request, id, Follow::Resource, new, now_ms))
    }

    /// Makes a public address, or changes it.
    pub(crate) fn put_public_address(
        &mut self,
        request: &Request,
        id: &Id,
        body: Value,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let key = id.key();
        let facts = match self.resources.get(&key) {
            Some(there) => there.facts.clone(),
            None => {
                self.within_limit("PublicIPAddresses", 1)?;
                let [.., low] = self.number().to_be_bytes();
                // The range for documentation.
                Facts::Public(Address::new(203, 0, 113, low))
            }
        };
        let new = !self.resources.contains_key(&key);
        self.keep(id, body, facts, now_ms);
        Ok(self.begin_network(request, id, Follow::Status, new, now_ms))
    }

    /// Whether an address of a network is free, and which others are.
    pub(crate) fn check_address(&self, request: &Request, id: &Id) -> Result<Response, Refusal> {
        let text = request.value("ipAddress").unwrap_or_default();
        let Ok(address) = text.parse::<Address>() else {
            return Err(Refusal::invalid(format!("'{text}' is no address.")));
        };
        for subnet in self.subnets_of(id) {
            let range = self.range_of(subnet)?;
            if !range.holds(address) {
                continue;
            }
            let taken = self.taken_in(&subnet.id.key());
            let free = !range.reserves(address) && !taken.contains(&address);
            let others = range.usable().filter(|other| !taken.contains(other));
            let others: Vec<String> =
                others.take(OTHERS_MAX).map(|other| other.to_string()).collect();
            let mut body = json!({ "available": free });
            if !free {
                set(&mut body, "availableIPAddresses", json!(others));
            }
            return Ok(Response::json(200, &body));
        }
        let words = format!("IP address {text} does not belong to any subnet of {}.", id.whole);
        Err(Refusal::new(400, "PrivateIPAddressNotInAnySubnet", words))
    }

    pub(crate) fn subnets(&self, id: &Id) -> Response {
        let shown: Vec<Value> =
            self.subnets_of(id).into_iter().map(|subnet| self.describe(subnet)).collect();
        Response::json(200, &json!({ "value": shown }))
    }

    pub(crate) fn subnets_of(&self, network: &Id) -> Vec<&Resource> {
        let below = format!("{}/subnets/", network.key());
        let found = self.resources.range(below.clone()..);
        found.take_while(|(key, _)| key.starts_with(&below)).map(|(_, subnet)| subnet).collect()
    }

    /// The range of a subnet: the first where it has several.
    pub(crate) fn range_of(&self, subnet: &Resource) -> Result<Prefix, Refusal> {
        let inner = subnet.body.get("properties").cloned().unwrap_or_default();
        let first = prefixes(&inner)?.into_iter().next();
        first.ok_or_else(|| Refusal::invalid(format!("{} has no range", subnet.id.whole)))
    }

    /// What a resource names must be there, and of that kind.
    pub(crate) fn referenced(&self, text: &str, kind: Kind, by: &str) -> Result<Id, Refusal> {
        let id =
            Id::parse(text).filter(|id| id.kind == kind && self.resources.contains_key(&id.key()));
        id.ok_or_else(|| Refusal::dangling(text, by))
    }

    /// Who uses a network, subnet, security group or public address.
    pub(crate) fn user_of(&self, id: &Id) -> Option<String> {
        let key = id.key();
        let below = format!("{key}/");
        let user = self.resources.values().find(|other| match id.kind {
            Kind::Network | Kind::Subnet => other.interface().is_some_and(|interface| {
                let mut subnets = interface.addresses.iter().map(|(_, subnet)| subnet);
                subnets.any(|subnet| *subnet == key || subnet.starts_with(&below))
            }),
            Kind::SecurityGroup => other
                .word("/properties/networkSecurityGroup/id")
                .is_some_and(|group| group.eq_ignore_ascii_case(&key)),
            Kind::PublicAddress => {
                let configurations = list(&other.body, "/properties/ipConfigurations");
                let mut named = configurations
                    .iter()
                    .filter_map(|one| word(one, "/properties/publicIPAddress/id"));
                named.any(|address| address.eq_ignore_ascii_case(&key))
            }
            _ => false,
        });
        user.map(|user| user.id.whole.clone())
    }

    /// Keeps a resource of the network's provider, new or changed.
    pub(crate) fn keep(&mut self, id: &Id, body: Value, facts: Facts, now_ms: u64) {
        let there = self.resources.get(&id.key());
        let state = if there.is_some() { Provisioning::Updating } else { Provisioning::Creating };
        let created_ms = there.map_or(now_ms, |there| there.created_ms);
        let version = there.map_or(1, |there| there.version);
        let location = word(&body, "/location").unwrap_or_default().to_ascii_lowercase();
        let id = id.clone();
        let resource = Resource { id, location, body, state, facts, version, created_ms };
        self.resources.insert(resource.id.key(), resource);
    }

    pub(crate) fn begin_network(
        &mut self,
        request: &Request,
        id: &Id,
        follow: Follow,
        new: bool,
        now_ms: u64,
    ) -> Response {
        let provider = "Microsoft.Network";
        let beginning =
            Beginning { key: id.key(), effect: Effect::Provisioned, deed: None, follow, provider };
        self.begin(request, beginning, if new { 201 } else { 200 }, now_ms)
    }

    pub(crate) fn describe_network(&self, resource: &Resource, shown: &mut Value) {
        let subnets: Vec<Value> =
            self.subnets_of(&resource.id).into_iter().map(|subnet| self.describe(subnet)).collect();
        set(properties(shown), "subnets", json!(subnets));
    }

    /// A subnet names what is in it: who asks counts the addresses that are left.
    pub(crate) fn describe_subnet(&self, resource: &Resource, shown: &mut Value) {
        let key = resource.id.key();
        let interfaces =
            self.resources.values().filter_map(|other| Some((other, other.interface()?)));
        let inside = interfaces.flat_map(|(other, interface)| {
            let named = list(&other.body, "/properties/ipConfigurations");
            let both = named.iter().zip(&interface.addresses);
            let own = both.filter(|(_, (_, subnet))| *subnet == key);
            own.map(|(one, _)| {
                let name = word(one, "/name").unwrap_or("ipconfig1");
                format!("{}/ipConfigurations/{name}", other.id.whole)
            })
        });
        let inside: Vec<Value> = inside.map(|id| json!({ "id": id })).collect();
        if !inside.is_empty() {
            set(properties(shown), "ipConfigurations", json!(inside));
        }
    }

    pub(crate) fn describe_public_address(&self, resource: &Resource, shown: &mut Value) {
        if let Facts::Public(address) = &resource.facts {
            set(properties(shown), "ipAddress", json!(address.to_string()));
        }
    }
}

/// Rules as Azure shows them: each with a state of its own.
pub(crate) fn describe_security_group(shown: &mut Value) {
    let rules = properties(shown).get_mut("securityRules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        set(properties(rule), "provisioningState", json!("Succeeded"));
    }
}

/// Whether rules forbid a machine everything that it could send out: the first that speaks of all of it says so.
pub(crate) fn forbids_all_out(group: &Value) -> bool {
    let mut rules: Vec<&Value> = list(group, "/properties/securityRules").iter().collect();
    rules.retain(|rule| word(rule, "/properties/direction") == Some("Outbound"));
    rules.sort_by_key(|rule| rule.pointer("/properties/priority").and_then(Value::as_u64));
    let any = |rule: &Value, name: &str| word(rule, &format!("/properties/{name}")) == Some("*");
    let decides = rules.into_iter().find(|rule| {
        let everywhere = any(rule, "destinationAddressPrefix")
            || word(rule, "/properties/destinationAddressPrefix") == Some("Internet");
        let denies = word(rule, "/properties/access") == Some("Deny");
        everywhere && (!denies || (any(rule, "protocol") && any(rule, "destinationPortRange")))
    });
    decides.is_some_and(|rule| word(rule, "/properties/access") == Some("Deny"))
}

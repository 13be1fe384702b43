//! Network interfaces and their addresses.

use serde_json::{Value, json};

use super::Region;
use super::address::{Address, Prefix};
use super::http::{Request, Response};
use super::operations::Follow;
use super::place::{Id, Kind};
use super::refusal::Refusal;
use super::resource::{Facts, Interface, Resource, list, properties, set, word};

impl Region {
    /// Makes a network interface, or changes one.
    pub(crate) fn put_interface(
        &mut self,
        request: &Request,
        id: &Id,
        body: Value,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let configurations = list(&body, "/properties/ipConfigurations");
        if configurations.is_empty() {
            let words =
                format!("Network interface {} must have at least one IP configuration.", id.whole);
            return Err(Refusal::new(400, "NetworkInterfaceMustHaveOneIpConfiguration", words));
        }
        if let Some(group) = word(&body, "/properties/networkSecurityGroup/id") {
            self.referenced(group, Kind::SecurityGroup, &id.whole)?;
        }
        let mut addresses: Vec<(Address, String)> = Vec::new();
        for configuration in configurations {
            let one = self.configure(id, &body, configuration, &addresses)?;
            addresses.push(one);
        }
        let there = self.resources.get(&id.key()).and_then(Resource::interface).cloned();
        let new = there.is_none();
        if new {
            self.within_limit("NetworkInterfaces", 1)?;
        }
        let (mac, owner) = match there {
            Some(there) => (there.mac, there.owner),
            None => {
                // Microsoft's own prefix.
                let [.., high, middle, low] = self.number().to_be_bytes();
                ([0x00, 0x0d, 0x3a, high, middle, low], None)
            }
        };
        self.keep(id, body, Facts::Interface(Interface { addresses, mac, owner }), now_ms);
        Ok(self.begin_network(request, id, Follow::Status, new, now_ms))
    }

    /// The address of one configuration.
    fn configure(
        &self,
        id: &Id,
        body: &Value,
        configuration: &Value,
        own: &[(Address, String)],
    ) -> Result<(Address, String), Refusal> {
        let named = word(configuration, "/properties/subnet/id").unwrap_or_default();
        let subnet = self.referenced(named, Kind::Subnet, &id.whole)?;
        self.may_join("Microsoft.Network/virtualNetworks/subnets/join/action", &subnet)?;
        let subnet = self.found(&subnet)?;
        let network = subnet.id.network().and_then(|network| self.resources.get(&network.key()));
        let location = word(body, "/location").unwrap_or_default();
        if network.is_none_or(|network| !network.location.eq_ignore_ascii_case(location)) {
            return Err(Refusal::dangling(named, &id.whole));
        }
        if let Some(public) = word(configuration, "/properties/publicIPAddress/id") {
            let public = self.referenced(public, Kind::PublicAddress, &id.whole)?;
            if let Some(user) =
                self.user_of(&public).filter(|user| !user.eq_ignore_ascii_case(&id.whole))
            {
                let words = format!(
                    "Resource {} is referencing public IP address {} that is already allocated to \
                    resource {user}.",
                    id.whole, public.whole
                );
                return Err(Refusal::new(400, "PublicIPAddressInUse", words));
            }
        }
        let range = self.range_of(subnet)?;
        let key = subnet.id.key();
        let mut taken = self.taken_in_but(&key, Some(&id.key()));
        taken.extend(own.iter().map(|(address, _)| *address));
        self.pick(id, configuration, range, &key, &taken, own.len())
    }

    /// The address that is asked for, the one that is there, or the next that is free.
    fn pick(
        &self,
        id: &Id,
        configuration: &Value,
        range: Prefix,
        subnet: &str,
        taken: &[Address],
        number: usize,
    ) -> Result<(Address, String), Refusal> {
        let key = subnet.to_owned();
        let refuse = |code: &str, words: String| Err(Refusal::new(400, code, words));
        let fixed = word(configuration, "/properties/privateIPAllocationMethod") == Some("Static");
        let asked = word(configuration, "/properties/privateIPAddress").filter(|_| fixed);
        let Some(asked) = asked else {
            if fixed {
                let words = format!("A static address of {} is not named.", id.whole);
                return refuse("StaticPrivateIPAddressNotSpecified", words);
            }
            // Who has one keeps it.
            let before = self.resources.get(&id.key()).and_then(Resource::interface);
            let kept = before.and_then(|interface| {
                interface.addresses.get(number).filter(|(_, subnet)| *subnet == key)
            });
            if let Some(kept) = kept {
                return Ok(kept.clone());
            }
            return match range.usable().find(|address| !taken.contains(address)) {
                Some(address) => Ok((address, key)),
                None => {
                    let words = format!(
                        "Subnet {} with address prefix {range} does not have enough capacity.",
                        subnet.rsplit('/').next().unwrap_or_default()
                    );
                    refuse("SubnetIsFull", words)
                }
            };
        };
        let Ok(address) = asked.parse::<Address>() else {
            return refuse("InvalidIPAddress", format!("'{asked}' is no address."));
        };
        if !range.holds(address) {
            let words = format!(
                "Private static IP address {asked} does not belong to the range of subnet prefix {range}."
            );
            return refuse("PrivateIPAddressNotInSubnet", words);
        }
        if range.reserves(address) {
            let words = format!(
                "Private static IP address {asked} falls within reserved IP range of subnet prefix {range}."
            );
            return refuse("PrivateIPAddressInReservedRange", words);
        }
        if taken.contains(&address) {
            let words = format!(
                "IP configuration of {} is using the private IP address {asked} which is already \
                allocated to another resource.",
                id.whole
            );
            return refuse("PrivateIPAddressIsAllocated", words);
        }
        Ok((address, key))
    }

    /// Addresses of a subnet that interfaces have.
    pub(crate) fn taken_in(&self, subnet: &str) -> Vec<Address> {
        self.taken_in_but(subnet, None)
    }

    fn taken_in_but(&self, subnet: &str, but: Option<&str>) -> Vec<Address> {
        let others = self.resources.iter().filter(|(key, _)| Some(key.as_str()) != but);
        let interfaces = others.filter_map(|(_, resource)| resource.interface());
        let addresses = interfaces.flat_map(|interface| &interface.addresses);
        addresses.filter(|(_, of)| of == subnet).map(|(address, _)| *address).collect()
    }

    pub(crate) fn describe_interface(&self, resource: &Resource, shown: &mut Value) {
        let Some(interface) = resource.interface() else { return };
        let whole = &resource.id.whole;
        let [a, b, c, d, e, f] = interface.mac;
        let shown = properties(shown);
        set(shown, "macAddress", json!(format!("{a:02X}-{b:02X}-{c:02X}-{d:02X}-{e:02X}-{f:02X}")));
        if let Some(owner) = interface.owner.as_ref().and_then(|owner| self.resources.get(owner)) {
            set(shown, "virtualMachine", json!({ "id": owner.id.whole }));
            set(shown, "primary", json!(true));
        }
        let configurations = shown.get_mut("ipConfigurations").and_then(Value::as_array_mut);
        let both = configurations.into_iter().flatten().zip(&interface.addresses);
        for (number, (configuration, (address, _))) in both.enumerate() {
            let name = word(configuration, "/name").unwrap_or("ipconfig1").to_owned();
            set(configuration, "name", json!(name));
            set(configuration, "id", json!(format!("{whole}/ipConfigurations/{name}")));
            let inner = properties(configuration);
            set(inner, "privateIPAddress", json!(address.to_string()));
            set(inner, "provisioningState", json!("Succeeded"));
            set(inner, "primary", json!(number == 0));
            if inner.get("privateIPAllocationMethod").is_none() {
                set(inner, "privateIPAllocationMethod", json!("Dynamic"));
            }
        }
    }
}

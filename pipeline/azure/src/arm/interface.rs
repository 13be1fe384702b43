//! Network interfaces and public addresses.

use core::net::IpAddr;

use pipeline_vault::Error;
use serde_json::{Value, json};

use super::Call;
use super::action::Action;
use super::id::{Kind, ResourceId, SubnetId, check_location, check_zone};
use super::tags::Tags;
use crate::request::Method;

/// A network interface to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInterface {
    /// Azure's region.
    pub location: String,
    /// The subnet that it is in.
    pub subnet: SubnetId,
    /// Its address; `None` takes what Azure gives.
    pub address: Option<IpAddr>,
    /// A security group of its own.
    pub security: Option<ResourceId>,
    /// A public address.
    pub public: Option<ResourceId>,
    /// Whether packets pass the virtual switch by; the size must offer it.
    pub accelerated: bool,
    /// Its tags.
    pub tags: Tags,
}

/// Makes a network interface.
pub fn create(interface: &ResourceId, new: &NewInterface) -> Result<Call, Error> {
    interface.expect(Kind::Interface)?;
    check_location(&new.location)?;
    let mut address = json!({"primary": true, "subnet": {"id": new.subnet.path()}});
    match new.address {
        Some(fixed) => {
            address["privateIPAllocationMethod"] = json!("Static");
            address["privateIPAddress"] = json!(fixed.to_string());
            if fixed.is_ipv6() {
                return Err(Error::misuse(
                    format!("address {fixed} of {}", interface.shown()),
                    "is IPv6, which cannot be the first address of an interface in Azure",
                ));
            }
        }
        None => address["privateIPAllocationMethod"] = json!("Dynamic"),
    }
    if let Some(public) = &new.public {
        public.expect(Kind::PublicAddress)?;
        address["publicIPAddress"] = json!({"id": public.path()});
    }
    let mut properties = json!({
        "ipConfigurations": [{"name": "ipconfig1", "properties": address}],
        "enableAcceleratedNetworking": new.accelerated,
    });
    if let Some(security) = &new.security {
        security.expect(Kind::SecurityGroup)?;
        properties["networkSecurityGroup"] = json!({"id": security.path()});
    }
    let actions: &[Action] = match (&new.security, &new.public) {
        (None, None) => &[Action::InterfaceWrite, Action::SubnetJoin],
        (Some(_), None) => &[Action::InterfaceWrite, Action::SubnetJoin, Action::SecurityGroupJoin],
        (None, Some(_)) => &[Action::InterfaceWrite, Action::SubnetJoin, Action::PublicAddressJoin],
        (Some(_), Some(_)) => &[
            Action::InterfaceWrite,
            Action::SubnetJoin,
            Action::SecurityGroupJoin,
            Action::PublicAddressJoin,
        ],
    };
    let body = json!({
        "location": new.location,
        "tags": new.tags.to_json(),
        "properties": properties,
    });
    Ok(put(interface, actions, body))
}

/// Makes a public address that stays, closed until a security group opens it.
pub fn create_public(
    address: &ResourceId,
    location: &str,
    zone: Option<&str>,
    tags: &Tags,
) -> Result<Call, Error> {
    address.expect(Kind::PublicAddress)?;
    check_location(location)?;
    let mut body = json!({
        "location": location,
        "tags": tags.to_json(),
        "sku": {"name": "Standard"},
        "properties": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
    });
    if let Some(zone) = zone {
        check_zone(zone)?;
        body["zones"] = json!([zone]);
    }
    Ok(put(address, &[Action::PublicAddressWrite], body))
}

fn put(resource: &ResourceId, actions: &'static [Action], body: Value) -> Call {
    let act = format!("creating {}", resource.shown());
    let version = resource.kind().api_version();
    Call::new(Method::Put, resource.path(), version, actions, act).with_body(body)
}

/// The addresses inside the network that an interface has.
pub fn addresses(interface: &Value) -> Vec<IpAddr> {
    let configured = interface.pointer("/properties/ipConfigurations").and_then(Value::as_array);
    let texts = configured.into_iter().flatten();
    texts
        .filter_map(|one| one.pointer("/properties/privateIPAddress")?.as_str()?.parse().ok())
        .collect()
}

/// The address that a public address is.
pub fn public_address(address: &Value) -> Option<IpAddr> {
    address.pointer("/properties/ipAddress")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::id::GroupId;
    use super::*;

    fn new(address: Option<IpAddr>) -> (ResourceId, NewInterface) {
        let group = GroupId::new("00000000-0000-0000-0000-000000000001", "rg").unwrap();
        let network = group.resource(Kind::Network, "net").unwrap();
        let new = NewInterface {
            location: "westeurope".to_owned(),
            subnet: SubnetId::new(&network, "default").unwrap(),
            address,
            security: None,
            public: None,
            accelerated: false,
            tags: Tags::new(),
        };
        (group.resource(Kind::Interface, "web").unwrap(), new)
    }

    #[test]
    fn a_kept_address_is_static_and_another_is_not_sent() {
        let (id, kept) = new(Some(IpAddr::from([10, 0, 0, 9])));
        let body = create(&id, &kept).unwrap().body.unwrap();
        let inside = &body["properties"]["ipConfigurations"][0]["properties"];
        assert_eq!(inside["privateIPAllocationMethod"], "Static");
        assert_eq!(inside["privateIPAddress"], "10.0.0.9");
        let (id, given) = new(None);
        let body = create(&id, &given).unwrap().body.unwrap();
        let inside = &body["properties"]["ipConfigurations"][0]["properties"];
        assert!(inside.get("privateIPAddress").is_none());
        let (id, six) = new(Some("fd00::1".parse().unwrap()));
        assert!(create(&id, &six).is_err());
    }

    #[test]
    fn addresses_are_read_whatever_else_is_there() {
        let answer = json!({"properties": {"ipConfigurations": [
            {"properties": {"privateIPAddress": "10.0.0.9"}}, {"properties": {}}, 7,
        ]}});
        assert_eq!(addresses(&answer), [IpAddr::from([10, 0, 0, 9])]);
        assert!(addresses(&Value::Null).is_empty());
        assert_eq!(public_address(&json!({"properties": {"ipAddress": "odd"}})), None);
    }
}

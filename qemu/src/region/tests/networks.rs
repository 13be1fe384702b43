//! Addresses, subnets and what hangs on them.

use serde_json::json;

use super::{GROUP, World, interface};

#[test]
fn an_interface_has_the_address_that_was_asked_for_or_the_next_one() {
    let mut world = World::new();
    let subnet = world.network();
    let nic = format!("{GROUP}/providers/Microsoft.Network/networkInterfaces");
    let address = |world: &mut World, name: &str| {
        let shown = world.get(&format!("{nic}/{name}"));
        let one = &shown["properties"]["ipConfigurations"][0]["properties"];
        one["privateIPAddress"].as_str().unwrap().to_owned()
    };
    assert_eq!(world.interface("a", &subnet, Some("10.9.1.4")).status, 201);
    assert_eq!(world.interface("b", &subnet, None).status, 201);
    assert_eq!(address(&mut world, "a"), "10.9.1.4");
    assert_eq!(address(&mut world, "b"), "10.9.1.5");
    assert_eq!(world.interface("b", &subnet, None).status, 200);
    assert_eq!(address(&mut world, "b"), "10.9.1.5", "kept when it is written again");
    let checked = format!(
        "{GROUP}/providers/Microsoft.Network/virtualNetworks/vn1/CheckIPAddressAvailability"
    );
    let taken = world.get(&format!("{checked}?ipAddress=10.9.1.4"));
    assert_eq!(taken, json!({ "available": false, "availableIPAddresses": ["10.9.1.6"] }));
    assert_eq!(world.get(&format!("{checked}?ipAddress=10.9.1.6")), json!({ "available": true }));
    for (asked, code) in [
        ("10.9.1.4", "PrivateIPAddressIsAllocated"),
        ("10.9.1.3", "PrivateIPAddressInReservedRange"),
        ("10.9.2.4", "PrivateIPAddressNotInSubnet"),
        ("nonsense", "InvalidIPAddress"),
    ] {
        let refused = world.refused(&format!("{nic}/c"), &interface(&subnet, Some(asked)));
        assert_eq!(refused, (400, code.to_owned()), "{asked}");
    }
    assert_eq!(world.interface("c", &subnet, None).status, 201);
    let full = world.refused(&format!("{nic}/d"), &interface(&subnet, None));
    assert_eq!(full, (400, "SubnetIsFull".to_owned()));
    world.ask("DELETE", &format!("{nic}/a"), None);
    assert_eq!(world.interface("d", &subnet, None).status, 201, "what is free is used again");
}

#[test]
fn networks_hold_together() {
    let mut world = World::new();
    let subnet = world.network();
    let network = subnet.split("/subnets/").next().unwrap().to_owned();
    let put = |range: &str| json!({ "properties": { "addressPrefix": range } });
    let other = format!("{network}/subnets/s2");
    assert_eq!(world.refused(&other, &put("10.9.1.0/24")).1, "NetcfgSubnetRangesOverlap");
    assert_eq!(world.refused(&other, &put("10.8.1.0/24")).1, "NetcfgInvalidSubnet");
    assert_eq!(world.refused(&other, &put("10.9.2.1/24")).1, "InvalidCIDRNotation");
    assert_eq!(world.put(&other, &put("10.9.2.0/24")).status, 201);
    let shown = world.get(&network);
    assert_eq!(shown["properties"]["subnets"].as_array().unwrap().len(), 2);
    assert_eq!(world.get(&format!("{network}/subnets"))["value"][1]["name"], "s2");
    world.interface("a", &subnet, None);
    for path in [&network, &subnet] {
        let refused = world.ask("DELETE", path, None).value();
        assert_eq!(refused["error"]["code"], "InUseSubnetCannotBeDeleted", "{path}");
    }
    assert_eq!(world.ask("DELETE", &other, None).status, 202);
    let nic = format!("{GROUP}/providers/Microsoft.Network/networkInterfaces/a");
    world.ask("DELETE", &nic, None);
    assert_eq!(world.ask("DELETE", &network, None).status, 202);
    assert_eq!(world.ask("GET", &subnet, None).status, 404);
}

#[test]
fn a_public_address_and_rules_stay_while_somebody_has_them() {
    let mut world = World::new();
    let subnet = world.network();
    let here = format!("{GROUP}/providers/Microsoft.Network");
    let (public, rules) =
        (format!("{here}/publicIPAddresses/p"), format!("{here}/networkSecurityGroups/g"));
    let body =
        json!({ "location": "westeurope", "properties": { "publicIPAllocationMethod": "Static" } });
    assert_eq!(world.put(&public, &body).status, 201);
    assert!(world.get(&public)["properties"]["ipAddress"].is_string());
    assert_eq!(world.put(&rules, &json!({ "location": "westeurope" })).status, 201);
    let mut nic = interface(&subnet, None);
    nic["properties"]["networkSecurityGroup"] = json!({ "id": rules });
    nic["properties"]["ipConfigurations"][0]["properties"]["publicIPAddress"] =
        json!({ "id": public });
    assert_eq!(world.put(&format!("{here}/networkInterfaces/a"), &nic).status, 201);
    let refused = world.refused(&format!("{here}/networkInterfaces/b"), &nic);
    assert_eq!(refused.1, "PublicIPAddressInUse");
    let code = |world: &mut World, path: &str| {
        world.ask("DELETE", path, None).value()["error"]["code"].clone()
    };
    assert_eq!(code(&mut world, &public), "PublicIPAddressCannotBeDeleted");
    assert_eq!(code(&mut world, &rules), "InUseNetworkSecurityGroupCannotBeDeleted");
    nic["properties"]["networkSecurityGroup"] = json!({ "id": format!("{rules}-not") });
    let dangling = world.refused(&format!("{here}/networkInterfaces/b"), &nic);
    assert_eq!(dangling.1, "InvalidResourceReference");
    let twice = json!({ "priority": 100, "direction": "Inbound", "access": "Allow" });
    let body = json!({
        "location": "westeurope",
        "properties": { "securityRules": [{ "name": "a", "properties": twice }, { "name": "b", "properties": twice }] },
    });
    assert_eq!(world.refused(&rules, &body).1, "SecurityRuleConflict");
}

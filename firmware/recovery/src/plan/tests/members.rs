//! What a plan says of a server goes over its target profile, and the servers of a group come up at the same time.

use serde_json::json;

use super::*;
use crate::profile::Address;
use crate::test_world::SUBSCRIPTION;

#[test]
fn network_subnet_and_address_of_a_member_go_over_its_target_profile() {
    let site = site();
    let path = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/recovered/providers/Microsoft.Network/virtualNetworks/other"
    );
    let subnet = json!({"name": "inner", "properties": {"addressPrefix": "10.5.0.0/24"}});
    site.region.put(&path, json!({"id": path, "properties": {"subnets": [subnet]}}));
    let (process, hooks) = (site.process(1), Hooks::default());
    change(&process, &|text| {
        let member = &mut text.groups[1].servers[0];
        member.network = Some("other".to_owned());
        member.subnet = Some("inner".to_owned());
        member.address = Some(Address::Given([10, 5, 0, 9].into()));
    });
    let plan = go(&process, &hooks, false).expect("a failover");
    let inside = |server: usize| {
        let path: String = orders(&process, &plan)[server].interface().unwrap().into();
        let interface = site.region.thing(&path.to_lowercase());
        interface.pointer("/properties/ipConfigurations/0/properties").cloned().expect("one")
    };
    let app1 = inside(1);
    assert_eq!(app1["privateIPAddress"], "10.5.0.9", "{app1}");
    let subnet = |inside: &serde_json::Value| inside["subnet"]["id"].to_string().to_lowercase();
    assert!(subnet(&app1).contains("/virtualnetworks/other/subnets/inner"), "{app1}");
    let web1 = inside(2);
    assert!(subnet(&web1).contains("/virtualnetworks/net/subnets/default"), "{web1}");
}

#[test]
fn the_servers_of_a_group_come_up_at_the_same_time() {
    let site = site();
    *site.meets.lock().unwrap() = vec!["app1", "web1"];
    let (process, hooks) = (site.process(1), Hooks::default());
    let plan = go(&process, &hooks, false).expect("neither waits for the other's end");
    assert!(orders(&process, &plan).iter().all(|order| order.state == State::Up));
}

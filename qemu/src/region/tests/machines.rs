//! What Azure refuses when machines are made, and what becomes of those that are.

use serde_json::{Value, json};

use super::super::deed::Generation;
use super::super::faults::{Fault, Rule};
use super::super::{Deed, Outcome, Settings};
use super::{GROUP, SUBSCRIPTION, World, machine, state_of, upload};

const MIB: u64 = 1 << 20;

/// A region with a disk, a network and an interface.
fn ready() -> (World, String, String) {
    ready_with(Settings::default())
}

fn ready_with(settings: Settings) -> (World, String, String) {
    let mut world = World::with(settings);
    let disk = world.uploaded("os", "V2");
    let subnet = world.network();
    assert_eq!(world.interface("nic1", &subnet, Some("10.9.1.5")).status, 201);
    (world, disk, format!("{GROUP}/providers/Microsoft.Network/networkInterfaces/nic1"))
}

fn vm(name: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Compute/virtualMachines/{name}")
}

fn power(world: &mut World, name: &str) -> String {
    let view = world.get(&format!("{}/instanceView", vm(name)));
    view["statuses"][1]["code"].as_str().unwrap().to_owned()
}

#[test]
fn a_machine_takes_its_disk_and_interface_and_gives_them_back() {
    let settings = Settings {
        consoles: vec![("vm1".to_owned(), "login: ".to_owned())],
        ..Settings::default()
    };
    let (mut world, disk, nic) = ready_with(settings);
    let made = world.machine_with("vm1", &disk, &nic);
    assert_eq!(made.status, 201, "{}", made.value());
    assert_eq!(power(&mut world, "vm1"), "PowerState/running");
    assert_eq!(state_of(&world.get(&disk)), "Attached");
    assert_eq!(world.get(&disk)["managedBy"], vm("vm1"));
    assert_eq!(world.ask("DELETE", &disk, None).status, 409);
    assert_eq!(world.ask("DELETE", &nic, None).value()["error"]["code"], "NicInUse");
    assert_eq!(
        world.machine_with("vm1", &disk, &nic).status,
        200,
        "the same again changes nothing"
    );
    let told =
        world.ask("POST", &format!("{}/retrieveBootDiagnosticsData", vm("vm1")), None).value();
    let log = told["serialConsoleLogBlobUri"].as_str().unwrap().replace("http://region.test", "");
    assert_eq!(world.ask("GET", &log, None).bytes(), b"login: ");
    let screen =
        told["consoleScreenshotBlobUri"].as_str().unwrap().replace("http://region.test", "");
    assert_eq!(&world.ask("GET", &screen, None).bytes()[..2], b"BM");
    world.now_ms += 3 * 3_600_000;
    assert_eq!(world.ask("GET", &log, None).status, 403, "not for ever");
    world.ask("POST", &format!("{}/deallocate", vm("vm1")), None);
    assert_eq!(power(&mut world, "vm1"), "PowerState/deallocated");
    assert_eq!(state_of(&world.get(&disk)), "Reserved");
    world.ask("POST", &format!("{}/start", vm("vm1")), None);
    assert_eq!(power(&mut world, "vm1"), "PowerState/running");
    assert_eq!(world.ask("DELETE", &vm("vm1"), None).status, 202);
    assert_eq!(state_of(&world.get(&disk)), "Unattached");
    assert_eq!(world.ask("DELETE", &nic, None).status, 202);
}

#[test]
fn what_is_to_go_with_a_machine_goes_with_it() {
    let (mut world, disk, nic) = ready();
    let data = world.uploaded("data", "V1");
    let mut body = machine(&disk, &nic);
    body["properties"]["storageProfile"]["osDisk"]["deleteOption"] = json!("Delete");
    body["properties"]["storageProfile"]["dataDisks"] =
        json!([{ "lun": 3, "createOption": "Attach", "managedDisk": { "id": data } }]);
    body["properties"]["networkProfile"]["networkInterfaces"][0]["properties"] =
        json!({ "deleteOption": "Delete" });
    assert_eq!(world.put(&vm("vm1"), &body).status, 201);
    world.ask("DELETE", &vm("vm1"), None);
    assert_eq!(world.ask("GET", &disk, None).status, 404);
    assert_eq!(world.ask("GET", &nic, None).status, 404);
    assert_eq!(state_of(&world.get(&data)), "Unattached", "this one was to stay");
}

#[test]
fn machines_that_cannot_be_are_refused_and_change_nothing() {
    let (mut world, disk, nic) = ready();
    let half = world.disk("half", "V2");
    let bios = world.uploaded("bios", "V1");
    let before = world.region.resources();
    let change = |pointer: &str, value: Value| {
        let mut body = machine(&disk, &nic);
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        body
    };
    let size = |name: &str| change("/properties/hardwareProfile/vmSize", json!(name));
    let data = |disks: Value| change("/properties/storageProfile/dataDisks", disks);
    let at = |lun: u32, id: &str| json!({ "lun": lun, "createOption": "Attach", "managedDisk": { "id": id } });
    let os =
        |id: &str| change("/properties/storageProfile/osDisk/managedDisk", json!({ "id": id }));
    let cases: Vec<(Value, u16, &str)> = vec![
        (size("Standard_Nothing"), 400, "InvalidParameter"),
        (size("Standard_M8ms"), 409, "SkuNotAvailable"),
        (size("Standard_A2_v2"), 400, "BadRequest"),
        (size("Standard_D2_v5"), 400, "InvalidParameter"),
        (change("/properties/osProfile", json!({ "computerName": "x" })), 400, "InvalidParameter"),
        (os(&half), 409, "OperationNotAllowed"),
        (os(&format!("{disk}-not")), 404, "NotFound"),
        (data(json!([at(64, &bios)])), 400, "InvalidParameter"),
        (data(json!([at(0, &bios), at(0, &half)])), 400, "InvalidParameter"),
        (data(json!([at(0, &bios), at(1, &bios)])), 409, "ConflictingUserInput"),
        (data(json!([at(0, &disk)])), 409, "ConflictingUserInput"),
        (
            data(json!([at(0, &bios), at(1, "a"), at(2, "b"), at(3, "c"), at(4, "d")])),
            409,
            "OperationNotAllowed",
        ),
        (
            change("/properties/networkProfile/networkInterfaces", json!([])),
            400,
            "InvalidParameter",
        ),
        (
            change(
                "/properties/networkProfile/networkInterfaces",
                json!([{ "id": format!("{nic}9") }]),
            ),
            400,
            "InvalidResourceReference",
        ),
        (
            change("/properties/securityProfile", json!({ "securityType": "TrustedLaunch" })),
            400,
            "BadRequest",
        ),
        (change("/zones", json!(["1"])), 400, "BadRequest"),
        (change("/location", json!("northeurope")), 400, "BadRequest"),
        (change("/location", json!("atlantis")), 400, "LocationNotAvailableForResourceType"),
    ];
    for (body, status, code) in cases {
        let refused = world.refused(&vm("vm1"), &body);
        assert_eq!(refused, (status, code.to_owned()), "{body}");
    }
    let mut zoned = size("Standard_F4s_v2");
    zoned["zones"] = json!(["1"]);
    assert_eq!(world.refused(&vm("vm1"), &zoned), (409, "SkuNotAvailable".to_owned()));
    let named = world.refused(&vm("-x"), &machine(&disk, &nic));
    assert_eq!(named, (400, "InvalidResourceName".to_owned()));
    assert_eq!(world.refused(&vm(&"x".repeat(65)), &machine(&disk, &nic)).0, 400);
    assert_eq!(world.region.resources(), before, "nothing was made and nothing taken");
    assert_eq!(world.machine_with("vm1", &disk, &nic).status, 201);
    let taken = world.refused(&vm("vm2"), &machine(&disk, &nic));
    assert_eq!(taken, (409, "ConflictingUserInput".to_owned()), "the disk is another's");
    let other = world.uploaded("other", "V2");
    assert_eq!(world.refused(&vm("vm2"), &machine(&other, &nic)), (400, "NicInUse".to_owned()));
}

#[test]
fn quota_is_counted_by_processors_of_machines_that_are_not_deallocated() {
    let (mut world, disk, nic) = ready();
    world.region.set_limit("cores", 2);
    assert_eq!(world.machine_with("vm1", &disk, &nic).status, 201);
    let other = world.uploaded("other", "V2");
    let subnet = format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/vn1/subnets/s1");
    assert_eq!(world.interface("nic2", &subnet, None).status, 201);
    let nic2 = nic.replace("nic1", "nic2");
    let refused = world.put(&vm("vm2"), &machine(&other, &nic2)).value();
    assert_eq!(refused["error"]["code"], "OperationNotAllowed");
    assert!(
        refused["error"]["message"].as_str().unwrap().contains("New Limit Required: 4"),
        "{refused}"
    );
    let usages = format!("{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westeurope/usages");
    let cores = |world: &mut World| {
        let all = world.get(&usages)["value"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["name"]["value"] == "cores").unwrap()["currentValue"].clone()
    };
    assert_eq!(cores(&mut world), 2);
    world.ask("POST", &format!("{}/deallocate", vm("vm1")), None);
    assert_eq!(cores(&mut world), 0);
    assert_eq!(world.put(&vm("vm2"), &machine(&other, &nic2)).status, 201);
    let start = world.ask("POST", &format!("{}/start", vm("vm1")), None);
    assert_eq!(start.status, 409, "there is no room for both");
    let skus =
        format!("{SUBSCRIPTION}/providers/Microsoft.Compute/skus?$filter=location eq 'westeurope'");
    let sizes = world.get(&skus);
    let sizes = sizes["value"].as_array().unwrap().clone();
    let machines: Vec<_> =
        sizes.iter().filter(|one| one["resourceType"] == "virtualMachines").collect();
    assert_eq!(machines.len(), super::super::catalogue::SIZES.len());
}

#[test]
fn what_fails_after_the_yes_leaves_something_to_be_removed() {
    let (mut world, disk, nic) = ready();
    world.region.set_faults(vec![Rule::new("PUT", "virtualMachines", 1, Fault::no_room())]);
    let begun = world.machine_with("vm1", &disk, &nic);
    assert_eq!(begun.status, 201);
    let status = begun.header("Azure-AsyncOperation").unwrap().replace("http://region.test", "");
    let told = world.get(status.split("api-version").next().unwrap());
    assert_eq!(told["error"]["code"], "AllocationFailed");
    assert_eq!(world.get(&vm("vm1"))["properties"]["provisioningState"], "Failed");
    assert_eq!(world.ask("DELETE", &disk, None).status, 409, "the failed machine holds it");
    assert_eq!(world.machine_with("vm1", &disk, &nic).status, 200, "and may be tried again");
    assert_eq!(power(&mut world, "vm1"), "PowerState/running");
}

#[test]
fn a_machine_boots_what_its_parts_say() {
    let settings = Settings { machines: true, ..Settings::default() };
    let mut world = World::with(settings);
    let subnet = world.network();
    let rules = format!("{GROUP}/providers/Microsoft.Network/networkSecurityGroups/closed");
    let deny = json!({
        "priority": 100, "direction": "Outbound", "access": "Deny", "protocol": "*", "sourceAddressPrefix": "*",
        "sourcePortRange": "*", "destinationAddressPrefix": "*", "destinationPortRange": "*",
    });
    let body = json!({
        "location": "westeurope", "properties": { "securityRules": [{ "name": "none", "properties": deny }] },
    });
    assert_eq!(world.put(&rules, &body).status, 201);
    let inner = json!({ "addressPrefix": "10.9.1.0/29", "networkSecurityGroup": { "id": rules } });
    assert_eq!(world.put(&subnet, &json!({ "properties": inner })).status, 200);
    let (disk, data) = (world.uploaded("os", "V1"), world.uploaded("data", "V1"));
    world.interface("nic1", &subnet, Some("10.9.1.6"));
    let nic = format!("{GROUP}/providers/Microsoft.Network/networkInterfaces/nic1");
    let mut body = machine(&disk, &nic);
    body["properties"]["storageProfile"]["dataDisks"] =
        json!([{ "lun": 1, "createOption": "Attach", "managedDisk": { "id": data } }]);
    assert_eq!(world.put(&vm("vm1"), &body).status, 201);
    let deeds = world.region.take_deeds();
    let [(ticket, Deed::Boot(boot))] = deeds.as_slice() else { panic!("{deeds:?}") };
    assert_eq!(boot.generation, Generation::V1);
    assert_eq!(boot.disks.iter().map(|disk| disk.lun).collect::<Vec<_>>(), [None, Some(1)]);
    assert_eq!(boot.disks[0].bytes, 20 * MIB);
    let wire = &boot.wires[0];
    assert_eq!((wire.address.to_string(), wire.closed), ("10.9.1.6".to_owned(), true));
    assert_eq!(wire.subnet.to_string(), "10.9.1.0/29");
    assert_eq!(power(&mut world, "vm1"), "PowerState/starting");
    world.region.did(*ticket, Ok(Outcome::Done), world.now_ms);
    assert_eq!(power(&mut world, "vm1"), "PowerState/running");
    world.region.machine_ended(&vm("vm1").to_ascii_lowercase());
    assert_eq!(power(&mut world, "vm1"), "PowerState/stopped");
    world.ask("DELETE", &vm("vm1"), None);
    assert!(matches!(world.region.take_deeds().as_slice(), [(_, Deed::Forget { .. })]));
}

#[test]
fn a_disk_larger_than_machines_start_from_is_data_alone() {
    let (mut world, _, nic) = ready();
    let path = format!("{GROUP}/providers/Microsoft.Compute/disks/large");
    assert_eq!(world.put(&path, &upload("V2", (4096 << 30) + 512)).status, 202);
    let asked = json!({ "access": "Write", "durationInSeconds": 3600 });
    world.ask("POST", &format!("{path}/beginGetAccess"), Some(&asked));
    world.ask("POST", &format!("{path}/endGetAccess"), None);
    let refused = world.put(&vm("vm1"), &machine(&path, &nic)).value();
    assert!(refused["error"]["message"].as_str().unwrap().contains("4095 GiB"), "{refused}");
}

//! Machines: what is sent, what is read, what is refused before it is sent.

use super::super::id::GroupId;
use super::*;

fn group() -> GroupId {
    GroupId::new("00000000-0000-0000-0000-000000000001", "rg1").unwrap()
}

fn new() -> (ResourceId, NewMachine) {
    let named = |kind, name: &str| group().resource(kind, name).unwrap();
    let new = NewMachine {
        location: "westeurope".to_owned(),
        zone: Some("1".to_owned()),
        size: "Standard_D2s_v5".to_owned(),
        system: (System::Linux, Generation::V2),
        os_disk: named(Kind::Disk, "os1"),
        data_disks: vec![named(Kind::Disk, "data1"), named(Kind::Disk, "data2")],
        interfaces: vec![named(Kind::Interface, "nic1"), named(Kind::Interface, "nic2")],
        trusted_launch: true,
        secure_boot: false,
        licence: None,
        after_delete: AfterDelete::Detach,
        tags: Tags::new(),
    };
    (named(Kind::Machine, "vm1"), new)
}

#[test]
fn disks_are_attached_by_number_and_nobody_is_to_provision() {
    let (machine, new) = new();
    let body = create(&machine, &new).unwrap().body.unwrap();
    let properties = &body["properties"];
    assert!(properties.get("osProfile").is_none());
    let disks = properties["storageProfile"]["dataDisks"].as_array().unwrap();
    assert_eq!(disks.len(), 2);
    assert!(disks.iter().enumerate().all(|(lun, disk)| disk["lun"] == lun));
    let interfaces = properties["networkProfile"]["networkInterfaces"].as_array().unwrap();
    assert_eq!(interfaces[0]["properties"]["primary"], true);
    assert_eq!(interfaces[1]["properties"]["primary"], false);
    assert_eq!(body["zones"], json!(["1"]));
}

#[test]
fn a_standard_machine_names_no_security_type() {
    let (machine, mut new) = new();
    new.trusted_launch = false;
    let body = create(&machine, &new).unwrap().body.unwrap();
    assert!(body["properties"].get("securityProfile").is_none());
}

#[test]
fn what_azure_would_refuse_is_refused_before_it_is_sent() {
    let changes: [fn(&mut NewMachine); 8] = [
        |new| new.interfaces.clear(),
        |new| new.size = "Standard D2".to_owned(),
        |new| new.system.1 = Generation::V1,
        |new| (new.trusted_launch, new.secure_boot) = (false, true),
        |new| new.zone = Some("a".to_owned()),
        |new| new.location = "West Europe".to_owned(),
        |new| new.os_disk = group().resource(Kind::Snapshot, "os1").unwrap(),
        |new| new.interfaces = vec![group().resource(Kind::Disk, "os1").unwrap()],
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (machine, mut new) = new();
        assert!(create(&machine, &new).is_ok());
        change(&mut new);
        assert!(create(&machine, &new).is_err(), "change {number}");
    }
    assert!(start(&group().resource(Kind::Disk, "os1").unwrap()).is_err());
}

#[test]
fn answers_are_read_whatever_else_is_in_them() {
    let view = json!({"statuses": [
        {"code": "ProvisioningState/failed/VMStartTimedOut", "level": "Error", "message": "late\nmore"},
        {"code": "PowerState/running", "level": "Info"}, {"new": 1}, 7,
    ]});
    assert_eq!(Power::of(&view), Power::Running);
    assert_eq!(complaints(&view), ["ProvisioningState/failed/VMStartTimedOut: late"]);
    assert_eq!(Power::of(&Value::Null), Power::Other(String::new()));
    let console = Console::of(&json!({"serialConsoleLogBlobUri": "https://a/b?c", "more": 1}));
    assert_eq!(console.log.unwrap().expose(), "https://a/b?c");
    assert_eq!(console.screenshot, None);
}

#[test]
fn the_official_sdk_sends_the_same_where_it_means_the_same() {
    let Some(log) = crate::test_vectors::shared("arm_sdk_requests.json") else { return };
    let log = log.as_array().unwrap();
    let sent = log
        .iter()
        .find(|sent| {
            sent["method"] == "PUT"
                && sent["path"].as_str().unwrap().ends_with("/virtualMachines/vm1")
        })
        .expect("the SDK makes a machine");
    let (machine, new) = new();
    let call = create(&machine, &new).unwrap();
    assert_eq!(sent["path"], call.path);
    let (ours, theirs) = (call.body.unwrap(), &sent["body"]);
    let both = [&ours, theirs];
    for place in [
        "/properties/storageProfile/osDisk/createOption",
        "/properties/storageProfile/osDisk/osType",
        "/properties/storageProfile/osDisk/managedDisk/id",
        "/properties/securityProfile/securityType",
        "/properties/diagnosticsProfile/bootDiagnostics/enabled",
    ] {
        let [ours, theirs] = both.map(|body| body.pointer(place));
        assert!(theirs.is_some(), "the SDK sends {place}: {}", sent["body"]);
        assert_eq!(ours, theirs, "{place}");
    }
}

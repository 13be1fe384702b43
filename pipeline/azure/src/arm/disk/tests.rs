//! Disks: what is sent, what is read, what is refused before it is sent.

use super::super::id::GroupId;
use super::*;

fn resource(kind: Kind) -> ResourceId {
    let group = GroupId::new("00000000-0000-0000-0000-000000000001", "rg1").unwrap();
    group.resource(kind, "os1").unwrap()
}

fn new(bytes: u64) -> NewDisk {
    NewDisk {
        location: "westeurope".to_owned(),
        zone: None,
        sku: "Premium_LRS".to_owned(),
        source: Source::Upload { bytes },
        system: Some((System::Linux, Generation::V2)),
        trusted_launch: false,
        tags: Tags::new(),
    }
}

#[test]
fn a_disk_to_upload_has_room_for_its_footer() {
    let call = create(&resource(Kind::Disk), &new(64 << 30)).unwrap();
    let body = call.body.unwrap();
    let data = &body["properties"]["creationData"];
    assert_eq!(data["uploadSizeBytes"], (64_u64 << 30) + 512);
    assert_eq!(body["properties"]["hyperVGeneration"], "V2");
    assert!(body.get("zones").is_none() && body["properties"].get("securityProfile").is_none());
}

#[test]
fn what_azure_would_refuse_is_refused_before_it_is_sent() {
    let disk = resource(Kind::Disk);
    for bytes in [0, (20 << 20) - 512, (20 << 20) + 512, (32 << 40) + (1 << 20), u64::MAX] {
        assert!(create(&disk, &new(bytes)).is_err(), "{bytes}");
    }
    for bytes in [20 << 20, 32 << 40] {
        assert!(create(&disk, &new(bytes)).is_ok(), "{bytes}");
    }
    assert!(create(&resource(Kind::Machine), &new(20 << 20)).is_err());
    let mut old = new(20 << 20);
    old.system = Some((System::Linux, Generation::V1));
    old.trusted_launch = true;
    assert!(create(&disk, &old).is_err());
    assert!(begin_access(&resource(Kind::Snapshot), Access::Write, 1).is_err());
    assert!(begin_access(&resource(Kind::Machine), Access::Read, 1).is_err());
}

#[test]
fn no_signature_is_asked_for_longer_than_azure_gives() {
    let call = begin_access(&resource(Kind::Disk), Access::Write, u32::MAX).unwrap();
    assert_eq!(call.body.unwrap()["durationInSeconds"], 5_184_000);
}

#[test]
fn answers_are_read_whatever_else_is_in_them() {
    let url = "https://md-impexp-1.z1.blob.storage.azure.net/a/b?sig=c";
    for answer in [
        json!({"accessSAS": url, "securityDataAccessSAS": null}),
        json!({"status": "Succeeded", "properties": {"output": {"accessSAS": url}}}),
    ] {
        assert_eq!(signature(&answer).unwrap().expose(), url);
    }
    assert_eq!(signature(&json!({"accessSAS": ""})), None);
    assert_eq!(signature(&Value::Null), None);
    let state = |text: &str| DiskState::of(&json!({"properties": {"diskState": text}}));
    assert_eq!(state("ActiveUpload"), DiskState::ActiveUpload);
    assert_eq!(state("New"), DiskState::Other("New".to_owned()));
    assert_eq!(DiskState::of(&Value::Null), DiskState::Other(String::new()));
}

#[test]
fn the_official_sdk_sends_the_same() {
    let Some(log) = crate::test_vectors::shared("arm_sdk_requests.json") else { return };
    let sent: Vec<&Value> = log.as_array().unwrap().iter().collect();
    let theirs = |method: &str, end: &str| {
        sent.iter()
            .find(|sent| sent["method"] == method && sent["path"].as_str().unwrap().ends_with(end))
            .unwrap_or_else(|| panic!("the SDK sends {method} {end}"))
    };
    let disk = resource(Kind::Disk);
    let ours = create(&disk, &new((32 << 30) - (1 << 20))).unwrap();
    let body = &theirs("PUT", "/disks/os1")["body"];
    assert_eq!(theirs("PUT", "/disks/os1")["path"], ours.path);
    let (mut ours, mut body) = (ours.body.unwrap(), body.clone());
    // Tags are ours alone, and the SDK's script uploads another length.
    ours.as_object_mut().unwrap().remove("tags");
    body["properties"]["creationData"]["uploadSizeBytes"] = json!(0);
    ours["properties"]["creationData"]["uploadSizeBytes"] = json!(0);
    assert_eq!(ours, body);
    let ours = begin_access(&disk, Access::Write, 86_400).unwrap();
    let begin = theirs("POST", "/beginGetAccess");
    assert_eq!((&begin["path"], &begin["body"]), (&json!(ours.path), &ours.body.unwrap()));
    let ours = end_access(&disk).unwrap();
    let end = theirs("POST", "/endGetAccess");
    assert_eq!((&end["path"], &end["body"]), (&json!(ours.path), &json!(ours.body)));
}

//! Ids and names: what is read, what is refused.

use super::*;

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

fn group() -> GroupId {
    GroupId::new(SUBSCRIPTION, "rg-1").unwrap()
}

#[test]
fn ids_of_every_kind_survive_their_text_in_any_case() {
    for kind in Kind::ALL {
        let id = group().resource(kind, "web-1").unwrap();
        assert_eq!(ResourceId::parse(&id.to_string()).unwrap(), id);
        assert_eq!(ResourceId::parse(&id.to_string().to_uppercase()).unwrap(), id);
        let stored = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<ResourceId>(&stored).unwrap(), id);
    }
    let network = group().resource(Kind::Network, "net").unwrap();
    let subnet = SubnetId::new(&network, "default").unwrap();
    assert_eq!(SubnetId::parse(&subnet.to_string()).unwrap(), subnet);
    assert_eq!(GroupId::try_from(group().to_string()).unwrap(), group());
}

#[test]
fn what_is_no_id_is_refused() {
    let disk = group().resource(Kind::Disk, "a").unwrap().to_string();
    let network = group().resource(Kind::Network, "net").unwrap().to_string();
    for text in [
        "",
        "/",
        "a/b",
        "/subscriptions/x/resourceGroups/g/providers/Microsoft.Compute/disks/a",
        disk.trim_start_matches('/'),
        &format!("{disk}/"),
        &format!("{disk}/more/b"),
        &disk.replace("disks", "galleries"),
        &disk.replace("resourceGroups", "groups"),
        &format!("/{}", "a/".repeat(3000)),
    ] {
        assert!(ResourceId::parse(text).is_err(), "{text}");
        assert!(SubnetId::parse(text).is_err(), "{text}");
    }
    assert!(SubnetId::parse(&format!("{disk}/subnets/a")).is_err());
    assert!(SubnetId::parse(&format!("{network}/subnets/a?b")).is_err());
}

#[test]
fn names_go_by_azures_rules() {
    let long = "a".repeat(81);
    for (kind, name, taken) in [
        (Kind::Disk, "web_os-1", true),
        (Kind::Disk, "web.os", false),
        (Kind::Disk, "web-", false),
        (Kind::Disk, "_web", false),
        (Kind::Disk, "wéb", false),
        (Kind::Disk, "", false),
        (Kind::Disk, "../a", false),
        (Kind::Disk, long.as_str(), false),
        (Kind::Disk, &long[1..], true),
        (Kind::Interface, "web.nic_", true),
        (Kind::Network, "a", false),
        (Kind::Machine, &long[1..], false),
        (Kind::Machine, &long[17..], true),
    ] {
        assert_eq!(group().resource(kind, name).is_ok(), taken, "{kind:?} {name}");
    }
    for (name, taken) in [("a(b)._-", true), ("a.", false), ("a/b", false), ("", false)] {
        assert_eq!(GroupId::new(SUBSCRIPTION, name).is_ok(), taken, "{name}");
    }
    assert!(GroupId::new(&long[1..37], "a").is_err());
}

#[test]
fn locations_and_zones_are_plain() {
    assert!(check_location("westeurope").is_ok() && check_location("West Europe").is_err());
    assert!(check_zone("2").is_ok() && check_zone("0").is_err() && check_zone("10").is_err());
}

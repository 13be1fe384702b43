//! What is linked is in the bill, and what only builds or tests is not.

use super::*;

const METADATA: &str = r#"{
    "packages": [
        {"id": "f", "name": "firmware", "version": "0.1.0", "license": "Apache-2.0", "source": null},
        {"id": "a", "name": "linked", "version": "1.0.0+x", "license": "MIT/Apache-2.0", "source": "registry"},
        {"id": "b", "name": "builds", "version": "1.0.0", "license": null, "source": "registry"},
        {"id": "c", "name": "tests", "version": "1.0.0", "license": null, "source": "registry"}],
    "resolve": {"nodes": [
        {"id": "f", "deps": [
            {"pkg": "a", "dep_kinds": [{"kind": null, "target": null}]},
            {"pkg": "b", "dep_kinds": [{"kind": "build"}]}, {"pkg": "c", "dep_kinds": [{"kind": "dev"}]}]},
        {"id": "a", "deps": [{"pkg": "a", "dep_kinds": [{"kind": null}]}]}]}}"#;
const LOCK: &str = "version = 4\n[[package]]\nname = \"linked\"\nversion = \"1.0.0+x\"\nchecksum = \"cafe\"\n\
    [[package]]\nname = \"firmware\"\nversion = \"0.1.0\"\n";

fn lock() -> Lock {
    let locked = |name: &str, path: &str| Locked {
        name: name.into(),
        version: "1:2+deb~1".into(),
        sha256: "ab".repeat(32),
        path: path.into(),
    };
    Lock {
        resolved: 0,
        kernel: "linux-image".into(),
        package: vec![locked("firmware-x", "x_all.deb"), locked("linux-image", "l_amd64.deb")],
    }
}

#[test]
fn what_is_linked_is_found_with_its_checksum() {
    let found = linked(METADATA.as_bytes(), LOCK).unwrap();
    let names: Vec<&str> = found.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["firmware", "linked"]);
    assert_eq!(found[1].sha256.as_deref(), Some("cafe"));
    assert!(linked(b"{", LOCK).is_err() && linked(METADATA.as_bytes(), "[").is_err());
    assert!(linked(METADATA.replace("firmware", "other").as_bytes(), LOCK).is_err());
}

#[test]
fn the_bill_names_everything_once_and_is_the_same_each_time() {
    let crates = linked(METADATA.as_bytes(), LOCK).unwrap();
    let bill = |firmware| write(&lock(), firmware, &crates, "1.2.3").unwrap();
    let text = bill(true);
    assert_eq!(text, bill(true));
    let read: Value = serde_json::from_str(&text).unwrap();
    let components = read["components"].as_array().unwrap();
    assert_eq!(components.len(), 4);
    assert_eq!(
        components[0]["purl"],
        "pkg:deb/debian/firmware-x@1%3A2%2Bdeb%7E1?arch=all&distro=trixie"
    );
    assert_eq!(components[1]["type"], "operating-system");
    assert_eq!(components[3]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert_eq!(components[3]["purl"], "pkg:cargo/linked@1.0.0%2Bx");
    assert_eq!(read["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    let refs: BTreeSet<&str> =
        components.iter().filter_map(|part| part["bom-ref"].as_str()).collect();
    assert_eq!(refs.len(), 4);
    assert!(!bill(false).contains("firmware-x"), "what is not in the image is not in its bill");
}

#[test]
fn this_projects_own_crates_are_found() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let found = crates(workspace).unwrap();
    for name in ["firmware", "rustls", "ring", "pipeline-vault"] {
        assert!(found.iter().any(|part| part.name == name), "{name}");
    }
    let foreign = found.iter().filter(|part| part.sha256.is_some()).count();
    assert!(foreign > 40, "{foreign}");
    assert!(!found.iter().any(|part| part.name == "image" || part.name == "hal-sim"));
}

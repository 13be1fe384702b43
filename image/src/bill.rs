//! The bill of materials, CycloneDX 1.5 as JSON: every package of Debian with its version and checksum, and every crate
//! that is linked into the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Blame, Error};
use crate::files;
use crate::identity::Identity;
use crate::recipe::{Lock, Locked};
use crate::time::Utc;

/// The package whose crates go into the image.
const PROGRAM: &str = "firmware";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A crate of the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, as it says itself.
    pub license: Option<String>,
    /// SHA-256 of its archive, where it comes from a registry; ours come from the project itself.
    pub sha256: Option<String>,
}

/// Writes the bill.
pub fn write(
    lock: &Lock,
    firmware: bool,
    crates: &[Crate],
    version: &str,
) -> Result<String, Error> {
    let packages = lock.package.iter().filter(|package| firmware || !is_firmware(package));
    let components: Vec<Value> =
        packages.map(|package| debian(package, lock)).chain(crates.iter().map(rust)).collect();
    // It is in the image, whose own identity is made of what is in it: its number is of its own contents.
    let named = format!("{version} {components:?}");
    let serial = Identity::of(&[named.as_bytes()]).uuid("bill");
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{serial}"),
        "version": 1,
        "metadata": {
            "timestamp": Utc::of(lock.resolved).text(),
            "component": {
                "type": "operating-system",
                "bom-ref": "lifeboat",
                "name": "lifeboat",
                "version": version,
                "licenses": [{ "license": { "id": "Apache-2.0" } }],
            },
        },
        "components": components,
    });
    serde_json::to_string_pretty(&bill).map(|text| text + "\n").map_err(|error| {
        Error::new(Blame::Machine, "the bill of materials", error.to_string(), "build again")
    })
}

fn is_firmware(package: &Locked) -> bool {
    package.name.starts_with("firmware-")
}

fn debian(package: &Locked, lock: &Lock) -> Value {
    let Locked { name, version, sha256, path } = package;
    let kind = if *name == lock.kernel {
        "operating-system"
    } else if is_firmware(package) {
        "firmware"
    } else {
        "library"
    };
    let arch = if path.ends_with("_all.deb") { "all" } else { "amd64" };
    let (name_escaped, version_escaped) = (escaped(name), escaped(version));
    let purl = format!("pkg:deb/debian/{name_escaped}@{version_escaped}?arch={arch}&distro=trixie");
    json!({
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{ "alg": "SHA-256", "content": sha256 }],
    })
}

fn rust(part: &Crate) -> Value {
    let purl = format!("pkg:cargo/{}@{}", part.name, escaped(&part.version));
    let mut component = json!({
        "type": "library",
        "bom-ref": purl,
        "name": part.name,
        "version": part.version,
    });
    if let Some(fields) = component.as_object_mut() {
        if let Some(license) = &part.license {
            // Older crates part two licences by a slash, which SPDX does not know.
            let expression = license.replace(" / ", " OR ").replace('/', " OR ");
            fields.insert("licenses".to_owned(), json!([{ "expression": expression }]));
        }
        if let Some(sha256) = &part.sha256 {
            fields.insert("purl".to_owned(), json!(purl));
            fields.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": sha256 }]));
        }
    }
    component
}

/// What a package URL does not allow as it is.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B").replace('~', "%7E").replace(':', "%3A")
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct CargoLock {
    package: Vec<LockedCrate>,
}

#[derive(Deserialize)]
struct LockedCrate {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// The crates that are linked into the program, by what cargo says and locks.
pub fn crates(workspace: &Path) -> Result<Vec<Crate>, Error> {
    let failed = |what: String| {
        Error::new(Blame::Machine, "cargo metadata", what, "try it by hand in the project's folder")
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET])
        .current_dir(workspace)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let lock = files::read_text(&workspace.join("Cargo.lock"))?;
    linked(&output.stdout, &lock).map_err(failed)
}

fn linked(metadata: &[u8], lock: &str) -> Result<Vec<Crate>, String> {
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(|error| error.to_string())?;
    let lock: CargoLock = toml::from_str(lock).map_err(|error| error.message().to_owned())?;
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let nodes: BTreeMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let ours = |package: &&&Package| package.source.is_none() && package.name == PROGRAM;
    let root = packages.values().find(ours).ok_or("the program is not in the project")?;
    let mut open = vec![root.id.as_str()];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let linked = nodes.get(id).map(|node| node.deps.as_slice()).unwrap_or_default().iter();
        // Neither what only tests use nor what only builds.
        let linked = linked.filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        open.extend(linked.map(|edge| edge.pkg.as_str()));
    }
    let found = seen.iter().filter_map(|id| packages.get(id)).map(|package| Crate {
        name: package.name.clone(),
        version: package.version.clone(),
        license: package.license.clone(),
        sha256: lock
            .package
            .iter()
            .find(|locked| locked.name == package.name && locked.version == package.version)
            .and_then(|locked| locked.checksum.clone()),
    });
    let mut found: Vec<Crate> = found.collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;

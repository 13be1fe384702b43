//! Who may name whom.

use crate::manifest::{Kind, Manifest};

/// Each of our packages and which of ours it may name. `*` is everything but what follows it.
const TABLE: [(&str, &[&str]); 15] = [
    ("hal", &[]),
    ("hal-linux", &["hal"]),
    ("hal-sim", &["hal"]),
    ("pipeline", &[]),
    ("pipeline-wire", &["pipeline"]),
    ("pipeline-vault", &["pipeline", "hal"]),
    ("pipeline-azure", &["pipeline-vault"]),
    ("pipeline-agent", &["hal", "hal-linux", "pipeline", "pipeline-wire"]),
    // An offline capture through an appliance is the agent's own client, over disks that stand still: firmware names it.
    ("firmware", &["*", "hal-sim", "image", "qemu", "tests"]),
    ("firmware-recovery", &["pipeline", "pipeline-vault", "pipeline-azure", "hal"]),
    ("firmware-web", &[]),
    ("image", &["image-layout"]),
    ("image-layout", &[]),
    ("qemu", &["image-layout"]),
    ("tests", &["*"]),
];

/// Packages that build a program.
const PROGRAMS: [&str; 3] = ["firmware", "pipeline-agent", "qemu"];
const EXECUTOR: [&str; 5] = ["smol", "smol-hyper", "hyper", "async-io", "async-signal"];

fn is_ours(name: &str) -> bool {
    TABLE.iter().any(|(ours, _)| *ours == name)
}

/// Every edge between our packages is in the table. Tests may use simulated hardware anywhere.
pub(crate) fn layers(packages: &[Manifest]) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages {
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == package.name) else {
            complaints.push(format!(
                "{}: {} is not in the table of who may name whom",
                package.path, package.name
            ));
            continue;
        };
        for (kind, name) in package.dependencies.iter().filter(|(_, name)| is_ours(name)) {
            let listed = allowed.contains(&name.as_str());
            let fine = if allowed.first() == Some(&"*") { !listed } else { listed };
            let simulated = *kind == Kind::Development && name == "hal-sim";
            // A crate's tests may name itself.
            if !fine && !simulated && *name != package.name {
                complaints.push(format!("{}: {} may not name {name}", package.path, package.name));
            }
        }
    }
    complaints
}

/// One HTTP client, in one place; an executor only in programs.
pub(crate) fn fenced(packages: &[Manifest]) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages {
        for (_, name) in &package.dependencies {
            if name == "ureq" && package.name != "pipeline-azure" {
                complaints.push(format!("{}: only pipeline-azure names ureq", package.path));
            }
            if EXECUTOR.contains(&name.as_str()) && !PROGRAMS.contains(&package.name.as_str()) {
                complaints.push(format!("{}: only programs name {name}", package.path));
            }
        }
    }
    complaints
}

/// What must not be locked: a second HTTP client, TLS library, provider of cryptography, or tokio as a runtime.
pub(crate) fn locked(lock: &str) -> Vec<String> {
    const NEVER: [&str; 10] = [
        "reqwest",
        "openssl",
        "openssl-sys",
        "native-tls",
        "aws-lc-rs",
        "aws-lc-sys",
        "mio",
        "tokio-macros",
        "async-std",
        "zstd",
    ];
    let packages = lock.split("[[package]]").skip(1);
    let names = packages.filter_map(|package| {
        package
            .lines()
            .find_map(|line| line.strip_prefix("name = \""))
            .map(|name| name.trim_end_matches('"'))
    });
    let found = names.filter(|name| NEVER.contains(name));
    found.map(|name| format!("Cargo.lock: {name} is in")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str], development: &[&str]) -> Manifest {
        let list = |names: &[&str]| {
            names.iter().map(|name| format!("{name} = \"1\"\n")).collect::<String>()
        };
        let text = format!(
            "[package]\nname = \"{name}\"\n[dependencies]\n{}[dev-dependencies]\n{}",
            list(dependencies),
            list(development)
        );
        Manifest::parse(&format!("{}/Cargo.toml", name.replace('-', "/")), &text)
    }

    #[test]
    fn edges_of_the_table_pass_and_others_do_not() {
        assert!(
            layers(&[package("pipeline-vault", &["hal", "pipeline", "serde"], &["hal-sim"])])
                .is_empty()
        );
        assert!(
            layers(&[package("firmware", &["hal-linux", "pipeline-azure"], &["hal-sim"])])
                .is_empty()
        );
        for (name, edge) in [
            ("hal", "pipeline"),
            ("pipeline", "hal"),
            ("pipeline-vault", "pipeline-azure"),
            ("pipeline-azure", "hal-linux"),
            ("firmware", "hal-sim"),
            ("hal-linux", "hal-sim"),
        ] {
            assert_eq!(layers(&[package(name, &[edge], &[])]).len(), 1, "{name} names {edge}");
        }
        assert_eq!(layers(&[package("pipeline-vault", &[], &["hal-linux"])]).len(), 1);
        assert_eq!(layers(&[package("pipeline-extra", &[], &[])]).len(), 1, "unknown packages too");
    }

    #[test]
    fn the_http_client_and_the_executor_are_fenced() {
        assert!(
            fenced(&[
                package("pipeline-azure", &["ureq"], &[]),
                package("firmware", &["smol"], &[])
            ])
            .is_empty()
        );
        assert_eq!(fenced(&[package("firmware", &["ureq"], &[])]).len(), 1);
        assert_eq!(fenced(&[package("pipeline-vault", &["smol"], &[])]).len(), 1);
        assert_eq!(fenced(&[package("tests", &["async-io"], &[])]).len(), 1);
    }

    #[test]
    fn a_second_provider_is_noticed() {
        let lock = |name: &str| {
            format!("version = 4\n\n[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n")
        };
        assert!(locked(&lock("ring")).is_empty());
        for name in ["openssl-sys", "aws-lc-rs", "reqwest", "mio"] {
            assert_eq!(locked(&lock(name)).len(), 1, "{name}");
        }
    }
}

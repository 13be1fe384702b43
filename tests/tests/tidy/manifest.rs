//! A package's Cargo.toml, as much of it as the rules need, and what must be the same in each.

/// Which table of dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Development,
}

/// A package.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) dependencies: Vec<(Kind, String)>,
    text: String,
}

impl Manifest {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut manifest = Self {
            path: path.to_owned(),
            name: String::new(),
            dependencies: Vec::new(),
            text: text.to_owned(),
        };
        let mut table = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(header) = line.strip_prefix('[') {
                table = header.trim_end_matches(']').to_owned();
                if let Some((kind, Some(name))) = dependency_table(&table) {
                    manifest.dependencies.push((kind, name.to_owned()));
                }
            } else if let Some((key, value)) = line.split_once('=') {
                let key = key.trim();
                if table == "package" && key == "name" {
                    manifest.name = value.trim().trim_matches('"').to_owned();
                }
                if let Some((kind, None)) = dependency_table(&table) {
                    let renamed = value
                        .split_once("package = \"")
                        .and_then(|(_, rest)| rest.split('"').next());
                    let name = renamed.unwrap_or_else(|| key.split('.').next().unwrap_or(key));
                    manifest.dependencies.push((kind, name.to_owned()));
                }
            }
        }
        manifest
    }
}

/// Whether a table lists dependencies, or is about the one named in its header.
fn dependency_table(table: &str) -> Option<(Kind, Option<&str>)> {
    let table = match table.strip_prefix("target.") {
        Some(rest) => rest.rsplit_once("'.").or_else(|| rest.split_once('.'))?.1,
        None => table,
    };
    let (first, rest) =
        table.split_once('.').map_or((table, None), |(first, rest)| (first, Some(rest)));
    match first {
        "dependencies" | "build-dependencies" => Some((Kind::Normal, rest)),
        "dev-dependencies" => Some((Kind::Development, rest)),
        _ => None,
    }
}

/// The name follows the path, and the workspace's lints apply.
pub(crate) fn form(package: &Manifest) -> Vec<String> {
    let mut complaints = Vec::new();
    let expected = package.path.trim_end_matches("/Cargo.toml").replace('/', "-");
    if package.name != expected {
        complaints.push(format!(
            "{}: the package is {}, its path says {expected}",
            package.path, package.name
        ));
    }
    if !package.text.contains("[lints]\nworkspace = true") {
        complaints.push(format!("{}: the workspace's lints do not apply", package.path));
    }
    complaints
}

/// Lints that the house rules rest on; each must break the build.
const LINTS: [&str; 18] = [
    "missing_docs",
    "unsafe_op_in_unsafe_fn",
    "unreachable_pub",
    "unused_qualifications",
    "elided_lifetimes_in_paths",
    "undocumented_unsafe_blocks",
    "unwrap_used",
    "too_many_lines",
    "cast_possible_truncation",
    "cast_sign_loss",
    "wildcard_imports",
    "mod_module_files",
    "or_fun_call",
    "std_instead_of_core",
    "dbg_macro",
    "todo",
    "unimplemented",
    "overflow-checks",
];

/// The root manifest denies what it must, functions end at 70 lines, and every member says what it is.
pub(crate) fn workspace(root: &str, clippy: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for lint in LINTS {
        let set = |value: &str| root.lines().any(|line| line.trim() == format!("{lint} = {value}"));
        if !(set("\"deny\"") || set("\"forbid\"") || set("true")) {
            complaints.push(format!("Cargo.toml: {lint} is not denied"));
        }
    }
    if !clippy.lines().any(|line| line.trim() == "too-many-lines-threshold = 70") {
        complaints.push(".clippy.toml: functions may be longer than 70 lines".to_owned());
    }
    let members = root.lines().skip_while(|line| !line.starts_with("members")).skip(1);
    for line in members.take_while(|line| !line.starts_with(']')) {
        if !line.contains('#') {
            complaints.push(format!("Cargo.toml: the member {} has no comment", line.trim()));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[package]\nname = \"pipeline-vault\"\n[dependencies]\nserde = { workspace = true }\n\
        log.workspace = true\nz = { package = \"zstd-safe\" }\n[dev-dependencies]\nhal-sim = \"1\"\n\
        [target.'cfg(unix)'.dependencies]\nrustix = \"1\"\n[dependencies.ring]\nversion = \"1\"\n\
        [lints]\nworkspace = true\n";

    #[test]
    fn every_form_of_dependency_is_seen() {
        let manifest = Manifest::parse("pipeline/vault/Cargo.toml", TEXT);
        let names: Vec<&str> =
            manifest.dependencies.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["serde", "log", "zstd-safe", "hal-sim", "rustix", "ring"]);
        assert_eq!(manifest.dependencies[3].0, Kind::Development);
        assert!(form(&manifest).is_empty());
    }

    #[test]
    fn a_wrong_name_and_missing_lints_are_noticed() {
        let stray = Manifest::parse("pipeline/azure/Cargo.toml", TEXT);
        assert_eq!(form(&stray).len(), 1);
        let lax = Manifest::parse("pipeline/vault/Cargo.toml", &TEXT.replace("[lints]", "[other]"));
        assert_eq!(form(&lax).len(), 1);
    }

    #[test]
    fn a_lint_that_only_warns_is_noticed() {
        let lints: String = LINTS.iter().map(|lint| format!("{lint} = \"deny\"\n")).collect();
        let root = format!("members = [\n    \"hal\", # traits\n]\n{lints}");
        let clippy = "too-many-lines-threshold = 70";
        assert!(workspace(&root, clippy).is_empty());
        assert_eq!(workspace(&root.replace("todo = \"deny\"", "todo = \"warn\""), clippy).len(), 1);
        assert_eq!(workspace(&root, "too-many-lines-threshold = 700").len(), 1);
        assert_eq!(workspace(&root.replace("# traits", ""), clippy).len(), 1);
    }
}

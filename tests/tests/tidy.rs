//! The project lints itself: who may name whom, where `unsafe` is, what every file begins with, how long it may be.
//!
//! Every rule is a pure function over text in `tidy/`, and is seen to fail once by a planted violation there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/manifest.rs"]
mod manifest;
#[path = "tidy/readme.rs"]
mod readme;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/supply.rs"]
mod supply;
#[path = "tidy/tree.rs"]
mod tree;

use manifest::Manifest;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is inside the project")
}

/// The project's files, relative to its top: what git tracks, or everything but build output where git is of no help.
fn files() -> Vec<String> {
    let listed = Command::new("git").arg("-C").arg(top()).args(["ls-files", "-z"]).output();
    let mut names: Vec<String> = match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let text = String::from_utf8(output.stdout).expect("file names here are UTF-8");
            text.split_terminator('\0').map(str::to_owned).collect()
        }
        _ => walk(top()),
    };
    // A file may be deleted but not yet committed.
    names.retain(|name| top().join(name).is_file());
    assert!(
        names.len() > 50,
        "only {} files were found: the rules would prove nothing",
        names.len()
    );
    names
}

fn walk(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the project is readable").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            match entry.file_type() {
                Ok(kind)
                    if kind.is_dir()
                        && !["target", ".git", ".lifeboat"].contains(&name.as_str()) =>
                {
                    folders.push(path);
                }
                Ok(kind) if kind.is_file() && !name.ends_with(".img") => {
                    let relative = path.strip_prefix(top()).expect("the walk stays inside");
                    names.push(relative.to_string_lossy().into_owned());
                }
                _ => (),
            }
        }
    }
    names
}

fn read(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every file that ends so, with its text.
fn texts(ends: &str) -> Vec<(String, String)> {
    let names = files().into_iter().filter(|name| name.ends_with(ends));
    names.map(|name| (name.clone(), read(&name))).collect()
}

fn manifests() -> Vec<Manifest> {
    let found = texts("Cargo.toml").into_iter().filter(|(path, _)| path != "Cargo.toml");
    found.map(|(path, text)| Manifest::parse(&path, &text)).collect()
}

fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Runs a rule over every Rust file.
fn each_source(rule: impl Fn(&str, &str) -> Vec<String>) {
    none(texts(".rs").iter().flat_map(|(path, text)| rule(path, text)).collect());
}

#[test]
fn crates_name_only_whom_they_may() {
    none(dependencies::layers(&manifests()));
}

#[test]
fn ureq_and_the_executor_stay_where_they_belong() {
    none(dependencies::fenced(&manifests()));
}

#[test]
fn no_second_runtime_or_crypto_is_locked() {
    none(dependencies::locked(&read("Cargo.lock")));
}

#[test]
fn packages_are_named_by_their_path_and_share_the_lints() {
    none(manifests().iter().flat_map(manifest::form).collect());
    none(manifest::workspace(&read("Cargo.toml"), &read(".clippy.toml")));
}

#[test]
fn the_top_level_is_what_was_fixed() {
    none(tree::top_level(&files()));
}

#[test]
fn no_large_files() {
    let sizes = files().into_iter().map(|name| {
        let bytes = fs::metadata(top().join(&name)).map_or(0, |facts| facts.len());
        (name, bytes)
    });
    none(tree::large(&sizes.collect::<Vec<_>>()));
}

#[test]
fn no_path_of_a_developers_machine() {
    let texts = files().into_iter().filter_map(|name| {
        let text = fs::read_to_string(top().join(&name)).ok()?;
        Some((name, text))
    });
    none(texts.flat_map(|(name, text)| tree::private_paths(&name, &text)).collect());
}

#[test]
fn scripts_stop_at_the_first_failure() {
    let scripts = files().into_iter().filter(|name| {
        name.ends_with(".sh") || (name.starts_with(".ci/") && !name.ends_with(".toml"))
    });
    none(scripts.flat_map(|name| tree::script(&name, &read(&name))).collect());
}

#[test]
fn every_file_says_what_it_is_for() {
    each_source(source::first_line);
}

#[test]
fn unsafe_is_in_one_place() {
    each_source(source::unsafe_place);
    let has = |package: &Manifest| read(&package.path.replace("Cargo.toml", "src/lib.rs"));
    none(
        manifests()
            .iter()
            .flat_map(|package| source::forbids_unsafe(&package.name, &has(package)))
            .collect(),
    );
}

#[test]
fn files_are_short_enough_to_read() {
    each_source(source::length);
}

#[test]
fn lines_fit_the_page() {
    each_source(source::width);
}

#[test]
fn nothing_is_left_for_later() {
    each_source(source::banned);
}

/// What cargo says of everything that is locked, the fuzzer's own crates among it.
fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(top())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn table(name: &str) -> toml::Table {
    read(name).parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_crate_has_a_licence_that_is_allowed_and_every_direct_one_was_looked_at() {
    let metadata = metadata();
    none(supply::allowed(&metadata, &table(".deny.toml")));
    let bought = supply::bought(&metadata, &table("Cargo.lock"));
    assert!(bought.len() > 40, "only {} crates were found", bought.len());
    none(supply::vetted(&bought, &table(".supply-chain/vetted.toml")));
}

#[test]
fn every_dependency_has_its_reason_in_the_readme() {
    none(readme::dependencies(&read("README.md"), &manifests()));
}

#[test]
fn every_promise_names_a_test_that_exists() {
    none(readme::promises(&read("README.md"), &files()));
}

#[test]
fn every_claim_of_security_names_a_test_and_every_attack_is_a_claim() {
    let tests = texts(".rs")
        .iter()
        .flat_map(|(path, text)| readme::tests_of(path, text))
        .collect::<Vec<_>>();
    none(readme::claims(&read("README.md"), &tests));
}

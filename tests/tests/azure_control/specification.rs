//! Requests held against Microsoft's specifications, which are not committed: they are read from beside the project, or
//! from where `LIFEBOAT_AZURE` says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use tests::azurite::{Scratch, install_once, run};

/// What the validator needs.
const JSONSCHEMA: &str = "jsonschema==4.26.0";
/// An operation of a provider whose specification is not at hand.
const UNKNOWN: &str = "/providers/Microsoft.Authorization/permissions";

/// The folder with the specifications and the validator.
fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/azure");
    let folder = std::env::var_os("LIFEBOAT_AZURE").map_or(beside, PathBuf::from);
    folder.join("tools/validate_arm.py").is_file().then_some(folder)
}

fn python() -> Result<PathBuf, String> {
    let folder = install_once("python-jsonschema", &|folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", JSONSCHEMA]);
        run(&mut pip).map(drop)
    })?;
    Ok(folder.join("bin/python"))
}

/// Panics where a request is none that the specifications allow; says loudly where they are not at hand.
pub(crate) fn check(sent: &[Value]) {
    let Some(folder) = folder() else {
        eprintln!("SKIPPED: Microsoft's specifications are not at hand; set LIFEBOAT_AZURE");
        return;
    };
    check_versions(&folder, sent);
    let python = match python() {
        Ok(python) => python,
        Err(error) => {
            eprintln!("SKIPPED: the validator cannot be installed here: {error}");
            return;
        }
    };
    let scratch = Scratch::new("specification").expect("a folder");
    let log = scratch.path().join("requests.json");
    std::fs::write(&log, serde_json::to_vec(sent).expect("JSON")).expect("written");
    let mut command = Command::new(&python);
    command.arg(folder.join("tools/validate_arm.py")).arg("log").arg(&log);
    let printed = run(&mut command).expect("the validator runs");
    let (words, counts): (Vec<&str>, Vec<&str>) =
        printed.lines().partition(|line| !line.starts_with("checked "));
    let unknown = |line: &&&str| !(line.starts_with("no operation") && line.ends_with(UNKNOWN));
    let bad: Vec<_> = words.iter().filter(unknown).collect();
    assert!(bad.is_empty(), "{printed}");
    let checked = counts.first().and_then(|line| line.split(' ').nth(1)?.parse::<usize>().ok());
    assert!(
        checked.is_some_and(|checked| checked >= 50),
        "only {checked:?} were checked: {printed}"
    );
    println!("{}", counts.join(" "));
    // A validator that finds nothing wrong with anything proves nothing.
    let spoilt: Vec<Value> = sent.iter().cloned().map(spoil).collect();
    std::fs::write(&log, serde_json::to_vec(&spoilt).expect("JSON")).expect("written");
    let printed = run(&mut command).expect("the validator runs");
    let found = printed.lines().filter(|line| line.starts_with("REQ ")).count();
    assert!(found >= 10, "it passed requests that are wrong: {printed}");
}

/// The same request with a number where a region's name belongs.
fn spoil(mut request: Value) -> Value {
    if let Some(location) = request.pointer_mut("/body/location") {
        *location = Value::from(7);
    }
    request
}

/// Each request names the version of the specification that it was checked with.
fn check_versions(folder: &Path, sent: &[Value]) {
    let table = std::fs::read_to_string(folder.join("specs/OPERATIONS.tsv")).expect("the table");
    let mut checked = 0;
    for request in sent {
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        let found = table.lines().find_map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let [_, method, template, .., file] = cells.as_slice() else { return None };
            (*method == text("method") && is_like(template, text("path")))
                .then(|| (*file).to_owned())
        });
        let Some(file) = found else { continue };
        let version = file.rsplit('/').nth(1).unwrap_or_default();
        let named = text("query").split('&').find_map(|pair| pair.strip_prefix("api-version="));
        assert_eq!(named, Some(version), "{} {}", text("method"), text("path"));
        checked += 1;
    }
    assert!(checked >= 50, "only {checked} versions were checked");
}

/// Whether a path is one that the template means.
fn is_like(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template
            .iter()
            .zip(&path)
            .all(|(wanted, has)| wanted.starts_with('{') || wanted.eq_ignore_ascii_case(has))
}

//! Microsoft's specifications of the control plane, which requests and answers are held against. They are not committed: they
//! are read from `shared/azure` in a folder above the project, or from where `LIFEBOAT_AZURE` says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::azurite::{Scratch, install_once, run};

/// What the validator needs.
const JSONSCHEMA: &str = "jsonschema==4.26.0";
/// Operations whose specification is not at hand.
const UNKNOWN: [&str; 2] = [
    "not described: GET /providers/Microsoft.Authorization/permissions",
    "not described: GET /providers/Microsoft.Network/locations/westeurope/usages",
];

/// Whose requests are held against the specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Our programs': each names the version that is described, and nothing that is not.
    Ours,
    /// Others', who may speak a newer version.
    Others,
}

/// What the specifications say of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong with whom, a line each.
    pub wrong: Vec<String>,
    /// How many requests were held against their description.
    pub checked: usize,
    /// The operations that these were, by Microsoft's names.
    pub operations: Vec<String>,
}

/// The folder of `validate_arm.py`; `None`, said loudly, where the specifications are not on this machine.
pub fn tools() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let named = std::env::var_os("LIFEBOAT_AZURE").map(PathBuf::from);
    let mut folders = named.into_iter().chain(above.map(|folder| folder.join("shared/azure")));
    let tools = folders.find_map(|folder| {
        folder.join("tools/validate_arm.py").is_file().then(|| folder.join("tools"))
    });
    if tools.is_none() {
        eprintln!(
            "SKIPPED in part: requests are held against nothing, since Microsoft's specifications are not at hand; set LIFEBOAT_AZURE"
        );
    }
    tools
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

/// Holds a log, as a region stand-in keeps it, against the specifications; `None`, said loudly, where that cannot be done here.
///
/// # Panics
/// Where the validator itself fails.
pub fn hold(log: &[Value], whose: Whose) -> Option<Verdict> {
    let tools = tools()?;
    let python = match python() {
        Ok(python) => python,
        Err(error) => {
            eprintln!("SKIPPED in part: the validator cannot be installed here: {error}");
            return None;
        }
    };
    let scratch = Scratch::new("specifications").expect("a folder");
    let file = scratch.path().join("log.json");
    std::fs::write(&file, serde_json::to_vec(log).expect("JSON")).expect("room for a log");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/specifications/hold.py");
    let mut command = Command::new(python);
    command.arg(script).args([&tools, &file]);
    if whose == Whose::Others {
        command.arg("others");
    }
    let said = run(&mut command);
    let said = said.unwrap_or_else(|error| panic!("the validator: {error}"));
    let behind = |word: &str| said.lines().find_map(|line| line.strip_prefix(word));
    let checked = behind("checked ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    let wrong = said.lines().filter(|line| {
        line.starts_with("wrong: ")
            || (line.starts_with("not described: ") && !UNKNOWN.contains(line))
    });
    Some(Verdict {
        wrong: wrong.map(str::to_owned).collect(),
        checked: checked.unwrap_or_else(|| panic!("the validator came to no end: {said}")),
        operations: behind("operations")
            .into_iter()
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect(),
    })
}

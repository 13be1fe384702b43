//! The real `lifeboat serve`, with a vault and a spool in files.

use core::net::SocketAddr;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use tests::program::{Place, serving};

const SPOOL_BYTES: u64 = 4 << 30;

/// A running appliance.
pub(crate) struct Appliance {
    place: Place,
    /// The page, as the server sees it.
    page: String,
    running: Child,
}

/// What the program said, or its complaint.
fn said(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&stderr)))
}

/// An address that is free now.
fn free() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map_err(|error| error.to_string())
}

fn verb(place: &Place, words: &[&str]) -> Command {
    let mut command = place.bare();
    command.args(words).args(["--vault", &place.vault, "--key-file"]).arg(&place.key);
    command
}

impl Appliance {
    /// The server reaches this machine at `host`.
    pub(crate) fn start(folder: &Path, host: &str) -> Result<Self, String> {
        let place = Place::in_folder(folder);
        let spool: PathBuf = folder.join("spool");
        File::create(&spool)
            .and_then(|file| file.set_len(SPOOL_BYTES))
            .map_err(|error| error.to_string())?;
        let mut format = place.bare();
        said(format.args(["spool", "format"]).arg(&spool).arg("--confirm").arg(&spool))?;
        let (page, agents) = (free()?, free()?);
        let mut command = verb(&place, &["serve"]);
        command.args(["--listen", &page.to_string(), "--agents", &agents.to_string()]);
        command.args(["--advertise", &format!("{host}:{}", agents.port())]);
        command.arg("--spool").arg(&spool);
        Ok(Self { running: serving(command), page: format!("{host}:{}", page.port()), place })
    }

    /// A token for the server.
    pub(crate) fn token(&self) -> Result<String, String> {
        let words = ["server", "token", "--json", "--page", &self.page];
        let made = said(&mut verb(&self.place, &words))?;
        let made: serde_json::Value =
            serde_json::from_str(&made).map_err(|error| error.to_string())?;
        made.get("token")
            .and_then(|token| token.as_str())
            .map(str::to_owned)
            .ok_or_else(|| made.to_string())
    }

    /// What it says of its servers.
    pub(crate) fn list(&self) -> Result<String, String> {
        said(&mut verb(&self.place, &["server", "list"]))
    }

    pub(crate) fn policy(&self, words: &[&str]) -> Result<(), String> {
        let mut command = verb(&self.place, &["server", "policy", super::server::NAME]);
        said(command.args(words)).map(drop)
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

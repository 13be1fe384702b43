//! The real `lifeboat serve` on this host, as a guest behind QEMU's gateway reaches it.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use hal_linux::{SystemClock, SystemEntropy};
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::points::read_chain;
use pipeline_vault::record::Manifest;
use pipeline_vault::store::directory::DirectoryStore;
use pipeline_vault::vault::Vault;
use tests::program::{Place, checked};
use tests::serving::BY_GUESTS;

/// What the server calls itself.
const NAME: &str = "debian";
const SPOOL_BYTES: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(300);

/// A running appliance.
pub(crate) struct Serving {
    folder: PathBuf,
    serving: tests::serving::Serving,
}

impl Serving {
    /// With a vault and a spool in this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let place = Place::in_folder(folder);
        let mut serving = tests::serving::Serving::new(place, BY_GUESTS, Some(SPOOL_BYTES));
        serving.go_on();
        Self { folder: folder.to_owned(), serving }
    }

    /// SIGKILL, and at once again.
    pub(crate) fn kill_and_start(&mut self) {
        self.serving.kill();
        self.serving.go_on();
    }

    fn verb(&self, words: &[&str]) -> Command {
        self.serving.verb(words)
    }

    /// A token for one server.
    pub(crate) fn token(&self) -> String {
        self.serving.token(&[])
    }

    /// Waits until the server is on the roll.
    pub(crate) fn wait_enrolled(&self) {
        self.wait("nobody enrols", || {
            let output = self.verb(&["server", "list", "--json"]).output().expect("it starts");
            String::from_utf8_lossy(&output.stdout).contains(&format!("\"{NAME}\""))
        });
    }

    pub(crate) fn policy(&self, words: &[&str]) {
        let mut command = self.verb(&["server", "policy", NAME]);
        checked(command.args(words).output().expect("it starts"), "server policy");
    }

    /// Opens every seal.
    pub(crate) fn verify(&self) {
        checked(self.verb(&["verify", "--deep"]).output().expect("it starts"), "verify");
    }

    /// The points in the vault: the server's time of each, and its name.
    pub(crate) fn points(&self) -> Vec<(u64, String)> {
        let point = |point: Manifest| Some((point.told.source_time?, point.id.to_string()));
        self.manifests().into_iter().filter_map(point).collect()
    }

    /// The points in the vault, the oldest first.
    pub(crate) fn manifests(&self) -> Vec<Manifest> {
        let key = KeyFile::read(&self.serving.place().key)
            .and_then(|file| file.open(None))
            .expect("a key");
        let clock = Arc::new(SystemClock);
        let store = DirectoryStore::new(self.folder.join("vault"), clock.clone());
        let vault = Vault::open(Arc::new(store), clock, Arc::new(SystemEntropy), &key);
        let access = vault.expect("a vault").access();
        let list =
            checked(self.verb(&["server", "list", "--json"]).output().expect("it starts"), "list");
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        let server = find_server(&list).expect("the server's identity");
        let chain = read_chain(&access, server).expect("a chain");
        chain.points().filter_map(|link| link.record.point()).cloned().collect()
    }

    /// Waits until the point of this time is in the vault.
    pub(crate) fn wait_vaulted(&self, at: u64) {
        self.wait("the last point never comes into the vault", || {
            self.points().iter().any(|(found, _)| *found == at)
        });
    }

    pub(crate) fn restore(&self, point: &str, disk: &str, to: &Path) {
        let _ = fs::remove_file(to);
        let mut command = self.verb(&["restore"]);
        command.args(["--server", NAME, "--disk", disk, "--point", point, "--to"]).arg(to);
        checked(command.output().expect("it starts"), "restore");
    }

    fn wait(&self, why: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "{why}");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// The identity of the only server of a list, wherever the list has it.
fn find_server(list: &serde_json::Value) -> Option<pipeline::ids::ServerId> {
    match list {
        serde_json::Value::String(text) => text.parse().ok(),
        serde_json::Value::Array(items) => items.iter().find_map(find_server),
        serde_json::Value::Object(fields) => fields.values().find_map(find_server),
        _ => None,
    }
}

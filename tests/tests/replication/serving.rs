//! The real `lifeboat serve` on this host, as a guest behind QEMU's gateway reaches it.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Instant;

use hal_linux::{SystemClock, SystemEntropy};
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::points::read_chain;
use pipeline_vault::record::Manifest;
use pipeline_vault::store::directory::DirectoryStore;
use pipeline_vault::vault::Vault;
use tests::program::{Place, checked};

/// What the server calls itself.
const NAME: &str = "debian";
const SPOOL_BYTES: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(300);

/// A running appliance.
pub(crate) struct Serving {
    folder: PathBuf,
    place: Place,
    page: SocketAddr,
    agents: SocketAddr,
    running: Option<Child>,
}

/// An address that is free now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// The same as the guest sees it.
fn from_guest(address: SocketAddr) -> String {
    format!("10.0.2.2:{}", address.port())
}

impl Serving {
    /// With a vault and a spool in this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let vault = format!("dir:{}", folder.join("vault").display());
        let place = Place::create(vault, folder, &[]);
        let spool = folder.join("spool");
        File::create(&spool).and_then(|file| file.set_len(SPOOL_BYTES)).expect("a file");
        let mut command = place.bare();
        command.args(["spool", "format"]).arg(&spool).arg("--confirm").arg(&spool);
        checked(command.output().expect("it starts"), "spool format");
        let mut serving =
            Self { folder: folder.to_owned(), place, page: free(), agents: free(), running: None };
        serving.run();
        serving
    }

    fn run(&mut self) {
        let mut command = Command::new(tests::program::lifeboat());
        command.env("LIFEBOAT_STATE", &self.place.state).arg("serve");
        command.args(["--vault", &self.place.vault, "--key-file"]).arg(&self.place.key);
        command.args(["--listen", &self.page.to_string(), "--agents", &self.agents.to_string()]);
        command.args(["--advertise", &from_guest(self.agents), "--spool"]);
        command.arg(self.folder.join("spool"));
        self.running = Some(tests::program::serving(command));
    }

    /// SIGKILL, and at once again.
    pub(crate) fn kill_and_start(&mut self) {
        self.end();
        self.run();
    }

    fn end(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn verb(&self, words: &[&str]) -> Command {
        let mut command = self.place.bare();
        command.args(words).args(["--vault", &self.place.vault, "--key-file"]).arg(&self.place.key);
        command
    }

    /// A token for one server.
    pub(crate) fn token(&self) -> String {
        let mut command = self.verb(&["server", "token", "--json"]);
        command.args(["--page", &from_guest(self.page)]);
        let made = checked(command.output().expect("it starts"), "server token");
        let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
        made["token"].as_str().expect("a token").to_owned()
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
        let key = KeyFile::read(&self.place.key).and_then(|file| file.open(None)).expect("a key");
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

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

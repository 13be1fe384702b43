//! The real `lifeboat serve` that takes what servers send, on this host, to be killed and started again.

use core::net::SocketAddr;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::Value;

use crate::cli::run;
use crate::program::{Place, checked, serving};

/// How this host is seen by a guest behind QEMU's gateway.
pub const BY_GUESTS: &str = "10.0.2.2";
/// How it is seen by itself.
pub const BY_ITSELF: &str = "127.0.0.1";
/// The smallest spool.
pub const SPOOL_BYTES: u64 = 64 << 20;

/// A running appliance.
pub struct Serving {
    place: Place,
    /// Where servers find it.
    seen_as: &'static str,
    page: SocketAddr,
    agents: SocketAddr,
    spool: Option<PathBuf>,
    running: Option<Child>,
}

/// An address that is free now. Another program may take it before it is used; the test then fails at its start.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// A file that is a spool of so many bytes, beside the vault's key.
fn spool(place: &Place, bytes: u64) -> PathBuf {
    let spool = place.key.with_file_name("spool");
    File::create(&spool).and_then(|file| file.set_len(bytes)).expect("a file");
    let mut command = place.bare();
    command.args(["spool", "format"]).arg(&spool).arg("--confirm").arg(&spool);
    checked(command.output().expect("it starts"), "spool format");
    spool
}

impl Serving {
    /// With this vault, and a spool of so many bytes where one is wanted. Servers find it at this address. It does not run yet.
    ///
    /// # Panics
    /// Where there can be no spool.
    pub fn new(place: Place, seen_as: &'static str, spool_bytes: Option<u64>) -> Self {
        let spool = spool_bytes.map(|bytes| spool(&place, bytes));
        Self { place, seen_as, page: free(), agents: free(), spool, running: None }
    }

    /// With a vault, and the smallest spool where it is wanted, in this folder. Servers find it at this address.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn start(folder: &Path, seen_as: &'static str, with_spool: bool) -> Self {
        let spool_bytes = with_spool.then_some(SPOOL_BYTES);
        let mut serving = Self::new(Place::in_folder(folder), seen_as, spool_bytes);
        serving.go_on();
        serving
    }

    /// Its vault.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where agents connect.
    pub fn agents(&self) -> SocketAddr {
        self.agents
    }

    /// Starts it, or starts it again after `kill`; waits until agents can connect.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn go_on(&mut self) {
        let mut command = self.place.verb("serve");
        command.args(["--listen", &self.page.to_string(), "--agents", &self.agents.to_string()]);
        command.args(["--advertise", &format!("{}:{}", self.seen_as, self.agents.port())]);
        if let Some(spool) = &self.spool {
            command.arg("--spool").arg(spool);
        }
        self.running = Some(serving(command));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The process that serves, where it runs.
    pub fn running(&mut self) -> &mut Option<Child> {
        &mut self.running
    }

    /// A verb on the vault.
    pub fn verb(&self, words: &[&str]) -> Command {
        let mut command = self.place.bare();
        command.args(words).args(["--vault", &self.place.vault, "--key-file"]).arg(&self.place.key);
        command
    }

    /// A token for one server; `words` are further options.
    ///
    /// # Panics
    /// Where none is made.
    pub fn token(&self, words: &[&str]) -> String {
        let mut command = self.verb(&["server", "token", "--json"]);
        command.args(["--page", &format!("{}:{}", self.seen_as, self.page.port())]).args(words);
        let made = checked(command.output().expect("it starts"), "server token");
        let made: Value = serde_json::from_str(&made).expect("JSON");
        made["token"].as_str().expect("a token").to_owned()
    }

    /// Runs a verb on the vault that must succeed; what it printed.
    ///
    /// # Panics
    /// Where it fails.
    pub fn vault(&self, words: &[&str]) -> String {
        checked(self.verb(words).output().expect("it starts"), &words.join(" "))
    }

    /// The names of the servers on the roll.
    ///
    /// # Panics
    /// Where they are not listed.
    pub fn servers(&self) -> Vec<String> {
        let list: Value =
            serde_json::from_str(&self.vault(&["server", "list", "--json"])).expect("JSON");
        let servers = list["servers"].as_array().expect("a list").iter();
        servers.map(|server| server["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// The points of a server, oldest first.
    ///
    /// # Panics
    /// Where they are not listed.
    pub fn points(&self, server: &str) -> Vec<Value> {
        let list = self.vault(&["points", "--json", "--server", server]);
        let list: Value = serde_json::from_str(&list).expect("JSON");
        list["points"].as_array().expect("a list").clone()
    }

    /// Brings a disk of the newest point back; its bytes. Blocks that the point lacks are zeros.
    ///
    /// # Panics
    /// Where it does not come back.
    pub fn restored(&self, server: &str, disk: &str, to: &Path) -> Vec<u8> {
        let mut command = self.verb(&["restore", "--server", server, "--disk", disk]);
        let ran = run(command.arg("--accept-unread").arg("--to").arg(to));
        assert!([0, 3].contains(&ran.code), "{ran:?}");
        let bytes = std::fs::read(to).expect("a file");
        std::fs::remove_file(to).expect("a file");
        bytes
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.kill();
    }
}

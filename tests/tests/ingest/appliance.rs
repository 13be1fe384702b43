//! The real `lifeboat serve` with a vault, a spool and tokens, to be killed and hurt.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Instant;

use hal_sim::random::Random;
use tests::azurite::Scratch;
use tests::points;
use tests::program::{Place, checked, serving};
use tests::scripted_agent::ScriptedAgent;

const PATIENCE: Duration = Duration::from_secs(120);

/// A running appliance.
pub(crate) struct Appliance {
    scratch: Scratch,
    place: Place,
    page: SocketAddr,
    agents: SocketAddr,
    spool: Option<PathBuf>,
    running: Option<Child>,
}

/// An address that is free now. Another program may take it before it is used; the test then fails at its start.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

impl Appliance {
    /// The smallest spool.
    pub(crate) const SPOOL_BYTES: usize = 64 * 1024 * 1024;

    pub(crate) fn new(label: &str, with_spool: bool) -> Self {
        let scratch = Scratch::new(label).expect("a scratch folder");
        let folder = scratch.path();
        let vault = format!("dir:{}", folder.join("vault").display());
        let place = Place::create(vault, folder, &[]);
        let spool = with_spool.then(|| folder.join("spool"));
        if let Some(spool) = &spool {
            let file = File::create(spool).expect("a file");
            file.set_len(Self::SPOOL_BYTES as u64).expect("room");
            let mut command = place.bare();
            command.args(["spool", "format"]).arg(spool).arg("--confirm").arg(spool);
            checked(command.output().expect("it starts"), "spool format");
        }
        Self { page: free(), agents: free(), spool, running: None, place, scratch }
    }

    /// Starts it, and waits until agents can connect.
    pub(crate) fn start(&mut self) {
        let mut command = Command::new(tests::program::lifeboat());
        command.env("LIFEBOAT_STATE", &self.place.state).arg("serve");
        command.args(["--vault", &self.place.vault, "--key-file"]).arg(&self.place.key);
        command.args(["--listen", &self.page.to_string(), "--agents", &self.agents.to_string()]);
        if let Some(spool) = &self.spool {
            command.arg("--spool").arg(spool);
        }
        self.running = Some(serving(command));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.running.take().expect("it runs");
        child.kill().expect("a child of ours");
        child.wait().expect("a child of ours");
    }

    /// SIGTERM, and its good end.
    pub(crate) fn stop(&mut self) {
        let mut child = self.running.take().expect("it runs");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a child of ours");
        let began = Instant::now();
        let status = loop {
            match child.try_wait().expect("a child of ours") {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
        };
        assert!(status.success(), "{status}");
    }

    fn verb(&self, words: &[&str]) -> Command {
        let mut command = self.place.bare();
        command.args(words).args(["--vault", &self.place.vault, "--key-file"]).arg(&self.place.key);
        command
    }

    /// A token for one server.
    pub(crate) fn token(&self) -> String {
        let mut command = self.verb(&["server", "token", "--json"]);
        command.args(["--page", &self.page.to_string()]);
        let made = checked(command.output().expect("it starts"), "server token");
        let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
        made["token"].as_str().expect("a token").to_owned()
    }

    /// What `server list` says.
    pub(crate) fn listed(&self) -> serde_json::Value {
        let output = self.verb(&["server", "list", "--json"]).output().expect("it starts");
        serde_json::from_str(&checked(output, "server list")).expect("JSON")
    }

    pub(crate) fn revoke(&self, name: &str) {
        let output = self.verb(&["server", "revoke", name]).output().expect("it starts");
        checked(output, "server revoke");
    }

    /// Opens every seal.
    pub(crate) fn verify(&self) {
        let output = self.verb(&["verify", "--deep"]).output().expect("it starts");
        checked(output, "verify");
    }

    /// As if a network share were gone: no vault is there.
    pub(crate) fn take_vault_away(&self) {
        fs::rename(self.scratch.path().join("vault"), self.scratch.path().join("gone"))
            .expect("a folder");
    }

    pub(crate) fn bring_vault_back(&self) {
        let vault = self.scratch.path().join("vault");
        // What was made there meanwhile is in the way.
        let _ = fs::remove_dir_all(&vault);
        fs::rename(self.scratch.path().join("gone"), vault).expect("a folder");
    }

    /// Restores every point, and holds it against the agent's model. At least so many there must be, and none twice.
    pub(crate) fn check_points(&self, agent: &ScriptedAgent, least: usize) {
        points::check(&self.place, agent, self.scratch.path(), least);
    }

    /// Strangers that speak anything but the protocol.
    pub(crate) fn rudeness(&self, seed: u64) {
        let mut random = Random::new(seed);
        for number in 0..20 {
            let mut stream = TcpStream::connect(self.agents).expect("it listens");
            let mut bytes = vec![0; 1 + usize::try_from(random.below(4000)).expect("few")];
            random.fill(&mut bytes);
            if number % 2 == 0 {
                bytes = b"GET / HTTP/1.1\r\nhost: lifeboat\r\n\r\n".to_vec();
            }
            // It may close before it has heard everything.
            let _ = stream.write_all(&bytes);
        }
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

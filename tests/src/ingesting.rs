//! The real `lifeboat serve` with a vault, a spool and tokens, to be killed and hurt.

use core::time::Duration;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use hal_sim::random::Random;

use crate::azurite::Scratch;
use crate::points;
use crate::program::{Place, checked};
use crate::scripted_agent::ScriptedAgent;
use crate::serving::{BY_ITSELF, SPOOL_BYTES, Serving};

const PATIENCE: Duration = Duration::from_secs(120);

/// A running appliance.
pub struct Appliance {
    scratch: Scratch,
    serving: Serving,
}

impl Appliance {
    /// One with a vault in a folder, and perhaps the smallest spool.
    pub fn new(label: &str, with_spool: bool) -> Self {
        let scratch = Scratch::new(label).expect("a scratch folder");
        let vault = format!("dir:{}", scratch.path().join("vault").display());
        Self::of(scratch, vault, &[], with_spool.then_some(SPOOL_BYTES))
    }

    /// One with a vault anywhere, and a spool of so many bytes.
    pub fn of(
        scratch: Scratch,
        vault: String,
        environment: &[(String, String)],
        spool_bytes: Option<u64>,
    ) -> Self {
        let place = Place::create(vault, scratch.path(), environment);
        Self { serving: Serving::new(place, BY_ITSELF, spool_bytes), scratch }
    }

    /// Starts it, and waits until agents can connect.
    pub fn start(&mut self) {
        self.serving.go_on();
    }

    /// The process that serves.
    pub fn pid(&mut self) -> u32 {
        self.serving.running().as_ref().expect("it runs").id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.serving.kill();
    }

    /// SIGTERM, and its good end.
    pub fn stop(&mut self) {
        let mut child = self.serving.running().take().expect("it runs");
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
        self.serving.verb(words)
    }

    /// What serves, and its vault.
    pub fn serving(&self) -> &Serving {
        &self.serving
    }

    /// A token for one server.
    pub fn token(&self) -> String {
        self.serving.token(&[])
    }

    /// What `server list` says.
    pub fn listed(&self) -> serde_json::Value {
        let output = self.verb(&["server", "list", "--json"]).output().expect("it starts");
        serde_json::from_str(&checked(output, "server list")).expect("JSON")
    }

    /// Changes how a server is protected.
    pub fn policy(&self, name: &str, words: &[&str]) {
        let mut command = self.verb(&["server", "policy", name]);
        checked(command.args(words).output().expect("it starts"), "server policy");
    }

    /// Takes a server's certificate away.
    pub fn revoke(&self, name: &str) {
        let output = self.verb(&["server", "revoke", name]).output().expect("it starts");
        checked(output, "server revoke");
    }

    /// Opens every seal.
    pub fn verify(&self) {
        let output = self.verb(&["verify", "--deep"]).output().expect("it starts");
        checked(output, "verify");
    }

    /// As if a network share were gone: no vault is there.
    pub fn take_vault_away(&self) {
        fs::rename(self.scratch.path().join("vault"), self.scratch.path().join("gone"))
            .expect("a folder");
    }

    /// The share is there again.
    pub fn bring_vault_back(&self) {
        let vault = self.scratch.path().join("vault");
        // What was made there meanwhile is in the way.
        let _ = fs::remove_dir_all(&vault);
        fs::rename(self.scratch.path().join("gone"), vault).expect("a folder");
    }

    /// Restores every point, and holds it against the agent's model. At least so many there must be, and none twice; of which
    /// epochs they are.
    pub fn check_points(&self, agent: &ScriptedAgent, least: usize) -> Vec<u64> {
        points::check(self.serving.place(), agent, self.scratch.path(), least)
    }

    /// Restores the newest point, and holds it against the agent's model of the epoch that was called vaulted last.
    pub fn check_newest(&self, agent: &ScriptedAgent) {
        let to = self.scratch.path().join("restored");
        let mut command = self.verb(&["restore"]);
        command.args(["--server", &agent.enrolment.name, "--disk", "sda", "--to"]);
        checked(command.arg(&to).output().expect("it starts"), "restore");
        let restored = fs::read(&to).expect("a file");
        let expected = &agent.states[&agent.vaulted];
        let differs = restored.iter().zip(expected).position(|(one, other)| one != other);
        assert_eq!((restored.len(), differs), (expected.len(), None), "this byte differs");
        fs::remove_file(to).expect("a file");
    }

    /// Strangers that speak anything but the protocol.
    pub fn rudeness(&self, seed: u64) {
        let mut random = Random::new(seed);
        for number in 0..20 {
            let mut stream = TcpStream::connect(self.serving.agents()).expect("it listens");
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

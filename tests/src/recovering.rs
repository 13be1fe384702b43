//! A vault whose servers have target profiles, and the region that they are recovered to: the program's orders are given here.

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pipeline_azure::arm::id::{GroupId, Kind, SubnetId};
use pipeline_azure::arm::tags::Tags;
use pipeline_azure::arm::{Answer, Call, Progress, group, network};
use qemu::region::Settings;
use serde_json::Value;

use crate::azurite::Scratch;
use crate::cli::{Ran, image, run};
use crate::program::{Place, lifeboat};
use crate::region::{LOCATION, Machines, SUBSCRIPTION, StandIn};

/// Size of a disk on which nothing starts.
const BYTES: usize = 24 << 20;

/// Vault, servers and region. It is gone with its folder when it is dropped.
#[derive(Debug)]
pub struct Bed {
    /// The region.
    pub region: StandIn,
    /// The vault, as the command line names it.
    pub place: Place,
    /// Where everything lies.
    pub scratch: Scratch,
}

impl Bed {
    /// A vault with these servers, each with a target profile, and a region with the group and network that they go to.
    ///
    /// # Panics
    /// Where Azurite cannot be started here.
    pub fn new(label: &str, servers: &[&str]) -> Self {
        let consoles =
            vec![("quiet".to_owned(), "booting".to_owned()), (String::new(), "login:".to_owned())];
        let settings = Settings { operation_ms: 20, consoles, ..Settings::default() };
        let bed = Self::empty(label, Machines::Told, settings);
        for (seed, server) in (1..).zip(servers) {
            let disk = image(&bed.path(&format!("{server}.img")), BYTES, seed);
            bed.protect(server, &disk);
            bed.profile(server, "");
        }
        bed
    }

    /// A vault without servers, and a region with the group and network that they go to.
    ///
    /// # Panics
    /// Where Azurite cannot be started here.
    pub fn empty(label: &str, machines: Machines, settings: Settings) -> Self {
        let region = StandIn::with(machines, settings).unwrap_or_else(|error| panic!("{error}"));
        Self::over(label, region)
    }

    /// The same over a region that is there.
    ///
    /// # Panics
    /// Where there is no room for a vault.
    pub fn over(label: &str, region: StandIn) -> Self {
        let scratch = Scratch::new(label).unwrap_or_else(|error| panic!("{error}"));
        let vault = format!("dir:{}", scratch.path().join("vault").display());
        let place = Place::create(vault, scratch.path(), &region.environment());
        let bed = Self { region, place, scratch };
        bed.make_network("10.1.0.0/24");
        bed
    }

    /// Makes a point of a server that has this one disk; its identity.
    pub fn protect(&self, server: &str, disk: &Path) -> String {
        self.protect_all(server, &[("sda", disk)])
    }

    /// Makes a point of a server that has these disks, by their names; its identity.
    pub fn protect_all(&self, server: &str, disks: &[(&str, &Path)]) -> String {
        let mut command = self.place.verb("protect");
        command.args(["--server", server, "--json"]);
        command.args(disks.iter().map(|(name, disk)| format!("{name}={}", disk.display())));
        let point = run(&mut command).succeeds().json();
        point["point"].as_str().unwrap_or_default().to_owned()
    }

    /// A file of the bed.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The group and network of failovers; closed, as tests want it.
    fn make_network(&self, range: &str) {
        let recovered = GroupId::new(SUBSCRIPTION, "recovered").expect("a name that Azure takes");
        let tags = Tags::new();
        self.done(
            &group::create(&recovered, LOCATION, &tags).expect("a region that does as it is told"),
        );
        let rules =
            recovered.resource(Kind::SecurityGroup, "rules").expect("a name that Azure takes");
        self.done(
            &network::create_closed(&rules, LOCATION, &tags)
                .expect("a region that does as it is told"),
        );
        let net = recovered.resource(Kind::Network, "net").expect("a name that Azure takes");
        let subnet = SubnetId::new(&net, "default").expect("a name that Azure takes");
        self.done(
            &network::create(&subnet, LOCATION, range, &rules, &tags)
                .expect("a region that does as it is told"),
        );
    }

    /// Sends a call and waits for what it begins.
    fn done(&self, call: &Call) {
        let plane = self.region.control_plane();
        let Answer::Begun(operation) = plane.call(call).expect("a region that does as it is told")
        else {
            return;
        };
        while let Progress::Running(_) =
            plane.look(&operation).expect("a region that does as it is told")
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives a server its target profile, with more lines of TOML where a test wants them.
    pub fn profile(&self, server: &str, more: &str) -> Ran {
        self.profile_with(server, "login:", &format!("signal_within_s = 20\n{more}"))
    }

    /// The same, up when these words stand on its console.
    ///
    /// # Panics
    /// Where there is no room for a file.
    pub fn profile_with(&self, server: &str, words: &str, more: &str) -> Ran {
        let text = format!(
            "subscription = \"{SUBSCRIPTION}\"\nlocation = \"{LOCATION}\"\ngroup = \"recovered\"\nnetwork = \"net\"\n\
             subnet = \"default\"\nsizes = [\"Standard_D2s_v5\", \"Standard_D4s_v5\"]\n\
             signals = [{{ console = \"{words}\" }}]\n{more}\n"
        );
        let file = self.path("profile.toml");
        fs::write(&file, &text).expect("room");
        let mut command = self.verbs(&["target", "set"]);
        run(command.args(["--server", server, "--file"]).arg(&file)).succeeds()
    }

    /// A command of several verbs, with vault and key.
    pub fn verbs(&self, verbs: &[&str]) -> Command {
        let mut command = self.place.bare();
        command.args(verbs).args(["--vault", &self.place.vault, "--key-file"]).arg(&self.place.key);
        command
    }

    /// An order of a disk on which nothing starts.
    pub fn order(&self, verb: &str, server: &str, more: &[&str]) -> Ran {
        let mut command = self.verbs(&[verb]);
        command.args(["--server", server, "--despite-obstacles", "--json"]).args(more);
        run(&mut command)
    }

    /// Starts an order, kills it so long after it has said that it is in a step, and tells how far that was; `None` where it
    /// never came there.
    ///
    /// # Panics
    /// Where the program does not start.
    pub fn killed_in(&self, verb: &str, step: &str, after: Duration) -> Option<String> {
        let mut command = Command::new(lifeboat());
        command.env("LIFEBOAT_STATE", &self.place.state);
        command.envs(self.place.environment.iter().cloned());
        command.args([verb, "--progress-json", "--vault", &self.place.vault, "--key-file"]);
        command.arg(&self.place.key).args(["--server", "web1", "--despite-obstacles"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut seen = None;
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        for line in lines.map_while(Result::ok) {
            let Ok(told) = serde_json::from_str::<Value>(&line) else { continue };
            if told["step"] == step {
                seen = Some(told["standing"].to_string());
                std::thread::sleep(after);
                break;
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        seen
    }

    /// What costs, beside what was there before any order.
    pub fn billed(&self) -> Vec<String> {
        self.region.billed()
    }

    /// Whatever carries an order's tag.
    pub fn tagged(&self) -> Vec<Value> {
        let all = self.region.resources().into_iter();
        all.filter(|one| one["tags"]["lifeboat-order"].is_string()).collect()
    }
}

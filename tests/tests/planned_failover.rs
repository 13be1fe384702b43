//! Promise: a planned failover loses nothing. The server is drained first, and its last point, proven to be its disks to the last
//! byte, is what runs in Azure; where that cannot be proven, or the place in Azure is not ready, the server runs on and nothing is
//! made; taken back, it is the server again.
//!
//! A scripted agent speaks with the real `lifeboat serve`, and the real `lifeboat failover` orders into the region stand-in; they
//! meet in the vault alone. `LIFEBOAT_SEED` repeats a run.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::fork::{self, Fork};
use pipeline_vault::points::read_chain;
use pipeline_wire::message::{Drained, FromAgent, FromAppliance};
use qemu::region::Settings;
use serde_json::{Value, json};
use tests::azurite::Scratch;
use tests::cli::{Ran, run};
use tests::lan;
use tests::points::access;
use tests::recovering::Bed;
use tests::region::Machines;
use tests::scripted_agent::ScriptedAgent;
use tests::serving::{BY_ITSELF, SPOOL_BYTES, Serving};

/// Azure has no disk below 20 MiB.
const DISK: usize = 400 * BLOCK_BYTES;

fn seed() -> u64 {
    let seed = std::env::var("LIFEBOAT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("LIFEBOAT_SEED={seed}");
    seed
}

/// A server that is protected by its agent, where it is recovered to, and the appliance that both are known to.
struct Site {
    bed: Bed,
    serving: Serving,
    agent: ScriptedAgent,
}

impl Site {
    fn new(label: &str) -> Self {
        let consoles = vec![(String::new(), "login:".to_owned())];
        let settings = Settings { operation_ms: 20, consoles, ..Settings::default() };
        let bed = Bed::empty(label, Machines::Told, settings);
        let mut serving = Serving::new(bed.place.clone(), BY_ITSELF, Some(SPOOL_BYTES));
        serving.go_on();
        let mut agent = ScriptedAgent::enrol(&serving.token(&[]), "web", DISK, seed()).unwrap();
        agent.connect_patiently();
        write_and_cut(&mut agent);
        bed.profile("web", "");
        Self { bed, serving, agent }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = self.bed.verbs(&["failover"]);
        command.args(["--server", "web", "--despite-obstacles", "--json"]).args(more);
        command
    }

    /// Orders, while the agent has other things to do.
    fn order(&self, more: &[&str]) -> JoinHandle<Ran> {
        let mut command = self.command(more);
        thread::spawn(move || run(&mut command))
    }

    /// Hears what its agent is told of a drain; how that is called.
    fn hear_order(&mut self) -> String {
        let is_order = |said: &FromAppliance| matches!(said, FromAppliance::Drain { .. });
        self.agent.work_until("the order", |agent| agent.drains.iter().any(is_order));
        let said = core::mem::take(&mut self.agent.drains);
        match said.iter().rfind(|said| is_order(said)) {
            Some(FromAppliance::Drain { order, power_off: true }) => order.clone(),
            _ => panic!("{said:?}"),
        }
    }

    /// What a server that stands still says.
    fn proof(&self, order: &str, epoch: u64) -> Drained {
        Drained {
            order: order.to_owned(),
            epoch,
            point: self.agent.points[&epoch],
            written_at_cut: 4096,
            written_after: 4096,
            changed_blocks: 0,
            read_only: true,
            remarks: Vec::new(),
        }
    }

    /// Does as it is told: a last cut, the proof, and the word that it is kept.
    fn drain(&mut self) -> (String, Drained) {
        let order = self.hear_order();
        let epoch = write_and_cut(&mut self.agent);
        let answer = self.proof(&order, epoch);
        self.agent.say(&FromAgent::Drained(answer.clone())).unwrap();
        let noted = FromAppliance::DrainNoted { order: order.clone() };
        self.agent.work_until("its answer", |agent| agent.drains.contains(&noted));
        self.agent.drains.clear();
        (order, answer)
    }

    fn fork(&self) -> Option<Fork> {
        let chain = read_chain(&access(self.serving.place()), self.agent.enrolment.server).unwrap();
        fork::standing(&chain)
    }

    fn restored(&self, server: &str) -> Vec<u8> {
        let scratch = Scratch::new("restored").expect("a folder");
        self.serving.restored(server, "sda", &scratch.path().join("disk"))
    }

    /// The server was told that it goes on, and its points are its disk.
    fn runs_on(&mut self, order: &str) {
        let abort = FromAppliance::Abort { order: order.to_owned() };
        self.agent.work_until("its end", |agent| agent.drains.contains(&abort));
        self.agent.drains.clear();
        write_and_cut(&mut self.agent);
        assert!(self.agent.demotion.is_none() && self.fork().is_none());
        assert!(self.restored("web") == self.agent.disk);
    }

    fn nothing_was_made(&self) {
        assert!(self.bed.billed().is_empty() && self.bed.tagged().is_empty());
    }
}

/// The order that an asking is of.
fn order_of(asked: &str) -> &str {
    asked.split('.').next().unwrap_or(asked)
}

/// The disk changes, and that is a point.
fn write_and_cut(agent: &mut ScriptedAgent) -> u64 {
    agent.write_some(30);
    let epoch = agent.cut();
    agent.work_until("the point", |agent| agent.vaulted >= epoch);
    epoch
}

fn ended(order: JoinHandle<Ran>) -> Ran {
    order.join().expect("it ends")
}

#[test]
fn what_runs_in_azure_is_the_last_point_of_the_drained_server_whatever_is_killed_meanwhile() {
    let mut site = Site::new("planned");
    // Killed while it waits; ordered again, it is the same order.
    let mut first = site.command(&["--planned"]).spawn().expect("it starts");
    let order = site.hear_order();
    first.kill().unwrap();
    first.wait().unwrap();
    site.nothing_was_made();
    let again = site.order(&["--planned"]);
    // The appliance is killed too, and asks again.
    site.serving.kill();
    site.serving.go_on();
    site.agent.connect_patiently();
    let (same, answer) = site.drain();
    assert_eq!(same, order);
    let up: Value = ended(again).succeeds().json();
    assert_eq!((&up["order"], &up["kind"]), (&json!(order_of(&order)), &json!("planned")));
    assert_eq!((&up["state"], &up["up"]), (&json!("up"), &json!(true)));
    assert_eq!(up["point"]["id"], answer.point.to_string());
    assert!(site.restored("web") == site.agent.disk);
    let fork = site.fork().expect("it stands");
    assert_eq!((fork.order.as_str(), fork.point), (order_of(&order), answer.point));
    // Started again, it is told who is the server, and what it writes is kept beside.
    site.agent.hang_up();
    site.agent.connect_patiently();
    site.agent.work_until("the word", |agent| agent.demotion.is_some());
    let demotion = site.agent.demotion.clone().unwrap();
    assert_eq!((demotion.order.as_str(), demotion.point), (order_of(&order), answer.point));
    let last = site.agent.disk.clone();
    write_and_cut(&mut site.agent);
    assert!(site.restored("web") == last);
    assert!(site.restored(&format!("web~{}", order_of(&order))) == site.agent.disk);
    let mut commit = site.bed.verbs(&["commit"]);
    let kept = run(commit.args(["--server", "web", "--json"])).succeeds().json();
    assert_eq!(kept["state"], "committed");
    // Once it is the server again, nobody holds it to a drain of then, and another one may follow.
    site.agent.drains.clear();
    site.serving.vault(&["server", "accept", "web", "--after-failover"]);
    site.agent.work_until("the end of the failover", |agent| agent.demotion.is_none());
    // What it says before everything is compared is no point.
    site.agent.cut();
    site.agent.work_until("the word to compare", |agent| agent.compares.is_some());
    let epoch = site.agent.compare_all(site.agent.compares.unwrap()).unwrap();
    site.agent.work_until("a point that holds", |agent| agent.vaulted >= epoch);
    site.agent.drains.clear();
    let mut next = site.serving.verb(&["server", "drain", "web", "--order", "f-2", "--power-off"]);
    let next = thread::spawn(move || run(&mut next));
    let (other, _) = site.drain();
    assert_eq!(order_of(&other), "f-2");
    ended(next).succeeds();
}

#[test]
fn a_server_that_cannot_prove_its_last_point_runs_on_and_nothing_is_made() {
    let mut site = Site::new("unproven");
    let ran = site.order(&["--planned"]);
    let order = site.hear_order();
    let words = "/srv cannot be made read-only".to_owned();
    site.agent.say(&FromAgent::NotDrained { order: order.clone(), words }).unwrap();
    ended(ran).fails(1, &["step last_point", "/srv cannot be made read-only", "cancel this order"]);
    site.nothing_was_made();
    assert!(site.fork().is_none());
    write_and_cut(&mut site.agent);
    assert!(site.restored("web") == site.agent.disk);
    // Said again, it does not get further by itself.
    ended(site.order(&["--planned"])).fails(1, &["/srv cannot be made read-only"]);
    ended(site.order(&["--cancel"])).succeeds();
    site.agent.drains.clear();
    // Somebody wrote behind its last cut.
    let ran = site.order(&["--planned"]);
    let order = site.hear_order();
    let epoch = write_and_cut(&mut site.agent);
    let answer = Drained { written_after: 8192, ..site.proof(&order, epoch) };
    site.agent.say(&FromAgent::Drained(answer)).unwrap();
    ended(ran).fails(1, &["step last_point", "was written to after its last point"]);
    site.nothing_was_made();
    assert!(site.fork().is_none());
    ended(site.order(&["--cancel"])).succeeds();
    site.runs_on(&order);
}

#[test]
fn a_planned_failover_that_is_taken_back_lets_its_server_go_on() {
    let mut site = Site::new("taken-back");
    // Before the answer.
    let mut first = site.command(&["--planned"]).spawn().expect("it starts");
    let order = site.hear_order();
    first.kill().unwrap();
    first.wait().unwrap();
    let cancelled = ended(site.order(&["--cancel"])).succeeds().json();
    assert_eq!(
        (&cancelled["order"], &cancelled["state"]),
        (&json!(order_of(&order)), &json!("cancelled"))
    );
    assert!(told(&cancelled).contains("it was not switched off"), "{cancelled}");
    site.runs_on(&order);
    // When it runs in Azure already.
    let ran = site.order(&["--planned"]);
    let (order, _) = site.drain();
    assert_eq!(ended(ran).succeeds().json()["state"], "up");
    assert!(site.fork().is_some() && !site.bed.tagged().is_empty());
    let cancelled = ended(site.order(&["--cancel"])).succeeds().json();
    assert_eq!(
        (&cancelled["order"], &cancelled["state"]),
        (&json!(order_of(&order)), &json!("cancelled"))
    );
    // It never told by what it could be woken: somebody has to go there.
    let diary = told(&cancelled);
    assert!(
        diary.contains("told no hardware address") && diary.contains("web on by hand"),
        "{diary}"
    );
    site.nothing_was_made();
    site.agent.work_until("the end of the failover", |agent| agent.demotion.is_none());
    site.runs_on(&order);
}

/// The diary of an order, in one piece.
fn told(order: &Value) -> String {
    let notes = order["notes"].as_array().unwrap().iter();
    notes.map(|note| note["text"].as_str().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Hears what comes over a cable as it lies there, and prints the frames that are UDP to port 9, of which each is told once.
const LISTENER: &str = "import socket\n\
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))\n\
    heard.bind(('lan1', 0))\n\
    print('hears', flush=True)\n\
    while True:\n\
    \x20frame = heard.recv(2000)\n\
    \x20if frame[12:14] == b'\\x08\\x00' and frame[23] == 17 and frame[36:38] == b'\\x00\\x09':\n\
    \x20 print(frame[:6].hex(), socket.inet_ntoa(frame[30:34]), frame[42:].hex(), flush=True)\n";

/// Whoever hears the cable.
struct Cable {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Cable {
    fn new() -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", LISTENER]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is there");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().expect("it starts").unwrap(), "hears");
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().expect("a frame").unwrap()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // It hears for ever.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_source_that_was_switched_off_is_woken_when_it_is_taken_back_and_the_diary_says_so() {
    const NAME: &str =
        "a_source_that_was_switched_off_is_woken_when_it_is_taken_back_and_the_diary_says_so";
    // What is needed of elsewhere is brought before there is no way out any more.
    if std::env::var_os("LIFEBOAT_TEST_NAMESPACE").is_none() {
        drop(Bed::empty("before", Machines::Told, Settings::default()));
    }
    if !lan::inside(NAME) {
        return;
    }
    lan::ip("link add lan0 type veth peer name lan1");
    lan::ip("addr add 10.77.0.1/24 dev lan0");
    lan::ip("link set lan0 up");
    lan::ip("link set lan1 up");
    let mut cable = Cable::new();
    let mut site = Site::new("woken");
    site.agent.say(&FromAgent::Cards { cards: vec![[0x52, 0x54, 0, 0xAB, 0xCD, 0xEF]] }).unwrap();
    let ran = site.order(&["--planned"]);
    site.drain();
    assert_eq!(ended(ran).succeeds().json()["state"], "up");
    // Switched off.
    site.agent.hang_up();
    let cancelling = site.order(&["--cancel"]);
    let packet = format!("ffffffffffff{}", "525400abcdef".repeat(16));
    assert_eq!(cable.next(), format!("ffffffffffff 10.77.0.255 {packet}"));
    // Once is not enough where a packet is lost.
    assert_eq!(cable.next(), format!("ffffffffffff 10.77.0.255 {packet}"));
    site.agent.connect_patiently();
    site.agent.work_until("the end of it", |_| cancelling.is_finished());
    let cancelled = ended(cancelling).succeeds().json();
    assert_eq!(cancelled["state"], json!("cancelled"));
    let diary = told(&cancelled);
    assert!(
        diary.contains("the source is back") && diary.contains("woken over the network"),
        "{diary}"
    );
}

#[test]
fn nobody_is_stopped_for_a_place_that_is_not_ready() {
    let mut site = Site::new("not-ready");
    site.bed.region.set_limit("cores", 1);
    ended(site.order(&["--planned"])).fails(1, &["step stop", "Standard_D2s_v5"]);
    site.nothing_was_made();
    write_and_cut(&mut site.agent);
    assert!(site.agent.drains.is_empty(), "{:?}", site.agent.drains);
    assert!(site.restored("web") == site.agent.disk);
    site.bed.region.set_limit("cores", 100);
    let ran = site.order(&["--planned"]);
    let (_, answer) = site.drain();
    assert_eq!(ended(ran).succeeds().json()["point"]["id"], answer.point.to_string());
}

//! Promise: disks that are sent through an appliance come back bit for bit; a second time only what differs is sent; and
//! whatever is killed in between, it goes on.
//!
//! The real `lifeboat send` against the real `lifeboat serve`. What is right is in the image files, which only the test
//! writes. `LIFEBOAT_SEED` repeats a run.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hal_sim::random::Random;
use tests::azurite::Scratch;
use tests::cli::{Ran, change, image, number, run};
use tests::program::lifeboat;
use tests::serving::{BY_ITSELF, Serving};

const BLOCK: u64 = 65_536;

/// A machine with two disks, and what it remembers.
struct Machine {
    folder: PathBuf,
    one: PathBuf,
    two: PathBuf,
}

impl Machine {
    fn new(folder: &Path, bytes: usize) -> Self {
        let one = image(&folder.join("one.img"), bytes, 1);
        // It ends within a block.
        let two = image(&folder.join("two.img"), 3 * 65_536 + 512, 2);
        Self { folder: folder.to_owned(), one, two }
    }

    fn send(&self, words: &[&str]) -> Command {
        let mut command = Command::new(lifeboat());
        command.args(["--quiet", "send", "--json", "--enrolment"]);
        command.arg(self.folder.join("enrolment")).args(words);
        command.arg(&self.one).arg(&self.two);
        command
    }

    fn sent(&self, words: &[&str]) -> serde_json::Value {
        run(&mut self.send(words)).succeeds().json()
    }

    /// Sends in a process of its own, which may be killed.
    fn begin(&self, words: &[&str]) -> Child {
        let mut command = self.send(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Whether the newest point is these disks.
    #[track_caller]
    fn is_back(&self, serving: &Serving, server: &str) {
        for (name, path) in [("one.img", &self.one), ("two.img", &self.two)] {
            let back = serving.restored(server, name, &self.folder.join("back"));
            let truth = fs::read(path).unwrap();
            let differs = back.iter().zip(&truth).position(|(back, truth)| back != truth);
            assert_eq!((back.len(), differs), (truth.len(), None), "{name}");
        }
    }
}

fn filled_blocks(path: &Path) -> u64 {
    let content = fs::read(path).unwrap();
    content.chunks(65_536).filter(|block| block.iter().any(|byte| *byte != 0)).count() as u64
}

#[test]
fn disks_come_back_and_a_second_time_only_what_differs_is_sent() {
    let scratch = Scratch::new("send").unwrap();
    let serving = Serving::start(scratch.path(), BY_ITSELF, true);
    let machine = Machine::new(scratch.path(), 20 << 20);
    let token = serving.token(&[]);
    let first = machine.sent(&["--token", &token, "--server", "web1"]);
    let filled = filled_blocks(&machine.one) + filled_blocks(&machine.two);
    assert_eq!(number(&first, "sent_bytes"), filled * BLOCK);
    assert_eq!((first["server"].as_str(), number(&first, "known_blocks")), (Some("web1"), 0));
    assert_eq!(first["consistency"].as_str(), Some("crash"));
    machine.is_back(&serving, "web1");

    change(&machine.one, "one.img", 12, 5);
    let second = machine.sent(&[]);
    let sent = number(&second, "sent_bytes");
    assert!((1..=12 * BLOCK).contains(&sent), "{second}");
    assert_eq!(number(&second, "new_blocks") + number(&second, "known_blocks"), 320 + 4);
    machine.is_back(&serving, "web1");

    // The token on a stick stays there: it is this machine's own, and used up only once.
    let third = machine.sent(&["--token", &token, "--server", "web1"]);
    assert_eq!(number(&third, "sent_bytes"), 0, "{third}");
    assert_eq!(serving.servers(), ["web1"]);
    let points = serving.points("web1");
    let ids: Vec<&str> = points.iter().map(|point| point["id"].as_str().unwrap()).collect();
    let told = [&first, &second, &third].map(|made| made["point"].as_str().unwrap());
    assert_eq!(ids, told);
    serving.vault(&["verify", "--deep"]);
}

#[test]
fn a_capture_goes_on_as_the_server_that_its_token_names() {
    let scratch = Scratch::new("send-onto").unwrap();
    let serving = Serving::start(scratch.path(), BY_ITSELF, false);
    let machine = Machine::new(scratch.path(), 4 << 20);
    // Captured straight into the vault before.
    let both = [machine.one.to_str().unwrap(), machine.two.to_str().unwrap()];
    serving.vault(&["protect", "--server", "db1", both[0], both[1]]);
    let token = serving.token(&["--server", "db1"]);
    change(&machine.one, "one.img", 3, 9);
    let made = machine.sent(&["--token", &token]);
    assert_eq!(made["server"].as_str(), Some("db1"));
    assert!((1..=3 * BLOCK).contains(&number(&made, "sent_bytes")), "{made}");
    assert_eq!(serving.points("db1").len(), 2);
    machine.is_back(&serving, "db1");
}

#[test]
fn who_has_no_token_or_one_that_is_used_up_is_told_what_to_do_and_nothing_is_made() {
    let scratch = Scratch::new("send-refused").unwrap();
    let mut serving = Serving::start(scratch.path(), BY_ITSELF, false);
    let machine = Machine::new(scratch.path(), 1 << 20);
    let fails = |ran: Ran, words: &[&str]| drop(ran.fails(1, words));
    fails(run(&mut machine.send(&[])), &["is not enrolled", "lifeboat server token"]);
    let token = serving.token(&[]);
    let cut = &token[1..];
    fails(run(&mut machine.send(&["--token", cut])), &["cut or mistyped"]);
    let mut missing = machine.send(&["--token", &token]);
    fails(run(missing.arg("/nowhere/disk")), &["/nowhere/disk"]);
    serving.kill();
    fails(run(&mut machine.send(&["--token", &token])), &["cannot be asked", "HTTPS port"]);
    serving.go_on();
    machine.sent(&["--token", &token]);
    let elsewhere = scratch.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let other = Machine::new(&elsewhere, 1 << 20);
    fails(run(&mut other.send(&["--token", &token])), &["not enrolled"]);
    serving.vault(&["server", "revoke", &serving.servers()[0]]);
    // It reads the roll when it starts, and every few seconds.
    serving.kill();
    serving.go_on();
    fails(run(&mut machine.send(&[])), &["refuses this machine"]);
    let words = run(Command::new(lifeboat()).args(["send", "--server", "x", "disk"]));
    words.is_misuse("--token");
}

#[test]
fn what_the_appliance_had_before_a_kill_is_not_sent_again() {
    let scratch = Scratch::new("send-again").unwrap();
    let mut serving = Serving::start(scratch.path(), BY_ITSELF, true);
    let machine = Machine::new(scratch.path(), 1 << 20);
    machine.sent(&["--token", &serving.token(&[]), "--server", "web1"]);
    // Slow enough to be killed in the middle, whatever the processor is.
    let mut paced = |rate: &str| {
        serving.vault(&["server", "policy", "web1", "--send-rate", rate]);
        serving.kill();
        serving.go_on();
    };
    paced("16");
    image(&machine.one, 96 << 20, 77);
    let mut command = Command::new(lifeboat());
    command.args(["--progress-json", "send", "--json", "--enrolment"]);
    command.arg(machine.folder.join("enrolment")).arg(&machine.one).arg(&machine.two);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let given = told
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
        .map(|progress| number(&progress, "stored_bytes"))
        .find(|given| *given >= 40 << 20);
    let given = given.expect("it ended before it could be killed");
    child.kill().unwrap();
    child.wait().unwrap();
    paced("0");
    let again = machine.sent(&[]);
    // What was on its way when it was killed never arrived.
    let filled = filled_blocks(&machine.one) * BLOCK;
    let most = filled - given + (17 << 20);
    println!("{filled} bytes, {given} were given, {again}");
    assert!(number(&again, "sent_bytes") <= most, "{most}: {again}");
    machine.is_back(&serving, "web1");
}

/// Kills both sides at seeded moments; the machine runs, and so changes, where it was killed.
fn campaign(label: &str, with_spool: bool, kills: u64) {
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let seed = std::env::var("LIFEBOAT_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(nanos));
    println!("LIFEBOAT_SEED={seed} repeats it");
    let mut random = Random::new(seed);
    let scratch = Scratch::new(label).unwrap();
    let mut serving = Serving::start(scratch.path(), BY_ITSELF, with_spool);
    let machine = Machine::new(scratch.path(), 48 << 20);
    let token = serving.token(&[]);
    let words = ["--token", &token, "--server", "web1"];
    let mut made = 0;
    for kill in 0..kills {
        let mut client = machine.begin(&words);
        std::thread::sleep(Duration::from_millis(random.below(700)));
        if random.below(2) == 0 {
            client.kill().unwrap();
            made += usize::from(client.wait().unwrap().success());
            change(&machine.one, "one.img", 5, seed ^ kill);
            continue;
        }
        serving.kill();
        std::thread::sleep(Duration::from_millis(random.below(300)));
        serving.go_on();
        // It finds its appliance again by itself.
        assert!(client.wait().unwrap().success(), "kill {kill}");
        made += 1;
        machine.is_back(&serving, "web1");
    }
    machine.sent(&words);
    machine.is_back(&serving, "web1");
    assert_eq!(serving.servers(), ["web1"], "no kill makes another server of it");
    assert!(serving.points("web1").len() > made, "every point that was told is there");
    serving.vault(&["verify", "--deep"]);
    let again = machine.sent(&words);
    assert_eq!(number(&again, "sent_bytes"), 0, "{again}");
}

#[test]
fn whatever_is_killed_with_a_spool_it_goes_on_as_the_same_server() {
    campaign("send-killed-spool", true, 6);
}

#[test]
fn whatever_is_killed_without_a_spool_it_goes_on_as_the_same_server() {
    campaign("send-killed", false, 6);
}

//! Promise: drills and failovers are ordered through `lifeboat --remote` as at home, and whoever is interrupted goes on with the
//! same line; where a policy asks for a second person, another administrator agrees by the command line too; users are managed so.
//!
//! The real `lifeboat serve`, the real command line against it, and the region stand-in behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::fs;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Instant;

use firmware::cli::Opening;
use firmware::ingest::roll::kept::KeptRoll;
use firmware::session::{Machine, Session};
use hal_linux::SystemClock;
use pipeline_wire::message::Binding;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::curl::Curl;
use tests::paired::Paired;
use tests::recovering::Bed;

const PATIENCE: Duration = Duration::from_secs(240);
/// Longest wait for what somebody else wrote to be seen.
const LOOKED: Duration = Duration::from_secs(60);
const PASSWORD: &str = "another horse battery";
/// On these disks nothing starts: the stand-in tells what a console would.
const DESPITE: &str = "--despite-obstacles";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it printed; it ended well.
fn told(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Who an order says gave it, without the machine.
fn orderer(order: &Value) -> String {
    order["by"].as_str().unwrap().split('@').next().unwrap_or_default().to_owned()
}

/// A second administrator, with a token in a file `second`.
fn second(appliance: &Paired) {
    let asked = json!({ "name": "bert", "role": "administrator", "password": PASSWORD });
    appliance.curl.change("POST", "/users", &asked);
    let mut curl = Curl::new(&format!("https://{}", appliance.address));
    curl.begin("/session", &json!({ "name": "bert", "password": PASSWORD }));
    let made = curl.change("POST", "/tokens", &json!({ "name": "berts", "role": "administrator" }));
    fs::write(appliance.folder.join("second"), made["token"].as_str().unwrap()).unwrap();
}

#[test]
fn a_drill_and_a_failover_are_ordered_from_elsewhere_and_go_on_when_interrupted() {
    let bed = Bed::new("remote-recovery", &["web1"]);
    let environment = bed.place.environment.iter();
    let environment: Vec<(&str, &str)> =
        environment.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let appliance = Paired::over(bed.place.clone(), bed.scratch.path(), &environment);
    second(&appliance);
    let page = bed.path("report.html");
    let report = page.display().to_string();
    let drill = ["drill", "--server", "web1", DESPITE, "--json", "--report", &report];
    assert_eq!(appliance.remote("viewer", &drill).status.code(), Some(1), "no viewer's");
    assert!(bed.tagged().is_empty() && !page.exists());
    let drilled = told(&appliance.remote("operator", &drill));
    assert_eq!((&drilled["state"], &drilled["up"]), (&json!("drilled"), &json!(true)));
    assert_eq!(orderer(&drilled), "operator", "who asked is who ordered");
    assert!(fs::read_to_string(&page).unwrap().contains("The server came up"));
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());

    let failover = ["failover", "--server", "web1", DESPITE, "--json"];
    let up = told(&appliance.remote("operator", &failover));
    assert_eq!((&up["state"], orderer(&up).as_str()), (&json!("up"), "operator"));
    assert_eq!(bed.tagged().len(), 3, "a disk, an interface, a machine");
    let cancel = ["failover", "--server", "web1", "--cancel", "--json"];
    assert_eq!(told(&appliance.remote("operator", &cancel))["state"], "cancelled");
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
    second_person(&bed, &appliance);
    // Nobody agrees to what is not there.
    for role in ["operator", "second"] {
        let granted = appliance.remote(role, &["approval", "grant", "00ff"]);
        assert_eq!(granted.status.code(), Some(1), "{}", text(&granted.stderr));
    }

    interrupted(&bed, &appliance);
    users(&appliance);
}

/// Where the policy asks for a second person, a failover begins once another administrator has agreed, by the command line too.
fn second_person(bed: &Bed, appliance: &Paired) {
    watched_over(appliance);
    let failover = ["failover", "--server", "web1", DESPITE, "--json"];
    let cancel = ["failover", "--server", "web1", "--cancel", "--json"];
    let listed = || told(&appliance.remote("operator", &["approval", "list", "--json"]));
    assert_eq!(listed(), json!([]));
    let waits = |words: &[&str]| {
        let ended = appliance.remote("operator", words);
        let said = text(&ended.stderr);
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0), "{said}");
        assert!(
            said.contains("waits for a second person") && said.contains("approval grant"),
            "{said}"
        );
        let id = listed()[0]["id"].as_str().unwrap().to_owned();
        assert!(said.contains(&id), "{said}");
        id
    };
    let id = waits(&failover);
    assert!(bed.tagged().is_empty(), "nothing is made before somebody agreed");
    let settle = |role: &str, word: &str, id: &str| appliance.remote(role, &["approval", word, id]);
    // An operator may not, and who made the token that asked is no second person.
    for (role, said) in
        [("operator", "takes the role administrator"), ("administrator", "another person")]
    {
        let ended = settle(role, "grant", &id);
        assert_eq!(ended.status.code(), Some(1));
        assert!(text(&ended.stderr).contains(said), "{}", text(&ended.stderr));
    }
    assert_eq!(waits(&failover), id, "asked again it is the same, and waits as before");
    assert!(bed.tagged().is_empty());
    let granted = settle("second", "grant", &id);
    assert!(text(&granted.stdout).contains("granted"), "{}", text(&granted.stderr));
    let up = told(&appliance.remote("operator", &failover));
    assert_eq!((&up["state"], orderer(&up).as_str()), (&json!("up"), "operator"));
    // Once is once; what is refused is not done, and what is agreed to later is.
    let refused = waits(&cancel);
    assert_ne!(refused, id);
    assert_eq!(settle("second", "refuse", &refused).status.code(), Some(0));
    let again = waits(&cancel);
    assert_eq!(bed.tagged().len(), 3, "it is up as before");
    assert_eq!(settle("second", "grant", &again).status.code(), Some(0));
    assert_eq!(told(&appliance.remote("operator", &cancel))["state"], "cancelled");
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
    let audit = appliance.curl.get("/audit?limit=100").to_string();
    assert!(audit.contains("settleApproval") && audit.contains("bert"), "{audit}");
}

/// Puts the server on the roll, as its agent would, and has an administrator ask for a second person.
fn watched_over(appliance: &Paired) {
    let opening = Opening {
        vault: appliance.place.vault.parse().unwrap(),
        key_file: appliance.place.key.clone(),
        passphrase_file: None,
        older_key: false,
    };
    let state = appliance.place.state.display().to_string();
    let machine = Machine::with_table(vec![("LIFEBOAT_STATE".to_owned(), state)]);
    let session = Session::open(&opening, &machine).unwrap();
    let server = session.server("web1").unwrap();
    let binding = Binding { machine: [1; 16], disks: Vec::new() };
    let roll = KeptRoll::open(session, Arc::new(SystemClock)).unwrap();
    roll.change(&mut |roll| {
        roll.enrol(server, "web1", &binding, [1; 32]);
        Ok(())
    })
    .unwrap();
    let file = appliance.folder.join("policy.json");
    let set = ["call", "PUT", "/servers/web1/policy", "--file", file.to_str().unwrap()];
    let until = Instant::now() + LOOKED;
    loop {
        // A running appliance looks at its vault now and then.
        let view = appliance.curl.get("/servers/web1");
        let mut policy = view["policy"].clone();
        if policy["second_person"] == true {
            return;
        }
        policy["second_person"] = json!(true);
        fs::write(&file, policy.to_string()).unwrap();
        let ended = appliance.remote("administrator", &set);
        assert!(Instant::now() < until, "{} {view}", text(&ended.stderr));
    }
}

/// Ctrl-C ends who listens; the drill there ends in order, and the same line goes on.
fn interrupted(bed: &Bed, appliance: &Paired) {
    let drill = ["drill", "--server", "web1", DESPITE, "--json"];
    let print = Some(appliance.fingerprint.as_str());
    let mut command = appliance.command("operator", &appliance.address, print, &drill);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let children = || {
        let served = appliance.serving.id();
        let tasks = fs::read_dir(format!("/proc/{served}/task")).unwrap().flatten();
        let listed = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let all: Vec<String> = listed
            .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let line = |child: &String| fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        // The page's door is a process too, and stays.
        all.iter().any(|child| text(&line(child)).split('\0').any(|word| word == "drill"))
    };
    let until = Instant::now() + PATIENCE;
    let began = || bed.region.requests().iter().any(|it| it.to_string().contains("disks/"));
    while !began() || !children() {
        assert!(Instant::now() < until, "the drill does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    while children() {
        assert!(Instant::now() < until, "it goes on although nobody listens");
        std::thread::sleep(Duration::from_millis(50));
    }
    let again = told(&appliance.remote("operator", &drill));
    assert_eq!((&again["state"], &again["up"]), (&json!("drilled"), &json!(true)));
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
}

/// Users from elsewhere, and in the folder beside the one that serves: both see the same.
fn users(appliance: &Paired) {
    let with_password = |mut command: std::process::Command| {
        let file = appliance.folder.join("password");
        fs::write(&file, format!("{PASSWORD}\n")).unwrap();
        command.stdin(fs::File::open(&file).unwrap()).output().unwrap()
    };
    let print = Some(appliance.fingerprint.as_str());
    let of = |role: &str, words: &[&str]| appliance.command(role, &appliance.address, print, words);
    let carl = ["user", "add", "carl", "--role", "operator"];
    let refused = with_password(of("operator", &carl));
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    let added = with_password(of("administrator", &carl));
    assert_eq!(added.status.code(), Some(0), "{}", text(&added.stderr));
    let again = with_password(of("administrator", &carl));
    assert!(text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
    let folder = appliance.folder.join("served").display().to_string();
    let here = |words: &[&str]| {
        let mut command = appliance.place.bare();
        command.args(["user"]).args(words).args(["--state", &folder]);
        command
    };
    let listed = told(&here(&["list", "--json"]).output().unwrap());
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ada", "bert", "carl"]);
    let there = appliance.remote("administrator", &["user", "list"]);
    assert_eq!(text(&there.stdout), text(&here(&["list"]).output().unwrap().stdout));
    in_the_folder(appliance, &here, &with_password(here(&["add", "dora"])));
}

/// What is done in the folder holds at once for who is served out of it.
fn in_the_folder(
    appliance: &Paired,
    here: &dyn Fn(&[&str]) -> std::process::Command,
    dora: &Output,
) {
    assert_eq!(dora.status.code(), Some(0), "{}", text(&dora.stderr));
    let mut curl = Curl::new(&format!("https://{}", appliance.address));
    curl.begin("/session", &json!({ "name": "dora", "password": PASSWORD }));
    assert_eq!(curl.get("/session")["role"], "viewer");
    assert!(here(&["role", "dora", "operator"]).status().unwrap().success());
    assert_eq!(curl.get("/session")["role"], "operator", "at once, in the same session");
    let remove = appliance.remote("administrator", &["user", "remove", "dora"]);
    assert_eq!(remove.status.code(), Some(0), "{}", text(&remove.stderr));
    assert_eq!(curl.ask("GET", "/session", None).status, 401);
    // The last administrator stays, here as there.
    for name in ["bert", "carl"] {
        assert!(here(&["remove", name]).status().unwrap().success());
    }
    let last = here(&["role", "ada", "viewer"]).output().unwrap();
    assert_eq!(last.status.code(), Some(1));
    assert!(text(&last.stderr).contains("the last administrator"), "{}", text(&last.stderr));
    let nowhere = appliance.place.bare().args(["user", "list", "--state", "/nowhere"]).output();
    assert_eq!(nowhere.unwrap().status.code(), Some(2));
    let alone = appliance.place.bare().args(["approval", "list"]).output().unwrap();
    assert_eq!(alone.status.code(), Some(2));
    assert!(text(&alone.stderr).contains("--remote"), "{}", text(&alone.stderr));
}

//! Promise: drills and failovers are ordered through `lifeboat --remote` as at home, and whoever is interrupted goes on with the
//! same line; users are managed so too.
//!
//! The real `lifeboat serve`, the real command line against it, and the region stand-in behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::fs;
use std::process::{Output, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::curl::Curl;
use tests::paired::Paired;
use tests::recovering::Bed;

const PATIENCE: Duration = Duration::from_secs(240);
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
    // Nothing waits for a second person, and nobody agrees to what is not there.
    assert_eq!(told(&appliance.remote("operator", &["approval", "list", "--json"])), json!([]));
    for role in ["operator", "second"] {
        let granted = appliance.remote(role, &["approval", "grant", "00ff"]);
        assert_eq!(granted.status.code(), Some(1), "{}", text(&granted.stderr));
    }

    interrupted(&bed, &appliance);
    users(&appliance);
}

/// Ctrl-C ends who listens; the drill there ends in order, and the same line goes on.
fn interrupted(bed: &Bed, appliance: &Paired) {
    let drill = ["drill", "--server", "web1", DESPITE, "--json"];
    let print = Some(appliance.fingerprint.as_str());
    let mut command = appliance.command("operator", &appliance.address, print, &drill);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The page's door is a child of the appliance too, and stays.
    let drills = |child: &str| {
        let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"drill")
    };
    let children = || {
        let served = appliance.serving.id();
        let tasks = fs::read_dir(format!("/proc/{served}/task")).unwrap().flatten();
        let listed = tasks.map(|task| fs::read_to_string(task.path().join("children")));
        listed.flatten().any(|list| list.split_whitespace().any(drills))
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

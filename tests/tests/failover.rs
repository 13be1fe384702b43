//! Drill, failover, commit, cancel and plans by the real program against the region stand-in: killed at every step, with faults on,
//! with bad input; and nothing that costs is left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Instant;

use pipeline_azure::pages::{PageBlob, PageOptions};
use pipeline_azure::{AzureAddress, Credentials, Secret};
use qemu::region::faults::{Fault, Rule};
use qemu::region::{Refusal, Settings};
use serde_json::json;
use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch};
use tests::cli::{image, run};
use tests::fault_proxy::{self, Action, FOREVER, FaultProxy};
use tests::program::{Place, lifeboat};
use tests::recovering::Bed;
use tests::region::{SUBSCRIPTION, StandIn};

/// No step of a small disk takes longer, even where several builds share the machine.
const STEP: Duration = Duration::from_secs(240);

#[test]
fn a_drill_proves_that_a_point_comes_up_and_leaves_nothing_that_costs() {
    let bed = Bed::new("drill", &["web1", "quiet1"]);
    let estimate = bed.order("drill", "web1", &["--dry-run"]).succeeds().json();
    assert!(estimate["makes"].as_array().unwrap().len() >= 5, "{estimate}");
    assert!(bed.tagged().is_empty(), "nothing was made");
    let page = bed.path("web1.html");
    let drill = bed.order("drill", "web1", &["--report", page.to_str().unwrap()]).succeeds().json();
    assert_eq!((&drill["state"], &drill["up"]), (&json!("drilled"), &json!(true)));
    assert!(drill["filled_bytes"].as_u64().unwrap() > 1 << 20, "{drill}");
    assert!(drill["evidence"]["console"].as_str().unwrap().contains("login:"));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("The server came up") && !page.contains("<script"));
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
    let puts = bed.region.requests();
    assert!(
        puts.iter().any(|one| one.to_string().contains("networkSecurityGroups/lifeboat-drill"))
    );
    // One that does not come up is no success, and leaves as little.
    let line = bed.order("drill", "quiet1", &[]).fails(1, &["quiet1", "login:", "booting"]);
    assert!(line.contains("did not come within 20 s"), "{line}");
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
    let ready = run(bed.verbs(&["ready"]).args(["--json", "--server", "web1"])).json();
    assert_eq!(ready["servers"][0]["last_drill"]["up"], true, "{ready}");
}

#[test]
fn the_role_that_a_recovery_needs_is_printed_for_whoever_gives_it() {
    let role = |more: &[&str]| {
        run(Command::new(lifeboat()).args(["target", "role", "--subscription"]).args(more))
    };
    let whole = role(&[SUBSCRIPTION]).succeeds().json();
    assert_eq!(whole["AssignableScopes"], json!([format!("/subscriptions/{SUBSCRIPTION}")]));
    let actions = whole["Actions"].as_array().unwrap();
    assert!(actions.contains(&json!("Microsoft.Compute/disks/beginGetAccess/action")));
    assert!(!actions.iter().any(|action| action.as_str().unwrap().contains('*')), "{actions:?}");
    let one = role(&[SUBSCRIPTION, "--group", "recovered"]).succeeds().json();
    assert!(one["AssignableScopes"][0].as_str().unwrap().ends_with("/resourceGroups/recovered"));
    role(&["no/subscription"]).fails(1, &["no/subscription"]);
}

#[test]
fn who_was_not_asked_is_said_not_to_have_been_asked() {
    let scratch = Scratch::new("unasked").unwrap();
    let place = Place::in_folder(scratch.path());
    let ran = run(&mut place.verb("cleanup")).succeeds();
    assert!(ran.output.contains("Azure was not asked") && !ran.output.contains("Nothing in Azure"));
}

#[test]
fn a_failover_is_changed_cancelled_and_committed() {
    let bed = Bed::new("failover", &["web1"]);
    let rehearsed = bed.order("failover", "web1", &["--planned", "--dry-run"]).succeeds().json();
    assert_eq!(rehearsed["kind"], "planned", "{rehearsed}");
    assert_eq!(rehearsed["makes"].as_array().map(Vec::len), Some(3), "{rehearsed}");
    assert!(bed.tagged().is_empty(), "nothing was made");
    let first = bed.order("failover", "web1", &[]).succeeds().json();
    assert_eq!(first["state"], "up");
    assert!(first["evidence"]["address"].as_str().unwrap().starts_with("10.1.0."));
    let things = bed.tagged().len();
    assert_eq!(things, 3, "a disk, an interface, a machine");
    // A second operator, and a second word of the first.
    let again = bed.order("failover", "web1", &[]).succeeds().json();
    assert_eq!(again["order"], first["order"], "it is the same order");
    // A rehearsal of another one is told what stands there, and changes nothing.
    let rehearsal = bed.order("failover", "web1", &["--planned", "--dry-run"]);
    rehearsal.fails(1, &["step check", "machine web1", "is what failover"]);
    assert_eq!(bed.tagged().len(), things, "nothing was made");
    let same = bed.order("failover", "web1", &["--point", "latest"]).succeeds().json();
    assert_eq!(same["steps"], first["steps"], "the same line twice takes nothing down");
    let point = first["point"]["id"].as_str().unwrap();
    let other = bed.order("failover", "web1", &["--point", point]).succeeds().json();
    assert_ne!(other["steps"], first["steps"], "it was brought up anew");
    assert_eq!((&other["order"], &other["state"]), (&first["order"], &json!("up")));
    assert_eq!(bed.tagged().len(), things, "nothing twice");
    let cancelled = bed.order("failover", "web1", &["--cancel"]).succeeds().json();
    assert_eq!(cancelled["state"], "cancelled");
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
    run(bed.verbs(&["commit"]).args(["--server", "web1"])).fails(1, &["no failover to commit"]);
    bed.order("failover", "web1", &[]).succeeds();
    let committed =
        run(bed.verbs(&["commit"]).args(["--server", "web1", "--json"])).succeeds().json();
    assert_eq!(committed["state"], "committed");
    let found = run(bed.verbs(&["cleanup"]).args(["--orphans", "--json"])).succeeds().json();
    assert_eq!(found["removed"], json!([]), "what was kept is no orphan");
    assert_eq!(bed.tagged().len(), things);
    let points = run(bed.verbs(&["points"]).arg("--json")).succeeds().json();
    assert_eq!(points["points"].as_array().unwrap().len(), 1, "all points stay");
}

#[test]
fn killed_at_any_step_an_order_goes_on_and_nothing_is_left_over() {
    let bed = Bed::new("killed", &["web1"]);
    let steps = ["check", "disks", "hydrate", "network", "fork", "machine", "signal", "evidence"];
    eprintln!("step        killed while   then");
    for step in steps {
        let seen = bed.killed_in("failover", step, Duration::ZERO);
        let seen = seen.unwrap_or_else(|| panic!("never came to {step}"));
        let began = Instant::now();
        let done = bed.order("failover", "web1", &[]).succeeds().json();
        assert!(began.elapsed() < STEP);
        assert_eq!((&done["state"], &done["up"]), (&json!("up"), &json!(true)), "{step}");
        assert_eq!(bed.tagged().len(), 3, "{step}: nothing twice");
        bed.order("failover", "web1", &["--cancel"]).succeeds();
        assert!(bed.billed().is_empty() && bed.tagged().is_empty(), "{step}");
        eprintln!("{step:<12}{seen:<15}up, cancelled, nothing left");
    }
    for step in ["check", "group", "hydrate", "network", "machine", "signal", "cleanup"] {
        let seen = bed.killed_in("drill", step, Duration::ZERO);
        let seen = seen.unwrap_or_else(|| panic!("a drill never came to {step}"));
        let done = bed.order("drill", "web1", &[]).succeeds().json();
        assert_eq!((&done["state"], &done["up"]), (&json!("drilled"), &json!(true)), "{step}");
        assert!(bed.billed().is_empty() && bed.tagged().is_empty(), "{step}");
        eprintln!("drill {step:<12}{seen:<9}drilled, nothing left");
    }
}

/// What lies in the storage of a disk that was put to this path, read with the account's own key.
fn read_back(bed: &Bed, target: &str, bytes: usize) -> Vec<u8> {
    let container = target.split('/').nth(2).unwrap();
    let address = AzureAddress::parse(&bed.region.azurite().unwrap().vault(container)).unwrap();
    let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).unwrap();
    let blob = PageBlob::kept(&address, "abcd", key, &PageOptions::default()).unwrap();
    let mut all = vec![0; bytes];
    for (number, piece) in all.chunks_mut(4 << 20).enumerate() {
        blob.read(number as u64 * (4 << 20), piece).unwrap();
    }
    all
}

#[test]
fn addresses_that_end_while_a_disk_is_filled_are_asked_for_anew_and_no_page_is_put_twice() {
    const BYTES: usize = 24 << 20;
    let azurite = Azurite::start().expect("Azurite starts");
    let proxy = FaultProxy::start(azurite.port()).unwrap();
    let consoles = vec![(String::new(), "login:".to_owned())];
    let settings = Settings { operation_ms: 20, consoles, ..Settings::default() };
    let bed = Bed::over("addresses", StandIn::behind(&proxy, azurite, settings).unwrap());
    let disk = image(&bed.path("web1.img"), BYTES, 61);
    bed.protect("web1", &disk);
    bed.profile("web1", "");
    // Of the first and the second address a few puts pass, and the others are on their way when it ends.
    let held = |name: &str, skip| {
        let late = Action::Delay(Duration::from_secs(3));
        fault_proxy::Rule { skip, ..fault_proxy::Rule::new("PUT", name, FOREVER, late) }
    };
    proxy.set_rules(vec![held("si=write-0&", 6), held("si=write-1&", 4)]);
    let puts = |name: &str, status: u16| {
        let mut seen = proxy.seen();
        seen.retain(|one| one.method == "PUT" && one.target.contains("comp=page&"));
        seen.retain(|one| one.target.contains(name) && one.status == status);
        seen
    };
    let done = thread::scope(|scope| {
        let order = scope.spawn(|| bed.order("failover", "web1", &[]));
        for (name, passed) in [("si=write-0&", 6), ("si=write-1&", 4)] {
            while puts(name, 201).len() < passed {
                assert!(!order.is_finished(), "it was over before: {:?}", order.join().unwrap());
                thread::sleep(Duration::from_millis(5));
            }
            bed.region.server().end_addresses().unwrap();
        }
        order.join().unwrap().succeeds().json()
    });
    assert_eq!((&done["state"], &done["up"]), (&json!("up"), &json!(true)));
    for name in ["si=write-0&", "si=write-1&"] {
        assert!(!puts(name, 403).is_empty(), "{name} ended while it was used");
    }
    // The last sector says what the disk is becoming, and at its end that it is whole.
    let last = format!("bytes={}-{}", BYTES, BYTES + 511);
    let mut ranges: Vec<String> = puts("sig=", 201).into_iter().map(|put| put.range).collect();
    ranges.retain(|range| *range != last);
    ranges.sort_unstable();
    let twice: Vec<_> = ranges.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty() && ranges.len() > 10, "{twice:?} of {}", ranges.len());
    let asked = bed.region.requests();
    let asked = asked.iter().filter(|one| one["path"].as_str().unwrap().contains("beginGetAccess"));
    assert_eq!(asked.count(), 3, "one for each address");
    let held = read_back(&bed, &puts("sig=", 201)[0].target, BYTES);
    assert!(held == std::fs::read(&disk).unwrap(), "it is the point");
    bed.order("failover", "web1", &["--cancel"]).succeeds();
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
}

#[test]
fn with_faults_on_there_is_no_wrong_success_and_no_orphan() {
    let bed = Bed::new("faults", &["web1"]);
    let some =
        |per_mille: u32, fault: Fault| Rule { per_mille, ..Rule::new("", "", u32::MAX, fault) };
    bed.region.set_faults(vec![
        some(60, Fault::throttled(0)),
        some(40, Fault::unavailable()),
        some(40, Fault::LoseReply),
        Rule::new("PUT", "virtualMachines", 1, Fault::no_room()),
        Rule::new("PUT", "/disks/", 1, Fault::no_room()),
    ]);
    let mut done = None;
    for _ in 0..8 {
        let ran = bed.order("failover", "web1", &[]);
        if ran.code == 0 {
            done = Some(ran.json());
            break;
        }
        assert!(ran.errors.contains("step "), "{}", ran.errors);
    }
    let done = done.expect("it gets there");
    assert_eq!((&done["state"], &done["up"]), (&json!("up"), &json!(true)));
    assert_eq!(done["evidence"]["size"], "Standard_D4s_v5", "the first one had no room");
    assert_eq!(bed.tagged().len(), 3);
    let gone = (0..8).any(|_| bed.order("failover", "web1", &["--cancel"]).code == 0);
    bed.region.set_faults(Vec::new());
    assert!(gone && bed.billed().is_empty() && bed.tagged().is_empty());
}

#[test]
fn what_cannot_be_is_told_with_its_step_and_leaves_nothing() {
    let bed = Bed::new("refused", &["web1"]);
    let points = || run(bed.verbs(&["points"]).arg("--json")).succeeds().json();
    let before = points();
    let nothing = |words: &[&str]| {
        bed.order("failover", "web1", &[]).fails(1, words);
        assert!(bed.tagged().is_empty(), "{words:?}");
        let cleanup = run(bed.verbs(&["cleanup"]).arg("--json")).succeeds().json();
        for open in cleanup["orders"].as_array().unwrap() {
            let order = open["order"].as_str().unwrap();
            run(bed.verbs(&["cleanup"]).args(["--order", order])).succeeds();
        }
    };
    bed.profile("web1", "zone = \"9\"");
    nothing(&["step check", "zone 9"]);
    bed.profile("web1", "address = { given = \"10.9.9.9\" }");
    nothing(&["step check", "10.9.9.9"]);
    bed.profile("web1", "network_group = \"elsewhere\"");
    nothing(&["step check", "subnet default"]);
    bed.profile("web1", "");
    bed.region.set_limit("cores", 1);
    nothing(&["step check", "Standard_D2s_v5"]);
    bed.region.set_limit("cores", 100);
    // A right that is missing, told before; and one that is taken away in the middle.
    let interfaces = "Microsoft.Network/networkInterfaces/write";
    bed.region.set_faults(vec![Rule::deny(interfaces)]);
    nothing(&["step check", interfaces, "Lifeboat's role"]);
    let message = format!(
        "The client does not have authorization to perform action '{interfaces}' over scope '/x' or the scope is invalid."
    );
    let code = "AuthorizationFailed".to_owned();
    let refusal = Refusal { status: 403, code, message, retry_after_s: None };
    let rule = Rule::new("PUT", "networkInterfaces", u32::MAX, Fault::Refuse(refusal));
    bed.region.set_faults(vec![rule]);
    let told = ["step network", interfaces, "lifeboat cleanup --order"];
    bed.order("failover", "web1", &[]).fails(1, &told);
    assert!(!bed.tagged().is_empty(), "its disks were made before");
    bed.region.set_faults(Vec::new());
    bed.order("failover", "web1", &["--cancel"]).succeeds();
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
    // A planned failover wants an appliance that the agent is connected to.
    bed.order("failover", "web1", &["--planned"]).fails(1, &["step stop", "by hand"]);
    bed.order("failover", "web1", &["--cancel"]);
    // Whatever was refused, the vault is as it was.
    run(bed.place.verb("verify").arg("--deep")).succeeds();
    assert_eq!(points(), before);
    assert_eq!(before["points"].as_array().map(Vec::len), Some(1));
    assert_eq!(before["failovers"], json!([]));
    // A damaged point.
    let segments = bed.scratch.path().join("vault").join("seg");
    let damaged =
        files(&segments).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&damaged).unwrap();
    std::fs::write(&damaged, bytes).unwrap();
    let ran = bed.order("drill", "web1", &[]);
    assert_eq!(ran.code, 1, "{}", ran.output);
    assert!(ran.errors.contains("step check"), "{}", ran.errors);
    assert!(bed.tagged().is_empty());
}

fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_plan_of_three_servers_in_two_groups_waits_asks_hooks_and_takes_itself_back() {
    let bed = Bed::new("plan", &["db1", "app1", "web1"]);
    let told = bed.path("told");
    let text = format!(
        "name = \"shop\"\n[[group]]\nname = \"data\"\nbefore = [{{ manual = \"call the help desk\" }}]\n\
         after = [{{ wait = 1 }}]\n[[group.server]]\nname = \"db1\"\nsizes = [\"Standard_D4s_v5\"]\n\
         [[group]]\nname = \"front\"\nafter = [{{ command = {{ run = [\"/bin/sh\", \"-c\", \
         \"echo $LIFEBOAT_PLAN $LIFEBOAT_KIND > {}\"] }} }}]\n[[group.server]]\nname = \"app1\"\n[[group.server]]\nname = \"web1\"\n",
        told.display()
    );
    let file = bed.path("shop.toml");
    std::fs::write(&file, &text).unwrap();
    let create =
        |file: &std::path::Path| run(bed.verbs(&["plan", "create"]).arg("--file").arg(file));
    create(&file).succeeds();
    let bad = bed.path("bad.toml");
    std::fs::write(&bad, text.replace("app1", "nobody")).unwrap();
    create(&bad).fails(1, &["nobody", "not in the vault"]);
    let go = |verb: &str, more: &[&str]| {
        run(bed.verbs(&["plan", verb]).args(["shop", "--json"]).args(more))
    };
    let dry = go("run", &["--drill", "--dry-run", "--despite-obstacles"]).succeeds().json();
    let dry = dry.as_array().unwrap();
    let servers: Vec<&str> = dry.iter().filter_map(|one| one["server"].as_str()).collect();
    assert_eq!(servers, ["db1", "app1", "web1"], "{dry:?}");
    assert_eq!(dry[0]["sizes"], json!(["Standard_D4s_v5"]));
    assert!(dry.iter().all(|one| one["total_millis"].as_u64() > Some(0)), "{dry:?}");
    assert!(bed.tagged().is_empty(), "nothing was made");
    let waits = go("run", &["--drill", "--despite-obstacles"]).succeeds().json();
    assert_eq!(waits["state"], "waits", "{waits}");
    assert!(waits["waits_for"].as_str().unwrap().contains("call the help desk"));
    assert!(bed.tagged().is_empty());
    let done = go("continue", &[]).succeeds().json();
    assert_eq!((&done["state"], done["orders"].as_array().unwrap().len()), (&json!("done"), 3));
    assert!(done["orders"].as_array().unwrap().iter().all(|order| order["up"] == true), "{done}");
    assert_eq!(done["orders"][0]["evidence"]["size"], "Standard_D4s_v5");
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "shop drill\n");
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
    let page = bed.path("shop.html");
    go("report", &["--html", page.to_str().unwrap()]).succeeds();
    let page = std::fs::read_to_string(page).unwrap();
    assert!(["db1", "app1", "web1"].iter().all(|server| page.contains(server)));
    // The same without leave to pass over what is in the way: a drill that says so, and takes itself back.
    go("run", &["--drill"]).succeeds();
    go("continue", &[]).fails(1, &["plan shop"]);
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
}

#[test]
fn what_a_plan_failed_over_is_kept_by_one_word() {
    let bed = Bed::new("plankept", &["db1", "web1"]);
    let text = "name = \"shop\"\n[[group]]\nname = \"all\"\n[[group.server]]\nname = \"db1\"\n[[group.server]]\nname = \"web1\"\n";
    let file = bed.path("shop.toml");
    std::fs::write(&file, text).unwrap();
    run(bed.verbs(&["plan", "create"]).arg("--file").arg(&file)).succeeds();
    let go = |verb: &str, more: &[&str]| {
        run(bed.verbs(&["plan", verb]).args(["shop", "--json"]).args(more))
    };
    go("commit", &[]).fails(1, &["plan shop", "never run"]);
    let done = go("run", &["--despite-obstacles"]).succeeds().json();
    assert_eq!(done["state"], "done", "{done}");
    let kept = go("commit", &[]).succeeds().json();
    let kept = kept.as_array().unwrap();
    assert!(kept.len() == 2 && kept.iter().all(|order| order["state"] == "committed"), "{kept:?}");
    go("commit", &[]).succeeds();
    assert_eq!(bed.tagged().len(), 6, "a disk, an interface and a machine of each");
    // The next failover of one of them finds its name taken, and says by what.
    bed.order("failover", "web1", &[]).fails(1, &["step check", "is what failover", "name = "]);
    assert_eq!(bed.tagged().len(), 6);
}

//! Promise: after a failover only one machine is the server. The original that comes back is told so, and what it wrote is kept
//! beside, bit for bit; its points stay as they were until a person says otherwise, and then they are the disk again. A server
//! that is drained before is its last point to the last byte.
//!
//! A scripted agent speaks over real TLS with the real `lifeboat serve`. `LIFEBOAT_SEED` repeats a run.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::process::{Child, Command, Stdio};

use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::fork;
use pipeline_vault::points::read_chain;
use pipeline_wire::message::{Binding, Drained, FromAgent, FromAppliance, Why};
use serde_json::Value;
use tests::azurite::Scratch;
use tests::cli::run;
use tests::ingesting::Appliance;
use tests::points::access;
use tests::scripted_agent::{Away, ScriptedAgent};

const DISK: usize = 300 * BLOCK_BYTES;

fn seed() -> u64 {
    let seed = std::env::var("LIFEBOAT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("LIFEBOAT_SEED={seed}");
    seed
}

/// A server with a few points in the vault.
fn protected(label: &str) -> (Appliance, ScriptedAgent) {
    let mut appliance = Appliance::new(label, true);
    appliance.start();
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, seed()).unwrap();
    agent.connect_patiently();
    for _ in 0..2 {
        write_and_cut(&mut agent);
    }
    (appliance, agent)
}

/// The disk changes, and that is a point.
fn write_and_cut(agent: &mut ScriptedAgent) -> u64 {
    agent.write_some(30);
    let epoch = agent.cut();
    agent.work_until("the point", |agent| agent.vaulted >= epoch);
    epoch
}

/// The server is failed over to the newest point that its agent was told of.
fn fail_over(appliance: &Appliance, agent: &ScriptedAgent, order: &str) {
    let access = access(appliance.serving().place());
    let point = agent.points[&agent.vaulted];
    fork::publish(&access, agent.enrolment.server, order, point).expect("a fork");
}

/// The records of a server's chain, by what their objects are.
fn chain(appliance: &Appliance, agent: &ScriptedAgent) -> Vec<String> {
    let view = read_chain(&access(appliance.serving().place()), agent.enrolment.server);
    view.expect("a chain").links.iter().map(|link| format!("{:?}", link.digest)).collect()
}

fn restored(appliance: &Appliance, server: &str) -> Vec<u8> {
    let scratch = Scratch::new("restored").expect("a folder");
    appliance.serving().restored(server, "sda", &scratch.path().join("disk"))
}

#[test]
fn an_original_that_comes_back_is_demoted_and_what_it_wrote_is_a_branch_beside_its_points() {
    let (mut appliance, mut agent) = protected("fork");
    let failed_over = agent.states[&agent.vaulted].clone();
    agent.hang_up();
    fail_over(&appliance, &agent, "f-1");
    let before = chain(&appliance, &agent);
    // It was cut off, and wrote meanwhile.
    agent.write_some(20);
    agent.connect_patiently();
    write_and_cut(&mut agent);
    let demotion = agent.demotion.clone().expect("it is told");
    assert_eq!((demotion.order.as_str(), demotion.branch.as_str()), ("f-1", "web~f-1"));
    assert_eq!(demotion.point, agent.points[&2], "to which point");
    // It goes on, whatever happens to the appliance.
    appliance.kill();
    appliance.start();
    agent.connect_patiently();
    write_and_cut(&mut agent);
    assert!(agent.compares.is_none(), "nothing is sent again");
    assert_eq!(chain(&appliance, &agent), before, "the chain is as it was");
    assert!(restored(&appliance, "web") == failed_over);
    assert!(restored(&appliance, "web~f-1") == agent.disk);
    let serving = appliance.serving();
    assert_eq!(serving.points("web~f-1").len(), 3, "the base and two behind it");
    assert_eq!(serving.points("web~f-1")[0]["id"], serving.points("web")[1]["id"]);
    let listed = serving.vault(&["points", "--json", "--server", "web"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["failovers"][0]["order"], "f-1");
    assert_eq!(listed["failovers"][0]["point"], demotion.point.to_string());
    // Nobody else adds to it either.
    let scratch = Scratch::new("other").expect("a folder");
    let image = scratch.path().join("sda");
    std::fs::write(&image, vec![7; BLOCK_BYTES]).unwrap();
    let ran = run(serving.verb(&["protect", "--server", "web"]).arg(&image));
    assert!(ran.code == 1 && ran.errors.contains("failed over"), "{ran:?}");
    assert_eq!(chain(&appliance, &agent), before);
    appliance.verify();
    appliance.stop();
}

#[test]
fn an_original_that_is_the_server_again_compares_and_its_points_are_its_disk() {
    let (mut appliance, mut agent) = protected("accepted");
    fail_over(&appliance, &agent, "f-1");
    write_and_cut(&mut agent);
    agent.work_until("the word", |agent| agent.demotion.is_some());
    let branch = restored(&appliance, "web~f-1");
    let said = appliance.serving().vault(&["server", "accept", "web", "--after-failover"]);
    assert!(said.contains("f-1") && said.contains("web~f-1"), "{said}");
    // Its connections end; what it says before everything is compared is no point.
    agent.work_until("the end of the failover", |agent| agent.demotion.is_none());
    agent.write_some(10);
    let void = agent.cut();
    agent.work_until("the word to compare", |agent| agent.compares.is_some());
    let token = agent.compares.expect("a token");
    let epoch = agent.compare_all(token).expect("a session");
    agent.work_until("a point that holds", |agent| agent.vaulted >= epoch);
    assert!(void < epoch);
    assert!(restored(&appliance, "web") == agent.disk);
    write_and_cut(&mut agent);
    assert!(restored(&appliance, "web") == agent.disk);
    assert!(restored(&appliance, "web~f-1") == branch, "the branch stays");
    let ran = run(&mut appliance.serving().verb(&["server", "accept", "web", "--after-failover"]));
    assert!(ran.code == 1 && ran.errors.contains("not failed over"), "{ran:?}");
    appliance.verify();
    appliance.stop();
}

#[test]
fn an_agent_of_before_is_refused_while_the_failover_stands_and_goes_on_behind_it() {
    let (mut appliance, mut agent) = protected("old");
    agent.version = 1;
    agent.hang_up();
    agent.connect_patiently();
    write_and_cut(&mut agent);
    fail_over(&appliance, &agent, "f-1");
    agent.hang_up();
    agent.write_some(10);
    match agent.connect() {
        Err(Away::Refused(refused)) => {
            assert_eq!(refused.why, Why::Demoted);
            assert!(refused.words.contains("f-1"), "{}", refused.words);
        }
        other => panic!("{other:?}"),
    }
    appliance.serving().vault(&["server", "accept", "web", "--after-failover"]);
    agent.connect_patiently();
    let epoch = agent.cut();
    agent.work_until("the point", |agent| agent.vaulted >= epoch);
    assert!(restored(&appliance, "web") == agent.disk);
    assert_eq!(appliance.serving().servers(), ["web"]);
    appliance.stop();
}

/// A copy of the machine's disks has everything that the agent remembers. It runs on other hardware, and says so.
#[test]
fn a_copy_with_all_that_the_agent_remembers_adds_nothing_to_the_originals_points() {
    let (mut appliance, mut agent) = protected("copy");
    let original = agent.binding.clone();
    let copies = [
        Binding { machine: [1; 16], ..original.clone() },
        Binding { disks: vec![[2; 16]], ..original.clone() },
        Binding { machine: [1; 16], disks: vec![[2; 16]] },
    ];
    let before = chain(&appliance, &agent);
    agent.hang_up();
    for order in [None, Some("f-1")] {
        order.into_iter().for_each(|order| fail_over(&appliance, &agent, order));
        for copy in &copies {
            agent.binding = copy.clone();
            agent.write_some(5);
            match agent.connect() {
                Err(Away::Refused(refused)) => assert_eq!(refused.why, Why::Copy, "{copy:?}"),
                other => panic!("{copy:?}: {other:?}"),
            }
            // Not as another life of the agent, nor over a second connection.
            assert!(matches!(agent.dial(1), Err(Away::Refused(_))), "{copy:?}");
        }
    }
    assert_eq!(chain(&appliance, &agent)[..before.len()], before);
    let branches = access(appliance.serving().place());
    let branch = fork::branch::identity(&agent.enrolment.server, "f-1");
    assert!(branches.keys.newest_record_key(&branch).is_none(), "no branch was begun");
    agent.binding = original;
    agent.connect_patiently();
    write_and_cut(&mut agent);
    assert!(restored(&appliance, "web~f-1") == agent.disk);
    appliance.stop();
}

fn drain(appliance: &Appliance, words: &[&str]) -> Child {
    let mut command = appliance.serving().verb(&["server", "drain", "web", "--json"]);
    command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// What the newest asking is called: its order, and what tells it from every other.
fn asked(agent: &ScriptedAgent) -> String {
    let is_order = |said: &&FromAppliance| matches!(said, FromAppliance::Drain { .. });
    match agent.drains.iter().rfind(is_order) {
        Some(FromAppliance::Drain { order, .. }) => order.clone(),
        _ => panic!("{:?}", agent.drains),
    }
}

fn proof(agent: &ScriptedAgent, order: &str, epoch: u64) -> Drained {
    Drained {
        order: order.to_owned(),
        epoch,
        point: agent.points[&epoch],
        written_at_cut: 4096,
        written_after: 4096,
        changed_blocks: 0,
        read_only: true,
        remarks: Vec::new(),
    }
}

#[test]
fn a_drained_server_is_its_last_point_to_the_last_byte_and_its_appliance_remembers_that() {
    let (mut appliance, mut agent) = protected("drain");
    let verb = drain(&appliance, &["--order", "f-1", "--power-off"]);
    agent.work_until("the order", |agent| !agent.drains.is_empty());
    let order = asked(&agent);
    let wanted = FromAppliance::Drain { order: order.clone(), power_off: true };
    assert!(order.starts_with("f-1.") && agent.drains == core::slice::from_ref(&wanted));
    let epoch = write_and_cut(&mut agent);
    // Killed before it hears the answer: it asks again.
    appliance.kill();
    appliance.start();
    agent.connect_patiently();
    agent.work_until("the order once more", |agent| agent.drains.len() > 1);
    assert_eq!(agent.drains.last(), Some(&wanted), "the same asking");
    // Who was not asked, and knows the order's name alone, has nobody switched off.
    agent.say(&FromAgent::Drained(proof(&agent, "f-1", epoch))).unwrap();
    let answer = proof(&agent, &order, epoch);
    agent.say(&FromAgent::Drained(answer.clone())).unwrap();
    let noted = FromAppliance::DrainNoted { order: order.clone() };
    agent.work_until("its answer", |agent| agent.drains.last() == Some(&noted));
    let ran = verb.wait_with_output().expect("it ends");
    assert!(ran.status.success(), "{ran:?}");
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(told["point"], answer.point.to_string());
    assert_eq!(
        (&told["written_bytes"], &told["written_after_bytes"]),
        (&4096.into(), &4096.into())
    );
    assert!(restored(&appliance, "web") == agent.disk);
    // Another start of the appliance knows it, and another order waits.
    appliance.kill();
    appliance.start();
    agent.drains.clear();
    agent.connect_patiently();
    agent.work_until("what is known", |agent| agent.drains == [noted.clone()]);
    let ran = run(&mut appliance.serving().verb(&["server", "drain", "web", "--order", "f-2"]));
    assert!(ran.code == 1 && ran.errors.contains("f-1"), "{ran:?}");
    appliance.serving().vault(&["server", "drain", "web", "--abort"]);
    let abort = FromAppliance::Abort { order };
    agent.work_until("its end", |agent| agent.drains.last() == Some(&abort));
    write_and_cut(&mut agent);
    assert!(restored(&appliance, "web") == agent.disk);
    appliance.stop();
}

#[test]
fn a_server_that_cannot_be_drained_says_why_and_another_order_may_try() {
    let (mut appliance, mut agent) = protected("undrained");
    let verb = drain(&appliance, &["--order", "f-1"]);
    agent.work_until("the order", |agent| !agent.drains.is_empty());
    let words = "/srv cannot be made read-only".to_owned();
    agent.say(&FromAgent::NotDrained { order: asked(&agent), words }).unwrap();
    let ran = verb.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(1) && said.contains("/srv cannot be made"), "{ran:?}");
    let late = run(appliance.serving().verb(&["server", "drain", "web"]).args(["--wait", "1s"]));
    assert!(late.code == 1 && late.errors.contains("did not answer in time"), "{late:?}");
    appliance.serving().vault(&["server", "drain", "web", "--abort"]);
    write_and_cut(&mut agent);
    appliance.stop();
}

/// A file system with these files, as an image.
fn file_system(scratch: &Scratch, files: &[(&str, &str)]) -> std::path::PathBuf {
    let (source, image) = (scratch.path().join("source"), scratch.path().join("sda"));
    let _ = std::fs::remove_dir_all(&source);
    let _ = std::fs::remove_file(&image);
    for (path, content) in files {
        let path = source.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
        std::fs::write(&path, content).unwrap();
        // All of one time: it tells nothing.
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + core::time::Duration::from_secs(1)).unwrap();
    }
    let mut command = Command::new("mkfs.ext4");
    command.args(["-q", "-F", "-d"]).arg(&source).arg(&image).arg("16M");
    tests::program::checked(command.output().expect("mkfs.ext4"), "mkfs.ext4");
    image
}

#[test]
fn the_files_that_differ_between_two_points_are_listed() {
    let appliance = Appliance::new("files", false);
    let scratch = Scratch::new("files").expect("a folder");
    let same = ("etc/hosts", "127.0.0.1 web\n");
    // Its size and its time stay: only the vault's blocks tell that its content did not.
    let old = [same, ("srv/order", "1\n"), ("srv/gone", "x"), ("srv/still", "before")];
    let new = [same, ("srv/order", "2\n"), ("srv/late", "written late"), ("srv/still", "after!")];
    for files in [old, new] {
        let image = file_system(&scratch, &files);
        let ran = run(appliance.serving().verb(&["protect", "--server", "web"]).arg(&image));
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let ran = run(&mut appliance.serving().verb(&["files", "--server", "web", "--json"]));
    if ran.errors.contains("run it as root") || ran.errors.contains("modules fuse and loop") {
        eprintln!("SKIPPED, not tested on this machine: {}", ran.errors);
        return;
    }
    assert_eq!(ran.code, 0, "{ran:?}");
    let told: Value = serde_json::from_str(&ran.output).expect("JSON");
    let files = told["files"].as_array().expect("a list").iter();
    let files: Vec<[&str; 2]> =
        files.map(|file| ["path", "became"].map(|name| file[name].as_str().unwrap())).collect();
    let changed = [["srv/order", "changed"], ["srv/still", "changed"]];
    assert_eq!(files, [[["srv/gone", "removed"], ["srv/late", "added"]], changed].concat());
    assert_eq!(told["by_times"], 0, "{told}");
    assert_eq!(told["not_compared"].as_array().map(Vec::len), Some(0), "{told}");
}

/// The disk is from now on this image; the blocks that differ are sent, and that is a point. Gives its bytes.
fn becomes(agent: &mut ScriptedAgent, image: &std::path::Path) -> Vec<u8> {
    let bytes = std::fs::read(image).unwrap();
    let pairs = bytes.chunks(BLOCK_BYTES).zip(agent.disk.chunks(BLOCK_BYTES)).enumerate();
    let differ: Vec<u64> =
        pairs.filter(|(_, (new, old))| new != old).map(|(number, _)| number as u64).collect();
    agent.disk[..bytes.len()].copy_from_slice(&bytes);
    agent.send_blocks(&differ);
    let epoch = agent.cut();
    agent.work_until("the point", |agent| agent.vaulted >= epoch);
    bytes
}

#[test]
fn what_an_original_wrote_after_its_failover_is_listed_by_file_and_is_in_none_of_its_points() {
    let scratch = Scratch::new("branch-files").expect("a folder");
    let mut appliance = Appliance::new("branch-files", true);
    appliance.start();
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", 16 << 20, seed()).unwrap();
    agent.connect_patiently();
    let same = ("etc/hosts", "127.0.0.1 web\n");
    let old = [same, ("srv/order", "1\n"), ("srv/gone", "x")];
    let failed_over = becomes(&mut agent, &file_system(&scratch, &old));
    agent.hang_up();
    fail_over(&appliance, &agent, "f-1");
    agent.connect_patiently();
    // Twice, so that more than the newest of the branch counts; what came and went between is in neither.
    let between = [same, ("srv/order", "2\n"), ("srv/gone", "x"), ("srv/passing", "soon gone")];
    becomes(&mut agent, &file_system(&scratch, &between));
    let new = [same, ("srv/order", "3\n"), ("srv/late", "an invoice")];
    let written = becomes(&mut agent, &file_system(&scratch, &new));
    assert!(agent.demotion.is_some(), "it was told");
    assert!(restored(&appliance, "web") == failed_over, "its points are what they were");
    assert!(restored(&appliance, "web~f-1") == written, "the branch is its disk");

    let list = |server: &str| {
        let ran = run(&mut appliance.serving().verb(&["files", "--server", server, "--json"]));
        if ran.errors.contains("run it as root") || ran.errors.contains("modules fuse and loop") {
            eprintln!("SKIPPED, not tested on this machine: {}", ran.errors);
            return None;
        }
        let told = ran.succeeds().json();
        let files = told["files"].as_array().expect("a list").iter();
        let text = |file: &Value, name: &str| file[name].as_str().unwrap_or_default().to_owned();
        let files = files.map(|file| (text(file, "path"), text(file, "became")));
        Some((files.collect::<Vec<_>>(), told))
    };
    let Some((files, told)) = list("web~f-1") else { return };
    let wanted = [("srv/gone", "removed"), ("srv/late", "added"), ("srv/order", "changed")];
    assert_eq!(files, wanted.map(|(path, became)| (path.to_owned(), became.to_owned())), "{told}");
    let point = appliance.serving().points("web").pop().unwrap();
    assert_eq!(told["from"], point["id"], "from the point that was failed over to");
    assert_eq!(list("web").unwrap().0, [], "what it wrote is in none of its own points");
    appliance.verify();
    appliance.stop();
}

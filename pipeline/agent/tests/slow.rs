//! Writers that are slowed down are let go, whoever is killed. Control groups of the machine that this runs on; needs root.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Instant;

use pipeline_agent::cut::Throttle as _;
use pipeline_agent::manners::control_groups;
use pipeline_agent::slow::Slower;
use rustix::process::{Pid, Signal, kill_process};

/// Names the group to whoever is to be killed.
const GROUP: &str = "LIFEBOAT_TEST_SLOW";
/// What a busy machine may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A control group with somebody in it.
struct Group {
    folder: PathBuf,
    inside: Child,
}

impl Group {
    fn new(name: &str) -> Self {
        let root = control_groups().expect("this system has control groups of version 2");
        let folder = root.join(format!("lifeboat-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a group can be made");
        let inside = Command::new("sleep").arg("600").spawn().expect("somebody");
        fs::write(folder.join("cgroup.procs"), inside.id().to_string()).expect("it goes in");
        Self { folder, inside }
    }

    /// Whether the kernel says that nobody in it runs.
    fn stands(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("cgroup.events")).expect("events");
        events.lines().any(|line| line == "frozen 1")
    }

    fn is_paused(&self) -> bool {
        let state = fs::read_to_string(self.folder.join("cgroup.freeze")).expect("a switch");
        state.trim() == "1"
    }

    fn note(&self) -> PathBuf {
        std::env::temp_dir().join(self.folder.file_name().expect("a name"))
    }

    fn slower(&self) -> Slower {
        Slower::new(Path::new(env!("CARGO_BIN_EXE_lifeboat-agent")), &self.note())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(fs::write(self.folder.join("cgroup.freeze"), "0"));
        drop(self.inside.kill());
        drop(self.inside.wait());
        let gone = || fs::remove_dir(&self.folder).is_ok();
        wait_for("the group to be empty", gone);
        drop(fs::remove_file(self.note()));
    }
}

#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn send(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(process, signal).expect("it is there");
}

#[test]
fn writers_stand_still_and_run_in_turns_until_it_is_over() {
    let group = Group::new("turns");
    let mut slower = group.slower();
    assert!(!slower.slow(Vec::new()), "there is nobody");
    assert!(slower.slow(vec![group.folder.clone()]));
    for _ in 0..3 {
        wait_for("a pause", || group.stands());
        wait_for("its end", || !group.stands());
    }
    assert!(group.note().exists(), "noted");
    let words = slower.release().expect("words");
    assert!(words.contains("lifeboat-test-turns"), "{words}");
    assert!(!group.is_paused() && !group.note().exists(), "over");
    assert!(slower.process().is_none() && slower.release().is_none());
}

#[test]
fn a_group_that_does_not_let_itself_be_paused_is_no_harm() {
    let group = Group::new("other");
    let mut slower = group.slower();
    slower.slow(vec![group.folder.clone(), group.folder.join("gone")]);
    // It ends at once: all of them, or none.
    wait_for("its end", || !slower.pauses());
    let words = slower.release().expect("words");
    assert!(words.contains("could not be paused"), "{words}");
    assert!(!group.is_paused() && !group.stands());
}

#[test]
fn who_pauses_is_killed_and_nobody_stays_paused() {
    let group = Group::new("killed");
    let mut slower = group.slower();
    assert!(slower.slow(vec![group.folder.clone()]));
    wait_for("a pause", || group.is_paused());
    send(slower.process().expect("it pauses"), Signal::KILL);
    wait_for("the end of it", || !group.is_paused() && !group.stands());
    drop(slower);
}

#[test]
fn the_agent_is_killed_and_nobody_stays_paused() {
    if let Some(folder) = std::env::var_os(GROUP).map(PathBuf::from) {
        return be_killed(&folder);
    }
    let group = Group::new("agent");
    let (mut agent, _) = another(&group);
    wait_for("a pause", || group.is_paused());
    agent.kill().expect("it runs");
    agent.wait().expect("it ends");
    wait_for("the end of it", || !group.is_paused() && !group.stands());
    // Both in the same moment: the agent is stopped first, so that it cannot help.
    let (mut agent, pauses) = another(&group);
    wait_for("a pause", || group.is_paused());
    send(agent.id(), Signal::STOP);
    wait_for("a pause", || group.is_paused());
    send(pauses, Signal::KILL);
    agent.kill().expect("it runs");
    agent.wait().expect("it ends");
    let left = group.is_paused();
    let told = group.slower().let_go_left();
    assert_eq!(told.len(), usize::from(left), "{told:?}");
    assert!(!group.is_paused() && !group.note().exists());
    assert!(group.slower().let_go_left().is_empty(), "there is nothing left");
}

/// This test in a process of its own, which slows the group down until it is killed; and who pauses for it.
fn another(group: &Group) -> (Child, u32) {
    let told = group.note().with_extension("pid");
    drop(fs::remove_file(&told));
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", "the_agent_is_killed_and_nobody_stays_paused", "--nocapture"]);
    let agent = command.env(GROUP, &group.folder).spawn().expect("it starts");
    let mut pauses = 0;
    wait_for("an agent", || {
        let text = fs::read_to_string(&told).unwrap_or_default();
        text.strip_suffix('\n').and_then(|line| line.parse().ok()).is_some_and(|process| {
            pauses = process;
            true
        })
    });
    drop(fs::remove_file(&told));
    (agent, pauses)
}

fn be_killed(folder: &Path) {
    let note = std::env::temp_dir().join(folder.file_name().expect("a name"));
    let mut slower = Slower::new(Path::new(env!("CARGO_BIN_EXE_lifeboat-agent")), &note);
    assert!(slower.slow(vec![folder.to_path_buf()]));
    let process = slower.process().expect("it pauses");
    fs::write(note.with_extension("pid"), format!("{process}\n")).expect("it is told");
    thread::sleep(PATIENCE);
}

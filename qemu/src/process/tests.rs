//! Ends of processes, wanted and unwanted.

use std::path::Path;

use super::*;
use crate::folder::Folder;

fn alive(number: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    // A zombie is dead; its parent only has not looked yet.
    !status.is_empty() && !status.contains(") Z ")
}

fn await_death(number: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while alive(number) && Instant::now() < deadline {
        thread::sleep(LOOK_EVERY);
    }
    !alive(number)
}

fn number(process: &Process) -> u32 {
    process.state.lock().unwrap().child.id()
}

#[test]
fn a_dropped_process_is_gone_and_its_watcher_too() {
    let folder = Folder::new().unwrap();
    let process = Process::start("sleep", &["1000"], folder.file("log")).unwrap();
    let id = number(&process);
    assert!(process.ended().is_none());
    // The shell becomes the program once the watcher runs.
    let deadline = Instant::now() + Duration::from_secs(10);
    let children = Path::new("/proc").join(format!("{id}/task/{id}/children"));
    let watcher = loop {
        let text = fs::read_to_string(&children).unwrap_or_default();
        if let Some(first) = text.split_whitespace().next() {
            break first.parse::<u32>().unwrap();
        }
        assert!(Instant::now() < deadline, "there is no watcher");
    };
    drop(process);
    assert!(!alive(id));
    assert!(await_death(watcher), "the watcher lives on");
}

#[test]
fn the_end_and_the_words_of_a_program_are_told() {
    let folder = Folder::new().unwrap();
    let script = ["-c", "echo fine; echo bad >&2; exit 3"];
    let process = Process::start("sh", &script, folder.file("log")).unwrap();
    let status = process.wait(Instant::now() + Duration::from_secs(10)).unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(process.words(), "fine\nbad");
    let words = process.failure("the test").to_string();
    assert!(words.contains("the test: sh ended") && words.contains("bad"), "{words}");
    let missing = Process::start("no-such-program", &["x"], folder.file("log")).unwrap_err();
    assert!(missing.to_string().contains("not installed"), "{missing}");
}

#[test]
fn an_owner_that_is_killed_takes_its_process_with_it() {
    let folder = Folder::new().unwrap();
    // A shell plays the owner: it holds the other end of the guard's pipe and is killed like a test.
    let said = folder.file("number");
    let script = format!(
        "mkfifo {0}; sh -c '{GUARD}' guard sleep 1000 <{0} & echo $! >{1}; exec 4>{0}; sleep 1000",
        folder.file("pipe").display(),
        said.display()
    );
    let mut owner = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let id = loop {
        let text = fs::read_to_string(&said).unwrap_or_default();
        let name = text.trim().parse::<u32>().ok().filter(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.starts_with(b"sleep")
        });
        if let Some(id) = name {
            break id;
        }
        assert!(Instant::now() < deadline, "the program did not start");
        thread::sleep(LOOK_EVERY);
    };
    assert!(alive(id));
    // `sleep 1000` of the owner holds the pipe too, so it is ended with it.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", owner.id())).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    for child in children.split_whitespace().filter(|child| *child != id.to_string()) {
        Command::new("kill").args(["-9", child]).status().unwrap();
    }
    assert!(await_death(id), "the program outlived its owner");
}

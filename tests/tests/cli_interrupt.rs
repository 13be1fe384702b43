//! A signal in the middle: the program ends in order, says that the same command resumes, and the same command does.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tests::azurite::Scratch;
use tests::cli::{image, number, run};
use tests::program::Place;

/// Long enough that a signal comes in the middle.
const BYTES: usize = 192 * 1024 * 1024;

struct Bed {
    scratch: Scratch,
    place: Place,
    disk: PathBuf,
}

impl Bed {
    fn new(label: &str) -> Self {
        let scratch = Scratch::new(label).unwrap();
        let place = Place::in_folder(scratch.path());
        let disk = image(&scratch.path().join("sda"), BYTES, 31);
        Self { scratch, place, disk }
    }

    fn protect(&self) -> Command {
        let mut command = self.place.verb("protect");
        command
            .args(["--server", "web1", "--workers", "1", "--level", "9", "--json"])
            .arg(&self.disk);
        command
    }

    fn restore(&self) -> Command {
        let mut command = self.place.verb("restore");
        command.args(["--server", "web1", "--disk", "sda", "--json", "--to"]);
        command.arg(self.scratch.path().join("back"));
        command
    }
}

/// Waits for `enough` to be true, then sends the signal, and waits for the end: the code and what it said.
fn stop(mut child: Child, signal: Signal, enough: &dyn Fn() -> bool) -> (i32, String) {
    let began = Instant::now();
    while !enough() && child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(120), "it gets somewhere");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Bytes of segments in the vault.
fn stored(bed: &Bed) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![bed.scratch.path().join("vault/seg")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(facts) if facts.is_dir() => folders.push(entry.path()),
                Ok(facts) => bytes += facts.len(),
                Err(_) => (),
            }
        }
    }
    bytes
}

#[test]
fn an_interrupted_point_goes_on_where_it_was() {
    let bed = Bed::new("interrupt");
    let child = start(&mut bed.protect());
    let (code, said) = stop(child, Signal::INT, &|| stored(&bed) > 16 << 20);
    assert_eq!(code, 130, "{said}");
    assert!(said.contains("run") && said.contains("again"), "{said}");
    let list = run(bed.place.verb("points").arg("--json")).succeeds().json();
    assert_eq!(list["points"].as_array().unwrap().len(), 0, "half a point is none");
    let sent = stored(&bed);
    assert!(sent > 0);
    let made = run(&mut bed.protect()).succeeds().json();
    assert_eq!(made["resumed"], true, "{made}");
    let all = stored(&bed);
    assert!(
        number(&made, "stored_bytes") < all,
        "what was sent is not sent again: {made} of {all}"
    );
    run(bed.place.verb("verify").arg("--deep")).succeeds();
    run(&mut bed.restore()).succeeds();
    assert!(fs::read(bed.scratch.path().join("back")).unwrap() == fs::read(&bed.disk).unwrap());
}

#[test]
fn an_interrupted_restore_leaves_no_half_disk_under_its_name() {
    let bed = Bed::new("cutrestore");
    run(&mut bed.protect()).succeeds();
    let (back, part) =
        (bed.scratch.path().join("back"), bed.scratch.path().join("back.lifeboat-part"));
    let written = || {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(&part).is_ok_and(|facts| facts.blocks() > 8 * 1024)
    };
    let child = start(&mut bed.restore());
    let (code, said) = stop(child, Signal::TERM, &written);
    if code == 0 {
        // It was faster than the signal; then it must be whole.
        assert!(fs::read(&back).unwrap() == fs::read(&bed.disk).unwrap());
        return;
    }
    assert_eq!(code, 143, "{said}");
    assert!(said.contains("back.lifeboat-part") && said.contains("again"), "{said}");
    assert!(!back.exists() && part.exists());
    let done = run(&mut bed.restore()).succeeds().json();
    assert!(
        number(&done, "written_bytes") < BYTES as u64,
        "what was there is not written again: {done}"
    );
    assert!(back.exists() && !part.exists());
    assert!(fs::read(&back).unwrap() == fs::read(&bed.disk).unwrap());
}

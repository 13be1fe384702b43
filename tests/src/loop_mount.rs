//! File systems on loop devices, in a mount namespace of the test's own. Needs root; says loudly where it cannot be had.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Says that this process is in a namespace of its own.
const INSIDE: &str = "LIFEBOAT_TEST_NAMESPACE";
/// Waits until whoever holds the other end of its input has ended, and clears up after it.
const CARETAKER: &str = r#"read -r _
while fsfreeze --unfreeze "$1"; do :; done
umount --lazy "$1"
losetup --detach "$2""#;

/// Runs the test of this name once more in a mount namespace of its own, and ends as that ends; true there, where the test
/// goes on.
#[track_caller]
pub fn in_namespace(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let exe = env::current_exe().expect("a running test has a path");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(exe);
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let status = command.status().expect("unshare is there: util-linux");
    assert!(status.success(), "{test} failed in its namespace: {status}");
    false
}

/// A file system on a loop device on a file.
#[derive(Debug)]
pub struct LoopMount {
    device: PathBuf,
    at: PathBuf,
    caretaker: Option<Child>,
}

impl LoopMount {
    /// A new file system of this kind (`ext4`, `vfat`) and size, its file and mount point in this folder. `None`, loudly,
    /// where this machine does not let us.
    #[must_use]
    pub fn create(folder: &Path, kind: &str, bytes: u64) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder for the file system");
        let (file, at) = (folder.join("disk.img"), folder.join("mounted"));
        std::fs::create_dir_all(&at).expect("a mount point");
        let image = std::fs::File::create(&file).expect("an image file");
        image.set_len(bytes).expect("room for an image");
        let quiet: &[&str] = if kind == "vfat" { &[] } else { &["-q"] };
        run(Command::new(format!("mkfs.{kind}")).args(quiet).arg(&file))?;
        let attached = run(Command::new("losetup").args(["--find", "--show"]).arg(&file))?;
        let device = PathBuf::from(String::from_utf8_lossy(&attached.stdout).trim());
        let mut mounted = Self { device, at, caretaker: None };
        run(Command::new("mount").arg(&mounted.device).arg(&mounted.at))?;
        mounted.caretaker = Some(mounted.care());
        Some(mounted)
    }

    /// A test that is killed drops nothing, and no `sync` on this machine ends while a file system is frozen. The caretaker
    /// is in a session of its own: what kills a test kills its process group.
    fn care(&self) -> Child {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", CARETAKER, "caretaker"]).arg(&self.at).arg(&self.device);
        let quiet = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().expect("setsid is there: util-linux")
    }

    /// Where it is mounted.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Its device.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Freezes it as a stranger would, or thaws it.
    pub fn fsfreeze(&self, option: &str) -> bool {
        let done = Command::new("fsfreeze").arg(option).arg(&self.at).output();
        done.is_ok_and(|output| output.status.success())
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        if let Some(caretaker) = &mut self.caretaker {
            // Before its input ends: what it would do is done here.
            let ended = caretaker.kill().and_then(|()| caretaker.wait());
            ended.expect("a child of ours can be ended");
        }
        // Whatever a failed test left behind: a frozen file system cannot be unmounted.
        while self.fsfreeze("--unfreeze") {}
        let ended = |program: &str, arguments: [&OsStr; 2]| {
            let done = Command::new(program).args(arguments).output();
            if !done.as_ref().is_ok_and(|output| output.status.success()) {
                eprintln!("{program} {arguments:?}: {done:?}");
            }
        };
        ended("umount", ["--lazy".as_ref(), self.at.as_os_str()]);
        ended("losetup", ["--detach".as_ref(), self.device.as_os_str()]);
    }
}

/// `None`, loudly, where it fails.
fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) if output.status.success() => Some(output),
        other => {
            eprintln!("SKIPPED, not tested on this machine: {command:?}: {other:?}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::io::{BufRead as _, BufReader};
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::azurite::Scratch;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_test_that_is_killed_leaves_nothing_frozen() {
        const NAME: &str = "loop_mount::tests::a_test_that_is_killed_leaves_nothing_frozen";
        if let Some(folder) = env::var_os(INSIDE) {
            let Some(mount) = LoopMount::create(Path::new(&folder), "ext4", 16 << 20) else {
                return;
            };
            assert!(mount.fsfreeze("--freeze"));
            println!("frozen {}", mount.device().display());
            thread::sleep(PATIENCE);
            return;
        }
        let scratch = Scratch::new("killed-test").expect("a folder");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command.arg(env::current_exe().expect("a running test has a path"));
        command.args(["--exact", NAME, "--nocapture"]).env(INSIDE, scratch.path());
        let mut test = command.stdout(Stdio::piped()).spawn().expect("unshare is there");
        let lines = BufReader::new(test.stdout.take().expect("piped")).lines();
        let mut lines = lines.map(|line| line.expect("text"));
        let device = lines.find_map(|line| Some(line.strip_prefix("frozen ")?.to_owned()));
        test.kill().expect("it is ours");
        test.wait().expect("it is ours");
        // Skipped, loudly, where this machine has no loop devices.
        let Some(device) = device else { return };
        let began = Instant::now();
        let attached = || Command::new("losetup").arg(&device).output().expect("util-linux").status;
        while attached().success() {
            assert!(began.elapsed() < PATIENCE, "{device} is still attached");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

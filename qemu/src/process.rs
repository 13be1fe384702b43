//! A child process that ends when its owner drops it, and also when its owner is killed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use core::time::Duration;

use crate::error::Error;

/// How often the end of a child is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The shell leaves a watcher behind and becomes the program. The watcher waits on the pipe that was the shell's input:
/// a line says that all is well, its end without a line that the owner died.
const GUARD: &str = r#"exec 3<&0 </dev/null
(read -r _ <&3 || kill -9 $$) >/dev/null 2>&1 &
exec 3<&-
exec "$@""#;

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    state: Mutex<State>,
    errors: PathBuf,
}

#[derive(Debug)]
struct State {
    child: Child,
    guard: Option<ChildStdin>,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `program` with these arguments; what it says on standard output and error goes to the file `log`.
    pub(crate) fn start<A: AsRef<std::ffi::OsStr>>(
        program: &str,
        arguments: &[A],
        log: PathBuf,
    ) -> Result<Self, Error> {
        if find(program).is_none() {
            let package = match program {
                "swtpm" => "swtpm",
                "qemu-img" => "qemu-utils",
                _ => "qemu-system-x86",
            };
            return Err(Error::Missing(format!(
                "{program} is not installed: apt-get install {package}"
            )));
        }
        let file = File::create(&log).map_err(|error| Error::file("making", &log, error))?;
        let errors = file.try_clone().map_err(|error| Error::file("opening twice", &log, error))?;
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard", program]).args(arguments);
        command.stdin(Stdio::piped()).stdout(file).stderr(errors);
        let mut child =
            command.spawn().map_err(|error| Error::io(format!("starting {program}"), error))?;
        let guard = child.stdin.take();
        let state = Mutex::new(State { child, guard, ended: None });
        Ok(Self { name: program.to_owned(), state, errors: log })
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.look()
    }

    /// Waits for its end until the deadline.
    pub(crate) fn wait(&self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.ended() {
                None if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
                ended => return ended,
            }
        }
    }

    /// Ends it at once, as a power cut does, and waits until it is gone.
    pub(crate) fn kill(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.look().is_none() {
            // Its end may come between the look and the kill; both ways it is gone after the wait.
            let _ = state.child.kill();
            state.ended = state.child.wait().ok();
            state.dismiss();
        }
    }

    /// What it said on standard output and error, as far as it is text.
    pub(crate) fn words(&self) -> String {
        let bytes = fs::read(&self.errors).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    /// The error that says how it ended, or that it hangs.
    pub(crate) fn failure(&self, what: &str) -> Error {
        let how = self.ended().map_or_else(
            || "is running but does not answer".to_owned(),
            |status| format!("ended ({status})"),
        );
        Error::Program(format!("{what}: {} {how}: {}", self.name, self.words()))
    }
}

impl State {
    fn look(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ended = Some(status);
            self.dismiss();
        }
        self.ended
    }

    /// Tells the watcher that it has nothing to kill any more: the number may soon be another process's.
    fn dismiss(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            // The watcher is gone already where it was killed by hand.
            let _ = guard.write_all(b"\n");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a program lies, by `PATH` and the folders of an administrator.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    folders.map(|folder| PathBuf::from(folder).join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests;

//! One hook's process: its own group, ended with all it started when it takes too long, and a little of what it says.

use core::time::Duration;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use hal_linux::manners;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// What is kept of what a hook says; more is read and dropped, so that it does not wait for us.
const SAID_MAX: usize = 1024;
/// How often it is looked after.
const LOOK: Duration = Duration::from_millis(5);

/// How a hook ended.
#[derive(Debug)]
pub(super) enum How {
    Well,
    Badly(ExitStatus),
    TooLong,
    NotAtAll(io::Error),
}

/// How a hook ended, and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) how: How,
    pub(super) said: String,
}

/// Runs a hook with one word.
pub(super) fn run(
    hook: &Path,
    word: &str,
    environment: &[(String, PathBuf)],
    limit: Duration,
) -> Ended {
    let mut said = Vec::new();
    let how = match started(hook, word, environment) {
        Ok((child, out)) => looked_after(child, out, limit, &mut said),
        Err(error) => How::NotAtAll(error),
    };
    Ended { how, said: String::from_utf8_lossy(&said).replace(['\n', '\r'], " ") }
}

fn started(
    hook: &Path,
    word: &str,
    environment: &[(String, PathBuf)],
) -> io::Result<(Child, io::PipeReader)> {
    let (out, theirs) = io::pipe()?;
    fcntl_setfl(&out, fcntl_getfl(&out)? | OFlags::NONBLOCK)?;
    let mut command = Command::new(hook);
    command.arg(word).envs(environment.iter().map(|(name, path)| (name, path)));
    command.current_dir("/").process_group(0).stdin(Stdio::null());
    command.stdout(theirs.try_clone()?).stderr(theirs);
    let child = command.spawn()?;
    Ok((child, out))
}

fn looked_after(
    mut child: Child,
    mut out: io::PipeReader,
    limit: Duration,
    said: &mut Vec<u8>,
) -> How {
    let until = Instant::now() + limit;
    loop {
        let ended = child.try_wait();
        // After its end too, but only what is there: what it left running may hold the pipe open for ever.
        listen(&mut out, said);
        match ended {
            Ok(Some(status)) if status.success() => return How::Well,
            Ok(Some(status)) => return How::Badly(status),
            Ok(None) if Instant::now() < until => thread::sleep(LOOK),
            Ok(None) => break,
            Err(error) => return How::NotAtAll(error),
        }
    }
    // Its group goes with it; what it put into a group of its own is for its `thaw` to end.
    if manners::end_group(child.id()).is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    listen(&mut out, said);
    How::TooLong
}

/// Reads what is there.
fn listen(out: &mut io::PipeReader, said: &mut Vec<u8>) {
    let mut part = [0; 4096];
    // A hook that never stops talking is listened to for a while only, so that its time is looked after.
    for _ in 0..64 {
        match out.read(&mut part) {
            Ok(0) | Err(_) => return,
            Ok(got) => {
                let room = SAID_MAX.saturating_sub(said.len()).min(got);
                said.extend_from_slice(part.get(..room).unwrap_or_default());
            }
        }
    }
}

//! The program's own verbs, run as a process of their own: what a verb does to a disk or a vault is written once.
//!
//! A child that crashes, or that the kernel ends for want of memory, is a failure with words, and never the end of the
//! machine. Credentials go by the environment of that child alone. No other program is ever started.

use core::fmt::Write as _;
use core::time::Duration;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;

use crate::appliance::processes::{self, Owned};
use crate::report::{EXIT_DONE, EXIT_INCOMPLETE};

/// A child that was asked to end in order has this long.
const END_PATIENCE: Duration = Duration::from_secs(25);
/// How often it is looked whether it is stopped.
const LOOK: Duration = Duration::from_millis(200);
/// The longest answer and message that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// A verb with its options, and the environment that it gets.
#[derive(Clone, Default)]
pub(crate) struct Verb {
    /// As on a command line.
    pub(crate) words: Vec<OsString>,
    /// Credentials and settings.
    pub(crate) environment: Vec<(String, String)>,
    /// The program, where it is not this one.
    pub(crate) program: Option<PathBuf>,
}

/// How far the verb is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Progress {
    /// Bytes dealt with.
    pub(crate) done_bytes: u64,
    /// Bytes to deal with, 0 while unknown.
    pub(crate) total_bytes: u64,
    /// Bytes that went into the vault or came out of it.
    pub(crate) stored_bytes: u64,
    /// The present rate.
    pub(crate) bytes_per_second: u64,
}

/// How far an order is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct OrderStep {
    /// The order.
    pub(crate) order: String,
    /// Its server.
    pub(crate) server: String,
    /// Which step.
    pub(crate) step: String,
    /// `begun`, `done`, `failed`.
    pub(crate) standing: String,
}

/// What is heard of a verb at work.
pub(crate) enum Heard<'a> {
    /// How far it is.
    Progress(&'a Progress),
    /// The same of an order.
    Step(&'a OrderStep),
}

/// Why a verb failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failed {
    /// In its own words, with the remedy.
    pub(crate) words: String,
    /// Its JSON, where it answered although it failed.
    pub(crate) value: Option<Value>,
}

impl From<Failed> for String {
    fn from(failed: Failed) -> Self {
        failed.words
    }
}

/// What the verb answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its JSON.
    pub(crate) value: Value,
    /// What is missing, where it is done but incomplete.
    pub(crate) incomplete: Option<String>,
}

enum Said {
    Progress(Progress),
    Step(OrderStep),
    Line(String),
}

/// Runs a verb to its end, or until `is_stopped`: then it ends in order. `hear` is told how far it is.
pub(crate) fn run(
    verb: &Verb,
    is_stopped: &dyn Fn() -> bool,
    hear: &mut dyn FnMut(Heard<'_>),
) -> Result<Answer, Failed> {
    let mut command =
        Command::new(verb.program.clone().unwrap_or_else(|| processes::program().into()));
    command
        .args(&verb.words)
        .args(["--json", "--progress-json"])
        .env_clear()
        .envs(verb.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let failed = |words: String| Failed { words, value: None };
    let mut child = Owned::start_job(&mut command)
        .map_err(|error| failed(format!("a job cannot be started: {error}")))?;
    // Where memory runs out, the job goes before the machine does.
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.0.id()), "800");
    let (tell, told) = channel();
    let stdout = child.0.stdout.take().map(|pipe| reader(move || read_answer(pipe)));
    if let Some(pipe) = child.0.stderr.take() {
        drop(reader(move || listen(pipe, &tell)));
    }
    let last = follow(&child, &told, is_stopped, hear);
    let status = child.0.wait().map_err(|error| failed(format!("a job is lost: {error}")))?;
    let answer = stdout.flatten().and_then(|reader| reader.join().ok()).unwrap_or_default();
    conclude(status, &answer, last, is_stopped())
}

fn reader<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<std::thread::JoinHandle<T>> {
    let started = std::thread::Builder::new().name("job".to_owned()).spawn(work);
    started.map_err(|error| log::warn!("a job is not heard: {error}")).ok()
}

fn read_answer(pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What could be read is judged by whoever wanted it.
    let _ = pipe.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
    bytes
}

/// Takes lines until the child closes its end.
fn listen(pipe: impl Read, tell: &Sender<Said>) {
    let mut pipe = BufReader::new(pipe);
    loop {
        let mut line = Vec::new();
        match pipe.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let said = if let Ok(progress) = serde_json::from_str(line) {
            Said::Progress(progress)
        } else if let Ok(step) = serde_json::from_str(line) {
            Said::Step(step)
        } else {
            Said::Line(line.to_owned())
        };
        if tell.send(said).is_err() {
            return;
        }
    }
}

/// Follows the child until it says no more; the last line that it said. Asks it to end when it is stopped.
fn follow(
    child: &Owned,
    told: &Receiver<Said>,
    is_stopped: &dyn Fn() -> bool,
    hear: &mut dyn FnMut(Heard<'_>),
) -> Option<String> {
    let pid = i32::try_from(child.0.id()).ok().and_then(Pid::from_raw);
    let signal = |signal: Signal| {
        // It may have ended already.
        let _ = pid.map(|pid| kill_process(pid, signal));
    };
    let mut last: Option<String> = None;
    let mut asked: Option<Instant> = None;
    loop {
        match told.recv_timeout(LOOK) {
            Ok(Said::Progress(progress)) => hear(Heard::Progress(&progress)),
            Ok(Said::Step(step)) => hear(Heard::Step(&step)),
            Ok(Said::Line(line)) => {
                if let Some(warning) = line.strip_prefix("lifeboat: warning: ") {
                    log::warn!("{warning}");
                } else if let Some(words) = line.strip_prefix("lifeboat: ") {
                    last = Some(words.to_owned());
                } else if !line.starts_with("note: run with") {
                    last = Some(line);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return last,
        }
        match asked {
            None if is_stopped() => {
                signal(Signal::TERM);
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > END_PATIENCE => {
                signal(Signal::KILL);
                asked = Some(Instant::now());
            }
            _ => {}
        }
    }
}

fn conclude(
    status: ExitStatus,
    answer: &[u8],
    last: Option<String>,
    stopping: bool,
) -> Result<Answer, Failed> {
    let value = serde_json::from_slice(answer);
    let failed = |words: String, value: Option<Value>| Err(Failed { words, value });
    let words = last.clone().unwrap_or_else(|| "it did not say why".to_owned());
    let incomplete = match status.code() {
        Some(code) if code == i32::from(EXIT_DONE) => None,
        Some(code) if code == i32::from(EXIT_INCOMPLETE) => Some(words),
        Some(_) => return failed(words, value.ok()),
        None if stopping => {
            let words = "it was ended because the machine goes down, or the program ends";
            return failed(words.to_owned(), None);
        }
        None => return failed(killed(status, last), None),
    };
    match value {
        Ok(value) => Ok(Answer { value, incomplete }),
        Err(error) => failed(format!("the job's answer cannot be read: {error}"), None),
    }
}

fn killed(status: ExitStatus, last: Option<String>) -> String {
    let mut words = match status.signal() {
        Some(9) => "the kernel ended the job, most likely for want of memory: give the machine more, or fewer workers".to_owned(),
        Some(signal) => format!("the job crashed (signal {signal}); what was finished is kept"),
        None => "the job ended in an unknown way".to_owned(),
    };
    if let Some(last) = last {
        let _ = write!(words, "; it said last: {last}");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code)
    }

    #[test]
    fn every_end_of_a_job_has_its_words() {
        let done = conclude(status(0), b"{\"point\":\"ab\"}", None, false).unwrap();
        assert_eq!((done.value["point"].as_str(), done.incomplete), (Some("ab"), None));
        let words = "point ab: 3 blocks could not be read".to_owned();
        let said = Some(words.clone());
        let part = conclude(status(3 << 8), b"{}", said.clone(), false).unwrap();
        assert_eq!(part.incomplete, said);
        let judged =
            conclude(status(1 << 8), b"{\"ready\":false}", said.clone(), false).unwrap_err();
        assert_eq!(
            (judged.words, judged.value),
            (words, Some(serde_json::json!({"ready": false})))
        );
        let failed =
            |code, stopping| conclude(status(code), b"", None, stopping).unwrap_err().words;
        assert!(failed(9, false).contains("want of memory"));
        assert!(failed(11, false).contains("signal 11"));
        assert!(failed(15, true).contains("goes down"));
        assert!(failed(0, false).contains("cannot be read"));
        assert!(failed(101 << 8, false).contains("did not say why"));
    }

    #[test]
    fn what_a_job_says_is_sorted() {
        let (tell, told) = channel();
        let text =
            b"{\"done_bytes\":5,\"total_bytes\":9,\"stored_bytes\":1,\"bytes_per_second\":7}\n\
            lifeboat: warning: slow\n\n{\"other\":1}\n\xff\xfe\n\
            {\"order\":\"ab\",\"server\":\"web1\",\"step\":\"disks\",\"standing\":\"begun\",\"took_millis\":0}";
        listen(&text[..], &tell);
        drop(tell);
        let said: Vec<Said> = told.iter().collect();
        assert!(matches!(&said[0], Said::Progress(progress) if progress.done_bytes == 5));
        assert!(matches!(&said[1], Said::Line(line) if line == "lifeboat: warning: slow"));
        assert!(matches!(&said[2], Said::Line(line) if line.contains("other")));
        assert!(matches!(&said[4], Said::Step(step) if step.step == "disks"));
        assert_eq!(said.len(), 5);
    }
}

//! The command line of `lifeboat-agent`: one verb, few options, every answer with what to do.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use async_signal::{Signal, Signals};
use smol::prelude::*;

use crate::freeze::dead_man;
use crate::lineage::{self, Mark};
use crate::reboot::{self, bounded, install};
use crate::report::{Report, SOCKET};
use crate::state::{FOLDER, State};
use crate::{binding, check, devices, enrol, logging, measure, service, slow, tracker};

/// What the command line says of itself.
const HELP: &str = "lifeboat-agent: keeps a copy of this server's disks on a Lifeboat appliance

  lifeboat-agent enrol TOKEN       joins the appliance that made the token
  lifeboat-agent run               replicates until it is stopped; for the service manager
  lifeboat-agent status [--json]   how the running agent fares
  lifeboat-agent check [--json]    whether this server can be protected, and what to do where not
  lifeboat-agent measure --days N  tracks changes only, and says what protection would need and cost
  lifeboat-agent install           has this system call the agent when it starts and ends, so that a restart costs little
  lifeboat-agent adopt TOKEN       on a copy that runs in its original's place: protects it as a server of its own
  lifeboat-agent remove            forgets everything: nothing is left in the kernel or on the disk

  --state FOLDER                   where it remembers who it is, unless /var/lib/lifeboat-agent
  --seconds N                      how long a start or an end of the system may wait for it, unless 10
  --debug                          says more

Exit codes: 0 done; 1 failed, and the last line says why and what to do; 2 the command line is not understood.
";

/// When the system starts, and when it has unmounted everything; each is given up when it takes too long.
const BEGIN: &str = "begin";
const SAVE: &str = "save";
/// The same, without an end.
const BEGIN_NOW: &str = "begin-now";
const SAVE_NOW: &str = "save-now";
/// What is read when nothing else runs.
const KERNEL_LOG: &str = "/dev/kmsg";

/// How a verb ends that does not fail.
type Done = Result<(), String>;

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    verb: String,
    words: Vec<String>,
    json: bool,
    debug: bool,
    days: Option<u32>,
    seconds: Option<u32>,
    state: Option<PathBuf>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut found = Self::default();
        while let Some(word) = words.next() {
            let mut value =
                |name: &str| words.next().ok_or_else(|| format!("{name} needs a value"));
            match word.as_str() {
                "--json" => found.json = true,
                "--debug" => found.debug = true,
                "--state" => found.state = Some(PathBuf::from(value("--state")?)),
                "--days" => {
                    let days =
                        value("--days")?.parse().ok().filter(|days| (1..=366).contains(days));
                    found.days = Some(days.ok_or("--days needs a number from 1 to 366")?);
                }
                "--seconds" => {
                    let some = value("--seconds")?.parse().ok();
                    let some = some.filter(|seconds| (1..=600).contains(seconds));
                    found.seconds = Some(some.ok_or("--seconds needs a number from 1 to 600")?);
                }
                "--help" | "-h" => "help".clone_into(&mut found.verb),
                "--version" | "-V" => "version".clone_into(&mut found.verb),
                option if option.starts_with('-') => return Err(format!("{option} is no option")),
                _ if found.verb.is_empty() => found.verb = word,
                _ => found.words.push(word),
            }
        }
        Ok(found)
    }
}

/// Does what the command line asks for.
#[must_use]
pub fn run() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    // Not for people: this program starts itself so, and it must be small and quick.
    if words.peek().is_some_and(|verb| verb == dead_man::VERB) {
        return end(dead_man::process::run().map_err(|error| {
            format!("{}: only the agent itself starts this: {error}", dead_man::VERB)
        }));
    }
    if words.next_if(|verb| verb == slow::VERB).is_some() {
        let paused = slow::process::run(words.map(Into::into));
        return end(paused.map_err(|error| {
            format!("{}: only the agent itself starts this: {error}", slow::VERB)
        }));
    }
    // Nor this: the system starts it so, when it starts and ends.
    let word = words.peek().map(String::as_str).unwrap_or_default();
    if matches!(word, BEGIN | SAVE | BEGIN_NOW | SAVE_NOW) {
        return at_the_rim(&words.collect::<Vec<_>>());
    }
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(why) => return misuse(&why),
    };
    logging::start(arguments.debug);
    let state = State::at(arguments.state.clone().unwrap_or_else(|| PathBuf::from(FOLDER)));
    match (arguments.verb.as_str(), arguments.words.as_slice()) {
        ("enrol", [token]) => end(enrolled(&state, token)),
        ("enrol", _) => {
            misuse("enrol needs a token, which «lifeboat server token» makes, and nothing else")
        }
        ("adopt", [token]) => end(adopted(&state, token)),
        ("adopt", _) => {
            misuse("adopt needs a token, which «lifeboat server token» makes, and nothing else")
        }
        (_, [word, ..]) => misuse(&format!("«{word}» is too much")),
        ("run", _) => end(stop_flag().and_then(|stop| service::run(&state, &stop))),
        ("status", _) => end(status(arguments.json)),
        ("check", _) => end(check_server(&state, arguments.json)),
        ("measure", _) => match arguments.days {
            Some(days) => end(stop_flag().and_then(|stop| measured(days, arguments.json, &stop))),
            None => misuse("measure needs --days N"),
        },
        ("install", _) => {
            let seconds = arguments.seconds.unwrap_or(install::SECONDS_DEFAULT);
            end(install::install(Path::new("/"), seconds).and_then(|words| say(&words)))
        }
        ("remove", _) => end(remove(&state)),
        ("version", _) => end(say(&format!("lifeboat-agent {}\n", env!("CARGO_PKG_VERSION")))),
        ("help", _) => end(say(HELP)),
        ("", _) => misuse("a verb is missing"),
        (verb, _) => misuse(&format!("«{verb}» is no verb")),
    }
}

/// When the system starts or ends. Always well: nothing of that may fail for it.
fn at_the_rim(words: &[String]) -> ExitCode {
    let limit = |words: &[String]| {
        let seconds = words.get(1).and_then(|word| word.parse().ok());
        Duration::from_secs(seconds.unwrap_or_else(|| u64::from(install::SECONDS_DEFAULT)))
    };
    let options = tracker::Options::default();
    let said = match words.first().map(String::as_str) {
        Some(BEGIN) if bounded::run(&[BEGIN_NOW], limit(words)) => return ExitCode::SUCCESS,
        Some(SAVE) if bounded::run(&[SAVE_NOW], limit(words)) => return ExitCode::SUCCESS,
        Some(BEGIN_NOW) => reboot::begin(&options),
        Some(SAVE_NOW) => reboot::save(&State::at(FOLDER), &options),
        _ => Err("it took too long".to_owned()),
    };
    let lines = said.unwrap_or_else(|why| {
        vec![format!("{why}: everything is compared after the start of the machine")]
    });
    // There is nobody else to tell.
    if let Ok(mut log) = OpenOptions::new().write(true).open(KERNEL_LOG) {
        for line in lines {
            let _ = log.write_all(format!("<5>lifeboat-agent: {line}\n").as_bytes());
        }
    }
    ExitCode::SUCCESS
}

fn end(done: Done) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lifeboat-agent: {why}");
            ExitCode::FAILURE
        }
    }
}

fn misuse(why: &str) -> ExitCode {
    eprintln!("lifeboat-agent: {why}; lifeboat-agent --help says what there is");
    ExitCode::from(2)
}

fn say(text: &str) -> Done {
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

/// Set once somebody asks this process to end; asked twice, it ends at once.
fn stop_flag() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let mut signals = Signals::new([Signal::Term, Signal::Int])
        .map_err(|error| format!("signals cannot be watched: {error}"))?;
    let watch = move || {
        smol::block_on(async {
            while signals.next().await.is_some() {
                if asked.swap(true, Ordering::SeqCst) {
                    std::process::exit(1);
                }
            }
        });
    };
    let started = thread::Builder::new().name("signals".to_owned()).spawn(watch);
    started.map_err(|error| format!("no thread can be started: {error}"))?;
    Ok(stop)
}

fn enrolled(state: &State, token: &str) -> Done {
    match Mark::find(Path::new(lineage::MARK)) {
        Some(mark) => Err(mark.words()),
        None => enrol_as(state, token),
    }
}

/// A copy that was failed over becomes a server of its own: nothing of its original's identity stays.
fn adopted(state: &State, token: &str) -> Done {
    let path = Path::new(lineage::MARK);
    let mark = Mark::find(path).ok_or_else(|| {
        "this machine is no copy of a server: lifeboat-agent enrol TOKEN".to_owned()
    })?;
    mark.may_be_adopted()?;
    // A token that was asked with stays: where the answer got lost, the same key gets it again.
    let asking = state.asking();
    state.forget()?;
    tracker::remove(Path::new(tracker::PINS))?;
    asking.iter().try_for_each(|asking| state.ask(asking))?;
    // Until the mark is gone it is silent: whatever stops this on the way only needs it to be said again.
    enrol_as(state, token)?;
    lineage::adopted(path)?;
    say("this copy is a server of its own from now on: systemctl restart lifeboat-agent\n")
}

fn enrol_as(state: &State, token: &str) -> Done {
    let leaves = devices::leaves();
    let uname = rustix::system::uname();
    let identities = leaves.iter().map(|leaf| leaf.identity.as_str());
    let disks = leaves.iter().map(|leaf| pipeline_wire::message::DiskHello {
        name: leaf.name.clone(),
        identity: leaf.identity.clone(),
        bytes: leaf.bytes,
        sector_bytes: leaf.sector_bytes,
    });
    let facts = enrol::Facts {
        binding: binding::of_machine(Path::new("/"), identities),
        host: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        disks: disks.collect(),
    };
    let before = state.enrolment().ok().flatten().map(|enrolment| enrolment.server);
    let enrolment = enrol::enrol(token, facts).map_err(|error| error.to_string())?;
    // What the kernel notes of what was sent is true of the vault of before alone.
    let forgotten = if before == Some(enrolment.server) {
        Ok(())
    } else {
        tracker::remove(Path::new(tracker::PINS))
    };
    state.remember(&enrolment)?;
    forgotten?;
    say(&format!("this server is enrolled as {}\n", enrolment.name))
}

fn status(json: bool) -> Done {
    let mut socket = UnixStream::connect(SOCKET).map_err(|error| {
        format!("no agent answers at {SOCKET} ({error}); start it: systemctl start lifeboat-agent")
    })?;
    let mut text = String::new();
    socket.read_to_string(&mut text).map_err(|error| error.to_string())?;
    if json {
        return say(&format!("{text}\n"));
    }
    let report: Report = serde_json::from_str(&text).map_err(|error| {
        format!("the running agent is of another version ({error}): restart it")
    })?;
    say(&report.to_string())
}

/// Fails where something cannot be protected.
fn check_server(state: &State, json: bool) -> Done {
    let findings = check::findings(state);
    if json {
        let text = serde_json::to_string(&findings).map_err(|error| error.to_string())?;
        say(&format!("{text}\n"))?;
    } else {
        say(&check::table(&findings))?;
    }
    if findings.iter().any(|finding| finding.verdict == check::Verdict::No) {
        return Err("something stands in the way: see what says no".to_owned());
    }
    Ok(())
}

fn measured(days: u32, json: bool, stop: &AtomicBool) -> Done {
    let churn = measure::measure(days, stop)?;
    if json {
        let text = serde_json::to_string(&churn).map_err(|error| error.to_string())?;
        return say(&format!("{text}\n"));
    }
    say(&churn.to_string())
}

fn remove(state: &State) -> Done {
    if UnixStream::connect(SOCKET).is_ok() {
        return Err(
            "the agent runs: stop it first: systemctl disable --now lifeboat-agent".to_owned()
        );
    }
    install::remove(Path::new("/"))?;
    tracker::remove(Path::new(tracker::PINS))?;
    state.forget()?;
    match std::fs::remove_file(SOCKET) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{SOCKET}: {error}"));
        }
        _ => {}
    }
    say("nothing of the agent is left in the kernel, nor of what it remembered\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_command_line_is_understood_or_refused_in_words() {
        let check = parse("check --json --state /tmp/x").unwrap();
        assert_eq!((check.verb.as_str(), check.json), ("check", true));
        assert_eq!(check.state, Some(PathBuf::from("/tmp/x")));
        assert_eq!(parse("measure --days 7").unwrap().days, Some(7));
        assert_eq!(parse("enrol T").unwrap().words, ["T"]);
        assert_eq!(parse("--help").unwrap().verb, "help");
        for bad in
            ["measure --days", "measure --days 0", "measure --days x", "run --fast", "--state"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_verb_is_in_the_help() {
        for verb in ["enrol", "adopt", "run", "status", "check", "measure", "install", "remove"] {
            assert!(HELP.contains(&format!("lifeboat-agent {verb}")), "{verb}");
        }
    }
}

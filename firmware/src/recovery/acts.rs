//! Hooks of plans: a webhook by the one HTTP client, a command as a process of this machine.

use core::time::Duration;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use firmware_recovery::plan::runs::Acts;
use pipeline::ids::{OrderId, ServerId};
use pipeline_azure::address::Origin;
use pipeline_azure::request::{Method, Request};
use pipeline_azure::transport::{TransportOptions, carrier};
use pipeline_vault::Error;

use super::vault::Shared;
use crate::report::printable;
use crate::session::Machine;

/// Between two looks at a program that runs.
const LOOK: Duration = Duration::from_millis(50);
/// How much of a failed program's words is shown.
const WORDS_BYTES_MAX: usize = 4096;
/// What may hold the words that open a recovery key.
const PASSPHRASE: &str = "LIFEBOAT_PASSPHRASE";

/// This program's hooks.
pub struct Hooks {
    vault: Shared,
    machine: Machine,
}

impl Hooks {
    /// Hooks for plans of this vault.
    #[must_use]
    pub fn new(vault: Shared, machine: Machine) -> Self {
        Self { vault, machine }
    }
}

/// An identity that nobody had before.
pub fn new_id(machine: &Machine) -> Result<OrderId, Error> {
    let mut id = [0; 16];
    machine.entropy.fill(&mut id).map_err(|error| Error::device("entropy", error.to_string()))?;
    Ok(OrderId(id))
}

impl Acts for Hooks {
    fn webhook(&self, url: &str, body: &str, within: Duration) -> Result<(), Error> {
        post(&self.machine, url, body, within)
    }

    fn command(
        &self,
        run: &[String],
        within: Duration,
        told: &[(&str, String)],
    ) -> Result<(), Error> {
        run_program(run, within, told)
    }

    fn server(&self, name: &str) -> Result<ServerId, Error> {
        self.vault.session().server(name)
    }

    fn new_id(&self) -> Result<OrderId, Error> {
        new_id(&self.machine)
    }
}

/// Sends a webhook's POST, and waits for its answer.
fn post(machine: &Machine, url: &str, body: &str, within: Duration) -> Result<(), Error> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    // A webhook's address is often its secret: it is not repeated.
    let (origin, _) = Origin::parse(base).map_err(|_| {
        Error::misuse("webhook", "has an address that is no URL of http or https")
            .remedy("mend it in the plan, then give the plan anew")
    })?;
    let about = format!("webhook at {}", origin.authority);
    // As it was written, a slash at its end too.
    let path = base.splitn(4, '/').nth(3).unwrap_or_default();
    let target = match query.is_empty() {
        true => format!("/{path}"),
        false => format!("/{path}?{query}"),
    };
    let request = Request::new(Method::Post, target)
        .with_header("content-type", "application/json")
        .with_body(body.as_bytes());
    let lookup = |name: &str| (machine.settings)(name)?.into_string().ok();
    let transport = carrier::open(&TransportOptions::from_lookup(&lookup)?)?;
    let reply = transport
        .send(&origin, &request, within)
        .map_err(|failure| failure.into_error(about.clone()))?;
    if (200..300).contains(&reply.head.status) {
        return Ok(());
    }
    Err(Error::refused(about, format!("answered with status {}", reply.head.status))
        .remedy("mend it, then go on with lifeboat plan continue"))
}

/// Runs a program, and waits for its end.
fn run_program(run: &[String], within: Duration, told: &[(&str, String)]) -> Result<(), Error> {
    let Some(mut command) = command_of(run) else { return Ok(()) };
    let about = format!("command {}", printable(&command.get_program().to_string_lossy()));
    let child = command.envs(told.iter().map(|(name, value)| (*name, value))).spawn();
    let remedy = "mend it, then go on with lifeboat plan continue";
    let mut child = child.map_err(|error| {
        Error::misuse(about.clone(), format!("cannot be started: {error}")).remedy(remedy)
    })?;
    let (told_words, words) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || first_words(stderr, &told_words));
    }
    let Some(code) = wait(&mut child, within) else {
        return Err(Error::refused(about, format!("took longer than {} s", within.as_secs()))
            .remedy(remedy));
    };
    if code == Some(0) {
        return Ok(());
    }
    let mut said = Vec::new();
    // What it left running may hold its standard error open for ever.
    while let Ok(piece) = words.recv_timeout(LOOK) {
        said.extend(piece);
    }
    let words = String::from_utf8_lossy(&said);
    let code = code.map_or_else(|| "by a signal".to_owned(), |code| format!("with code {code}"));
    Err(Error::refused(about, format!("ended {code}: {}", printable(words.trim()))).remedy(remedy))
}

/// A program as it is called: with what this one was started with, but for what opens the recovery key.
fn command_of(run: &[String]) -> Option<Command> {
    let (program, arguments) = run.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).env_remove(PASSPHRASE);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Some(command)
}

/// Hands over the first of what a program says on standard error. The rest is read and forgotten, so that it is not held
/// up by a full pipe.
fn first_words(mut stderr: impl Read, told: &mpsc::Sender<Vec<u8>>) {
    let (mut room, mut piece) = (WORDS_BYTES_MAX, [0; 1024]);
    while let Ok(length @ 1..) = stderr.read(&mut piece) {
        let kept = length.min(room);
        room -= kept;
        if kept > 0 {
            // Nobody listens any more where it ended well.
            let _ = told.send(piece[..kept].to_vec());
        }
    }
}

/// Its exit code, `None` within for a signal; `None` where it took too long and was ended.
fn wait(child: &mut Child, within: Duration) -> Option<Option<i32>> {
    let until = Instant::now() + within;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.code()),
            Ok(None) if Instant::now() < until => thread::sleep(LOOK),
            Ok(None) | Err(_) => {
                // It may have ended by itself a moment ago.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    /// A webhook at a receiver that reads the request and answers so, or not; and what it was sent.
    fn hooked(answer: Option<&'static str>) -> (Result<(), Error>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("its address").port();
        let (ends, end) = mpsc::channel::<()>();
        let receiver = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut got = Vec::new();
            while !String::from_utf8_lossy(&got).ends_with("{\"a\":1}") {
                let mut some = [0; 1024];
                let count = stream.read(&mut some).expect("a request");
                assert!(count > 0, "it ended after {}", String::from_utf8_lossy(&got));
                got.extend_from_slice(&some[..count]);
            }
            if let Some(answer) = answer {
                let head = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).expect("a reader");
            }
            // Whoever gives no answer holds the connection as long as somebody waits for one.
            let _ = end.recv();
            String::from_utf8_lossy(&got).into_owned()
        });
        let url = format!("http://127.0.0.1:{port}/S3CRET?key=S3CRET");
        let machine = Machine::with_table(Vec::new());
        let within = Duration::from_secs(if answer.is_some() { 60 } else { 1 });
        let done = post(&machine, &url, "{\"a\":1}", within);
        drop(ends);
        (done, receiver.join().expect("the receiver"))
    }

    #[test]
    fn a_webhook_is_posted_and_its_answer_decides() {
        let (done, got) = hooked(Some("200 OK"));
        assert_eq!(done, Ok(()));
        assert!(got.starts_with("POST /S3CRET?key=S3CRET HTTP/1.1\r\n"), "{got}");
        assert!(got.to_lowercase().contains("content-type: application/json"), "{got}");
        let (done, _) = hooked(Some("500 No"));
        let told = done.expect_err("it said no").to_string();
        assert!(told.contains("status 500") && told.contains("plan continue"), "{told}");
        assert!(told.contains("127.0.0.1") && !told.contains("S3CRET"), "{told}");
        let (done, _) = hooked(None);
        let told = done.expect_err("it never answered").to_string();
        assert!(told.contains("webhook at 127.0.0.1") && !told.contains("S3CRET"), "{told}");
    }

    /// What a failing program said, as far as it is told.
    fn said(script: &str) -> String {
        let run = ["/bin/sh", "-c", script].map(str::to_owned);
        run_program(&run, Duration::from_secs(60), &[]).expect_err("it fails").to_string()
    }

    #[test]
    fn a_program_that_leaves_something_running_is_not_waited_for() {
        let told = said("sleep 600 & echo left $! >&2; exit 3");
        assert!(told.contains("code 3"), "{told}");
        let (_, left) = told.split_once("left ").expect("its words");
        let left: String = left.chars().take_while(char::is_ascii_digit).collect();
        let runs = std::path::Path::new("/proc").join(&left).exists();
        let killed = Command::new("kill").arg(&left).status().expect("kill is there");
        assert!(runs && killed.success(), "what it left still ran: {told}");
    }

    #[test]
    fn what_a_program_says_is_bounded_and_it_is_never_held_up() {
        let told = said("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 4");
        assert!(told.contains("code 4") && told.contains("xxx"), "{told}");
        assert!(told.len() < WORDS_BYTES_MAX + 500, "{}", told.len());
    }

    #[test]
    fn a_program_does_not_see_what_opens_the_recovery_key() {
        let command = command_of(&["true".to_owned()]).expect("a program");
        let mut changes = command.get_envs();
        assert!(changes.any(|(name, value)| name == PASSPHRASE && value.is_none()), "{command:?}");
    }
}

//! Hooks of plans: a webhook by the one HTTP client, a command as a process of this machine.

use core::time::Duration;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use firmware_recovery::plan::runs::Acts;
use pipeline::ids::{OrderId, ServerId};
use pipeline_azure::address::Origin;
use pipeline_azure::request::{Method, Request};
use pipeline_azure::transport::{HttpTransport, Transport, TransportOptions};
use pipeline_vault::Error;

use super::vault::Shared;
use crate::report::printable;
use crate::session::Machine;

/// Between two looks at a program that runs.
const LOOK: Duration = Duration::from_millis(50);
/// How much of a failed program's words is shown.
const WORDS_BYTES_MAX: u64 = 4096;

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
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (origin, path) = Origin::parse(base)?;
        // A webhook's address is often its secret: it is not repeated.
        let about = format!("webhook at {}", origin.authority);
        let target = match (path.is_empty(), query.is_empty()) {
            (true, true) => "/".to_owned(),
            (false, true) => path,
            (_, false) => format!("{path}?{query}"),
        };
        let request = Request::new(Method::Post, target)
            .with_header("content-type", "application/json")
            .with_body(body.as_bytes());
        let lookup = |name: &str| (self.machine.settings)(name)?.into_string().ok();
        let transport = HttpTransport::new(&TransportOptions::from_lookup(&lookup)?)?;
        let reply = transport
            .send(&origin, &request, within)
            .map_err(|failure| failure.into_error(about.clone()))?;
        if (200..300).contains(&reply.head.status) {
            return Ok(());
        }
        Err(Error::refused(about, format!("answered with status {}", reply.head.status))
            .remedy("mend it, then go on with lifeboat plan continue"))
    }

    fn command(
        &self,
        run: &[String],
        within: Duration,
        told: &[(&str, String)],
    ) -> Result<(), Error> {
        let Some((program, arguments)) = run.split_first() else { return Ok(()) };
        let about = format!("command {}", printable(program));
        let child = Command::new(program)
            .args(arguments)
            .envs(told.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let remedy = "mend it, then go on with lifeboat plan continue";
        let mut child = child.map_err(|error| {
            Error::misuse(about.clone(), format!("cannot be started: {error}")).remedy(remedy)
        })?;
        let words = child.stderr.take().map(|stderr| thread::spawn(move || first_words(stderr)));
        let ended = wait(&mut child, within);
        let Some(code) = ended else {
            return Err(Error::refused(about, format!("took longer than {} s", within.as_secs()))
                .remedy(remedy));
        };
        if code == Some(0) {
            return Ok(());
        }
        let words = words.and_then(|words| words.join().ok()).unwrap_or_default();
        let code = code.map_or("by a signal".to_owned(), |code| format!("with code {code}"));
        Err(Error::refused(about, format!("ended {code}: {}", printable(words.trim())))
            .remedy(remedy))
    }

    fn server(&self, name: &str) -> Result<ServerId, Error> {
        self.vault.session().server(name)
    }

    fn new_id(&self) -> Result<OrderId, Error> {
        new_id(&self.machine)
    }
}

fn first_words(stderr: impl Read) -> String {
    let mut words = Vec::new();
    let mut stderr = stderr;
    // The rest is read and forgotten, so that the program is not held up by a full pipe.
    let _ = stderr.by_ref().take(WORDS_BYTES_MAX).read_to_end(&mut words);
    let _ = std::io::copy(&mut stderr, &mut std::io::sink());
    String::from_utf8_lossy(&words).into_owned()
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

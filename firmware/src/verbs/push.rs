//! `push`: the installer run on many servers at once, through each one's ssh.
//!
//! Nothing of a token stands on a command line here: script and token go through ssh's standard input.

use core::fmt::Write as _;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use pipeline_vault::Error;
use pipeline_wire::enrol::Token;
use pipeline_wire::enrol::http::get;
use pipeline_wire::tls;
use rustls::{ClientConnection, StreamOwned};
use serde::Serialize;

use crate::cli::Push;
use crate::report::{Ending, Failure, Outcome, print, print_json, printable};

/// How long the appliance may take to answer.
const CONNECT: Duration = Duration::from_secs(20);
/// How long one server may take, in looks.
const LOOKS_MAX: u32 = 10 * 60 * 10;
const LOOK: Duration = Duration::from_millis(100);
/// Tokens are small; a file of a thousand is not large.
const TOKENS_BYTES_MAX: u64 = 1 << 20;
/// Of what a server says only the end is kept.
const SAID_BYTES_MAX: usize = 4096;
/// Becomes root where it is not, and reads the script.
const REMOTE: &str = "if [ \"$(id -u)\" = 0 ]; then exec sh; else exec sudo -n sh; fi";

/// What became of a server.
#[derive(Debug, Serialize)]
struct Pushed {
    host: String,
    enrolled: bool,
    /// What the installer or ssh said last.
    said: String,
}

#[derive(Debug, Serialize)]
struct Report {
    servers: Vec<Pushed>,
}

pub(super) fn run(push: &Push) -> Ending {
    if let Some(bad) = push.hosts.iter().find(|host| !is_host(host)) {
        return Err(Failure::Usage(Error::misuse(
            printable(bad),
            "is no server that ssh could reach",
        )));
    }
    let tokens = tokens(&push.tokens).map_err(Failure::Usage)?;
    let one = checked(&tokens, push.hosts.len()).map_err(Failure::Usage)?;
    let script = script(one, push.appliance)?;
    let report = Report { servers: push_all(push, &tokens, &script) };
    let failed = report.servers.iter().filter(|pushed| !pushed.enrolled).count();
    if push.json {
        print_json(&report)?;
    } else {
        let mut text = String::new();
        for pushed in &report.servers {
            let word = if pushed.enrolled { "enrolled" } else { "NOT enrolled" };
            let _ = writeln!(text, "{}: {word}: {}", pushed.host, pushed.said);
        }
        print(&text)?;
    }
    if failed == 0 {
        return Ok(Outcome::Done);
    }
    let all = report.servers.len();
    Err(Error::refused("push", format!("{failed} of {all} servers are not enrolled"))
        .remedy("see above why; run it again for those, with the tokens that are left")
        .into())
}

/// A name that ssh takes for a host and not for an option.
fn is_host(host: &str) -> bool {
    !host.is_empty() && !host.starts_with('-') && host.chars().all(|sign| sign.is_ascii_graphic())
}

fn tokens(path: &Path) -> Result<Vec<String>, Error> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(TOKENS_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(TOKENS_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| {
        Error::misuse(path.display().to_string(), format!("cannot be read: {error}"))
    })?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// The first of the tokens, if all are good and enough, and of one appliance.
fn checked(tokens: &[String], servers: usize) -> Result<Token, Error> {
    let mut first: Option<Token> = None;
    for (line, text) in tokens.iter().enumerate() {
        let token: Token = text
            .parse()
            .map_err(|error| Error::misuse(format!("token {}", line + 1), format!("{error}")))?;
        match &first {
            Some(first) if first.pin != token.pin => {
                return Err(Error::misuse("--tokens", "are of several appliances")
                    .remedy("push the servers of one appliance after those of another"));
            }
            Some(_) => {}
            None => first = Some(token),
        }
    }
    if tokens.len() < servers {
        return Err(Error::misuse(
            "--tokens",
            format!("has {} tokens for {servers} servers", tokens.len()),
        )
        .remedy("make one for each: lifeboat server token"));
    }
    first.ok_or_else(|| Error::misuse("--tokens", "has no token"))
}

/// The installer, from whoever shows the certificate that the token pins.
fn script(token: Token, appliance: Option<SocketAddr>) -> Result<String, Error> {
    let addresses = match appliance {
        Some(address) => vec![address.to_string()],
        None => token.addresses,
    };
    let mut why = String::new();
    for address in &addresses {
        match fetch(address, token.pin) {
            Ok((200, body)) => match String::from_utf8(body) {
                Ok(script) => return Ok(script),
                Err(_) => why = format!("{address}: its installer is no text"),
            },
            Ok((_, body)) => {
                why = format!("{address}: {}", printable(String::from_utf8_lossy(&body).trim()));
            }
            Err(words) => why = format!("{address}: {words}"),
        }
    }
    Err(Error::device("the appliance", format!("gives no installer ({why})"))
        .remedy("see that this machine reaches its page, and that the tokens are of the appliance that runs now"))
}

fn fetch(address: &str, pin: [u8; 32]) -> Result<(u16, Vec<u8>), String> {
    let said = |error: std::io::Error| error.to_string();
    let socket: SocketAddr = address.parse().map_err(|_| "is no address".to_owned())?;
    let stream = TcpStream::connect_timeout(&socket, CONNECT).map_err(said)?;
    stream.set_read_timeout(Some(CONNECT)).map_err(said)?;
    stream.set_write_timeout(Some(CONNECT)).map_err(said)?;
    let tls = |error: rustls::Error| error.to_string();
    let name = tls::appliance_name().map_err(tls)?;
    let session = ClientConnection::new(tls::pinned(pin).map_err(tls)?, name).map_err(tls)?;
    get(&mut StreamOwned::new(session, stream), address, "/install.sh")
        .map_err(|error| error.to_string())
}

/// What became of each server, in the order in which they were named.
fn push_all(push: &Push, tokens: &[String], script: &str) -> Vec<Pushed> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Pushed)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..usize::from(push.at_once).min(push.hosts.len()) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(host), Some(token)) = (push.hosts.get(place), tokens.get(place))
                    else {
                        return;
                    };
                    let pushed = push_one(push, host, token, script);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((place, pushed));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, pushed)| pushed).collect()
}

fn push_one(push: &Push, host: &str, token: &str, script: &str) -> Pushed {
    let (enrolled, said) = match spawn(push, host) {
        Ok(mut child) => {
            let said = talk(&mut child, token, script);
            (child.wait().is_ok_and(|status| status.success()), said)
        }
        Err(error) => (false, format!("ssh cannot be started: {error}")),
    };
    // The last line says how it ended, whoever said it.
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("said nothing");
    Pushed { host: host.to_owned(), enrolled, said: printable(last.trim()) }
}

fn spawn(push: &Push, host: &str) -> std::io::Result<Child> {
    let mut command = Command::new("ssh");
    if let Some(file) = &push.ssh_config {
        command.arg("-F").arg(file);
    }
    command
        .args([
            "-T",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=20",
            "-o",
            "ServerAliveInterval=15",
        ])
        .args(["--", host, REMOTE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Hands over script and token, and hears the end of what is said, until it ends or took too long.
fn talk(child: &mut Child, token: &str, script: &str) -> String {
    // Tokens are letters, digits and dashes: checked.
    let input = format!("set -- '{token}'\n{script}");
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let said: Mutex<VecDeque<u8>> = Mutex::default();
    let ended = core::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        // A server that hangs up early says why; that it did not hear everything is no news then.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        let hears = [
            stdout.map(|stream| scope.spawn(|| hear(stream, &said))),
            stderr.map(|stream| scope.spawn(|| hear(stream, &said))),
        ];
        let watch = scope.spawn(|| {
            for _ in 0..LOOKS_MAX {
                if ended.load(Ordering::Relaxed) || !matches!(child.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(LOOK);
            }
            // What is still open of its pipes closes with it.
            let _ = child.kill();
        });
        for heard in hears.into_iter().flatten() {
            let _ = heard.join();
        }
        ended.store(true, Ordering::Relaxed);
        let _ = watch.join();
    });
    let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&Vec::from(said)).into_owned()
}

fn hear(mut stream: impl Read, said: &Mutex<VecDeque<u8>>) {
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend(piece.get(..read).unwrap_or_default());
        let surplus = said.len().saturating_sub(SAID_BYTES_MAX);
        said.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(pin: u8) -> String {
        let addresses = vec!["192.0.2.7:443".to_owned()];
        Token::generate(addresses, [pin; 32], 5).unwrap().to_string()
    }

    #[test]
    fn nothing_that_ssh_takes_for_an_option_is_a_host() {
        for host in ["web1", "root@web1", "2001:db8::1", "web1.example"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "-oProxyCommand=reboot", "web 1", "web1\n", "wéb"] {
            assert!(!is_host(host), "{host:?}");
        }
    }

    #[test]
    fn tokens_are_enough_whole_and_of_one_appliance() {
        let (one, two, other) = (token(1), token(1), token(2));
        assert_eq!(checked(&[one.clone(), two.clone()], 2).unwrap().pin, [1; 32]);
        let error = |tokens: &[String], servers| checked(tokens, servers).unwrap_err().to_string();
        assert!(error(core::slice::from_ref(&one), 2).contains("1 tokens for 2 servers"));
        assert!(error(&[one.clone(), other], 2).contains("several appliances"));
        assert!(
            error(&[one, two.replace(|sign: char| sign.is_ascii_digit(), "9")], 2)
                .contains("token 2")
        );
        assert!(error(&[], 0).contains("no token"));
    }

    #[test]
    fn of_what_is_said_the_end_is_kept() {
        let said = Mutex::default();
        let text = "x".repeat(SAID_BYTES_MAX * 3) + "the end";
        hear(text.as_bytes(), &said);
        let kept: Vec<u8> = said.into_inner().unwrap().into();
        assert!(kept.len() == SAID_BYTES_MAX && kept.ends_with(b"the end"));
    }
}
